"""CyberPower CPS-MIB: RMCARD and PowerPanel. RMCARDs answer NULL for what a model lacks."""

from agent.probes.ups.profiles.table import Obj, Profile

STATES = {
    2: "online",
    3: "battery",
    4: "boost",
    5: "standby",  # onSleep
    6: "off",
    7: "off",  # rebooting
    8: "eco",
    9: "bypass",
    10: "trim",  # onBuck
    11: "online",  # onOverload
}

RESULTS = {1: "passed", 2: "failed", 3: "aborted", 4: "running"}  # as PowerNet numbers them

CYBERPOWER = Profile(
    "cyberpower",
    "1.3.6.1.4.1.3808.1.1.1",
    "CPS-MIB (CyberPower)",
    (
        Obj("output_state", "4.1.1", "upsBaseOutputStatus", enum=STATES),
        Obj("battery_status", "2.1.1", "upsBaseBatteryStatus", enum={2: "normal", 3: "low", 4: "fault"}),
        Obj("on_battery_s", "2.1.2", "upsBaseBatteryTimeOnBattery", 0.01),
        Obj("battery_charge_pct", "2.2.1", "upsAdvanceBatteryCapacity"),
        Obj("runtime_s", "2.2.4", "upsAdvanceBatteryRunTimeRemaining", 0.01),
        Obj("battery_replace", "2.2.5", "upsAdvanceBatteryReplaceIndicator", enum={1: False, 2: True}),
        Obj("battery_voltage_v", "2.2.2", "upsAdvanceBatteryVoltage", 0.1),
        Obj("battery_temp_c", "2.2.3", "upsAdvanceBatteryTemperature"),
        Obj("input_voltage_v", "3.2.1", "upsAdvanceInputLineVoltage", 0.1),
        Obj("input_frequency_hz", "3.2.4", "upsAdvanceInputFrequency", 0.1),
        Obj("output_voltage_v", "4.2.1", "upsAdvanceOutputVoltage", 0.1),
        Obj("output_frequency_hz", "4.2.2", "upsAdvanceOutputFrequency", 0.1),
        Obj("load_pct", "4.2.3", "upsAdvanceOutputLoad"),
        Obj("model", "1.1.1", "upsBaseIdentModel"),
        Obj("firmware", "1.2.1", "upsAdvanceIdentFirmwareRevision"),
        Obj("serial", "1.2.3", "upsAdvanceIdentSerialNumber"),
        Obj("self_test", "7.2.7", "upsAdvanceTestCalibrationResults", enum={3: "running"}),
        Obj("self_test", "7.2.3", "upsAdvanceTestDiagnosticsResults", enum=RESULTS),
    ),
    maker="CyberPower",
)
