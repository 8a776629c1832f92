"""A gateway's speed figure held against what the measurement server signed of the same test. Pure.

Only `agrees` lets a reading count where a standard asks for a witness. Every other word refuses it with its reason and
is neither a pass nor a miss. What the server saw is payload that crossed the line; what others moved meanwhile (the
add-back in `capacity_…`) it cannot see, so no more than the witnessed goodput itself is ever added back, and nothing
that the gateway's own counters of the line contradict.
"""

from __future__ import annotations

import ipaddress
import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from agent.common.reasons import Param, Reason

Word = Literal[
    "agrees",
    "disagrees",
    "waiting",
    "no_record",
    "unknown_test",
    "not_granted_to_this_device",
    "replayed",
    "expired",
    "lan_server",
    "unwitnessed",
    "self_test",
]
FINDINGS: tuple[Word, ...] = ("disagrees", "replayed", "not_granted_to_this_device", "lan_server")

MINUTE_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class Rules:
    """`bound_pct` and `floor_mbps`: how far the two figures of a direction may lie apart. On emulated lines of 2 to 100
    Mbit/s, 5 to 80 ms, with and without loss, honest ones were at most 2.0 % apart (n 114, `bench witness`); the bound
    is twice that and a little for what no emulator has. `patience_ms`: how long a record may be on its way before its
    absence is named. `late_ms`: how long after its grant's end a test may begin. `lan_rtt_ms`: a shorter round trip
    leaves no building.
    """

    bound_pct: float = 5.0
    floor_mbps: float = 0.05
    patience_ms: int = 15 * MINUTE_MS
    late_ms: int = MINUTE_MS
    lan_rtt_ms: float = 0.5
    add_back_most: float = 1.0  # of the witnessed goodput
    counter_slack: float = 0.1  # of the bytes that others are said to have moved


RULES = Rules()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a gateway says of one test. `id` is its device, spool and number; rates in Mbit/s."""

    id: str
    device: str
    received_ms: int
    purpose: str = "routine"
    server: str = ""
    test_id: str = ""
    download_mbps: float | None = None
    upload_mbps: float | None = None
    capacity_down_mbps: float | None = None
    capacity_up_mbps: float | None = None


@dataclass(frozen=True, kw_only=True)
class ServerRecord:
    """What a registered measurement server signed of that test. `…_s` is how long each direction moved bytes."""

    server: str
    device: str
    address: str
    started_ms: int
    witnessed: bool
    min_rtt_ms: float | None
    down_mbps: float | None
    up_mbps: float | None
    down_bytes: int = 0
    up_bytes: int = 0
    down_s: float = 0.0
    up_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Grant:
    """The collector's own note of whom it gave this test. `granted_ms` is None when its turn never came."""

    device: str
    server: str
    granted_ms: int | None
    expires_ms: int


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What the line's own counters moved from shortly before the test to shortly after it; None: not known."""

    down_bytes: int | None = None
    up_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Witness:
    """`most` is, for each figure of the reading, the most that is credited of it (only with `agrees`)."""

    word: Word
    reason: Reason
    server: str = ""
    down_mbps: float | None = None
    up_mbps: float | None = None
    most: tuple[tuple[str, float], ...] = ()

    @property
    def credited(self) -> Mapping[str, float]:
        return dict(self.most)


@dataclass(frozen=True, kw_only=True)
class ClaimFacts:
    """All that is stored about the test of one claim. `earlier` is the id of an earlier reading of the same test."""

    seen: ServerRecord | None = None
    grant: Grant | None = None
    earlier: str = ""
    servers: Sequence[str] = field(default=())  # addresses of the registered servers
    moved: Moved = Moved()


