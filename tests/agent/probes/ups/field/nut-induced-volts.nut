battery.charge: 96
battery.runtime: 900
input.voltage: 4.2
output.voltage: 229
ups.load: 25
ups.status: OL DISCHRG
