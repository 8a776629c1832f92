"""Starts a battery self-test where a UPS allows it: an SNMP SET, or NUT's ``test.battery.start``.

Only quick tests of seconds, never a deep discharge. The result is read with every later look, as `self_test`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent.config import UpsSection
from agent.probes.probe import ProbeFailed
from agent.probes.ups import bounded, nut
from agent.probes.ups.detect import discover
from agent.probes.ups.pdu import NO_ERROR, Setting
from agent.probes.ups.profiles.rfc1628 import RFC1628
from agent.probes.ups.snmp import (
    Conversation,
    NoResponse,
    SnmpSession,
    SnmpTarget,
    conversation,
    secret_of,
    target_of,
)

LIMIT_S = 8.0
WAIT_S = 1.0
QUICK_BATTERY_TEST = "1.3.6.1.2.1.33.1.7.7.4"  # upsTestQuickBatteryTest of RFC 1628
TEST_ID, SPIN_LOCK = "1.3.6.1.2.1.33.1.7.1.0", "1.3.6.1.2.1.33.1.7.2.0"  # upsTestId, upsTestSpinLock
# profile -> the object that starts a test, and with which value: upsAdvTestDiagnostics (PowerNet-MIB),
# upsAdvanceTestDiagnostics (CPS-MIB), xupsTestBattery (XUPS-MIB)
STARTS: dict[str, tuple[str, Setting]] = {
    "powernet": ("1.3.6.1.4.1.318.1.1.1.7.2.2.0", 2),
    "cyberpower": ("1.3.6.1.4.1.3808.1.1.1.7.2.2.0", 2),
    "xups": ("1.3.6.1.4.1.534.1.8.1.0", 1),
}


async def start(ups: UpsSection) -> None:
    """Starts the test. Raises ProbeFailed when it was not started, and says why."""
    if ups.driver == "nut":
        server = nut.server_of(ups)
        await bounded(nut.start_test(server), server.place, LIMIT_S)
        return
    target = target_of(ups)
    if problem := target.mistake():
        raise ProbeFailed("settings", problem)
    await bounded(_start(target, secret_of(ups.write_community_file)), target.place, LIMIT_S)


async def _start(target: SnmpTarget, write_community: str) -> None:
    try:
        async with conversation(target) as talk:
            plan, _ = await discover(SnmpSession(talk.exchange, WAIT_S), _nowhere)
            names = [profile.name for profile in plan.profiles]
            known = await SnmpSession(talk.exchange, WAIT_S).get([TEST_ID, SPIN_LOCK])
        settings = _settings(names, known)
        if not settings:
            raise ProbeFailed("unsupported", f"{target.place}: no known object starts a battery self-test")
        writer = replace(target, community=write_community or target.community)
        async with conversation(writer) as talk:
            await _write(talk, target.place, settings)
    except NoResponse:
        why = f"no answer from {target.place}: it may not let this community or user write"
        raise ProbeFailed("timeout", why) from None


def _settings(profiles: Sequence[str], known: Mapping[str, object]) -> dict[str, Setting]:
    """What to write: the vendor's own object, else RFC 1628's with its lock (section 4.6) where the card has one."""
    for name in profiles:
        if name in STARTS:
            return dict([STARTS[name]])
    if RFC1628.name not in profiles or TEST_ID not in known:
        return {}
    lock = known.get(SPIN_LOCK)
    return {**({SPIN_LOCK: lock} if isinstance(lock, int) else {}), TEST_ID: QUICK_BATTERY_TEST}


async def _write(talk: Conversation, place: str, settings: Mapping[str, Setting]) -> None:
    answer = await talk.exchange("set", list(settings), WAIT_S, list(settings.values()))
    if answer.status != NO_ERROR:
        why = f"{place} refuses to start a battery self-test (SNMP error {answer.status}): allow writing on its card"
        raise ProbeFailed("refused", why)


def _nowhere(_line: str) -> None:
    return None
