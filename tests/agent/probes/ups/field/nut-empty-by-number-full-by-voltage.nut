battery.charge: 0
battery.charge.low: 3
battery.charge.warning: 50
battery.runtime: 0
battery.runtime.low: 5
battery.type: PbAc
battery.voltage: 12.3
battery.voltage.nominal: 12.0
device.model: Line 950
input.transfer.high: 280
input.transfer.low: 155
input.voltage: 0.0
input.voltage.nominal: 230
ups.alarm: Shutdown imminent!
ups.load: 17
ups.status: ALARM OB DISCHRG LB
ups.test.result: No test initiated
