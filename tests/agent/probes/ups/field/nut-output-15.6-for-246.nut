battery.charge: 100
battery.runtime: 1080
battery.voltage: 26.0
battery.voltage.nominal: 24
device.model: Line 2160
input.frequency: 50.0
input.transfer.high: 290
input.transfer.low: 165
input.voltage: 246.0
input.voltage.nominal: 230
output.frequency: 50.0
output.voltage: 15.6
ups.load: 19
ups.status: OL
