"""Rings of settings: who may have them by now, when the next ring opens, and what holds them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from collector.remote import rollout
from collector.remote.rollout import HEARD_MS, SETTLED_MS
from collector.remote.standing import GatewaySettings, Standing
from collector.store import Store, schema
from tests.collector.conftest import NOW

ONE = GatewaySettings(
    center="C-0", device="d0", wanted={"speed": {"mode": "quick"}}, wanted_digest="q", digest="", standing="waiting",
    why="", sent="", changed_ms=NOW - SETTLED_MS, at_once=False, since_ms=NOW - SETTLED_MS, heard_ms=NOW,
)  # fmt: skip


def group(**counts: int) -> list[GatewaySettings]:
    standings: list[Standing] = [name for name, count in counts.items() for _ in range(count)]  # type: ignore[misc]
    return [replace(ONE, device=f"d{number}", standing=name) for number, name in enumerate(standings)]


def sent(every: list[GatewaySettings], worse_pct: float = 0.0) -> int:
    return len(rollout.due(every, rollout.judge(every, worse_pct, NOW), NOW))


@pytest.mark.parametrize(
    ("counts", "number"),
    [
        ({"waiting": 1}, 1),
        ({"waiting": 1000}, 1),
        ({"applied": 1, "waiting": 999}, 9),
        ({"trial": 1, "waiting": 999}, 0),
        ({"applied": 7, "trial": 3, "waiting": 990}, 0),
        ({"applied": 8, "trial": 2, "waiting": 990}, 90),
        ({"applied": 80, "trial": 20, "waiting": 900}, 900),
        ({"applied": 79, "failed": 1, "waiting": 920}, 20),
        ({"failed": 1, "waiting": 999}, 0),
        ({"applied": 80, "failed": 2, "waiting": 918}, 0),
        ({"applied": 1, "waiting": 1}, 1),
        ({"unable": 900, "waiting": 100}, 1),
    ],
)
def test_each_ring_waits_for_the_one_before_and_stops_where_they_fail(counts: dict[str, int], number: int) -> None:
    assert sent(group(**counts)) == number


def test_where_they_measure_less_no_further_gateway_has_them() -> None:
    assert sent(group(applied=10, waiting=990), worse_pct=10.0) == 0


@pytest.mark.parametrize(
    "change",
    [{"since_ms": NOW - SETTLED_MS + 1}, {"heard_ms": NOW - HEARD_MS - 1}, {"heard_ms": None}],
    ids=["proven just now", "silent", "never heard"],
)
def test_one_that_is_not_well_for_long_opens_no_ring(change: dict[str, int | None]) -> None:
    every = group(applied=1, waiting=99)
    assert sent([replace(every[0], **change), *every[1:]]) == 0  # type: ignore[arg-type]


def test_one_that_went_dark_with_them_is_waited_for_and_no_other_is_tried_in_its_place() -> None:
    every = group(waiting=100)
    (first,) = rollout.due(every, rollout.judge(every, 0.0, NOW), NOW)
    every[every.index(first)] = dark = replace(first, sent="q", heard_ms=NOW - HEARD_MS - 1)
    assert sent(every) == 0
    every[every.index(dark)] = replace(dark, heard_ms=NOW)
    assert [one.device for one in rollout.due(every, rollout.judge(every, 0.0, NOW), NOW)] == [first.device]


def test_who_is_first_is_drawn_anew_for_each_change_among_those_that_are_heard() -> None:
    every = group(waiting=100)
    firsts = {
        rollout.due(changed, rollout.judge(changed, 0.0, NOW), NOW)[0].device
        for changed in ([replace(one, wanted_digest=digest) for one in every] for digest in "abcdef")
    }
    assert len(firsts) > 1
    (first,) = rollout.due(every, rollout.judge(every, 0.0, NOW), NOW)
    every[every.index(first)] = replace(first, heard_ms=None)
    assert sent(every) == 1


def test_at_once_passes_the_rings_and_what_holds_them() -> None:
    every = [replace(one, at_once=True) for one in group(failed=10, waiting=90)]
    assert sent(every) == 90


def test_measurements_are_compared_with_those_before_the_change(sqlite_store: Store) -> None:
    every = [replace(one, since_ms=NOW - SETTLED_MS) for one in group(applied=2)]
    link = schema.readings["link"]
    must = {column.name: 0 for column in link.c if not column.nullable and column.name != "id"}
    with sqlite_store.write() as conn:
        for device, failing_since in (("d0", NOW), ("d1", NOW - SETTLED_MS)):
            for number in range(70):
                at_ms = NOW - 60_000 * number - 1
                facts = {"device": device, "seq": number, "wall_ms": at_ms, "center": "C", "raw": b"", "spool": device}
                failure = "timeout" if at_ms >= failing_since else None
                values = {key: value for key, value in (must | facts).items() if key in link.c}
                conn.execute(sa.insert(link).values(**values, failure=failure))
    with sqlite_store.read() as conn:
        assert rollout.worse_pct(conn, every, NOW) == 50.0
        assert rollout.worse_pct(conn, every[:1], NOW) == 0.0
        assert rollout.worse_pct(conn, group(waiting=3), NOW) == 0.0
