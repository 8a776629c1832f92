battery.charge: 100
battery.runtime: 1500
input.L1-L2.voltage: 398
output.L1-L2.voltage: 400
ups.L1.load: 22
ups.L2.load: 35
ups.L3.load: 30
ups.status: OL
