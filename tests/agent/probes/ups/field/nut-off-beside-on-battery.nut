battery.charge: 94
battery.runtime: 7560
battery.voltage: 52.1
device.mfr: Example
device.model: Line 5
driver.name: snmp-ups
input.voltage: 0.0
output.voltage: 230.0
output.frequency: 50.0
ups.load: 11
ups.status: OB OFF OB
