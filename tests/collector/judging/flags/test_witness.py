"""A figure beside its witness: which word, why, and how much of it is credited."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.common.reasons import Reason
from collector.judging.flags.witness import (
    FINDINGS,
    RULES,
    Claim,
    ClaimFacts,
    Grant,
    Moved,
    ServerRecord,
    compare,
    on_lan,
    rate_mbps,
)

NOW = 1_795_000_000_000
HOUR = 3_600_000
CLAIM = Claim(
    id="g1 s 7", device="g1", received_ms=NOW, server="https://pie.example", test_id="t",
    download_mbps=20.0, upload_mbps=5.0, capacity_down_mbps=20.0, capacity_up_mbps=5.0,
)  # fmt: skip
SEEN = ServerRecord(
    server="pie", device="g1", address="203.0.113.7", started_ms=NOW - 30_000, witnessed=True, min_rtt_ms=18.0,
    down_mbps=20.1, up_mbps=4.95, down_bytes=10_000_000, up_bytes=2_500_000, down_s=4.0, up_s=4.0,
)  # fmt: skip
GRANT = Grant(device="g1", server="pie", granted_ms=NOW - 60_000, expires_ms=NOW + HOUR)
FACTS = ClaimFacts(seen=SEEN, grant=GRANT, servers=("https://pie.example",))


def word(claim: Claim = CLAIM, facts: ClaimFacts = FACTS, now_ms: int = NOW) -> str:
    return compare(claim, facts, now_ms).word


def test_two_that_say_the_same_agree() -> None:
    found = compare(CLAIM, FACTS, NOW)
    assert (found.word, found.server, found.down_mbps, found.up_mbps) == ("agrees", "pie", 20.1, 4.95)


def test_each_refusal_has_its_word() -> None:
    no_record = replace(FACTS, seen=None)
    lan = replace(CLAIM, server="http://192.168.1.5:8474")
    cases = {
        "self_test": (replace(CLAIM, purpose="self-test"), FACTS, NOW),
        "unwitnessed": (replace(CLAIM, test_id=""), FACTS, NOW),
        "lan_server": (lan, no_record, NOW),
        "unknown_test": (CLAIM, replace(FACTS, grant=None, seen=None), NOW),
        "not_granted_to_this_device": (CLAIM, replace(FACTS, grant=replace(GRANT, device="g2")), NOW),
        "replayed": (CLAIM, replace(FACTS, earlier="g1 s 3"), NOW),
        "waiting": (CLAIM, no_record, NOW + RULES.patience_ms - 1),
        "no_record": (CLAIM, no_record, NOW + RULES.patience_ms),
        "expired": (CLAIM, replace(FACTS, grant=replace(GRANT, expires_ms=NOW - HOUR)), NOW),
        "disagrees": (CLAIM, replace(FACTS, seen=replace(SEEN, down_mbps=10.0)), NOW),
    }
    assert {name: word(*case) for name, case in cases.items()} == {name: name for name in cases}


def test_a_server_in_the_building_is_known_by_its_round_trip() -> None:
    assert word(facts=replace(FACTS, seen=replace(SEEN, min_rtt_ms=0.2))) == "lan_server"
    assert word(facts=replace(FACTS, seen=replace(SEEN, min_rtt_ms=RULES.lan_rtt_ms))) == "agrees"


def test_a_server_that_took_the_test_without_a_token_proves_nothing() -> None:
    assert word(facts=replace(FACTS, seen=replace(SEEN, witnessed=False))) == "unwitnessed"


def test_a_server_nobody_joined_is_no_witness_even_with_a_test_id() -> None:
    claim = replace(CLAIM, server="https://other.example")
    found = compare(claim, replace(FACTS, grant=None, seen=None), NOW)
    assert (found.word, found.reason) == ("unwitnessed", Reason.of("witness.not_joined", server="other.example"))


def test_a_registered_server_may_have_a_private_address() -> None:
    claim = replace(CLAIM, server="http://10.1.2.3:8481/")
    assert word(claim, replace(FACTS, servers=("http://10.1.2.3:8481",))) == "agrees"


def test_a_turn_that_never_came_is_no_grant() -> None:
    assert word(facts=replace(FACTS, seen=None, grant=replace(GRANT, granted_ms=None))) == "unknown_test"


def test_another_gateways_record_is_no_witness() -> None:
    assert word(facts=replace(FACTS, seen=replace(SEEN, device="g2"))) == "not_granted_to_this_device"


def test_the_bound_holds_both_ways_and_each_direction() -> None:
    most = (1 + RULES.bound_pct / 100) * 20 + RULES.floor_mbps
    least = (1 - RULES.bound_pct / 100) * 20 - RULES.floor_mbps
    facts = replace(FACTS, seen=replace(SEEN, down_mbps=20.0, up_mbps=5.0))
    for value, expected in ((most - 1e-6, "agrees"), (most + 1e-6, "disagrees"), (least + 1e-6, "agrees"),
                           (least - 1e-6, "disagrees")):  # fmt: skip
        assert word(replace(CLAIM, download_mbps=value), facts) == expected
    assert word(replace(CLAIM, upload_mbps=5.5), facts) == "disagrees"
    assert word(facts=replace(FACTS, seen=replace(SEEN, up_mbps=None))) == "disagrees"


def test_a_disagreement_names_both_sides() -> None:
    found = compare(replace(CLAIM, download_mbps=90.0), FACTS, NOW)
    (apart,) = found.reason.params["apart"]
    assert apart == Reason.of(
        "witness.apart", direction="down", device="g1", server="pie", claimed_mbps=90.0, seen_mbps=20.1, bound_pct=5.0
    )
    assert found.word in FINDINGS


def test_no_goodput_is_credited_beyond_the_servers() -> None:
    credited = compare(replace(CLAIM, download_mbps=20.9, capacity_down_mbps=20.9), FACTS, NOW).credited
    assert credited["download_mbps"] == credited["capacity_down_mbps"] == 20.1


def test_no_more_is_added_back_than_was_witnessed() -> None:
    credited = compare(replace(CLAIM, capacity_down_mbps=25.0), FACTS, NOW).credited
    assert credited["capacity_down_mbps"] == pytest.approx(25.1)
    credited = compare(replace(CLAIM, capacity_down_mbps=900.0), FACTS, NOW).credited
    assert credited["capacity_down_mbps"] == pytest.approx(40.2)


def test_nothing_is_added_back_that_the_lines_counters_did_not_move() -> None:
    claim = replace(CLAIM, capacity_down_mbps=30.0)  # 10 Mbit/s of others for four seconds: 5 MB
    for others_bytes, most in ((5_000_000, 30.1), (4_500_000, 30.1), (4_400_000, 20.1), (0, 20.1), (-1, 20.1)):
        moved = Moved(down_bytes=SEEN.down_bytes + others_bytes)
        credited = compare(claim, replace(FACTS, moved=moved), NOW).credited
        assert credited["capacity_down_mbps"] == pytest.approx(most), others_bytes


@pytest.mark.parametrize("server", ["192.168.1.5", "http://10.0.0.1:1", "http://[fe80::1]:80", "localhost", "nas.lan"])
def test_addresses_of_a_lan_are_known(server: str) -> None:
    assert on_lan(server)


@pytest.mark.parametrize("server", ["", "https://pie.example", "http://39.32.0.9", "http://[", "http://x:99999", "::"])
def test_other_addresses_and_nonsense_are_not(server: str) -> None:
    assert not on_lan(server) or server == "::"


# ---------------------------------------------------------------- curves


def curve(mbps: float, seconds: float, ramp_s: float = 0.8) -> tuple[list[int], list[int]]:
    """A line that starts slowly, runs, and trickles on for two seconds more."""
    at_ms, total, done = [], [], 0.0
    for tick in range(int(seconds * 10) + 20):
        at_ms.append(tick * 100)
        total.append(round(done))
        rate = mbps * min(1.0, (tick + 1) / (ramp_s * 10)) if tick < seconds * 10 else mbps / 5000
        done += rate * 1e6 / 8 / 10
    return at_ms, total


@pytest.mark.parametrize("mbps", [0.5, 2.0, 20.0, 300.0])
@pytest.mark.parametrize("seconds", [2.1, 9.5])
def test_a_curves_rate_is_that_of_its_settled_part(mbps: float, seconds: float) -> None:
    rate, moved_s = rate_mbps(*curve(mbps, seconds))
    assert rate == pytest.approx(mbps, rel=0.01)
    assert moved_s == pytest.approx(seconds, abs=0.5)


numbers = st.lists(st.integers(0, 2**53), max_size=40)


@given(numbers, numbers)
def test_no_curve_breaks_the_rate(at_ms: list[int], total: list[int]) -> None:
    rate, moved_s = rate_mbps(at_ms, total)
    assert rate is None or math.isfinite(rate)
    assert math.isfinite(moved_s)


facts_of = st.builds(
    ClaimFacts,
    seen=st.sampled_from(
        [None, SEEN, replace(SEEN, device="g2"), replace(SEEN, witnessed=False), replace(SEEN, up_mbps=1)]
    ),
    grant=st.sampled_from([None, GRANT, replace(GRANT, device="g2"), replace(GRANT, granted_ms=None)]),
    earlier=st.sampled_from(["", "g1 s 1"]),
    servers=st.sampled_from([(), ("https://pie.example",)]),
)


@given(facts_of, st.sampled_from(["", "t"]), st.integers(0, HOUR))
def test_nothing_agrees_without_a_grant_a_record_and_a_first_use(
    facts: ClaimFacts, test_id: str, later_ms: int
) -> None:
    found = compare(replace(CLAIM, test_id=test_id), facts, NOW + later_ms)
    honest = test_id and facts.seen == SEEN and facts.grant == GRANT and not facts.earlier
    assert (found.word == "agrees") == bool(honest)
    assert (found.most != ()) == (found.word == "agrees")
