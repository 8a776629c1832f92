"""The integrity score: what findings come to, and how often an honest center is accused by chance."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import sqlalchemy as sa

from collector.judging import score
from collector.judging.patterns.limits import RULES
from collector.judging.patterns.power import UpsValues, contradicted, never_cut
from collector.judging.patterns.power import ups_patterns as patterns_of
from collector.judging.patterns.repeats import repeated_values
from collector.judging.patterns.seats import RollCall, one_boot, twin_seats
from collector.judging.places import DAY_MS, NetworkPlace, TestPlace, findings
from collector.store import Store, schema

NOON = 1_795_071_600_000  # Thursday 2026-11-19 12:00 in Karachi
MINUTE = 60_000
WEIGHTS = score.shipped()


def test_a_finding_counts_once_a_day_and_no_more_than_its_bound() -> None:
    reasons = score.reasons_of({"unreported": 3, "equivocation": 9, "hole": 0, "unknown": 5}, WEIGHTS)
    assert [(row.finding, row.days, row.points) for row in reasons] == [
        ("equivocation", 9, 12.0),
        ("unreported", 3, 2.1),
    ]
    assert score.total(reasons) == 14.1


def note(store: Store, center: str, finding: str, at_ms: int) -> None:
    row = {"at_ms": at_ms, "center": center, "device": "g1", "finding": finding, "detail": '{"code":"x"}'}
    with store.write() as conn:
        conn.execute(sa.insert(schema.integrity).values(row))


def test_scores_are_of_a_month_with_their_reasons_the_highest_first(sqlite_store: Store) -> None:
    for hour in range(5):
        note(sqlite_store, "LHR-1", "replayed", NOON + hour * 3_600_000)
    note(sqlite_store, "KHI-1", "replayed", NOON)
    note(sqlite_store, "KHI-1", "equivocation", NOON + DAY_MS)
    note(sqlite_store, "KHI-1", "replayed", NOON + 40 * DAY_MS)
    note(sqlite_store, "", "bad_signature", NOON)
    with sqlite_store.write() as conn:
        assert score.make(conn, NOON + 2 * DAY_MS) == 2
        found = score.of_month(conn, "2026-11")
    assert [(one.center, one.score) for one in found] == [("KHI-1", 11.0), ("LHR-1", 5.0)]
    assert [row.finding for row in found[0].reasons] == ["equivocation", "replayed"]
    assert (found[0].score >= WEIGHTS.visit_at, found[1].score >= WEIGHTS.visit_at) == (True, False)


def test_the_weights_name_findings_that_exist_and_are_marked_as_not_official() -> None:
    from typing import get_args

    from collector.common.messages import Finding

    assert set(WEIGHTS.of) <= set(get_args(Finding))
    assert not WEIGHTS.official


# ---------------------------------------------------------------- an honest month

PROVIDERS = {"PTCL": 17557, "Nayatel": 23674, "Transworld": 38193, "Cybernet": 9541}
MOBILE = (45669, "AS45669 Jazz")


def honest_month(number: int, pool: list[list[str]], dice: random.Random) -> Counter[str]:
    """On how many days each finding was found of an honest center, by the rules themselves where they are pure."""
    days: Counter[str] = Counter()
    provider = dice.choice(list(PROVIDERS))
    changed = dice.random() < 0.01  # of provider, and the register learns of it a month later
    failover = dice.random() < 0.15  # has a metered backup line, used on some days
    for week in range(4):
        now_ms = NOON + week * 7 * DAY_MS
        base_ms = 8.0 + number % 40
        tests = []
        for n in range(56):
            asn, name = PROVIDERS[provider], f"AS{PROVIDERS[provider]} {provider}"
            if changed and week >= 2:
                asn, name = 9260, "AS9260 Multinet"
            elif failover and dice.random() < 0.05:
                asn, name = MOBILE
            at_ms = now_ms - n * DAY_MS // 4
            tests.append(TestPlace(at_ms=at_ms, address=f"a{number // 30}", server="pie", asn=asn, network=name,
                                   rtt_ms=base_ms + dice.expovariate(0.3)))  # fmt: skip
        place = NetworkPlace(center="c", device="g", tests=tests, provider=provider,
                            own={PROVIDERS[provider]} if number % 2 else (),
                            session_asns={PROVIDERS[provider]} | ({MOBILE[0]} if failover else set()),
                            machine=f"m{number}", router=f"r{number}", hardware="physical")  # fmt: skip
        days.update(one.finding for one in findings([place], now_ms))
    for _ in range(30):
        days.update(dice.choice(pool))
    if dice.random() < 0.004:
        days["new_spool"] += 1  # a card that failed
    if dice.random() < 0.002:
        days["hole"] += 1
    cuts = [max(0, round(dice.gauss(40, 8))) for _ in range(5)]
    if never_cut({str(n): count for n, count in enumerate(cuts)}, dict.fromkeys("01234", "F")):
        days["ups_never_cut"] += 1
    days["unreported"] += sum(dice.random() < 0.003 for _ in range(120)) and 1  # power that went within a test
    days["challenge_missed"] += sum(dice.random() < 0.004 for _ in range(35))
    days["shared_address"] += 4 * (number % 50 == 0)  # two centers of one owner behind one router
    return days


def honest_day(dice: random.Random) -> list[str]:
    found = []
    seats, calls = 8, []
    for n in range(RULES.rounds + 2):
        cpu = [round(dice.expovariate(0.1), 1) for _ in range(seats)]
        memory = [round(dice.uniform(25, 60), 1) for _ in range(seats)]
        calls.append(RollCall(at_ms=NOON + n * MINUTE, seats=[f"s{i}" for i in range(seats)], cpu_pct=cpu,
                              memory_pct=memory))  # fmt: skip
    found += ["twin_seats"] if twin_seats(calls) else []
    up_s = [900 + dice.gauss(0, 6) for _ in range(seats)]  # after a cut: PCs that start with the mains
    boot = RollCall(at_ms=NOON, seats=[str(i) for i in range(seats)], uptime_s=up_s)
    found += ["one_boot"] if one_boot(boot) else []
    values, volts = [], 228.0
    whole = dice.random() < 0.3  # a UPS that says whole volts and tens of per cent
    for n in range(0, 1440, 2):
        volts += dice.gauss(0, 0.4)
        load = dice.uniform(18, 42)
        told = (round(volts), round(load, -1), 1800.0) if whole else (round(volts, 1), round(load), 2400 - 20 * load)
        values.append(UpsValues(at_ms=NOON + n * MINUTE, subject="u", state="online", volts=told[0], load_pct=told[1],
                                runtime_s=told[2]))  # fmt: skip
    found += [name for name, _ in patterns_of(values, [value.at_ms for value in values])]
    told_values = [hash((value.volts, value.load_pct, value.runtime_s)) for value in values]
    told_volts = [hash(value.volts) for value in values]
    found += ["repeated_values"] if repeated_values(told_values, told_volts, len(told_values) // 2) else []
    if dice.random() < 0.002 and contradicted([values[-1].at_ms + 1], values):  # an old battery that gives up at once
        found.append("ups_contradicted")
    return found


def accused(count: int, pool_size: int, seed: int) -> tuple[int, Counter[str]]:
    """How many of so many honest centers reach the points of a visit in a month, and on how many a finding was made.
    Their days are drawn from a pool of days that the rules have judged."""
    dice, over, seen = random.Random(seed), 0, Counter[str]()
    pool = [honest_day(dice) for _ in range(pool_size)]
    for number in range(count):
        days = honest_month(number, pool, dice)
        over += score.total(score.reasons_of(days, WEIGHTS)) >= WEIGHTS.visit_at
        seen.update(name for name, some in days.items() if some)
    return over, seen


def test_honest_centers_are_hardly_ever_accused() -> None:
    over, _ = accused(200, 60, seed=15)
    assert over == 0


@pytest.mark.slow
def test_of_many_honest_centers_fewer_are_accused_than_is_stated() -> None:
    """The rate that docs/auditor.md states: at most 1 of 1,000 centers a month."""
    over, seen = accused(10_000, 3_000, seed=15)
    print(f"n 10000, accused {over}, found {dict(seen)}")
    assert over <= 10
