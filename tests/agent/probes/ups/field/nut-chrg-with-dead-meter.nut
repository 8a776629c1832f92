battery.charge: 93
battery.charge.low: 10
battery.runtime: 7200
battery.voltage: 52.4
battery.voltage.nominal: 48.0
device.model: Line 2200
input.transfer.high: 253
input.transfer.low: 200
input.voltage: 0.0
output.frequency: 50.0
output.voltage: 220.4
output.voltage.nominal: 220.0
ups.load: 5.2
ups.status: OL CHRG
