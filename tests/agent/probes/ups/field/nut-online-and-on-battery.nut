battery.charge: 61
battery.runtime: 1380
device.model: Line 60
input.voltage: 0
output.voltage: 231
ups.load: 33
ups.status: OL OB
