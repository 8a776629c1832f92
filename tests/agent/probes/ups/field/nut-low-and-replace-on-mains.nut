battery.charge: 100
battery.charge.low: 10
battery.runtime: 1440
battery.runtime.low: 120
device.model: Line 1600
driver.name: usbhid-ups
input.voltage: 234.0
ups.load: 12
ups.status: OL DISCHRG LB RB
