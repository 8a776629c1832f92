battery.charge: 100
device.model: Line PS1500
driver.name: snmp-ups
input.voltage: 236.80
output.frequency: 50
output.voltage: 239
ups.load: 12
ups.status: OFF
