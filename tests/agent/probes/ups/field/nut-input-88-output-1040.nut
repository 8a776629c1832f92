battery.charge: 93
battery.charge.warning: 30
battery.runtime: 2811
battery.voltage: 13.6
battery.voltage.nominal: 12
device.model: Line 800
input.transfer.high: 240.0
input.transfer.low: 170
input.voltage: 88.0
input.voltage.nominal: 230
output.voltage: 1040.0
ups.load: 0
ups.status: OL CHRG
