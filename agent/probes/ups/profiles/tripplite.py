"""Tripp Lite: TRIPPLITE-PRODUCTS (850.1.1.3.1, newer cards) and TRIPPLITE-12X (850.100, beside RFC 1628)."""

from agent.probes.ups.profiles.table import WORDS, Obj, Profile

PRODUCTS = Profile(
    "tripplite",
    "1.3.6.1.4.1.850.1.1.3.1",
    "TRIPPLITE-PRODUCTS",
    (
        # other(1) and testing(10) say nothing of where the power comes from
        Obj(
            "output_state",
            "3.3.1.1.1",
            "tlpUpsOutputSource",
            enum={2: "none", 3: "online", 4: "bypass", 5: "battery", 6: "boost", 7: "trim", 8: "online", 9: "eco"},
        ),
        Obj("battery_status", "3.1.1.1.1", "tlpUpsBatteryStatus", enum={2: "normal", 3: "low", 4: "depleted"}),
        Obj("on_battery_s", "3.1.1.1.2", "tlpUpsSecondsOnBattery"),
        Obj("runtime_s", "3.1.1.1.3", "tlpUpsEstimatedMinutesRemaining", 60.0),
        Obj("runtime_s", "3.1.1.1.5", "tlpUpsBatteryRunTimeRemaining", 0.01),
        Obj("battery_charge_pct", "3.1.1.1.4", "tlpUpsEstimatedChargeRemaining"),
        Obj("battery_charge_pct", "3.1.2.1.3", "tlpUpsBatteryDetailCapacity"),
        Obj("battery_voltage_v", "3.1.2.1.1", "tlpUpsBatteryDetailVoltage", 0.1),
        Obj("battery_temp_c", "3.1.5.1.2", "tlpUpsBatteryPackDetailTemperatureC", 0.1),
        Obj(
            "battery_replace",
            "3.1.5.1.1",
            "tlpUpsBatteryPackDetailCondition",
            enum={1: False, 2: False, 3: True},
        ),
        Obj("input_frequency_hz", "3.2.2.1.2", "tlpUpsInputPhaseFrequency", 0.1, lines=3),
        Obj("input_voltage_v", "3.2.2.1.3", "tlpUpsInputPhaseVoltage", 0.1, lines=3),
        Obj("output_frequency_hz", "3.3.1.1.3", "tlpUpsOutputFrequency", 0.1),
        Obj("output_voltage_v", "3.3.2.1.2", "tlpUpsOutputLineVoltage", 0.1, lines=3),
        Obj("load_pct", "3.3.2.1.5", "tlpUpsOutputLineUtilization", lines=3),
        Obj(WORDS, "3.3.1.1.1", "tlpUpsOutputSource", enum={10: "testing"}),
        Obj("manufacturer", ".1.3.6.1.4.1.850.1.1.1.2.1.4", "tlpDeviceManufacturer"),
        Obj("model", ".1.3.6.1.4.1.850.1.1.1.2.1.5", "tlpDeviceModel"),
        Obj("firmware", ".1.3.6.1.4.1.850.1.1.2.1.1.4", "tlpDeviceIdentFirmwareVersion"),
        Obj("serial", ".1.3.6.1.4.1.850.1.1.2.1.1.5", "tlpDeviceIdentSerialNum"),
    ),
    maker="Tripp Lite",
    devices=True,
)

# Everything but the serial number is said better by RFC 1628 on the same card.
TWELVE_X = Profile(
    "tripplite-12x",
    "1.3.6.1.4.1.850.100.1",
    "TRIPPLITE-12X",
    (
        Obj("serial", "1.2", "tlUpsIdentSerialNum"),
        Obj("input_voltage_v", "3.2.1.3", "tlUpsInputVoltage", lines=3),
    ),
    maker="Tripp Lite",
)
