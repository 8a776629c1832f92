"""APC (Schneider) PowerNet-MIB: Smart-UPS, Symmetra, Galaxy; also what PowerChute and apcupsd serve."""

from agent.probes.ups.profiles.table import WORDS, Obj, Profile

# upsBasicOutputStatus. Test and spot modes (19, 21, 22, 28) say nothing of where the power comes from.
STATES = {
    2: "online",
    3: "battery",
    4: "boost",
    5: "standby",  # timedSleeping
    6: "bypass",  # softwareBypass
    7: "off",
    8: "off",  # rebooting
    9: "bypass",  # switchedBypass
    10: "bypass",  # hardwareFailureBypass
    11: "standby",  # sleepingUntilPowerReturn
    12: "trim",
    13: "eco",
    14: "standby",  # hotStandby
    15: "battery",  # onBatteryTest
    16: "bypass",  # emergencyStaticBypass
    17: "bypass",  # staticBypassStandby
    18: "eco",  # powerSavingMode
    20: "eco",  # eConversion
    23: "online",  # activeLoad
    24: "battery",  # batteryDischargeSpot
    25: "standby",  # inverterStandby
    26: "standby",  # chargerOnly
    27: "battery",  # distributedEnergyReserve
}

TESTING = {15: "testing", 28: "testing"}  # the same object: onBatteryTest, selfTest
RESULTS = {1: "passed", 2: "failed", 3: "aborted", 4: "running"}  # invalidTest(3): broken off by an event

POWERNET = Profile(
    "powernet",
    "1.3.6.1.4.1.318.1.1.1",
    "PowerNet-MIB (APC)",
    (
        Obj("output_state", "4.1.1", "upsBasicOutputStatus", enum=STATES),
        Obj("battery_status", "2.1.1", "upsBasicBatteryStatus", enum={2: "normal", 3: "low", 4: "fault", 5: "fault"}),
        Obj("on_battery_s", "2.1.2", "upsBasicBatteryTimeOnBattery", 0.01),
        Obj("battery_charge_pct", "2.3.1", "upsHighPrecBatteryCapacity", 0.1),
        Obj("battery_charge_pct", "2.2.1", "upsAdvBatteryCapacity"),
        Obj("runtime_s", "2.2.3", "upsAdvBatteryRunTimeRemaining", 0.01),
        Obj("battery_replace", "2.2.4", "upsAdvBatteryReplaceIndicator", enum={1: False, 2: True}),
        Obj("battery_temp_c", "2.3.2", "upsHighPrecBatteryTemperature", 0.1),
        Obj("battery_temp_c", "2.2.2", "upsAdvBatteryTemperature"),
        Obj("battery_voltage_v", "2.3.4", "upsHighPrecBatteryActualVoltage", 0.1),
        Obj("battery_voltage_v", "2.2.8", "upsAdvBatteryActualVoltage"),
        Obj("input_voltage_v", "3.3.1", "upsHighPrecInputLineVoltage", 0.1),
        Obj("input_voltage_v", "3.2.1", "upsAdvInputLineVoltage"),
        # Three-phase: indexed by input, (phase group,) phase. Galaxy gives phase-to-phase volts here.
        Obj("input_voltage_v", "9.2.3.1.3", "upsPhaseInputVoltage", lines=3),
        Obj("input_frequency_hz", "3.3.4", "upsHighPrecInputFrequency", 0.1),
        Obj("input_frequency_hz", "3.2.4", "upsAdvInputFrequency"),
        Obj("input_frequency_hz", "9.2.2.1.4", "upsPhaseInputFrequency", 0.1),
        Obj("output_voltage_v", "4.3.1", "upsHighPrecOutputVoltage", 0.1),
        Obj("output_voltage_v", "4.2.1", "upsAdvOutputVoltage"),
        Obj("output_voltage_v", "9.3.3.1.3", "upsPhaseOutputVoltage", lines=3),
        Obj("output_frequency_hz", "4.3.2", "upsHighPrecOutputFrequency", 0.1),
        Obj("output_frequency_hz", "4.2.2", "upsAdvOutputFrequency"),
        Obj("output_frequency_hz", "9.3.2.1.4", "upsPhaseOutputFrequency", 0.1),
        Obj("load_pct", "4.3.3", "upsHighPrecOutputLoad", 0.1),
        Obj("load_pct", "4.2.3", "upsAdvOutputLoad"),
        Obj("load_pct", "9.3.3.1.10", "upsPhaseOutputPercentLoad", lines=3),
        Obj("model", "1.1.1", "upsBasicIdentModel"),
        Obj("firmware", "1.2.1", "upsAdvIdentFirmwareRevision"),
        Obj("serial", "1.2.3", "upsAdvIdentSerialNumber"),
        Obj("self_test", "7.2.6", "upsAdvTestCalibrationResults", enum={3: "running"}),
        Obj("self_test", "7.2.3", "upsAdvTestDiagnosticsResults", enum=RESULTS),
        Obj(WORDS, "4.1.1", "upsBasicOutputStatus", enum=TESTING),
        Obj(WORDS, "8.1", "upsCommStatus", enum={2: "lost"}),
        Obj("#battery_nominal_v", "2.2.7", "upsAdvBatteryNominalVoltage"),
    ),
    maker="APC",
)
