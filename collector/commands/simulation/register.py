"""Registers simulated centers and issues their one-time tokens, by the same code as the desk's commands."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from collector.access import enrolment
from collector.commands.simulation.fleet import SimulatedCenter
from collector.commands.simulation.identities import FleetError
from collector.register import imports
from collector.store import Store


def register(store: Store, fleet: Sequence[SimulatedCenter], now_ms: int) -> dict[str, str]:
    """A token for each center, by code; the centers are added when they are new. Raises FleetError."""
    with store.write() as conn:
        done = imports.do_import(conn, _csv(fleet), now_ms)
        if done.mistakes:
            raise FleetError(f"the register refuses a simulated center: {done.mistakes[0]}")
        return {center.code: enrolment.issue_token(conn, center.code, now_ms) for center in fleet}


def _csv(fleet: Sequence[SimulatedCenter]) -> list[str]:
    text = io.StringIO()
    writer = csv.DictWriter(text, fleet[0].row().keys())
    writer.writeheader()
    writer.writerows(center.row() for center in fleet)
    return text.getvalue().splitlines(keepends=True)
