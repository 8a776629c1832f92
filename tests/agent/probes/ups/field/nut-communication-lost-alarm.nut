battery.charge: 100
battery.runtime: 1800
ups.alarm: Communication with UPS lost!
ups.status: ALARM OL
