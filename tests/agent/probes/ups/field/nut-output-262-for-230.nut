battery.charge: 3
battery.charge.low: 10
battery.charge.warning: 20
battery.runtime: 77
battery.runtime.low: 300
battery.voltage: 24.0
battery.voltage.nominal: 24
device.model: Line 1500
input.transfer.high: 260
input.transfer.low: 170
input.voltage: 230.0
input.voltage.nominal: 230
output.voltage: 262.0
ups.load: 12
ups.status: OL CHRG LB
ups.test.result: Done and warning
