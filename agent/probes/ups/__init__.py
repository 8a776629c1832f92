"""Reads each configured UPS into the one vocabulary of `wire.UpsReading`: its network card over SNMP, or through NUT
what hangs on USB or a serial line.

Looked at every 10 s on mains, every 2 s on battery and for a minute after the UPS itself has called (an SNMP trap,
`[power] trap_listen`). A UPS that does not answer is unreadable since the first look in vain, never its last values.
On low battery, and when a UPS on battery falls silent, the reading is a last gasp and goes ahead of everything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from agent.common.errors import describe
from agent.config import UpsSection
from agent.probes.probe import Context, Probe, ProbeFailed
from agent.probes.ups import nut
from agent.probes.ups.detect import Plan, discover, standing
from agent.probes.ups.merge import read
from agent.probes.ups.snmp import NoResponse, SnmpSession, SnmpTarget, Value, as_v1, conversation, target_of
from agent.wire import UpsReading

__all__ = ["UpsProbe", "bounded", "nut", "selftest", "snmp", "traps"]

Say = Callable[[str], None]
T = TypeVar("T")

LONGEST_POLL_S = 5.0
REDISCOVER_S = 3600.0  # a UPS behind the same card may be another one by then
SYS_UPTIME = "1.3.6.1.2.1.1.3.0"  # the one object every agent has


@dataclass
class UpsProbe:
    """The probe, with what it learned of each UPS: which objects to ask for, and until when to trust that."""

    wait_s: float = 1.0  # for one answer
    _plans: dict[SnmpTarget, tuple[Plan, float]] = field(default_factory=dict)
    _alarms: dict[SnmpTarget, tuple[str, ...]] = field(default_factory=dict)  # that stood at the last look

    async def __call__(self, context: Context) -> Sequence[UpsReading]:
        configured = [ups for ups in context.settings.ups if ups.host]
        if not configured:
            raise ProbeFailed(
                "not_configured", "no [[ups]] table with a `host`: add one to the settings, or give --host"
            )
        return await asyncio.gather(*(self._configured(ups, context) for ups in configured))

    async def _configured(self, ups: UpsSection, context: Context) -> UpsReading:
        try:
            target = nut.server_of(ups) if ups.driver == "nut" else target_of(ups)
        except ProbeFailed as error:
            return UpsReading(subject=ups.name, failure=error.failure)
        return await self.measure(target, context.deadline_s, context.explain)

    async def measure(self, target: SnmpTarget | nut.NutServer, deadline_s: float, say: Say) -> UpsReading:
        """One UPS, bounded in time. What cannot be read is a reading with its failure, never an old value."""
        limit_s = min(deadline_s, LONGEST_POLL_S)
        look = self._converse(target, say) if isinstance(target, SnmpTarget) else nut.look(target, say)
        try:
            reading = await bounded(look, target.place, limit_s)
        except ProbeFailed as error:
            if isinstance(target, SnmpTarget):
                self._plans.pop(target, None)
            return UpsReading(subject=target.name, failure=error.failure)
        return msgspec.structs.replace(reading, subject=target.name)

    async def _converse(self, target: SnmpTarget, say: Say) -> UpsReading:
        if problem := target.mistake():
            raise ProbeFailed("settings", problem)
        async with conversation(target) as talk:
            session = SnmpSession(talk.exchange, self.wait_s)
            started = time.monotonic()
            try:
                reading = await self._poll(session, target, say)
            except NoResponse as silence:
                raise await self._silence(target, silence) from None
            say(f"{session.asked} questions, {(time.monotonic() - started) * 1000:.0f} ms")
            return reading

    async def _poll(self, session: SnmpSession, target: SnmpTarget, say: Say) -> UpsReading:
        plan, until = self._plans.get(target, (None, 0.0))
        if plan is not None and time.monotonic() < until:
            session.longest = plan.longest
            reading = await self._read(session, target, plan, {**plan.texts, **await session.get(plan.numbers)}, say)
            if reading is not None:
                return reading
        plan, raw = await discover(session, say)
        reading = await self._read(session, target, plan, raw, say)
        if reading is None:
            raise ProbeFailed(
                "not_a_ups", f"{target.place} answers SNMP but shows no UPS: no known MIB gives its state"
            )
        self._plans[target] = (plan, time.monotonic() + REDISCOVER_S)
        return reading

    async def _read(
        self, session: SnmpSession, target: SnmpTarget, plan: Plan, raw: dict[str, Value], say: Say
    ) -> UpsReading | None:
        alarms = await standing(session, plan, raw, self._alarms.get(target, ()))
        self._alarms[target] = tuple(alarms)
        return read(plan.profiles, {**raw, **alarms}, say)

    async def _silence(self, target: SnmpTarget, silence: NoResponse) -> ProbeFailed:
        """Why nothing came back, as far as SNMP can tell."""
        if silence.heard:
            return ProbeFailed("garbage", f"{target.place} answers, but with broken messages: {silence.heard}")
        if target.version == "2c" and await self._answers(as_v1(target)):
            return ProbeFailed("version", f'{target.place} answers SNMP v1 only: set snmp_version to "1"')
        if target.version == "3":  # would have said so to a wrong user or key
            return ProbeFailed(
                "timeout", f"no answer from {target.place}: check address, port, and that the card speaks SNMP v3"
            )
        return ProbeFailed(
            "timeout",
            f"no answer from {target.place}: SNMP is silent alike to a wrong community and to a dead host; "
            "check address, port, community, and that the card allows this machine",
        )

    async def _answers(self, target: SnmpTarget) -> bool:
        async with conversation(target) as talk:
            try:
                await talk.exchange("get", [SYS_UPTIME], self.wait_s)
            except NoResponse:
                return False
            return True


async def bounded(look: Awaitable[T], place: str, limit_s: float) -> T:
    """What the conversation gives, or ProbeFailed: whatever a network can do to it within that time."""
    try:
        async with asyncio.timeout(limit_s):
            return await look
    except TimeoutError:
        raise ProbeFailed("timeout", f"{place} did not finish answering within {limit_s:g} s") from None
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that cannot be one
        raise ProbeFailed("unreachable", f"{place} cannot be asked: {describe(error)}") from None


probe: Probe = UpsProbe()
