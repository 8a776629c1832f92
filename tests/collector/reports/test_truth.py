"""A year of simulated centers against the script that they were played by: minutes in the right bucket, verdicts,
nothing excused that no rule excuses; and switching off never helps.

The year is compressed: a center is open for ninety minutes a week, with a reading a minute. The readings lie in the
tables as ingest files them; day sheets and months are made by the product's own code.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.register import calendar
from collector.register.calendar import CalendarEntry
from collector.register.centers import Center
from collector.register.dated import histories
from collector.reports.day_sheets import Availability, CriterionDay, DaySheet, merged
from collector.reports.ledger import BUCKETS
from collector.reports.monthly import build_some
from collector.reports.monthly_verdicts import criterion_rows
from collector.standard import Standards
from collector.standard.criteria import MonthRule, Standard
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless

MINUTE, DAY = 60_000, 86_400_000
BEGIN = 1_767_207_600_000  # 2026-01-01 00:00 in Pakistan
END = BEGIN + 365 * DAY
MONDAY = BEGIN + 4 * DAY + 10 * 3_600_000  # 2026-01-05 10:00
LONG = 90  # open minutes of a week
LATENCY = "internet.latency"
RULE = MonthRule(share_pct=90, min_samples=100, min_days=3, min_slots=0, min_coverage_pct=60)


def the_standard() -> Standard:
    """With a rule for months of so few minutes."""
    whole = timeless()
    chosen = [one for one in whole.criteria if one.id == LATENCY or one.reading == "silence"]
    return replace(whole, criteria=tuple(replace(one, month=RULE) if one.id == LATENCY else one for one in chosen))


STANDARDS = Standards.of([the_standard()])


# ---------------------------------------------------------------- the script


@dataclass
class Script:
    """What really happens at a center: the state of each open minute, and what people recorded of it."""

    center: Center
    states: dict[int, str] = field(default_factory=dict)
    closures: list[tuple[int, int, bool]] = field(default_factory=list)  # from, to, whether two persons stand for it
    kinds: dict[int, str] = field(default_factory=dict)  # by the month's number: good, bad or silent


def scripted(code: str, dice: random.Random) -> Script:
    center = Center(
        code=code, name=code, city="Lahore", tier="one", seats_promised=10, lifecycle="declared",
        opening="Mon 10:00-11:30", owner="Trust", district="Lahore",
    )  # fmt: skip
    script = Script(center)
    for start in range(MONDAY, END, 7 * DAY):
        kind = script.kinds.setdefault(month_of(start), dice.choice(("good", "good", "good", "bad", "silent")))
        base = {"good": "up", "bad": "below", "silent": "silent"}[kind]
        minutes = [start // MINUTE + i for i in range(LONG)]
        script.states |= dict.fromkeys(minutes, base)
        for state, odds in (("down", 0.3), ("dark", 0.3), ("silent", 0.15)):
            if kind != "silent" and dice.random() < odds:
                script.states |= dict.fromkeys(piece(minutes, dice), state)
        if dice.random() < 0.25:
            out = piece(minutes, dice)
            stands = dice.random() < 0.6
            script.closures.append((out[0] * MINUTE, (out[-1] + 1) * MINUTE, stands))
    return script


def piece(minutes: list[int], dice: random.Random) -> list[int]:
    first, long = dice.randrange(20, 60), dice.randrange(4, 10)
    return minutes[first : first + long]


def month_of(at_ms: int) -> int:
    days = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    day = (at_ms - BEGIN) // DAY
    return next(i for i in range(1, 13) if day < sum(days[:i]))


def truth_of(script: Script, month: int) -> Counter[str]:
    """Minutes of each bucket, by the script alone."""
    names = {name: name for name in ("up", "below", "down")}
    names |= {"dark": "unknown_explained", "silent": "unknown_unexplained"}
    excused = {m for low, high, stands in script.closures if stands for m in range(low // MINUTE, high // MINUTE)}
    mine = (m for m in script.states if month_of(m * MINUTE) == month)
    return Counter("excused" if m in excused else names[script.states[m]] for m in mine)


def verdict_of(script: Script, month: int, truth: Counter[str]) -> str:
    """Of latency: minutes in which the line was up, good or bad."""
    return {"good": "meets", "bad": "below", "silent": "not enough data"}[script.kinds[month]]


# ---------------------------------------------------------------- into a store


def put(store: Store, scripts: list[Script]) -> None:
    with store.write() as conn:
        upsert(conn, schema.centers, [script.center.row() for script in scripts])
        codes = [script.center.code for script in scripts]
        same = {"public_key": b"", "enrolled_ms": BEGIN - DAY}
        devices = [{"device": f"g{code}", "center": code, **same} for code in codes]
        upsert(conn, schema.devices, devices)
        for script in scripts:
            for low, high, stands in script.closures:
                entry = CalendarEntry(
                    kind="closure", scope="center", subject=script.center.code, from_ms=low, to_ms=high,
                    recorded_ms=low - DAY, recorded_by="Ali", reason="flood",
                )  # fmt: skip
                calendar.add(conn, [entry], second="Sara" if stands else "")
    for script in scripts:
        with store.write() as conn:
            rows: dict[str, list[dict[str, Any]]] = {"link": [], "boot": []}
            for kind, row in readings_of(script):
                rows[kind].append(row)
            for kind, found in rows.items():
                if found:
                    conn.execute(sa.insert(schema.readings[kind]), found)


def readings_of(script: Script) -> Iterator[tuple[str, dict[str, Any]]]:
    """A reading in the middle of each minute, and one boot after each time without power."""
    seq, alive_ms, dark = 0, None, False
    for minute, state in sorted(script.states.items()):
        wall_ms = minute * MINUTE + 30_000
        if state in ("silent", "dark"):
            dark = state == "dark" or (dark and state != "silent")
            continue
        common = {
            "center": script.center.code,
            "device": f"g{script.center.code}",
            "spool": "s",
            "received_ms": wall_ms,
        }
        if dark and alive_ms is not None:
            seq += 1
            yield "boot", {**common, "subject": "", "wall_ms": wall_ms - 25_000, "seq": seq, "last_alive_ms": alive_ms,
                           "previous_end": "power"}  # fmt: skip
        seq, dark, alive_ms = seq + 1, False, wall_ms
        is_down = state == "down"
        yield "link", {
            **common, "subject": "wan", "wall_ms": wall_ms, "seq": seq, "loss_pct": 100.0 if is_down else 0.0,
            "rtt_median_ms": None if is_down else 400.0 if state == "below" else 40.0,
        }  # fmt: skip


# ---------------------------------------------------------------- held to the script


@pytest.mark.slow
def test_a_year_of_a_hundred_centers_is_told_as_it_was_scripted(sqlite_store: Store) -> None:
    """Prints what was found: `-s` shows it."""
    dice = random.Random(2026)
    scripts = [scripted(f"T-{i:03}", dice) for i in range(100)]
    put(sqlite_store, scripts)
    right, total, verdicts, wrong, excused_wrongly = 0, 0, 0, [], 0
    with sqlite_store.read() as conn:
        for first in range(0, len(scripts), 16):
            some = {script.center.code: script for script in scripts[first : first + 16]}
            dated = list(histories(conn, [script.center for script in some.values()]).values())
            for month in range(1, 13):
                reports = build_some(conn, dated, f"2026-{month:02}", STANDARDS, END + 30 * DAY)
                for code, report in reports.items():
                    truth, book = truth_of(some[code], month), report["ledger"]
                    right += sum(min(truth[name], book[name]) for name in BUCKETS)
                    total += truth.total()
                    assert book["open"] == truth.total()
                    excused_wrongly += max(0, book["excused"] - truth["excused"])
                    (row,) = (one for one in report["criteria"] if one["criterion"] == LATENCY)
                    verdicts += 1
                    if row["verdict"] != verdict_of(some[code], month, truth):
                        wrong.append((code, month, some[code].kinds[month], row["verdict"], row["met"]))
    share_pct = 100 * right / total
    print(f"\n{total} minutes, {share_pct:.2f} % in the right bucket, {excused_wrongly} excused wrongly")
    print(f"{verdicts} verdicts, {len(wrong)} wrong {wrong[:5]}")
    assert excused_wrongly == 0
    assert right >= 0.95 * total
    assert len(wrong) <= 0.01 * verdicts


# ---------------------------------------------------------------- switching off


def sheet(day: int, met: int, counted: int, *, is_on: bool) -> DaySheet:
    """A day of 720 open minutes: on, each has a sample; off, nothing is known of it."""
    latency = CriterionDay(
        criterion=LATENCY, subject="", counted=counted, met=met, values=((40.0, met), (400.0, counted - met)), slots=(),
        covered=720,
    )  # fmt: skip
    minutes = (
        {"up": met * 720 // counted, "below": 720 - met * 720 // counted} if is_on else {"unknown_unexplained": 720}
    )
    return DaySheet(
        center="A-1", from_ms=BEGIN + day * DAY, to_ms=BEGIN + (day + 1) * DAY, standards=(),
        minutes={**dict.fromkeys(BUCKETS, 0), **minutes}, before=0, lost=0, availability=Availability(),
        criteria=(latency,) if is_on else (), seats=(), excused=(), sha256="",
    )  # fmt: skip


CENTER = Center(
    code="A-1", name="A", city="Lahore", tier="one", seats_promised=10, lifecycle="declared", opening="always",
)  # fmt: skip
RANK = ("below", "not enough data", "watch", "meets")


@settings(max_examples=60, deadline=None)
@given(
    days=st.lists(st.integers(0, 720), min_size=30, max_size=30),
    off=st.sets(st.integers(0, 29), min_size=15, max_size=30),
)
def test_switching_off_half_the_month_never_raises_a_score(days: list[int], off: set[int]) -> None:
    on_all = merged(sheet(i, met, 720, is_on=True) for i, met in enumerate(days))
    some_off = merged(sheet(i, met, 720, is_on=i not in off) for i, met in enumerate(days))
    assert some_off.ledger.minutes["up"] <= on_all.ledger.minutes["up"]
    assert some_off.ledger.owed == on_all.ledger.owed
    for criterion in timeless().criteria:
        if criterion.id != LATENCY and criterion.reading != "silence":
            continue
        (before,), (after,) = (list(criterion_rows(criterion, CENTER, month)) for month in (on_all, some_off))
        assert after["verdict"] != "meets"
        if criterion.reading == "silence":
            assert RANK.index(after["verdict"]) <= RANK.index(before["verdict"])
        down = [one["numbers"]["unknown_as_down"]["met_pct"] for one in (before, after)]
        assert down[1] <= down[0]
