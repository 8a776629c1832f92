battery.charge: 100
battery.runtime: 1700
input.voltage: 172
output.voltage: 206
ups.load: 30
ups.status: OL BOOST
