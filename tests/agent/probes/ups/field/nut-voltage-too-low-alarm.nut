battery.charge: 100
device.model: Line 9
input.voltage: 229
ups.alarm: Battery voltage too low!
ups.load: 28
ups.status: ALARM OL
