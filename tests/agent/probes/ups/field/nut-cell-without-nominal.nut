battery.charge: 0
battery.runtime: 0
battery.voltage: 2.05
driver.name: nutdrv_qx
input.voltage: 221.3
output.voltage: 221.0
ups.load: 12
ups.status: OL
