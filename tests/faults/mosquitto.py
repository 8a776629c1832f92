"""Mosquitto in the place of the embedded broker."""

from __future__ import annotations

from pathlib import Path

from tests.faults import rig
from tests.faults.makes import tool


def mosquitto(
    house: rig.House, store: Path | None = None, port: int | None = None, host: str = "127.0.0.1"
) -> list[str]:
    """What starts Mosquitto on the house's port, or elsewhere, with a store that it trusts in."""
    name = f"mosquitto-{host}-{port}" if port else "mosquitto"
    store = store or house.folder / name
    store.mkdir(exist_ok=True)
    settings = house.folder / f"{name}.conf"
    settings.write_text(
        f"listener {port or house.broker} {host}\nallow_anonymous true\nuser root\n"
        f"persistence true\npersistence_location {store}/\nautosave_interval 1\nautosave_on_changes true\n"
    )
    return [tool("mosquitto"), "-c", str(settings)]
