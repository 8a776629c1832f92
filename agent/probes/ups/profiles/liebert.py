"""Liebert and Vertiv: the Global Products MIB (objects, and data points as text), and the small ITA2."""

from agent.probes.ups.profiles.table import Obj, Profile, Rows

POINTS = "1.3.6.1.4.1.476.1.42.3.5.2.1"  # lgpPwrWellKnownMeasurementPoints
POINT_ID = "3.5.2.2.1.2"  # lgpPwrMeasurementPointId
INPUT = Rows(POINT_ID, frozenset({f"{POINTS}.1"}))
OUTPUT = Rows(POINT_ID, frozenset({f"{POINTS}.5", f"{POINTS}.9"}))
TEXT = "3.9.20.1.20.1.2.1"  # lgpFlexibleEntryValue of the device's own data points
EVENT = "3.9.20.1.20.1.2.100"  # the same of its events: "Inactive Event", or "Active" and a severity
ACTIVE = ("active", "active event", "active alarm", "active warning", "active fault", "active message")

# The words of data point 4872, "UPS Output Source"
SOURCE_WORDS = {
    "normal": "online",
    "inverter": "online",
    "on inverter": "online",
    "online": "online",
    "on-line": "online",
    "utility": "online",
    "battery": "battery",
    "on battery": "battery",
    "bypass": "bypass",
    "on bypass": "bypass",
    "maintenance bypass": "bypass",
    "maint bypass": "bypass",
    "booster": "boost",
    "boost": "boost",
    "reducer": "trim",
    "buck": "trim",
    "eco mode": "eco",
    "off": "off",
    "none": "none",
}

BATTERY_WORDS = {"normal": "normal", "low": "low", "depleted": "depleted", "battery normal": "normal"}

