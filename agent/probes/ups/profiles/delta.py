"""Delta DeltaUPS-MIB. Its enumerations start at 0."""

from agent.probes.ups.profiles.table import Obj, Profile

DELTA = Profile(
    "delta",
    "1.3.6.1.4.1.2254.2.4",
    "DeltaUPS-MIB",
    (
        Obj(
            "output_state",
            "5.1",
            "dupsOutputSource",
            enum={0: "online", 1: "battery", 2: "bypass", 3: "trim", 4: "boost", 5: "bypass", 7: "none"},
        ),
        Obj("battery_status", "7.2", "dupsBatteryStatus", enum={0: "normal", 1: "low", 2: "depleted"}),
        Obj("battery_replace", "7.1", "dupsBatteryCondiction", enum={0: False, 1: False, 2: True}),
        Obj("on_battery_s", "7.4", "dupsSecondsOnBattery"),
        Obj("runtime_s", "7.5", "dupsBatteryEstimatedTime", 60.0),
        Obj("battery_charge_pct", "7.8", "dupsBatteryCapacity"),
        Obj("battery_voltage_v", "7.6", "dupsBatteryVoltage", 0.1),
        Obj("battery_temp_c", "7.9", "dupsTemperature"),
        Obj("input_voltage_v", "4.3 4.6 4.9", "dupsInputVoltage1/2/3", 0.1),
        Obj("input_frequency_hz", "4.2 4.5 4.8", "dupsInputFrequency1/2/3", 0.1),
        Obj("output_voltage_v", "5.4 5.8 5.12", "dupsOutputVoltage1/2/3", 0.1),
        Obj("output_frequency_hz", "5.2", "dupsOutputFrequency", 0.1),
        Obj("load_pct", "5.7 5.11 5.15", "dupsOutputLoad1/2/3"),
        Obj("manufacturer", "1.1", "dupsIdentManufacturer"),
        Obj("model", "1.2", "dupsIdentModel"),
        Obj("firmware", "1.3", "dupsIdentUPSSoftwareVersion"),
    ),
    maker="Delta",
)
