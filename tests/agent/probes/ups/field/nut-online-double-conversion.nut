battery.charge: 100
battery.runtime: 1700
input.voltage: 198
input.voltage.nominal: 230
output.voltage: 230.4
output.voltage.nominal: 230
ups.load: 30
ups.status: OL
