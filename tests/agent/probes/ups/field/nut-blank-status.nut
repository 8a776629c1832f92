battery.charge: 100
battery.current: 4
battery.runtime: 960
battery.runtime.elapsed: 0
battery.voltage: 40.40
battery.voltage.nominal: 36
device.model: Line 1000
driver.name: snmp-ups
input.frequency: 60
input.voltage: 119
output.frequency: 60
output.voltage: 120.20
ups.load: 31
ups.status:
