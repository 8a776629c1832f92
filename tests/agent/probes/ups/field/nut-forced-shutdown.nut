battery.charge: 92
battery.runtime: 7200
device.model: Line 5PX
input.voltage: 0.0
output.voltage: 230.0
ups.load: 11
ups.status: FSD OB OFF OB
