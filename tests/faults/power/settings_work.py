"""A gateway's settings from the collector, through a whole play: ``python -m tests.faults.power.settings_work FOLDER``.

After each step it prints what the file means, as JSON: a power cut then leaves that, or what the next step makes of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from agent import wire
from agent.config import AgentSettings, AgentTable
from agent.remote.settings import digest_of
from agent.remote.trial import RemoteSettings

NOW = 1_795_000_000_000


def play(folder: Path) -> Iterator[RemoteSettings]:
    """One step each: taken, started, proven, another taken, started, taken back, none any more, started, proven."""
    base = AgentSettings(agent=AgentTable(state_dir=str(folder)))
    remote = RemoteSettings(folder)

    def accept(values: wire.SettingTables, later_ms: int) -> None:
        document = wire.SettingsDocument(digest=digest_of(values), issued_ms=NOW + later_ms, values=values)
        assert remote.accept(document, base, NOW)

    def start() -> None:
        nonlocal remote
        remote = RemoteSettings(folder)
        remote.start(base)

    long = {"speed": {"slots": [f"{hour:02}:00-{hour:02}:30" for hour in range(24)]}}  # beyond one sector
    steps: list[Callable[[], object]] = [
        lambda: accept(long, 0), start, lambda: remote.prove(),
        lambda: accept({"speed": {"mode": "full"}}, 1), start, lambda: remote.take_back("no_receipt", "600 s"),
        lambda: accept({}, 2), start, lambda: remote.prove(),
    ]  # fmt: skip
    for step in steps:
        step()
        yield remote


if __name__ == "__main__":
    for at in play(Path(sys.argv[1])):
        sys.stdout.write(msgspec.json.encode(at.state).decode() + "\n")
        sys.stdout.flush()
