battery.charge: 100
battery.packs: 1
battery.runtime: 0
battery.runtime.low: 0
battery.voltage: 54.70
battery.voltage.nominal: 48.0
device.model: Line 2000
device.type: ups
driver.name: nutdrv_qx
driver.version.data: Voltronic 0.06
input.frequency: 60.0
input.voltage: 106.6
output.frequency: 60.0
output.voltage: 110.0
ups.load: 28
ups.status: OL
