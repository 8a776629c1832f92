"""Megatec and Phoenixtec: XPPC-MIB (NetAgent and its many brands) and EPPC-MIB (PowerWalker and newer cards)."""

from agent.probes.ups.profiles.table import WORDS, Obj, Profile

RESULTS = {1: "passed", 2: "failed", 3: "aborted", 4: "running"}  # as PowerNet numbers them
SUMMARY = {1: "passed", 2: "warning", 3: "failed", 4: "aborted", 5: "running"}  # as RFC 1628 numbers them

XPPC = Profile(
    "xppc",
    "1.3.6.1.4.1.935.1.1.1",
    "XPPC-MIB (Phoenixtec, Megatec NetAgent)",
    (
        Obj(
            "output_state",
            "4.1.1",
            "upsBaseOutputStatus",
            enum={2: "online", 3: "battery", 4: "boost", 5: "standby", 6: "bypass", 7: "off", 8: "standby", 9: "trim"},
        ),
        Obj("battery_status", "2.1.1", "upsBaseBatteryStatus", enum={2: "normal", 3: "low"}),
        Obj("on_battery_s", "2.1.2", "upsBaseBatteryTimeOnBattery"),
        Obj("battery_charge_pct", "2.2.1", "upsSmartBatteryCapacity"),
        Obj("runtime_s", "2.2.4", "upsSmartBatteryRunTimeRemaining", unknown=frozenset({9999})),
        Obj("battery_replace", "2.2.5", "upsSmartBatteryReplaceIndicator", enum={1: False, 2: True}),
        Obj("battery_voltage_v", "2.2.2", "upsSmartBatteryVoltage", 0.1),  # volts of one cell on some UPSes
        Obj("battery_temp_c", "2.2.3", "upsSmartBatteryTemperature", 0.1),
        Obj("input_voltage_v", "3.2.1", "upsSmartInputLineVoltage", 0.1),
        Obj("input_frequency_hz", "3.2.4", "upsSmartInputFrequency", 0.1),
        Obj("output_voltage_v", "4.2.1", "upsSmartOutputVoltage", 0.1),
        Obj("output_frequency_hz", "4.2.2", "upsSmartOutputFrequency", 0.1),
        Obj("load_pct", "4.2.3", "upsSmartOutputLoad"),
        # The three-phase group is all zero on a single-phase UPS; it fills what the group above leaves open.
        Obj("input_voltage_v", "8.2.2 8.2.3 8.2.4", "upsThreePhaseInputVoltageR/S/T", 0.1),
        Obj("input_frequency_hz", "8.2.1", "upsThreePhaseInputFrequency", 0.1),
        Obj("output_voltage_v", "8.3.2 8.3.3 8.3.4", "upsThreePhaseOutputVoltageR/S/T", 0.1),
        Obj("output_frequency_hz", "8.3.1", "upsThreePhaseOutputFrequency", 0.1),
        Obj("load_pct", "8.3.5 8.3.6 8.3.7", "upsThreePhaseOutputLoadPercentageR/S/T", 0.1),
        Obj("model", "1.1.1", "upsBaseIdentModel"),
        Obj("firmware", "1.2.1", "upsSmartIdentFirmwareRevision"),
        Obj("serial", "1.2.3", "upsSmartIdentUpsSerialNumber"),
        Obj("self_test", "7.2.3", "upsSmartTestDiagnosticsResults", enum=RESULTS),
    ),
)

EPPC = Profile(
    "eppc",
    "1.3.6.1.4.1.935.10.1.1",
    "EPPC-MIB (Phoenixtec, PowerWalker NMC)",
    (
        Obj(
            "output_state",
            "2.1",
            "upsESystemStatus",
            enum={
                2: "standby",
                3: "bypass",
                4: "online",
                5: "battery",
                6: "battery",  # battery test
                8: "online",  # converter: fixed output frequency
                9: "eco",
                10: "off",  # shutdown
                11: "boost",
                12: "trim",
            },
        ),
        Obj(
            "battery_status",
            "3.1",
            "upsEBatteryStatus",
            enum={2: "normal", 3: "low", 4: "depleted", 5: "normal", 6: "fault"},
        ),
        Obj("on_battery_s", "3.2", "upsESecondsOnBattery"),
        Obj("runtime_s", "3.3", "upsEBatteryEstimatedMinutesRemaining", 60.0),
        Obj("battery_charge_pct", "3.4", "upsEBatteryEstimatedChargeRemaining"),
        Obj("battery_voltage_v", "3.5", "upsEBatteryVoltage", 0.1),
        Obj("battery_temp_c", "3.8", "upsEBatteryTemperature", 0.1),
        Obj("input_frequency_hz", "2.16.1.2", "upsESystemInputFrequency", 0.1, lines=3),
        Obj("input_voltage_v", "2.16.1.3", "upsESystemInputVoltage", 0.1, lines=3),
        Obj("output_frequency_hz", "2.18.1.2", "upsESystemOutputFrequency", 0.1, lines=3),
        Obj("output_voltage_v", "2.18.1.3", "upsESystemOutputVoltage", 0.1, lines=3),
        Obj("load_pct", "2.18.1.7", "upsESystemOutputLoad", lines=3),
        Obj("manufacturer", "1.1", "upsEIdentityManufacturer"),
        Obj("model", "1.2", "upsEIdentityModel"),
        Obj("firmware", "1.3", "upsEIdentityUPSFirmwareVerison"),
        Obj("self_test", "7.3", "upsETestResultsSummary", enum=SUMMARY),
        Obj(WORDS, "2.1", "upsESystemStatus", enum={6: "testing"}),
    ),
)
