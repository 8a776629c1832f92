"""Vendors whose own tree is small: USHA cards (Santak, Ingrasys), Dell, CE+T."""

from agent.probes.ups.profiles.table import Obj, Profile

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
