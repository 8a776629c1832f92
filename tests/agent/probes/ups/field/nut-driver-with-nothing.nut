battery.charge.restart: 160
battery.charger.status: (null)
battery.runtime.low: 1
device.model: UPS 500i
input.transfer.high: 32767
input.transfer.low: 65535
