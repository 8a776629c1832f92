"""Where a gateway is and by which line it speaks: facts that must fit each other, of tests, sessions and the machine.

Each finding is a question for a visit, never a verdict. Providers put many centers behind one address, lines change and
gateways are replaced, so every rule has its measure; none of the figures is official.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from agent.common.reasons import Reason

DAY_MS = 86_400_000

PlaceFinding = Literal["shared_address", "shared_machine", "shared_router", "other_network", "vpn", "hotspot",
                       "other_line", "new_network", "moved", "virtual"]  # fmt: skip
FINDINGS: tuple[PlaceFinding, ...] = ("shared_address", "shared_machine", "shared_router", "other_network", "vpn",
                                      "hotspot", "other_line", "new_network", "moved", "virtual")  # fmt: skip


_CODES: dict[PlaceFinding, str] = {
    "shared_address": "place.shared_address",
    "shared_machine": "place.shared_machine",
    "shared_router": "place.shared_router",
    "other_network": "place.other_network",
    "vpn": "place.vpn",
    "hotspot": "place.hotspot",
    "other_line": "place.other_line",
    "new_network": "place.new_network",
    "moved": "place.moved",
    "virtual": "place.virtual",
}


@dataclass(frozen=True, kw_only=True)
class PlaceRules:
    """`carrier`: an address behind which so many centers are is the provider's own. `share`: of a week's tests that
    must show it, of at least `tests`. `jump_ms`, `jump_share`: how far the shortest round trip to one server may change
    from one week to the next. The words are looked for in the names of networks."""

    carrier: int = 4
    tests: int = 6
    share: float = 0.5
    jump_ms: float = 15.0
    jump_share: float = 0.5
    vpn: tuple[str, ...] = ("vpn", "m247", "datacamp", "digitalocean", "ovh", "hetzner", "amazon", "google cloud",
                            "cloudflare", "hosting", "datacenter", "data center", "colocation")  # fmt: skip
    mobile: tuple[str, ...] = ("jazz", "mobilink", "zong", "cmpak", "telenor", "ufone", "pmcl", "mobile", "cellular")


RULES = PlaceRules()


@dataclass(frozen=True, kw_only=True)
class TestPlace:
    """From where a test came, as its server saw it."""

    at_ms: int
    address: str
    server: str = ""
    asn: int | None = None
    network: str = ""
    rtt_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkPlace:
    """What is known of one center: its tests of two weeks, the networks its sessions came from this week and before,
    the addresses its sessions came from and its gateway was enrolled from within two weeks, its machine. `own` are its
    provider's networks; empty: not known."""

    center: str
    device: str
    tests: Sequence[TestPlace] = ()
    session_asns: Collection[int] = ()
    earlier_asns: Collection[int] = ()
    session_addresses: Collection[str] = ()
    enrolled_from: Collection[str] = ()
    own: Collection[int] = ()
    provider: str = ""
    machine: str = ""
    router: str = ""
    hardware: str = ""


@dataclass(frozen=True, kw_only=True)
class FoundPlace:
    center: str
    device: str
    finding: PlaceFinding
    reason: Reason
    other: str = ""  # the other center, where it is about two


def findings(places: Sequence[NetworkPlace], now_ms: int, rules: PlaceRules = RULES) -> list[FoundPlace]:
    """Pure. All that does not fit, in the order of centers."""
    mismatches = [*_shared(places, rules)]
    for place in places:
        mismatches += _alone(place, now_ms, rules)
    return sorted(mismatches, key=lambda one: (one.center, one.finding, one.other))


# ---------------------------------------------------------------- two centers


