"""Notifications to systemd: ready, alive, stopping. Does nothing where systemd did not start us."""

from __future__ import annotations

import os
import socket


def tell(word: str) -> None:
    """Sends e.g. ``READY=1`` (sd_notify(3)). Raises OSError when systemd's socket is there but cannot be used."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + place[1:] if place.startswith("@") else place)
        channel.send(word.encode())
