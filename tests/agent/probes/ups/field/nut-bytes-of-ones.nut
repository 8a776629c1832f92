battery.charge: 255
battery.runtime: 3932100
battery.voltage: 13.5
battery.voltage.nominal: 12
device.model: Line 600
input.frequency: 50.0
input.voltage: 231
output.voltage: 231
ups.load: 14
ups.status: OL
ups.temperature: 255
