"""Vendors of one table each: Delta, USHA cards (Santak, Ingrasys), Dell, CE+T; and Synology's NAS."""

from agent.probes.ups.profiles.table import WORDS, Obj, Profile

USHA = Profile(
    "usha",
    "1.3.6.1.4.1.2468.1.2.1.1",
    "USHA-MIB (Ingrasys; Santak WebPower)",
    (
        Obj(
            "output_state",
            "4.1",
            "upsOutputGroupSource",
            enum={2: "none", 3: "online", 4: "bypass", 5: "battery", 6: "boost", 7: "trim"},
        ),
        Obj(
            "battery_status",
            "2.1",
            "upsBatteryGroupStatus",
            enum={2: "normal", 3: "low", 4: "depleted", 5: "normal", 6: "fault"},
        ),
        Obj("on_battery_s", "2.2", "upsBatteryGroupSecondsOnBattery"),
        Obj("runtime_s", "2.3", "upsBatteryGroupEstimatedMinutesRemaining", 60.0),
        Obj("battery_charge_pct", "2.4", "upsBatteryGroupEstimatedChargeRemaining"),
        Obj("battery_voltage_v", "2.5", "upsBatteryGroupVoltage", 0.1),
        Obj("battery_temp_c", "2.7", "upsBatteryGroupTemperature"),
        Obj("input_frequency_hz", "3.3.1.2", "upsInputGroupFrequency", 0.1, lines=3),
        Obj("input_voltage_v", "3.3.1.3", "upsInputGroupVoltage", 0.1, lines=3),
        Obj("output_frequency_hz", "4.2", "upsOutputGroupFrequency", 0.1),
        Obj("output_voltage_v", "4.4.1.2", "upsOutputGroupVoltage", 0.1, lines=3),
        Obj("load_pct", "4.4.1.5", "upsOutputGroupPercentLoad", lines=3),
        Obj("manufacturer", "1.1", "upsIdentGroupManufacturer"),
        Obj("model", "1.2", "upsIdentGroupModel"),
        Obj("firmware", "1.3", "upsIdentGroupUPSFirmwareVersion"),
        Obj("serial", "1.7", "upsIdentGroupUpsSerialNumber"),
    ),
)

# Dell's cards give state, charge and volts by RFC 1628; their own tree adds seconds and the serial number.
DELL = Profile(
    "dell",
    "1.3.6.1.4.1.674.10902.2.120",
    "DELL-SNMP-UPS-MIB",
    (
        Obj("runtime_s", "5.3", "physicalBatterySecondsRemaining"),
        Obj("model", "1.1", "physicalIdentFamilyName"),
        Obj("serial", "1.2", "physicalIdentSerialNumber"),
    ),
    maker="Dell",
)

# A CE+T inverter runs from its DC bus in normal service and calls that "battery" in RFC 1628; whether mains is there
# stands in the AC input of its modules. Seats without a module say unknown(4).
CET = Profile(
    "ce+t",
    "1.3.6.1.4.1.12551.4.1",
    "CET-TSI-MIB",
    (
        Obj(
            "output_state",
            "1.1.1.4",
            "tsiModuleACInState",
            enum={0: "online", 1: "online", 2: "online", 3: "battery"},
            lines=12,
        ),
    ),
    maker="CE+T",
)

# A NAS passes on what NUT on it knows of a UPS on its USB port: NUT's own texts, and floats wrapped in Opaque.
SYNOLOGY = Profile(
    "synology",
    "1.3.6.1.4.1.6574.4",
    "SYNOLOGY-UPS-MIB",
    (
        Obj("nut_status", "2.1", "upsInfoStatus"),
        Obj("nut_alarm", "2.2", "upsInfoAlarm"),
        Obj("nut_test", "2.16.2", "upsInfoTestResult"),
        Obj("battery_charge_pct", "3.1.1", "upsBatteryChargeValue"),
        Obj("runtime_s", "3.6.1", "upsBatteryRuntimeValue"),
        Obj("battery_voltage_v", "3.2.1", "upsBatteryVoltageValue"),
        Obj("battery_temp_c", "3.5", "upsBatteryTemperature"),
        Obj("battery_temp_c", "2.11", "upsInfoTemperature"),
        Obj("input_voltage_v", "4.1.1", "upsInputVoltageValue"),
        Obj("load_pct", "2.12.1", "upsInfoLoadValue"),
        Obj("model", "1.1", "upsDeviceModel"),
        Obj("manufacturer", "1.2", "upsDeviceManufacturer"),
        Obj("serial", "1.3", "upsDeviceSerial"),
        Obj("#charge_low_pct", "3.1.2", "upsBatteryChargeLow"),
        Obj("#runtime_low_s", "3.6.2", "upsBatteryRuntimeLow"),
        Obj("#battery_nominal_v", "3.2.2", "upsBatteryVoltageNominal"),
    ),
)

# Delta's enumerations start at 0.
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
        Obj(WORDS, "9.1", "dupsAlarmDisconnect", enum={1: "lost"}),
        Obj(WORDS, "9.2", "dupsAlarmPowerFail", enum={1: "input_bad"}),
        Obj(WORDS, "9.9", "dupsAlarmTestInProgress", enum={1: "testing"}),
        Obj(WORDS, "9.10", "dupsAlarmBatteryTestFail", enum={1: "test_failed"}),
    ),
    maker="Delta",
)
