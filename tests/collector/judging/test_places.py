"""Where gateways are: what does not fit is a finding, and what honest centers share or change is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collector.judging.places import DAY_MS, RULES, NetworkPlace, TestPlace, findings

NOW = 1_795_071_600_000
PTCL, JAZZ, OVH = 17557, 45669, 16276


def seen(
    count: int = 10, back_days: float = 1, address: str = "203.0.113.7", asn: int | None = PTCL,
    network: str = "AS17557 PTCL", rtt_ms: float = 20.0,
) -> tuple[TestPlace, ...]:  # fmt: skip
    at_ms = NOW - round(back_days * DAY_MS)
    return tuple(
        TestPlace(at_ms=at_ms - n, address=address, server="pie", asn=asn, network=network, rtt_ms=rtt_ms + n % 3)
        for n in range(count)
    )


def place(center: str = "LHR-1", **facts) -> NetworkPlace:
    start = {"device": f"g-{center}", "tests": seen(), "own": {PTCL}, "provider": "PTCL", "session_asns": {PTCL}}
    return NetworkPlace(center=center, **(start | facts))


def named(*places: NetworkPlace) -> list[tuple[str, str]]:
    return [(one.center, one.finding) for one in findings(places, NOW)]


def test_an_honest_center_is_none() -> None:
    assert named(place(), place("LHR-2", tests=seen(address="203.0.113.8"))) == []
    assert named(place(own=(), session_asns=(), tests=seen(asn=None))) == []


CHEATS = {
    "other_network": {"tests": seen(asn=9541, network="AS9541 CYBERNET")},
    "vpn": {"tests": seen(asn=OVH, network="AS16276 OVH SAS")},
    "hotspot": {"tests": seen(asn=JAZZ, network="AS45669 Jazz"), "session_asns": {JAZZ}},
    "moved": {"tests": (*seen(back_days=10, rtt_ms=40), *seen(rtt_ms=4))},
    "virtual": {"hardware": "virtual"},
    "other_line": {"session_asns": {9541}},
    "new_network": {"own": (), "tests": (*seen(back_days=10), *seen(asn=9541, network="AS9541 CYBERNET"))},
}


@pytest.mark.parametrize("finding", list(CHEATS))
def test_what_does_not_fit_is_found(finding: str) -> None:
    assert finding in [name for _, name in named(place(**CHEATS[finding]))]


@pytest.mark.parametrize("fact", ["machine", "router"])
def test_one_machine_or_router_of_two_centers_is_found_at_both(fact: str) -> None:
    apart = seen(address="203.0.113.8")
    two = place(**{fact: "ab12"}), place("LHR-2", tests=apart, **{fact: "ab12"})
    assert named(*two) == [("LHR-1", f"shared_{fact}"), ("LHR-2", f"shared_{fact}")]


def test_two_centers_behind_one_address_are_found_and_a_carriers_many_are_not() -> None:
    pair = [place(), place("LHR-2")]
    assert named(*pair) == [("LHR-1", "shared_address"), ("LHR-2", "shared_address")]
    crowd = [place(f"LHR-{n}") for n in range(RULES.carrier)]
    assert named(*crowd) == []


def test_a_session_at_another_centers_address_is_found() -> None:
    two = place(), place("LHR-2", tests=(), session_addresses={"203.0.113.7"})
    assert named(*two) == [("LHR-1", "shared_address"), ("LHR-2", "shared_address")]


def test_a_network_that_was_seen_before_is_no_new_one() -> None:
    """A second line that only sessions used until now, a first week, and a provider whose networks are known."""
    tests = (*seen(back_days=10), *seen(asn=9541, network="AS9541 CYBERNET"))
    for facts in ({"tests": tests, "earlier_asns": {9541}}, {"tests": tests[10:]}, {"tests": tests[5:]}):
        assert named(place(own=(), session_asns=(), **facts)) == []
    assert [name for _, name in named(place(tests=tests, own={9541}, session_asns=()))] == []


def test_a_few_tests_by_another_line_are_no_finding() -> None:
    mixed = (*seen(8), *seen(3, asn=JAZZ, network="AS45669 Jazz"))
    assert named(place(tests=mixed)) == []
    assert named(replace(place(), tests=seen(RULES.tests - 1, asn=OVH, network="AS16276 OVH"))) == []


def test_a_mobile_provider_of_record_is_no_hotspot() -> None:
    assert named(place(provider="Zong 4G", own={JAZZ}, session_asns={JAZZ}, tests=seen(asn=JAZZ, network="Zong"))) == []
