battery.charge: 100
battery.runtime: 00000
battery.runtime.low: 59940
battery.temperature: 00
battery.voltage: 163.4
device.model: Senoidal 5000
input.frequency: 59.9
input.transfer.high: 144
input.transfer.low: 096
input.voltage: 127.6
input.voltage.nominal: 120
output.frequency: 60.0
output.voltage: 119.1
ups.load: 000
ups.status: OL
