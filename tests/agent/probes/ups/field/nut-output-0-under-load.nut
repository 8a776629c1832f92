battery.charge: 100
battery.runtime: 1700
input.voltage: 121
output.voltage: 0.0
ups.load: 30
ups.status: OL
