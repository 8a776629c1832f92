"""The tests under way at this server and what it saw of those just over. Knows no socket but by its counters."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.common.tcp import address_group
from agent.common.tcp.http_server import HttpRefused
from collector.register.networks import Network
from collector.speedtests.measure.admission import Admit
from collector.speedtests.measure.limits import Limits
from collector.speedtests.measure.queue import TestQueue
from collector.speedtests.measure.record import End, Record, RecordedDirection
from collector.speedtests.measure.token import Claims

HOUR_S = 3600.0
NetworkOf = Callable[[str], Network | None]  # by address


def unknown(_address: str) -> None:
    """Where no database of networks is named."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """One connection's payload bytes since it joined a test, and its least round trip so far."""

    down: int = 0
    up: int = 0
    min_rtt_us: int | None = None


@dataclass(kw_only=True, eq=False)
class Session:
    """One test under way. Times are seconds of a monotonic clock, except `started_ms` (wall)."""

    name: str
    address: str
    started_s: float
    started_ms: int
    most_bytes: int
    token: str = ""
    network: Network | None = None  # the client's
    own_network: Network | None = None  # the server's
    claims: Claims | None = None  # what the token says; None: nobody gave this test a turn
    active_s: float = 0.0
    connections: int = 0
    live: dict[int, Callable[[], Count]] = field(default_factory=dict)
    past: Count = Count()
    moved: int = 0  # bytes handed over and taken, for the cap: cheaper to ask than the kernel
    sampled_ms: int = 0
    over: bool = False  # its connections have to close
    curves: tuple[list[int], list[int], list[int], list[int]] = field(default_factory=lambda: ([], [], [], []))

    @property
    def spent(self) -> bool:
        return self.moved >= self.most_bytes

    @property
    def witnessed(self) -> bool:
        return self.claims is not None

    def join(self, count: Callable[[], Count]) -> int:
        self.connections += 1
        self.live[self.connections] = count
        return self.connections

    def leave(self, number: int) -> None:
        self.past = _sum(self.past, self.live.pop(number)())

    def count(self) -> Count:
        total = self.past
        for count in self.live.values():
            total = _sum(total, count())
        return total

    def sample(self, now: float) -> Count:
        """Adds a point to each curve that moved, and before a first one the point where it still stood."""
        total, at_ms = self.count(), round((now - self.started_s) * 1000)
        down_at, down, up_at, up = self.curves
        for at, curve, value in ((down_at, down, total.down), (up_at, up, total.up)):
            stood = curve[-1] if curve else 0
            if value > stood:
                if self.sampled_ms > (at[-1] if at else -1):
                    at.append(self.sampled_ms)
                    curve.append(stood)
                at.append(at_ms)
                curve.append(value)
                self.active_s = now
        self.sampled_ms = at_ms
        return total

    def record(self, now: float, end: End | None) -> Record:
        total = self.sample(now)
        down_at, down, up_at, up = self.curves
        return Record(
            test=self.name,
            server=self.claims.server if self.claims else "",
            device=self.claims.device if self.claims else "",
            address=self.address,
            started_ms=self.started_ms,
            seconds=round(now - self.started_s, 3),
            end=end,
            witnessed=self.witnessed,
            connections=self.connections,
            min_rtt_ms=None if total.min_rtt_us is None else total.min_rtt_us / 1000,
            down=RecordedDirection(bytes=total.down, at_ms=list(down_at), total=list(down)),
            up=RecordedDirection(bytes=total.up, at_ms=list(up_at), total=list(up)),
            asn=self.network.asn if self.network else None,
            network=str(self.network or ""),
            server_asn=self.own_network.asn if self.own_network else None,
        )


