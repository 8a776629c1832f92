battery.charge: 93
battery.runtime: 65535
battery.temperature: 16.6
battery.voltage: 52.4
device.model: Line 2200
driver.name: usbhid-ups
input.voltage: 229.0
output.voltage: 220.4
ups.load: 5.2
ups.status: OL CHRG
