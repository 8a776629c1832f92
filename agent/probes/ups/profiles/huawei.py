"""Huawei UPS5000 and its kin. The small UPS2000 speaks RFC 1628 only."""

from agent.probes.ups.profiles.table import Obj, Profile

HUAWEI = Profile(
    "huawei",
    "1.3.6.1.4.1.2011.6.174.1",
    "HUAWEI-UPS-MIB, as NUT's huawei-mib.c and the SNMP interface reference give it",
    (
        # Supply method: none, bypass, mains, battery, combined (mains with battery), eco, battery in eco mode
        Obj(
            "output_state",
            "2.101.1.1",
            "hwUpsCtrlPowerSupplyMethod",
            enum={1: "none", 2: "bypass", 3: "online", 4: "battery", 5: "online", 6: "eco", 7: "battery"},
        ),
        Obj("runtime_s", "6.100.1.4", "hwUpsBatteryBackupTime"),
        Obj("battery_charge_pct", "6.100.1.3", "hwUpsBatteryRemainCapacity"),
        Obj("battery_voltage_v", "6.100.1.1", "hwUpsBatteryVoltage", 0.1),
        Obj("input_voltage_v", "3.100.1.1 3.100.1.2 3.100.1.3", "hwUpsInputVoltageA/B/C", 0.1),
        Obj("input_frequency_hz", "3.100.1.4", "hwUpsInputFrequency", 0.01),
        Obj("output_voltage_v", "4.100.1.1 4.100.1.2 4.100.1.3", "hwUpsOutputVoltageA/B/C", 0.1),
        Obj("output_frequency_hz", "4.100.1.7", "hwUpsOutputFrequency", 0.01),
        Obj("load_pct", "4.100.1.14 4.100.1.15 4.100.1.16", "hwUpsOutputLoadA/B/C", 0.1),
        Obj("model", "2.100.1.2", "hwUpsDeviceName"),
        Obj("firmware", "2.100.1.3", "hwUpsDeviceSoftwareVersion"),
        Obj("serial", "2.100.1.5", "hwUpsDeviceSerial"),
    ),
    maker="Huawei",
)
