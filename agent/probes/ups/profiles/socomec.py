"""Socomec NetVision: the old tree (cards up to version 6) and the new one (7 and 8)."""

from agent.probes.ups.profiles.table import WORDS, Obj, Profile

OLD = Profile(
    "socomec-old",
    "1.3.6.1.4.1.4555.1.1.1.1",
    "NetVision v6 MIB (Socomec Sicon); output source as corrected in NUT pull request 2803",
    (
        Obj("output_state", "6.3.2", "upsAlarmOnBattery", enum={1: "battery"}),
        Obj(
            "output_state",
            "4.1",
            "upsOutputSource",
            enum={2: "online", 3: "online", 4: "eco", 5: "bypass", 6: "standby", 7: "bypass", 8: "off", 9: "online"},
        ),
        Obj(
            "battery_status",
            "2.1",
            "upsBatteryStatus",
            enum={2: "normal", 3: "low", 4: "depleted", 5: "normal", 6: "fault"},
        ),
        Obj("on_battery_s", "2.2", "upsSecondsOnBattery"),
        Obj("runtime_s", "2.3", "upsEstimatedMinutesRemaining", 60.0),
        Obj("battery_charge_pct", "2.4", "upsEstimatedChargeRemaining"),
        Obj("battery_voltage_v", "2.5", "upsBatteryVoltage", 0.1),
        Obj("battery_temp_c", "2.6", "upsBatteryTemperature", 0.1),
        Obj("input_frequency_hz", "3.2", "upsInputFrequency", 0.1),
        Obj("input_voltage_v", "3.3.1.2", "upsInputVoltage", 0.1, lines=3),
        Obj("output_frequency_hz", "4.2", "upsOutputFrequency", 0.1),
        Obj("output_voltage_v", "4.4.1.2", "upsOutputVoltage", 0.1, lines=3),
        Obj("load_pct", "4.4.1.4", "upsOutputPercentLoad", lines=3),
        Obj("alarms_count", "6.1", "upsAlarmsPresent"),
        Obj("model", "1.1", "upsIdentModel"),
        Obj("serial", "1.2", "upsIdentSerialNumber"),
    ),
    maker="Socomec",
)

NEW = Profile(
    "socomec",
    "1.3.6.1.4.1.4555.1.1.7.1",
    "SOCOMECUPS-MIB (NetVision 7 and 8)",
    (
        # onInverter(3) does not tell what feeds the inverter; the alarm does.
        Obj("output_state", "6.3.15", "upsAlarmOnBattery", enum={1: "battery"}),
        Obj(
            "output_state",
            "4.1",
            "upsOutputSource",
            enum={
                2: "bypass",
                3: "online",
                4: "online",
                5: "eco",
                6: "bypass",
                7: "standby",
                8: "off",
                9: "online",
                10: "online",
            },
        ),
        Obj(
            "battery_status",
            "2.1",
            "upsBatteryStatus",
            enum={2: "normal", 3: "normal", 4: "normal", 5: "normal", 6: "low", 7: "depleted", 8: "fault", 9: "fault"},
        ),
        Obj("on_battery_s", "2.2", "upsSecondsOnBattery"),
        Obj("runtime_s", "2.3", "upsEstimatedMinutesRemaining", 60.0),
        Obj("battery_charge_pct", "2.4", "upsEstimatedChargeRemaining"),
        Obj("battery_voltage_v", "2.5", "upsBatteryVoltage", 0.1),
        Obj("battery_temp_c", "2.6", "upsBatteryTemperature", 0.1),
        Obj("input_frequency_hz", "3.2", "upsInputFrequency", 0.1),
        Obj("input_voltage_v", "3.3.1.2", "upsInputVoltage", 0.1, lines=3),
        Obj("output_frequency_hz", "4.2", "upsOutputFrequency", 0.1),
        Obj("output_voltage_v", "4.4.1.2", "upsOutputVoltage", 0.1, lines=3),
        Obj("load_pct", "4.4.1.4", "upsOutputPercentLoad", lines=3),
        Obj("alarms_count", "6.1", "upsAlarmsPresent"),
        Obj("model", "1.1", "upsIdentModel"),
        Obj("serial", "1.2", "upsIdentSerialNumber"),
        Obj(WORDS, "2.1", "upsBatteryStatus", enum={4: "testing", 5: "discharging"}),
        Obj(WORDS, "6.3.58", "upsAlarmCommunicationLost", enum={1: "lost"}),
    ),
    maker="Socomec",
)
