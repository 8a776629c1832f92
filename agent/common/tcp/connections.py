"""Which connections a listener holds, from which addresses, and which of them wait for their client. Pure.

One waits for its client until that has sent what it owes: a handshake, a request, or the reading of an answer. When an
address or the whole has no room, the longest waiting gives way to one that comes: half-open connections keep nobody out
who goes on at once, neither other addresses nor neighbours behind the same one. What is being served is never closed.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache


@lru_cache(maxsize=4096)
def address_group(address: str) -> str:
    """Whom an address stands for: itself, or its /64 (a single subscriber has at least that many of IPv6)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a Unix socket's peer has none
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """At once, in all and from one address, and of these the ones that wait for their client (None: as many).
    `exempt` are groups of addresses that only the whole bounds: a proxy in front. On a LAN, where all are of one /64,
    `group` is `str`. For `patience_s` a connection need not give way to others of its own address: many clients of one
    that come at once, and are served slowly, would else put each other out. `rest_s` is how long its thread rests after
    every few that gave way: in a flood other threads of the process have the interpreter meanwhile. With
    `counts_records` a client of TLS is bounded in records without contents; whoever serves says what came out."""

    connections: int
    per_address: int
    waiting: int | None = None
    waiting_per_address: int | None = None
    exempt: Collection[str] = ()
    patience_s: float = 0.0
    rest_s: float = 0.0
    counts_records: bool = False
    group: Callable[[str], str] = address_group

    @property
    def waiting_in_all(self) -> int:
        return self.connections if self.waiting is None else self.waiting

    @property
    def waiting_of_one(self) -> int:
        return self.per_address if self.waiting_per_address is None else self.waiting_per_address


class Occupancy:
    """Connections are known by numbers of the caller's, addresses by their groups. `now_s` is monotonic."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._groups: dict[int, str] = {}  # by connection
        self._open: Counter[str] = Counter()  # by group
        self._waiting: dict[str, dict[int, float]] = {}  # by group: since when, the longest first

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, connection: int, group: str, now_s: float) -> None:
        """One that has come; it waits for its client."""
        self._groups[connection] = group
        self._open[group] += 1
        self._waiting.setdefault(group, {})[connection] = now_s

    def wait(self, connection: int, now_s: float) -> None:
        """From now on for its client, whatever was before."""
        if group := self._groups.get(connection):
            waiting = self._waiting.setdefault(group, {})
            waiting.pop(connection, None)
            waiting[connection] = now_s

    def serve(self, connection: int) -> None:
        """It owes nothing: it is our turn."""
        if group := self._groups.get(connection):
            self._forget_waiting(connection, group)

    def remove(self, connection: int) -> None:
        """Once for each; again it does nothing."""
        group = self._groups.pop(connection, None)
        if group is not None:
            self._forget_waiting(connection, group)
            self._open[group] -= 1
            if not self._open[group]:
                del self._open[group]

    def is_over(self, group: str) -> bool:
        """Whether this address has all that one may have."""
        limits = self._limits
        if group in limits.exempt:
            return False
        return self._open[group] >= limits.per_address or self._waits(group) >= limits.waiting_of_one

    def is_full(self) -> bool:
        waiting = sum(map(len, self._waiting.values()))
        return len(self._groups) >= self._limits.connections or waiting >= self._limits.waiting_in_all

    def to_give_way(self, group: str, now_s: float) -> int | None:
        """Which is to be closed for one more of `group`, which is over or finds no room; None when none is."""
        if self.is_over(group):
            return self._longest_of(group, now_s)
        rivals = [rival for rival in self._waiting if rival not in self._limits.exempt]
        heaviest = max(rivals, key=lambda rival: len(self._waiting[rival]), default=None)
        if heaviest is not None and self._waits(heaviest) > self._waits(group) + 1:
            return next(iter(self._waiting[heaviest]))
        return self._longest_of(group, now_s) if group in self._waiting else self._longest_of_all(now_s)

    def group_of(self, connection: int) -> str:
        return self._groups[connection]

    def _longest_of(self, group: str, now_s: float) -> int | None:
        connection, since_s = next(iter(self._waiting.get(group, {}).items()), (None, now_s))
        return connection if now_s - since_s >= self._limits.patience_s else None

    def _longest_of_all(self, now_s: float) -> int | None:
        group = min(self._waiting, key=lambda one: next(iter(self._waiting[one].values())), default=None)
        return None if group is None else self._longest_of(group, now_s)

    def _waits(self, group: str) -> int:
        return len(self._waiting.get(group, ()))

    def _forget_waiting(self, connection: int, group: str) -> None:
        waiting = self._waiting.get(group, {})
        waiting.pop(connection, None)
        if not waiting:
            self._waiting.pop(group, None)
