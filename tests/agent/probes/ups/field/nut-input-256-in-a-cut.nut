battery.charge: 96
battery.runtime: 1500
device.model: Line 500
input.voltage: 256.0
input.voltage.nominal: 230
ups.load: 20
ups.status: OB DISCHRG
