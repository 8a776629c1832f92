battery.charge: 100
battery.charge.low: 10
battery.runtime: -1
battery.runtime.low: 150
battery.voltage: 26.3
battery.voltage.nominal: 24.0
device.model: Line 750
ups.status: OL
