"""RFC 1628, the standard UPS-MIB: the fallback that nearly every card speaks, and that fills other tables' gaps."""

from agent.probes.ups.profiles.table import WORDS, Obj, Profile

# Well-known alarms by their number under upsWellKnownAlarms
ALARMS = {2: "on_battery", 6: "input_bad", 19: "test_failed", 20: "lost", 24: "testing"}

# The same objects live under several roots: Riello and others copied the MIB under their own enterprise number.
OBJECTS = (
    # upsOutputSource: other(1) says nothing; none(2) is an output without power
    Obj(
        "output_state",
        "4.1",
        "upsOutputSource",
        enum={2: "none", 3: "online", 4: "bypass", 5: "battery", 6: "boost", 7: "trim"},
    ),
    Obj("battery_status", "2.1", "upsBatteryStatus", enum={2: "normal", 3: "low", 4: "depleted"}),
    Obj("on_battery_s", "2.2", "upsSecondsOnBattery"),
    Obj("runtime_s", "2.3", "upsEstimatedMinutesRemaining", 60.0),
    Obj("battery_charge_pct", "2.4", "upsEstimatedChargeRemaining"),
    Obj("battery_voltage_v", "2.5", "upsBatteryVoltage", 0.1),
    Obj("battery_temp_c", "2.7", "upsBatteryTemperature"),
    Obj("input_frequency_hz", "3.3.1.2", "upsInputFrequency", 0.1, lines=3),
    Obj("input_voltage_v", "3.3.1.3", "upsInputVoltage", lines=3),
    Obj("output_frequency_hz", "4.2", "upsOutputFrequency", 0.1),
    Obj("output_voltage_v", "4.4.1.2", "upsOutputVoltage", lines=3),
    Obj("load_pct", "4.4.1.5", "upsOutputPercentLoad", lines=3),
    Obj("alarms_count", "6.1", "upsAlarmsPresent"),
    # upsAlarmBatteryBad: "One or more batteries have been determined to require replacement."
    Obj("battery_replace", "6.2.1.2", "upsAlarmDescr", words={"1.3.6.1.2.1.33.1.6.3.1": True}, standing=True),
    Obj("manufacturer", "1.1", "upsIdentManufacturer"),
    Obj("model", "1.2", "upsIdentModel"),
    Obj("firmware", "1.3", "upsIdentUPSSoftwareVersion"),
    # upsTestResultsSummary: noTestsInitiated(6) says nothing
    Obj(
        "self_test",
        "7.3",
        "upsTestResultsSummary",
        enum={1: "passed", 2: "warning", 3: "failed", 4: "aborted", 5: "running"},
    ),
    Obj(
        WORDS,
        "6.2.1.2",
        "upsAlarmDescr",
        words={f"1.3.6.1.2.1.33.1.6.3.{number}": word for number, word in ALARMS.items()},
        standing=True,
    ),
    Obj("#real_power_w", "4.4.1.4", "upsOutputPower", lines=3),
    Obj("#real_power_nominal_w", "9.6", "upsConfigOutputPower"),
)

RFC1628 = Profile("rfc1628", "1.3.6.1.2.1.33.1", "RFC 1628", OBJECTS)

# Trees with the same objects under a vendor's own number, some with more precise neighbours
COPIES = (
    Profile("riello", "1.3.6.1.4.1.5491.10.1", "RIELLOUPS-MIB: RFC 1628 under Riello's number", OBJECTS, "Riello"),
    Profile("abb", "1.3.6.1.4.1.53973.1.1.1.1", "ABBMODULARUPS-MIB: RFC 1628 for each unit of a frame", OBJECTS, "ABB"),
    Profile("mitsubishi", "1.3.6.1.4.1.13891.101", "Mitsubishi's copy of RFC 1628", OBJECTS, "Mitsubishi"),
)
