battery.charge: 41
battery.runtime: 600
device.model: Line 900
input.voltage: 0.0
output.voltage: 230.0
ups.load: 22
ups.status: OB DISCHRG CAL
