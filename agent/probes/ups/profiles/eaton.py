"""Eaton: Powerware's XUPS-MIB, Merlin Gerin's MG-SNMP-UPS-MIB; one card often speaks both. HP bought the first."""

from agent.probes.ups.profiles.table import WORDS, Obj, Profile

# xupsOutputSource: other(1) says nothing
SOURCES = {
    2: "none",
    3: "online",
    4: "bypass",
    5: "battery",
    6: "boost",
    7: "trim",
    8: "online",  # parallelCapacity
    9: "online",  # parallelRedundant
    10: "eco",  # highEfficiencyMode
    11: "bypass",  # maintenanceBypass
    12: "eco",  # essMode
}

TESTS = {2: "passed", 3: "failed", 4: "running", 6: "refused"}  # inhibited(6): by the UPS itself
# Well-known alarms of XUPS-MIB, by their number under 534.1.7
ALARMS = {3: "on_battery", 14: "input_bad", 23: "replace", 25: "test_failed", 26: "lost", 28: "testing"}
INPUTS = {2: "none", 3: "mains", 4: "bypass", 5: "mains2", 6: "generator", 7: "flywheel", 8: "fuel_cell"}

XUPS = Profile(
    "xups",
    "1.3.6.1.4.1.534.1",
    "XUPS-MIB (Eaton, Powerware)",
    (
        Obj("output_state", "4.5", "xupsOutputSource", enum=SOURCES),
        Obj("battery_status", "2.8", "xupsBatteryNotPresent", enum={1: "fault"}),
        Obj("battery_status", "2.10", "xupsBatteryLowCapacity", enum={1: "low"}),
        Obj("battery_status", "2.7", "xupsBatteryFailure", enum={1: "fault"}),
        Obj("battery_status", "2.10", "xupsBatteryLowCapacity", enum={2: "normal"}),
        Obj("battery_replace", "2.9", "xupsBatteryAged", enum={1: True, 2: False}),
        Obj("runtime_s", "2.1", "xupsBatTimeRemaining"),
        Obj("battery_charge_pct", "2.4", "xupsBatCapacity"),
        Obj("battery_voltage_v", "2.2", "xupsBatVoltage"),
        Obj("input_frequency_hz", "3.1", "xupsInputFrequency", 0.1),
        Obj("input_voltage_v", "3.4.1.2", "xupsInputVoltage", lines=3),
        Obj("load_pct", "4.1", "xupsOutputLoad"),
        Obj("output_frequency_hz", "4.2", "xupsOutputFrequency", 0.1),
        Obj("output_voltage_v", "4.4.1.2", "xupsOutputVoltage", lines=3),
        Obj("alarms_count", "7.1", "xupsAlarms"),
        Obj("manufacturer", "1.1", "xupsIdentManufacturer"),
        Obj("model", "1.2", "xupsIdentModel"),
        Obj("firmware", "1.3", "xupsIdentSoftwareVersion"),
        Obj("serial", "1.6", "xupsIdentSerialNumber"),
        Obj("self_test", "8.2", "xupsTestBatteryStatus", enum=TESTS),
        Obj("input_source", "3.5", "xupsInputSource", enum=INPUTS),
        # primaryUtility(3) and secondaryUtility(5) beside generator(6): the one object here that names the grid.
        Obj(WORDS, "3.5", "xupsInputSource", enum={3: "grid", 5: "grid", 6: "generator"}),
        Obj(WORDS, "2.5", "xupsBatteryAbmStatus", enum={1: "charging", 2: "discharging"}),
        Obj(
            WORDS,
            "7.2.1.2",
            "xupsAlarmDescr",
            words={f"1.3.6.1.4.1.534.1.7.{number}": word for number, word in ALARMS.items()},
            standing=True,
        ),
    ),
)


def lost_ups(number: float) -> str:
    """upsmgAgentCommUPS: an even number means no communication, a last digit of 5 no UPS."""
    return "lost" if number % 2 == 0 or number % 10 == 5 else ""


