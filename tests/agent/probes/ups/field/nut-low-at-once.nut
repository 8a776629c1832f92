battery.charge: 97
battery.charge.low: 20
battery.runtime: 1600
battery.runtime.low: 180
device.model: Station 800
input.voltage: 0.0
output.voltage: 230.0
ups.load: 19
ups.status: OB LB
