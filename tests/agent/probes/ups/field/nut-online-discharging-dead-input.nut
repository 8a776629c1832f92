battery.charge: 88
battery.runtime: 1320
battery.voltage: 25.1
battery.voltage.nominal: 24
device.mfr: Example
device.model: Line 1500
driver.name: usbhid-ups
input.voltage: 0.0
input.transfer.low: 167
output.voltage: 230.0
ups.load: 24
ups.status: OL DISCHRG
