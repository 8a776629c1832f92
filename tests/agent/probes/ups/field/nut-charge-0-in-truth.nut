battery.charge: 0
battery.voltage: 21.1
battery.voltage.nominal: 24
input.voltage: 231
output.voltage: 231
ups.load: 20
ups.status: OL CHRG LB
