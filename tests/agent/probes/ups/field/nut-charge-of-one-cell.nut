battery.charge: 0
battery.runtime: 0
battery.voltage: 2.28
battery.voltage.high: 30.00
battery.voltage.low: 20.80
battery.voltage.nominal: 24.0
device.model: Line 1000
driver.name: nutdrv_qx
driver.version.data: Megatec 0.07
input.frequency: 50.0
input.voltage: 235.3
output.voltage: 239.8
ups.load: 21
ups.status: OL
ups.temperature: 22.1
