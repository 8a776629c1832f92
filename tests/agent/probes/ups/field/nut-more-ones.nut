battery.charge: 65535
battery.runtime: 4294967295
battery.temperature: -999.9
input.voltage: 230
ups.load: -1
ups.status: OL CHRG
