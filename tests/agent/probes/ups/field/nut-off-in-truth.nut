battery.charge: 100
input.voltage: 231
output.voltage: 0.0
ups.load: 0
ups.status: OL OFF
