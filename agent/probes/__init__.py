"""PROBES: one function per kind of reading. Each module is loaded at its first use, so that help stays quick."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from agent.config import UpsSection
from agent.probes.probe import Context, Probe
from agent.wire import Reading

__all__ = ["PROBES", "boot", "gateway", "link", "probe", "seats", "speed", "start_self_test", "target", "ups"]


def _loaded_at_first_use(module: str) -> Probe:
    async def probe(context: Context) -> Sequence[Reading]:
        chosen: Probe = importlib.import_module(module).probe
        return await chosen(context)

    return probe


PROBES: dict[str, Probe] = {
    "link": _loaded_at_first_use("agent.probes.link.link"),
    "speed": _loaded_at_first_use("agent.probes.speed"),
    "ups": _loaded_at_first_use("agent.probes.ups"),
    "seats": _loaded_at_first_use("agent.probes.seats.seats"),
    "gateway": _loaded_at_first_use("agent.probes.gateway"),
}


async def start_self_test(ups: UpsSection) -> None:
    """Starts a UPS's battery self-test. Raises ProbeFailed when it was not started."""
    from agent.probes.ups.selftest import start

    await start(ups)