class Sessions:
    """Who may test now, and the records. Every method takes `now` (monotonic seconds)."""

    def __init__(self, limits: Limits, admit: Admit | None, network_of: NetworkOf = unknown) -> None:
        self.limits, self.admit, self.network_of = limits, admit, network_of
        self.running: dict[str, Session] = {}
        self.records: OrderedDict[str, Record] = OrderedDict()
        self.waiting = TestQueue(limits)
        self.started: dict[str, deque[float]] = {}

    def enter(self, name: str, token: str, address: str, now: float, wall_ms: int, own_address: str = "") -> Session:
        """The test a request for bytes belongs to: the one named, or the one this address runs unnamed. `own_address`
        is the server's, as the client reached it. Raises HttpRefused with the reason."""
        key = name or f"at {address_group(address)}"
        test = self.running.get(key)
        if test is None:
            test = self._begin(key, name, token, address, now, wall_ms)
            test.network, test.own_network = self.network_of(address), self.network_of(own_address)
        if address_group(test.address) != address_group(address):
            raise HttpRefused(403, f"test {name!r} is being run from another address")
        if token != test.token:
            raise HttpRefused(403, f"other_token: test {name!r} was begun with another token")
        if test.spent:
            raise HttpRefused(429, f"this test has moved its {test.most_bytes} bytes")
        return test

    def _begin(self, key: str, name: str, token: str, address: str, now: float, wall_ms: int) -> Session:
        """A token is looked at before all else, so that nobody without one takes a place; it is used up last."""
        if name in self.records:
            raise HttpRefused(403, f"used: test {name!r} is over: a test's name is used once")
        claims = None if self.admit is None else self.admit.check(name, token, address, wall_ms)
        self._in_rate(address, now)
        self.waiting.pass_or_wait(key, address_group(address), self.limits.tests_at_once - len(self.running), now)
        if claims is not None and self.admit is not None:
            self.admit.use(claims, wall_ms)
        most_bytes = self.limits.bytes_per_test
        test = Session(
            name=name or secrets.token_hex(8),
            address=address,
            started_s=now,
            started_ms=wall_ms,
            most_bytes=most_bytes if claims is None else min(most_bytes, claims.max_bytes),
            token=token,
            claims=claims,
            active_s=now,
        )
        self.running[key] = test
        self.started.setdefault(address_group(address), deque()).append(now)
        return test

    def _in_rate(self, address: str, now: float) -> None:
        starts = self.started.get(address_group(address), deque())
        while starts and starts[0] < now - HOUR_S:
            starts.popleft()
        if len(starts) >= self.limits.tests_per_address:
            why = f"{address} has started {len(starts)} tests within an hour, the most allowed"
            raise HttpRefused(429, why, round(starts[0] + HOUR_S - now) + 1)

    def tick(self, now: float) -> list[Record]:
        """Samples the running tests and ends those that are over; returns the records of these."""
        over = []
        for key, test in list(self.running.items()):
            test.sample(now)
            end = self._end(test, now)
            if end is not None:
                test.over = True
                over.append(test.record(now, end))
                del self.running[key]
                self._keep(over[-1])
        if len(self.started) > 10_000:
            self.started = {who: starts for who, starts in self.started.items() if starts[-1] > now - HOUR_S}
        return over

    def _end(self, test: Session, now: float) -> End | None:
        if now - test.started_s > self.limits.test_s:
            return "time"
        if test.live or now - test.active_s < self.limits.test_idle_s:
            return None
        return "bytes" if test.spent else "idle"

    def _keep(self, record: Record) -> None:
        self.records[record.test] = record
        while len(self.records) > self.limits.records_kept:
            self.records.popitem(last=False)

    def record(self, name: str, now: float) -> Record | None:
        """Of a test that is over or, as it stands, of one under way."""
        if name in self.running:
            return self.running[name].record(now, None)
        return self.records.get(name)


def _sum(a: Count, b: Count) -> Count:
    rtts = [rtt for rtt in (a.min_rtt_us, b.min_rtt_us) if rtt is not None]
    return Count(down=a.down + b.down, up=a.up + b.up, min_rtt_us=min(rtts, default=None))
