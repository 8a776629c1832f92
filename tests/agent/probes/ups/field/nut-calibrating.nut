battery.charge: 38
battery.runtime: 540
device.model: Line 1500
driver.name: snmp-ups
input.voltage: 231.0
output.voltage: 229.0
ups.load: 30
ups.status: OB DISCHRG CAL
ups.test.result: Done and passed
