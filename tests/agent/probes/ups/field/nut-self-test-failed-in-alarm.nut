battery.charge: 74
battery.voltage: 79.56
battery.voltage.high: 83.91
battery.voltage.low: 67.13
battery.voltage.nominal: 77.5
device.mfr: UPS
device.model: Line 3000
driver.name: blazer_ser
input.frequency: 50.0
input.voltage: 212.0
output.voltage: 212.0
ups.alarm: UPS selftest failed!
ups.load: 78
ups.status: ALARM OL
ups.temperature: 29.0
