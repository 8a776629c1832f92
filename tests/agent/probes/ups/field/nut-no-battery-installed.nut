battery.charge: 100
battery.charge.low: 10
battery.runtime: 1620
battery.runtime.low: 120
battery.voltage: 27.3
battery.voltage.nominal: 24.0
device.model: Line 2200
input.voltage: 238.0
ups.alarm: Replace battery! No battery installed!
ups.load: 9
ups.status: ALARM OL RB
