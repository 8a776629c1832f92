battery.charge: 100
battery.charge.low: 10
battery.runtime: 1464
battery.runtime.low: 120
battery.voltage: 27.1
battery.voltage.nominal: 24.0
device.model: Line 1400
input.transfer.high: 280
input.transfer.low: 155
input.voltage: 98.0
input.voltage.nominal: 102
ups.load: 17
ups.status: OL
