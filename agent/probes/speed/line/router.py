"""The router's WAN counters by SNMP, for a gateway that is not the router (IF-MIB, RFC 2863: ifHCInOctets, -OutOctets).

A router counts all the time but shows its counters anew only now and then: some each second, some each 15 s. So it is
polled often, and only the moments at which a value changed count.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from agent.common.causes import SpeedFlag
from agent.common.errors import describe
from agent.config import SpeedSection
from agent.probes.probe import ProbeFailed
from agent.probes.speed.line.counters import ETHERNET_BYTES, Counters, Interface
from agent.probes.ups import snmp

IF_DESCR = "1.3.6.1.2.1.2.2.1.2"
IF_NAME = "1.3.6.1.2.1.31.1.1.1.1"
HC_IN, HC_OUT = "1.3.6.1.2.1.31.1.1.1.6", "1.3.6.1.2.1.31.1.1.1.10"
ASK_EVERY_S = 0.1
WAIT_S = 1.0
MOST_INTERFACES = 512
START_S = 3.0


def target_of(speed: SpeedSection) -> snmp.SnmpTarget:
    """Raises ProbeFailed for a key file that cannot be read."""
    return snmp.SnmpTarget(
        name="router",
        host=speed.router_host,
        port=speed.router_port,
        version=speed.router_snmp_version,
        community=speed.router_community,
        user=speed.router_user,
        auth_protocol=speed.router_auth_protocol,
        auth_key=snmp.secret_of(speed.router_auth_key_file),
        priv_protocol=speed.router_priv_protocol,
        priv_key=snmp.secret_of(speed.router_priv_key_file),
    )


async def index_of(session: snmp.SnmpSession, wanted: str) -> str:
    """The ifIndex of an interface by its number, ifName or ifDescr. Raises ProbeFailed(``no_interface``)."""
    if wanted.isdigit():
        return wanted
    known: list[str] = []
    for column in (IF_NAME, IF_DESCR):
        at = column
        for _ in range(MOST_INTERFACES):
            following = (await session.following([at])).get(at)
            if following is None or not following[0].startswith(f"{column}."):
                break
            at, value = following
            name = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            if name == wanted:
                return at.rpartition(".")[2]
            known.append(name)
    names = ", ".join(dict.fromkeys(known))[:100] or "none at all"
    raise ProbeFailed("no_interface", f"the router has no interface {wanted!r:.60}; it has: {names}")


async def read(session: snmp.SnmpSession, index: str) -> Counters | None:
    """None when the router does not have them. Raises snmp.NoResponse, OSError, ProbeFailed."""
    values = await session.get([f"{HC_IN}.{index}", f"{HC_OUT}.{index}"])
    rx, tx = values.get(f"{HC_IN}.{index}"), values.get(f"{HC_OUT}.{index}")
    return Counters(rx=rx, tx=tx) if isinstance(rx, int) and isinstance(tx, int) else None


class RouterWatch:
    """Polls the router in a thread of its own, from `with` to its end. `trouble` is the last error."""

    def __init__(self, speed: SpeedSection, explain: Callable[[str], None] = lambda _line: None) -> None:
        self.trouble = ""
        self.changed_s: list[float] = []  # when a counter was seen to move (monotonic)
        self._speed, self._explain = speed, explain
        self._now: Counters | None = None
        self._asked = False
        self._stop, self._answered = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="nabz-router", daemon=True)

    @property
    def interface(self) -> Interface:
        return Interface(name=self._speed.router_interface, frame_bytes=ETHERNET_BYTES, read=self._read, stepped=True)

    def __enter__(self) -> RouterWatch:
        self._thread.start()
        self._answered.wait(START_S)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(2 * WAIT_S)
        pause = refresh_s(self.changed_s)
        self._explain(f"router: {self.trouble or f'shows its counters anew each {pause} s'}")

    def why_unseen(self) -> frozenset[SpeedFlag]:
        """What kept a test from knowing of others' traffic, if it used this router at all."""
        if not self._asked:
            return frozenset()
        return frozenset({"router_silent" if self._now is None else "router_slow"})

    def _read(self) -> Counters | None:
        self._asked = True
        return self._now

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except ProbeFailed as error:
            self.trouble = error.detail
        except OSError as error:
            self.trouble = f"{self._speed.router_host} refuses: {describe(error)}"
        finally:
            self._answered.set()

    async def _watch(self) -> None:
        target = target_of(self._speed)
        if mistake := target.mistake():
            raise ProbeFailed("settings", mistake)
        async with snmp.conversation(target) as talk:
            session = snmp.SnmpSession(talk.exchange, WAIT_S)
            index: str | None = None
            while not self._stop.is_set():
                asked_s = time.monotonic()
                try:
                    index = index or await index_of(session, self._speed.router_interface)
                    self._take(await read(session, index))
                except snmp.NoResponse:
                    self.trouble = f"{target.place} does not answer; check router_host, router_community and its SNMP"
                await asyncio.sleep(max(0.0, asked_s + ASK_EVERY_S - time.monotonic()))

    def _take(self, seen: Counters | None) -> None:
        if seen is None:
            raise ProbeFailed("no_counters", "the router has no 64-bit counters (ifHCInOctets) for this interface")
        if self._now is not None and seen != self._now:
            self.changed_s.append(time.monotonic())
        self._now, self.trouble = seen, ""
        self._answered.set()


def refresh_s(changed_s: Sequence[float]) -> float | None:
    """The usual time between two changes; None until there were two."""
    pauses = [after - before for before, after in itertools.pairwise(changed_s)]
    return round(statistics.median(pauses), 2) if pauses else None
