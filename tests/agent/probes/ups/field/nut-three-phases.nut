battery.charge: 100
battery.runtime: 2520
device.model: Masterys 60
input.L1-N.voltage: 0
input.L2-N.voltage: 231
input.L3-N.voltage: 229
input.frequency: 50
output.L1-N.voltage: 230
output.L2-N.voltage: 230
output.L3-N.voltage: 231
output.L1.power.percent: 28
output.L2.power.percent: 41
output.L3.power.percent: 30
ups.status: OL
