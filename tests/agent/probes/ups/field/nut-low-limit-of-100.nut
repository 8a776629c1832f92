battery.charge: 92
battery.charge.low: 100
battery.runtime: 700
battery.runtime.low: 120
battery.voltage: 26.1
battery.voltage.nominal: 24.0
device.model: Line 1500
ups.load: 28
ups.status: OB DISCHRG LB