LIEBERT = Profile(
    "liebert",
    "1.3.6.1.4.1.476.1.42",
    "LIEBERT-GP-POWER-MIB and LIEBERT-GP-FLEXIBLE-MIB; data point numbers from NUT's vertiv-mib.c",
    (
        Obj(
            "output_state",
            "3.5.3.55",
            "lgpPwrStateUpsOutputSource",
            enum={2: "none", 3: "online", 4: "bypass", 5: "battery", 6: "boost", 7: "trim"},
        ),
        Obj("output_state", f"{TEXT}.4872", "UPS Output Source", words=SOURCE_WORDS, exact=True),
        Obj("output_state", f"{EVENT}.4168", "Battery Discharging", words=dict.fromkeys(ACTIVE, "battery"), exact=True),
        Obj("output_state", f"{EVENT}.4298", "UPS Output on Bypass", words=dict.fromkeys(ACTIVE, "bypass"), exact=True),
        # The inverter feeds the load from mains or from the battery: what the battery does tells which.
        Obj("output_state", "3.5.1.14", "lgpPwrBatteryChargeStatus", enum={4: "battery"}),
        Obj("output_state", "3.5.3.10", "lgpPwrOutputToLoadOnBypass", enum={1: "bypass"}),
        Obj("output_state", "3.5.3.11", "lgpPwrBoost", enum={1: "boost"}),
        Obj("output_state", "3.5.3.12", "lgpPwrBuck", enum={1: "trim"}),
        Obj(
            "output_state",
            "3.5.3.31",
            "lgpPwrStateOutputSource",
            enum={1: "none", 2: "online", 3: "bypass", 4: "bypass"},
        ),
        Obj("output_state", "3.5.3.7", "lgpPwrOutputToLoadOnInverter", enum={1: "online"}),
        Obj(
            "battery_status",
            "3.5.1.26",
            "lgpPwrBatteryCapacityStatus",
            enum={2: "normal", 3: "low", 4: "depleted"},
        ),
        Obj("battery_status", f"{EVENT}.4162", "Battery Low", words=dict.fromkeys(ACTIVE, "low"), exact=True),
        Obj("battery_status", f"{TEXT}.4871", "UPS battery status", words=BATTERY_WORDS, exact=True),
        Obj("battery_replace", f"{EVENT}.6182", "Replace Battery", words=dict.fromkeys(ACTIVE, True), exact=True),
        Obj("battery_replace", f"{EVENT}.6182", "Replace Battery", words={"inactive event": False}, exact=True),
        Obj("runtime_s", "3.5.1.18", "lgpPwrBatteryTimeRemaining", 60.0),
        Obj("runtime_s", f"{TEXT}.4150", "Battery Time Remaining", 60.0, exact=True),
        Obj("battery_charge_pct", "3.5.1.19", "lgpPwrBatteryCapacity"),
        Obj("battery_charge_pct", f"{TEXT}.4153", "Battery Percentage Charge", exact=True),
        Obj("battery_voltage_v", f"{TEXT}.4148", "Battery Volts at Module", exact=True),
        Obj("battery_voltage_v", f"{TEXT}.4155", "Battery Volts for Cabinet", exact=True),
        Obj("battery_temp_c", f"{TEXT}.4156", "Battery Temperature for Cabinet", exact=True),
        Obj("input_voltage_v", f"{TEXT}.4096", "System Input RMS A-N", exact=True),
        Obj("input_frequency_hz", f"{TEXT}.4105", "System Input Frequency", exact=True),
        Obj("output_voltage_v", f"{TEXT}.4385", "System Output Voltage RMS A-N", exact=True),
        Obj("output_frequency_hz", f"{TEXT}.4207", "System Output Frequency", exact=True),
        Obj("load_pct", f"{TEXT}.5861", "System Output Pct Power (Max Phase)", exact=True),
        Obj(
            "load_pct",
            f"{TEXT}.4223 {TEXT}.4224 {TEXT}.4225",
            "System Output Pct Power Phase A/B/C",
            exact=True,
        ),
        Obj("", POINT_ID, "lgpPwrMeasurementPointId", lines=5),
        Obj("input_voltage_v", "3.5.2.3.1.5", "lgpPwrLineMeasurementVoltsLN", lines=9, rows=INPUT),
        Obj("input_voltage_v", "3.5.2.3.1.4", "lgpPwrLineMeasurementVoltsLL", lines=9, rows=INPUT),
        Obj("input_frequency_hz", "3.5.2.2.1.6", "lgpPwrMeasurementPointFrequency", lines=5, rows=INPUT),
        Obj("output_voltage_v", "3.5.2.3.1.5", "lgpPwrLineMeasurementVoltsLN", lines=9, rows=OUTPUT),
        Obj("output_voltage_v", "3.5.2.3.1.4", "lgpPwrLineMeasurementVoltsLL", lines=9, rows=OUTPUT),
        Obj("output_frequency_hz", "3.5.2.2.1.6", "lgpPwrMeasurementPointFrequency", lines=5, rows=OUTPUT),
        Obj("load_pct", "3.5.2.3.1.19", "lgpPwrLineMeasurementPercentLoad", lines=9, rows=OUTPUT),
        Obj("load_pct", "3.5.2.2.1.11", "lgpPwrMeasurementPointVAPercent", 0.1, lines=5, rows=OUTPUT),
        Obj("load_pct", "3.5.2.3.1.7", "lgpPwrLineMeasurementCapacity", lines=9, rows=OUTPUT),
        Obj("battery_voltage_v", "3.5.2.4.1.4", "lgpPwrDcMeasurementPointVolts"),
        Obj("manufacturer", "2.1.1", "lgpAgentIdentManufacturer"),
        Obj("model", f"{TEXT}.4240", "System Model Number", exact=True),
        Obj("firmware", f"{TEXT}.4335", "Firmware version", exact=True),
        Obj("serial", f"{TEXT}.4244", "System Serial Number", exact=True),
        Obj("model", "2.4.2.1.4", "lgpAgentDeviceModel"),
        Obj("firmware", "2.4.2.1.5", "lgpAgentDeviceFirmwareVersion"),
        Obj("serial", "2.4.2.1.7", "lgpAgentDeviceSerialNumber"),
    ),
    maker="Vertiv",
)

ITA2 = Profile(
    "vertiv-ita2",
    "1.3.6.1.4.1.13400.2.54.2",
    "VERTIV-ITA2-MIB",
    (
        Obj(
            "output_state",
            "1.2",
            "upsOutputSource",
            enum={0: "none", 1: "online", 2: "battery", 3: "bypass", 4: "online"},
        ),
        Obj("runtime_s", "5.7", "batteryRemainsTime", 6.0),  # tenths of a minute
        Obj("battery_charge_pct", "5.10", "batteryCapacity"),
        Obj("battery_voltage_v", "5.1", "positiveBatteryVoltage", 0.1),
        Obj("battery_temp_c", "5.8", "batteryTemperature", 0.1),
        Obj("input_voltage_v", "2.1 2.2 2.3", "inputPhaseVoltageA/B/C", 0.1),
        Obj("input_frequency_hz", "2.4", "inputFrequency", 0.01),
        Obj("output_voltage_v", "3.1 3.2 3.3", "outputPhaseVoltageA/B/C", 0.1),
        Obj("output_frequency_hz", "3.7", "outputFrequency", 0.01),
        Obj("load_pct", "3.14 3.15 3.16", "outputLoadA/B/C", 0.1),
        Obj("manufacturer", ".1.3.6.1.4.1.13400.2.54.1.1", "identManufacturer"),
        Obj("model", ".1.3.6.1.4.1.13400.2.54.1.2", "identModel"),
        Obj("serial", ".1.3.6.1.4.1.13400.2.54.1.3", "identIndex"),
    ),
    maker="Vertiv",
)
