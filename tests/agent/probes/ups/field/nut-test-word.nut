battery.charge: 98
battery.runtime: 1500
device.model: Line 1500
input.voltage: 231.0
output.voltage: 230.0
ups.load: 25
ups.status: OB DISCHRG TEST
ups.test.result: Done and passed