def compare(claim: Claim, facts: ClaimFacts, now_ms: int, rules: Rules = RULES) -> Witness:
    """1. A test that nobody could have witnessed, or that was not this gateway's to run, has no witness.
    2. Without the server's record it waits, and after `patience_ms` it has none.
    3. The record must be of a test within its grant and over a line that leaves the building.
    4. Then both figures of both directions must agree.
    """
    refused = _not_its_own(claim, facts)
    if refused is not None:
        return refused
    if facts.seen is None:
        if now_ms - claim.received_ms < rules.patience_ms:
            return Witness(word="waiting", reason=Reason("witness.waiting"))
        return Witness(word="no_record", reason=Reason.of("witness.no_record", within_s=rules.patience_ms // 1000))
    return _recorded(claim, facts.seen, facts, rules)


def _not_its_own(claim: Claim, facts: ClaimFacts) -> Witness | None:
    if claim.purpose == "self-test":
        return Witness(word="self_test", reason=Reason("witness.self_test"))
    if not claim.test_id:
        return Witness(word="unwitnessed", reason=Reason("witness.no_test_id"))
    if on_lan(claim.server) and not _is_registered(claim.server, facts.servers):
        return Witness(word="lan_server", reason=Reason.of("witness.lan_server", server=_host(claim.server)))
    grant = facts.grant
    if grant is None and facts.seen is None and not _is_registered(claim.server, facts.servers):
        return Witness(word="unwitnessed", reason=Reason.of("witness.not_joined", server=_host(claim.server) or None))
    if grant is None or grant.granted_ms is None:
        return Witness(word="unknown_test", reason=Reason.of("witness.unknown_test", test=claim.test_id))
    tested_by = facts.seen.device if facts.seen is not None and facts.seen.device else grant.device
    if (claim.device, tested_by) != (grant.device, grant.device):
        other = claim.device if claim.device != grant.device else tested_by
        why = Reason.of("witness.not_granted_to_this_device", test=claim.test_id, device=grant.device, other=other)
        return Witness(word="not_granted_to_this_device", reason=why)
    if facts.earlier:
        why = Reason.of("witness.replayed", test=claim.test_id, reading=facts.earlier)
        return Witness(word="replayed", reason=why)
    return None


def _recorded(claim: Claim, seen: ServerRecord, facts: ClaimFacts, rules: Rules) -> Witness:
    figures = {"server": seen.server, "down_mbps": seen.down_mbps, "up_mbps": seen.up_mbps}

    def found(word: Word, reason: Reason, most: tuple[tuple[str, float], ...] = ()) -> Witness:
        return Witness(word=word, reason=reason, most=most, **figures)  # type: ignore[arg-type]  # as just above

    if not seen.witnessed:
        return found("unwitnessed", Reason.of("witness.no_token", server=seen.server))
    if facts.grant is not None and seen.started_ms > facts.grant.expires_ms + rules.late_ms:
        late_s = (seen.started_ms - facts.grant.expires_ms) // 1000
        return found("expired", Reason.of("witness.expired", test=claim.test_id, late_s=late_s))
    if seen.min_rtt_ms is not None and seen.min_rtt_ms < rules.lan_rtt_ms:
        why = Reason.of("witness.lan_distance", server=seen.server, rtt_ms=seen.min_rtt_ms)
        return found("lan_server", why)
    apart = [
        reason
        for direction, claimed_mbps, seen_mbps in (
            ("down", claim.download_mbps, seen.down_mbps),
            ("up", claim.upload_mbps, seen.up_mbps),
        )
        if (reason := _apart(direction, claimed_mbps, seen_mbps, claim, seen, rules)) is not None
    ]
    if apart:
        return found("disagrees", Reason.of("witness.disagrees", apart=apart))
    why = Reason.of("witness.agrees", server=seen.server)
    return found("agrees", why, _credited(claim, seen, facts.moved, rules))


def _apart(
    direction: str, claimed: float | None, seen: float | None, claim: Claim, server: ServerRecord, rules: Rules
) -> Reason | None:
    if claimed is None:
        return None
    who: dict[str, Param] = {"direction": direction, "device": claim.device, "server": server.server}
    if seen is None:
        return Reason("witness.apart_unseen", who | {"claimed_mbps": claimed})
    if abs(claimed - seen) <= rules.floor_mbps + seen * rules.bound_pct / 100:
        return None
    figures = {"claimed_mbps": claimed, "seen_mbps": seen, "bound_pct": rules.bound_pct}
    return Reason("witness.apart", who | figures)


def _credited(claim: Claim, seen: ServerRecord, moved: Moved, rules: Rules) -> tuple[tuple[str, float], ...]:
    """Goodput: no more than the server saw. Capacity: that and the add-back, as far as it is bounded."""
    ways = (
        ("download_mbps", "capacity_down_mbps", seen.down_mbps, seen.down_bytes, seen.down_s, moved.down_bytes),
        ("upload_mbps", "capacity_up_mbps", seen.up_mbps, seen.up_bytes, seen.up_s, moved.up_bytes),
    )
    most = []
    for goodput, capacity, rate, own_bytes, seconds, counted in ways:
        goodput_mbps, capacity_mbps = getattr(claim, goodput), getattr(claim, capacity)
        if rate is None:
            continue
        most.append((goodput, rate))
        others = min(max(0.0, (capacity_mbps or 0.0) - (goodput_mbps or 0.0)), rate * rules.add_back_most)
        if counted is not None and seconds > 0:
            room = max(0, counted - own_bytes) * 8 / 1e6 / seconds
            others = others if others * (1 - rules.counter_slack) <= room else 0.0
        most.append((capacity, round(rate + others, 3)))
    return tuple(most)


# ---------------------------------------------------------------- where a server lies


def on_lan(server: str) -> bool:
    """Whether this address is one that no packet from outside reaches: private, link-local or loopback."""
    host = _host(server)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith((".local", ".lan"))
    return address.is_private or address.is_link_local or address.is_loopback


def _is_registered(server: str, servers: Sequence[str]) -> bool:
    return bool(server) and _place(server) in {_place(server) for server in servers}


def _host(server: str) -> str:
    return _place(server)[0]


def _place(server: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(server if "//" in server else f"//{server}")
        return (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None


# ---------------------------------------------------------------- from a curve to a rate

SETTLED_SHARE = 0.4  # of the time bytes moved: by then every stream has found the line's rate
TAIL_SHARE = 0.99  # what comes after is streams being closed
MIN_POINTS = 5
MOST_POINTS = 200  # more tell no more, and pairs grow with their square


def rate_mbps(at_ms: Sequence[int], total: Sequence[int]) -> tuple[float | None, float]:
    """(Mbit/s, seconds that bytes moved) of a cumulative curve: the median slope of its settled part (Theil-Sen, Sen
    1968). On a lossy line acknowledgements stall and leap: one leap moved the least-squares slope by 8 %, this one
    hardly."""
    if len(at_ms) != len(total) or len(at_ms) < 2 or total[-1] <= 0:
        return None, 0.0
    first = next(i for i, value in enumerate(total) if value >= 0.01 * total[-1])
    last = next(i for i, value in enumerate(total) if value >= TAIL_SHARE * total[-1])
    moved_s = max(0, at_ms[last] - at_ms[first]) / 1000
    settled_ms = at_ms[first] + SETTLED_SHARE * moved_s * 1000
    inside = [i for i in range(first, last + 1) if at_ms[i] >= settled_ms]
    if len(inside) < MIN_POINTS:
        inside = list(range(first, last + 1))
    inside = inside[:: -(-len(inside) // MOST_POINTS)]
    slopes = [
        (total[j] - total[i]) / (at_ms[j] - at_ms[i])
        for i, j in itertools.combinations(inside, 2)
        if at_ms[j] > at_ms[i]
    ]
    return (round(statistics.median(slopes) * 8 / 1e3, 3) if slopes else None), moved_s
