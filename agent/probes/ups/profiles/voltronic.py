"""Voltronic Power's own tree: the maker behind most small online UPSs sold under other names."""

from agent.probes.ups.profiles.table import WORDS, Obj, Profile

# 8 is the battery test: it discharges the battery with the mains there
STATES = {
    2: "off",
    3: "online",
    4: "bypass",
    5: "battery",
    6: "boost",
    7: "trim",
    8: "battery",
    9: "off",
    10: "eco",
    11: "online",  # converter: fixed output frequency
}
BATTERY = {2: "normal", 3: "low", 4: "depleted", 5: "normal", 6: "fault", 7: "normal"}
SUMMARY = {1: "passed", 2: "warning", 3: "failed", 4: "aborted", 5: "running"}  # noTestInitiated(6) says nothing

VOLTRONIC = Profile(
    "voltronic",
    "1.3.6.1.4.1.43943.1.1",
    "Voltronic UPS MIB, as NUT's voltronic-mib.c gives it; its tables count lines from 0",
    (
        Obj("output_state", "5.1", "upsOutputSource", enum=STATES),
        Obj(WORDS, "5.1", "upsOutputSource", enum={8: "testing"}),
        Obj("battery_status", "3.1", "upsBatteryStatus", enum=BATTERY),
        Obj("battery_replace", "3.1", "upsBatteryStatus", enum={6: True, 7: True, 2: False, 5: False}),
        Obj("runtime_s", "3.3", "upsEstimatedMinutesRemaining", 60.0),
        Obj("battery_charge_pct", "3.4", "upsEstimatedChargeRemaining"),
        Obj("battery_voltage_v", "3.5", "upsBatteryVoltage", 0.1),
        Obj("battery_temp_c", "3.13", "upsTemperature", 0.1),
        Obj("input_frequency_hz", "4.5.1.2", "upsInputFrequency", 0.1, lines=3),
        Obj("input_voltage_v", "4.5.1.3", "upsInputVoltage", 0.1, lines=3),
        Obj("output_frequency_hz", "5.2", "upsOutputFrequency", 0.1),
        Obj("output_voltage_v", "5.7.1.2", "upsOutputVoltage", 0.1, lines=3),
        Obj("load_pct", "5.7.1.7", "upsOutputPercentLoad", lines=3),
        Obj("manufacturer", "1.1", "upsIdentManufacturer"),
        Obj("model", "1.3", "upsIdentModel"),
        Obj("serial", "1.4", "upsIdentSerialNumber"),
        Obj("firmware", "1.6", "upsIdentFirmwareVersion"),
        Obj("self_test", "7.2", "upsTestResultsSummary", enum=SUMMARY),
        Obj("#input_nominal_v", "2.1", "upsRatingInputVoltage", 0.1),
        Obj("#output_nominal_v", "2.2", "upsRatingOutputVoltage", 0.1),
        Obj("#battery_nominal_v", "2.7", "upsRatingBatteryVoltage", 0.1),
    ),
    maker="Voltronic",
)
