battery.charge: 100
battery.charge.low: 50
battery.runtime: 3618
battery.runtime.low: 300
battery.voltage: 13.5
battery.voltage.nominal: 12.0
device.model: BK650
input.transfer.high: 278
input.transfer.low: 160
input.voltage: 232.0
input.voltage.nominal: 220
ups.load: 5
ups.status: OL DISCHRG
ups.test.result: Done and passed
