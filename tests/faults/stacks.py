"""The house on either database and either broker, and bugs of the agent that more than one row must see."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults import rig
from tests.faults.databases import Database, Postgres, Sqlite
from tests.faults.mosquitto import mosquitto

SENT_TWICE = [
    (
        "agent/uplink/session.py",
        "        client.publish(wire.batch_topic(self._identity.device), sealed, qos=1)\n",
        "        client.publish(wire.batch_topic(self._identity.device), sealed, qos=1)\n" * 2,
    )
]
FORGOTTEN_WHEN_SENT = [
    (
        "agent/uplink/session.py",
        '        live = step.reason != "backlog"\n        body',
        '        live = step.reason == "live"\n'
        "        for group in step.groups:\n"
        "            self._spool.forget(*group.ident[:1], group.first_seq, group.ident[1], group.after.hex())\n"
        "        body",
    ),
]


@contextmanager
def served_by(
    folder: Path, database: str, broker: str, settings: str = "", source: Path = rig.ROOT
) -> Iterator[tuple[rig.House, Database]]:
    with shared_disk() as disk:
        base: Database = Postgres(disk, settings) if database == "postgresql" else Sqlite(disk)
        house = rig.House(folder, server=disk, database=base.url, source=source)
        if broker == "mosquitto":
            house.argv["broker"] = mosquitto(house)
        try:
            yield house, base
        finally:
            base.kill()


@contextmanager
def shared_disk() -> Iterator[Path]:
    """A folder that other users may enter: every pytest that starts shuts them out of those that it makes itself."""
    with tempfile.TemporaryDirectory(prefix="nabz-disk-", ignore_cleanup_errors=True) as folder:
        disk = Path(folder) / "disk"
        disk.mkdir()
        yield disk