@dataclass
class _Groups:
    """Who shows one value: each kind of value with the finding it makes. `working`: who is at work there, and was not
    enrolled there alone: two gateways that were prepared in one office are none."""

    of: dict[tuple[PlaceFinding, str], dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    working: set[tuple[PlaceFinding, str]] = field(default_factory=set)

    def add(self, finding: PlaceFinding, value: str, place: NetworkPlace, *, works: bool = True) -> None:
        if value:
            self.of[finding, value][place.center] = place.device
            self.working |= {(finding, value)} if works else set()


def _shared(places: Iterable[NetworkPlace], rules: PlaceRules) -> Iterator[FoundPlace]:
    groups = _Groups()
    for place in places:
        groups.add("shared_machine", place.machine, place)
        groups.add("shared_router", place.router, place)
        for address in {test.address for test in place.tests} | set(place.session_addresses):
            groups.add("shared_address", address, place)
        for address in place.enrolled_from:
            groups.add("shared_address", address, place, works=False)
    for (finding, value), devices in sorted(groups.of.items()):
        if len(devices) < 2 or (finding == "shared_address" and len(devices) >= rules.carrier):
            continue
        if (finding, value) not in groups.working:
            continue
        for center, device in sorted(devices.items()):
            other = min(code for code in devices if code != center)
            reason = Reason.of(_CODES[finding], center=other, value=value, n=len(devices) - 1)
            yield FoundPlace(center=center, device=device, finding=finding, reason=reason, other=other)


# ---------------------------------------------------------------- one center


def _alone(place: NetworkPlace, now_ms: int, rules: PlaceRules) -> Iterator[FoundPlace]:
    week = [test for test in place.tests if test.at_ms > now_ms - 7 * DAY_MS]

    def found(finding: PlaceFinding, **params: object) -> FoundPlace:
        reason = Reason.of(_CODES[finding], **params)  # type: ignore[arg-type]
        return FoundPlace(center=place.center, device=place.device, finding=finding, reason=reason)

    if place.hardware == "virtual":
        yield found("virtual", device=place.device)
    known = [test for test in week if test.asn is not None]
    if len(known) >= rules.tests:
        named = {
            "vpn": [test for test in known if _names(test.network, rules.vpn)],
            "hotspot": [test for test in known if _names(test.network, rules.mobile)],
            "other_network": [test for test in known if place.own and test.asn not in place.own],
        }
        if _names(place.provider, rules.mobile):
            named["hotspot"] = []
        for finding, tests in named.items():
            if len(tests) >= rules.share * len(known):
                yield found(finding, n=len(tests), whole=len(known), network=_usual(tests))  # type: ignore[arg-type]
                break
        others = {test.asn for test in known}
        if place.session_asns and not others & set(place.session_asns):
            yield found("other_line", network=f"AS{min(place.session_asns)}", other=f"AS{min(filter(None, others))}")
        if change := _changed(place, known, now_ms, rules):
            yield found("new_network", **change)
    yield from (found("moved", **change) for change in _moved(place.tests, now_ms, rules))


def _changed(
    place: NetworkPlace, week: Sequence[TestPlace], now_ms: int, rules: PlaceRules
) -> Mapping[str, object] | None:
    """This week's network where no test and no session was before: another provider, of which the register says
    nothing. Where the provider's networks are known, `other_network` tells more."""
    before = [test for test in place.tests if test.at_ms <= now_ms - 7 * DAY_MS and test.asn is not None]
    earlier = {test.asn for test in before} | set(place.earlier_asns)
    new = [test for test in week if test.asn not in earlier]
    if place.own or len(before) < rules.tests or len(new) < rules.share * len(week):
        return None
    network, was = (_usual(tests) for tests in (new, before))
    return {"n": len(new), "whole": len(week), "network": network, "before": was}


def _usual(tests: Iterable[TestPlace]) -> str:
    return Counter(test.network or f"AS{test.asn}" for test in tests).most_common(1)[0][0]


def _moved(tests: Iterable[TestPlace], now_ms: int, rules: PlaceRules) -> Iterator[Mapping[str, object]]:
    """Servers to which the shortest way has another length this week."""
    before: dict[str, list[float]] = defaultdict(list)
    after: dict[str, list[float]] = defaultdict(list)
    for test in tests:
        if test.rtt_ms is not None:
            (after if test.at_ms > now_ms - 7 * DAY_MS else before)[test.server].append(test.rtt_ms)
    for server in sorted(before.keys() & after.keys()):
        if min(len(before[server]), len(after[server])) < rules.tests:
            continue
        was, now = (statistics.median(sorted(some[server])[: rules.tests]) for some in (before, after))
        if abs(now - was) > max(rules.jump_ms, rules.jump_share * was):
            yield {"server": server, "rtt_ms": round(now, 1), "before_ms": round(was, 1)}


def _names(text: str, words: Iterable[str]) -> bool:
    return any(word in text.casefold() for word in words)
