battery.charge: 120
battery.runtime: 2400
battery.voltage: 27.2
input.voltage: 229
ups.load: 18
ups.status: OL
