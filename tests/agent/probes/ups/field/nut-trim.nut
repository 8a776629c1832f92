battery.charge: 100
battery.runtime: 1700
input.transfer.high: 285
input.transfer.low: 165
input.voltage: 264
output.voltage: 232
ups.load: 30
ups.status: OL TRIM