MGE = Profile(
    "mge",
    "1.3.6.1.4.1.705.1",
    "MG-SNMP-UPS-MIB (MGE, Eaton)",
    (
        # Booleans, yes(1) no(2). "Inverter off" is yes on a line-interactive UPS in normal service: not asked.
        Obj("output_state", "7.3", "upsmgOutputOnBattery", enum={1: "battery"}),
        Obj("output_state", "7.4", "upsmgOutputOnByPass", enum={1: "bypass"}),
        Obj("output_state", "7.8", "upsmgOutputOnBoost", enum={1: "boost"}),
        Obj("output_state", "7.12", "upsmgOutputOnBuck", enum={1: "trim"}),
        Obj("output_state", "7.3", "upsmgOutputOnBattery", enum={2: "online"}),
        Obj("battery_status", "5.14", "upsmgBatteryLowBattery", enum={1: "low"}),
        Obj("battery_status", "5.16", "upsmgBatteryLowCondition", enum={1: "low"}),
        Obj("battery_status", "5.9", "upsmgBatteryFaultBattery", enum={1: "fault"}),
        Obj("battery_status", "5.10", "upsmgBatteryNoBattery", enum={1: "fault"}),
        Obj("battery_status", "5.14", "upsmgBatteryLowBattery", enum={2: "normal"}),
        Obj("battery_replace", "5.11", "upsmgBatteryReplacement", enum={1: True, 2: False}),
        Obj("runtime_s", "5.1", "upsmgBatteryRemainingTime"),
        Obj("battery_charge_pct", "5.2", "upsmgBatteryLevel"),
        Obj("battery_voltage_v", "5.5", "upsmgBatteryVoltage", 0.1),
        Obj("battery_temp_c", "5.7", "upsmgBatteryTemperature"),
        Obj("input_voltage_v", "6.2.1.2", "mginputVoltage", 0.1, lines=3),
        Obj("input_frequency_hz", "6.2.1.3", "mginputFrequency", 0.1, lines=3),
        Obj("output_voltage_v", "7.2.1.2", "mgoutputVoltage", 0.1, lines=3),
        Obj("output_frequency_hz", "7.2.1.3", "mgoutputFrequency", 0.1, lines=3),
        Obj("load_pct", "7.2.1.4", "mgoutputLoadPerPhase", lines=3),
        Obj("model", "1.1", "upsmgIdentFamilyName"),
        Obj("model", "1.2", "upsmgIdentModelName"),
        Obj("firmware", "1.4", "upsmgIdentFirmwareVersion"),
        Obj("serial", "1.7", "upsmgIdentSerialNumber"),
        Obj(WORDS, "7.7", "upsmgOutputUtilityOff", enum={1: "input_bad"}),
        Obj(WORDS, "12.13", "upsmgAgentCommUPS", judge=lost_ups),
    ),
)

CPQPOWER = Profile(
    "cpqpower",
    "1.3.6.1.4.1.232.165.3",
    "CPQPOWER-MIB (HP, HPE)",
    (
        Obj("output_state", "4.5", "upsOutputSource", enum=SOURCES),
        Obj("runtime_s", "2.1", "upsBatTimeRemaining"),
        Obj("battery_charge_pct", "2.4", "upsBatCapacity"),
        Obj("battery_voltage_v", "2.2", "upsBatVoltage", 0.1),
        Obj("input_frequency_hz", "3.1", "upsInputFrequency", 0.1),
        Obj("input_voltage_v", "3.4.1.2", "upsInputVoltage", lines=3),
        Obj("load_pct", "4.1", "upsOutputLoad"),
        Obj("output_frequency_hz", "4.2", "upsOutputFrequency", 0.1),
        Obj("output_voltage_v", "4.4.1.2", "upsOutputVoltage", lines=3),
        Obj("manufacturer", "1.1", "upsIdentManufacturer"),
        Obj("model", "1.2", "upsIdentModel"),
        Obj("firmware", "1.3", "upsIdentSoftwareVersions"),
        Obj("self_test", "7.2", "upsTestBatteryStatus", enum=TESTS),
    ),
    maker="HP",
)
