"""Reads each configured UPS into the one vocabulary of `wire.UpsReading`: its network card over SNMP, or through NUT
what hangs on USB or a serial line.

Looked at every 10 s on mains, every 2 s on battery and for a minute after the UPS itself has called (an SNMP trap,
`[power] trap_listen`). A UPS that does not answer is unreadable since the first look in vain, never its last values.
`source` says what feeds the load where the device tells: the grid or a generator only by its own name for its input,
since volts do not tell them apart; most UPSs name neither.
On low battery, and when a UPS on battery falls silent, the reading is a last gasp and goes ahead of everything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from agent.common.errors import describe
from agent.common.reading_codes import correction
from agent.config import UpsSection
from agent.probes.probe import Context, Probe, ProbeFailed
from agent.probes.ups import nut, settle
from agent.probes.ups.detect import Plan, Progress, discover, standing
from agent.probes.ups.draft import Gathered, Memory
from agent.probes.ups.merge import gather
from agent.probes.ups.pdu import Value
from agent.probes.ups.snmp import (
    REPEAT_S,
    Conversation,
    NoResponse,
    SnmpSession,
    SnmpTarget,
    as_v1,
    conversation,
    target_of,
)
from agent.wire import Failure, UpsReading

__all__ = ["UpsProbe", "bounded", "nut", "selftest", "snmp", "traps"]

Say = Callable[[str], None]
T = TypeVar("T")

LONGEST_POLL_S = 5.0
REDISCOVER_S = 3600.0  # a UPS behind the same card may be another one by then
SYS_UPTIME = "1.3.6.1.2.1.1.3.0"  # the one object every agent has
PORTS_OF_CARDS = (80, 443, 22)  # a host that answers on one of them, or refuses, is up
ALIVE_S = 1.0
MARGIN_S = 0.1  # for what follows the last answer


@dataclass
class _Device:
    """What the probe learned of one UPS: which objects to ask for and until when to trust that, how its card answers,
    and what the looks before said."""

    plan: Plan | None = None
    until_s: float = 0.0
    progress: Progress = field(default_factory=Progress)
    alarms: tuple[str, ...] = ()  # that stood at the last look
    memory: Memory = field(default_factory=Memory)
    slowest_s: float = 0.0
    elsewhere: str = ""


@dataclass(frozen=True)
class _Look:
    """One poll of one card, under way until `until_s` of the monotonic clock."""

    target: SnmpTarget
    device: _Device
    session: SnmpSession
    talk: Conversation
    until_s: float
    say: Say


@dataclass
class UpsProbe:
    """The probe, with what it learned of each UPS. `wait_s` is how long an answer may take; None: as targets say."""

    wait_s: float | None = None
    now_s: Callable[[], float] = time.monotonic
    _devices: dict[SnmpTarget | nut.NutServer, _Device] = field(default_factory=dict)

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
            return UpsReading(subject=ups.name, failure=Failure(error.cause, error.detail[:200]))
        return await self.measure(target, context.deadline_s, context.explain)

    async def measure(self, target: SnmpTarget | nut.NutServer, deadline_s: float, say: Say) -> UpsReading:
        """One UPS, bounded in time. What cannot be read is a reading with its failure, never an old value."""
        limit_s = min(deadline_s, LONGEST_POLL_S)
        device = self._devices.setdefault(target, _Device())
        try:
            if isinstance(target, SnmpTarget):
                look = self._converse(target, device, say, limit_s)
            else:
                look = self._through_nut(target, device, say)
            reading = await bounded(look, target.place, limit_s)
        except ProbeFailed as error:
            device.plan = None
            return UpsReading(subject=target.name, failure=Failure(error.cause, error.detail[:200]))
        return msgspec.structs.replace(reading, subject=target.name)

    async def _through_nut(self, server: nut.NutServer, device: _Device, say: Say) -> UpsReading:
        gathered = nut.gather(await nut.look(server, say), say)
        reading = self._settled(gathered, device, say)
        if reading is None:
            raise ProbeFailed("not_ready", f"{server.place}: the driver tells no state, charge or runtime (yet)")
        return reading

    def _settled(self, gathered: Gathered, device: _Device, say: Say) -> UpsReading | None:
        reading, device.memory = settle.settle(gathered, device.memory, self.now_s(), say)
        return reading

    async def _converse(self, target: SnmpTarget, device: _Device, say: Say, limit_s: float) -> UpsReading:
        if problem := target.mistake():
            raise ProbeFailed("settings", problem)
        began_s = time.monotonic()
        until_s = began_s + limit_s - MARGIN_S
        async with conversation(target, max(REPEAT_S, 2 * device.slowest_s), device.elsewhere) as talk:
            wait_s = self.wait_s or target.answer_s
            session = SnmpSession(talk.exchange, max(wait_s, min(2 * device.slowest_s, limit_s - ALIVE_S)))
            session.slowest_s = device.slowest_s
            look = _Look(target, device, session, talk, until_s, say)
            try:
                async with asyncio.timeout(until_s - time.monotonic()):
                    return await self._poll(look)
            except NoResponse as silence:
                left_s = max(MARGIN_S, min(ALIVE_S, until_s - time.monotonic()))
                raise await _silence(look, silence, left_s) from None
            except TimeoutError:
                raise _unfinished(look, limit_s) from None
            finally:
                device.slowest_s, device.elsewhere = session.slowest_s, talk.elsewhere
                say(f"{session.questions} questions, {(time.monotonic() - began_s) * 1000:.0f} ms")

    async def _poll(self, look: _Look) -> UpsReading:
        session, device, target = look.session, look.device, look.target
        if device.plan is not None and self.now_s() < device.until_s:
            session.longest = device.plan.longest
            raw = {**device.plan.texts, **await session.get(device.plan.numbers)}
            reading = await self._read(look, device.plan, raw)
            if reading is not None:
                return reading
        is_resumed = bool(device.progress.walked)
        plan, raw = await discover(session, look.say, device.progress, target.device)
        if is_resumed:  # values of an earlier look are no values of now
            raw = {**plan.texts, **await session.get(plan.numbers)}
        reading = await self._read(look, plan, raw)
        device.progress = Progress()
        if reading is None:
            raise ProbeFailed(
                "not_a_ups", f"{target.place} answers SNMP but shows no UPS: no known MIB gives its state"
            )
        device.plan, device.until_s = replace(plan, longest=session.longest), self.now_s() + REDISCOVER_S
        return reading

    async def _read(self, look: _Look, plan: Plan, raw: dict[str, Value]) -> UpsReading | None:
        session, device = look.session, look.device
        alarms: dict[str, Value] = {}
        if not session.is_slow or time.monotonic() + session.slowest_s < look.until_s:  # values come first
            alarms = await standing(session, plan, raw, device.alarms)
            device.alarms = tuple(alarms)
        remarks = [correction("cut_short")] if session.cut_short else []
        remarks += [correction("elsewhere", address=look.talk.elsewhere)] if look.talk.elsewhere else []
        gathered = gather(plan.profiles, {**raw, **alarms}, look.say, look.target.device)
        return self._settled(replace(gathered, remarks=tuple(remarks)), device, look.say)


# ---------------------------------------------------------------- why nothing came back


async def _silence(look: _Look, silence: NoResponse, wait_s: float) -> ProbeFailed:
    """Why a question was not answered, as far as it can be told within `wait_s`."""
    target, talk = look.target, look.talk
    if silence.heard:
        return ProbeFailed("garbage", f"{target.place} answers, but with broken messages: {silence.heard}")
    if look.session.answered:
        return _unfinished(look, target.answer_s)
    v1, alive = await asyncio.gather(_speaks_v1(target, wait_s), _is_up(target.host, wait_s))
    if talk.late_s is not None:
        return ProbeFailed(
            "slow", f"{target.place} took {talk.late_s:.1f} s for one answer: raise answer_s (now {target.answer_s:g})"
        )
    if v1:
        return ProbeFailed("version", f'{target.place} answers SNMP v1 only: set snmp_version to "1"')
    if not alive:
        return ProbeFailed(
            "timeout", f"no answer from {target.place}, and its host is silent too: check address, power and cable"
        )
    if target.version == "3":  # would have said so to a wrong user or key
        return ProbeFailed(
            "silent", f"{target.host} is up, but silent on SNMP v3: check its port, and whether it speaks v3"
        )
    why = f"{target.host} is up, but silent on SNMP: wrong community, or its card does not allow this machine"
    return ProbeFailed("community", why)


def _unfinished(look: _Look, limit_s: float) -> ProbeFailed:
    """The time is over. A card that has answered is slow; one that never has may be anything."""
    target, session, talk = look.target, look.session, look.talk
    if session.answered or talk.late_s:
        slowest_s = max(session.slowest_s, talk.late_s or 0.0)
        why = f"{target.place} answers, but too slowly for a look within {limit_s:g} s (up to {slowest_s:.1f} s each)"
        return ProbeFailed("slow", why)
    return ProbeFailed("timeout", f"{target.place} did not finish answering within {limit_s:g} s")


async def _speaks_v1(target: SnmpTarget, wait_s: float) -> bool:
    if target.version != "2c":
        await asyncio.sleep(0)
        return False
    async with conversation(as_v1(target)) as talk:
        try:
            await talk.exchange("get", [SYS_UPTIME], wait_s)
        except (NoResponse, OSError):
            return False
        return True


async def _is_up(host: str, wait_s: float) -> bool:
    """Whether the host accepts or refuses a TCP connection: both take a host that is on."""
    tries = [asyncio.ensure_future(_accepts_or_refuses(host, port)) for port in PORTS_OF_CARDS]
    done, pending = await asyncio.wait(tries, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
    for one in pending:
        one.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return any(one.result() for one in done)


async def _accepts_or_refuses(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    writer.transport.abort()  # nothing is said, so nothing need arrive
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
