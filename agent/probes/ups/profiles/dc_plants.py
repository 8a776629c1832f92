"""DC plants: telecom rectifiers with a battery, whose controllers tell mains, volts and what the battery does."""

from agent.probes.ups.profiles.table import WORDS, Obj, Profile

# psStatusBatteryMode. In a test the rectifiers step back and the battery carries the load, with the mains there.
MODES = {
    2: "online",
    3: "battery",
    4: "online",
    5: "battery",
    6: "battery",
    7: "battery",
    8: "battery",  # ACFail
    9: "online",
    10: "online",
    11: "online",
    12: "online",
    13: "battery",
}
TESTS = dict.fromkeys((3, 5, 6, 13), "testing")

NETSURE = Profile(
    "netsure",
    "1.3.6.1.4.1.6302.2.1",
    "EES-POWER-MIB (Emerson, Vertiv NetSure); modes and thousandths as centreon-plugins read them",
    (
        Obj("output_state", "2.9", "psStatusBatteryMode", enum=MODES),
        Obj(WORDS, "2.9", "psStatusBatteryMode", enum={**TESTS, 8: "input_bad"}),
        Obj(WORDS, "2.8", "psStatusCommunication", enum={3: "lost"}),
        Obj("battery_voltage_v", "2.5.1", "psBatteryVoltage", 0.001),
        Obj("input_voltage_v", "2.6.1 2.6.2 2.6.3", "psInputLineA/B/CVoltage", 0.001),
        Obj("manufacturer", "1.1", "identManufacturer"),
        Obj("model", "1.2", "identModel"),
        Obj("firmware", "1.3", "identControllerFirmwareVersion"),
    ),
    maker="Vertiv",
)


def flow(current: float) -> str:
    """Of a battery current, negative while it feeds the load. A few tenths either way are the meter's."""
    return "discharging" if current < -5 else "charging" if current > 5 else ""


ELTEK = Profile(
    "eltek",
    "1.3.6.1.4.1.12148.10",
    "SP2-MIB (Eltek Smartpack, eNexus)",
    (
        # No object names what feeds the load: mains volts and the battery's current do.
        Obj(WORDS, "2.1", "powerSystemStatus", judge=lambda _number: "by_volts"),
        Obj(WORDS, "10.6.5", "batteryCurrentsValue", judge=flow),
        Obj("battery_voltage_v", "10.5.5", "batteryVoltageValue", 0.01),
        Obj("battery_temp_c", "10.7.5", "batteryTemperaturesValue"),
        Obj("input_voltage_v", "3.4.1.6", "mainsVoltValue", lines=3),
        Obj("model", "2.6", "powerSystemType"),
        Obj("firmware", "2.7", "powerSystemVersion"),
    ),
    maker="Eltek",
)
