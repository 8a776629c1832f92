"""The states of centers and the points of a series, asked of a real database."""

from __future__ import annotations

import itertools
import time

import pytest

from collector.store import queries, schema
from collector.store.queries import Filter, Ranks

RANKS = Ranks({"link": 1, "power": 3, "silent": 3}, ("silent",), ("link", "power"))


def state_of(store, code: str = "LHR-014") -> str:
    with store.read() as conn:
        found = queries.one(conn, RANKS, code)
    assert found is not None
    return found["state"]


def test_a_notice_that_is_raised_is_watched_and_no_shortfall(center, cast) -> None:
    ranks = Ranks(required=("link",), notices=("mains",))
    add(center, cast, "link")
    add(center, cast, "mains", state="raised")
    with center.read() as conn:
        assert queries.one(conn, ranks, "LHR-014")["state"] == "watch"


@pytest.fixture
def center(store, cast):
    """A center that is heard and meets everything, until a test adds what it likes."""
    cast.insert(store, schema.centers, [cast.center_row("LHR-014")])
    cast.insert(store, schema.pulse, [cast.pulse_row("LHR-014")])
    return store


def add(store, cast, criterion: str, **parts: object) -> None:
    cast.insert(store, schema.flags, [cast.flag_row("LHR-014", criterion, **parts)])


def test_a_center_meets_only_when_every_criterion_is_known(center, cast) -> None:
    add(center, cast, "link")
    assert state_of(center) == "unknown"
    add(center, cast, "power")
    assert state_of(center) == "meets"


def test_a_center_outside_its_hours_is_closed_unless_something_is_wrong(center, cast) -> None:
    closed = Ranks(required=("link",), closed={"Mon-Sat 09:00-21:00": 7})

    def state() -> str:
        with center.read() as conn:
            row = queries.one(conn, closed, "LHR-014")
        is_closed = row["state"] == "closed"
        assert row["opens_ms"] == (7 if is_closed else None)
        assert (row["state_since_ms"] is None) == is_closed, "not since what it had before it closed"
        return row["state"]

    assert state() == "closed"  # although nothing is known of its link
    add(center, cast, "link")
    assert state() == "closed"
    add(center, cast, "power", state="raised")
    assert state() == "below"


def test_a_criterion_that_was_judged_unknown_is_not_known(center, cast) -> None:
    add(center, cast, "link")
    add(center, cast, "power", verdict="unknown", reason="the reading has no runtime_s")
    assert state_of(center) == "unknown"


def test_a_criterion_is_known_once_however_many_subjects_it_has(center, cast) -> None:
    add(center, cast, "link", subject="wan")
    add(center, cast, "link", subject="backup")
    assert state_of(center) == "unknown"


@pytest.mark.parametrize(
    ("flag", "state"), [("pending", "watch"), ("raised", "below"), ("recovering", "below"), ("clear", "meets")]
)
def test_the_state_of_a_flag_is_the_state_of_its_center(center, cast, flag: str, state: str) -> None:
    add(center, cast, "link")
    add(center, cast, "power", state=flag)
    assert state_of(center) == state


def test_silence_is_worse_than_anything_else_and_a_closed_center_is_not_judged(center, cast) -> None:
    add(center, cast, "power", state="raised")
    add(center, cast, "silent", state="raised")
    assert state_of(center) == "silent"
    with center.write() as conn:
        conn.execute(schema.centers.update().values(lifecycle="closed"))
    assert state_of(center) == "paused"


def test_a_center_never_heard_waits(store, cast) -> None:
    cast.insert(store, schema.centers, [cast.center_row("LHR-014")])
    assert state_of(store) == "waiting"


def test_the_reason_is_the_most_severe_flag_then_the_oldest(center, cast) -> None:
    add(center, cast, "link", state="raised", since_ms=1)
    add(center, cast, "power", state="raised", since_ms=5)
    add(center, cast, "other", state="pending", since_ms=0)
    with center.read() as conn:
        found = queries.one(conn, RANKS, "LHR-014")
    assert (found["criterion"], found["state_since_ms"], found["open_flags"]) == ("power", 5, 2)


def test_counts_leave_the_state_out_of_the_filter_and_keep_the_rest(fleet) -> None:
    with fleet.store.read() as conn:
        everywhere = queries.counts(conn, Ranks(), Filter(state="below"))
        sindh = queries.counts(conn, Ranks(), Filter(province="Sindh"))
    assert sum(everywhere.values()) == 120
    assert sum(sindh.values()) == 20
    assert tuple(everywhere) == queries.STATES


@pytest.mark.parametrize("search", ["%", "_", "\\", "'", "100%", "%' OR 1=1 --"])
def test_a_search_finds_letters_not_patterns(fleet, search: str) -> None:
    with fleet.store.read() as conn:
        assert queries.page(conn, Ranks(), Filter(search=search), limit=10) == []


# ---------------------------------------------------------------- series


def ask(store, cast, minutes: int, points: int, kind: str = "link", fields=("loss_pct",), **more):
    with store.read() as conn:
        from_ms = cast.NOW_MS - minutes * cast.MINUTE_MS
        return queries.series(conn, kind, "LHR-014", from_ms, cast.NOW_MS, fields, points, **more)


def link_rows(cast, minutes: int, **fields: object) -> list[dict[str, object]]:
    start = cast.NOW_MS - minutes * cast.MINUTE_MS
    return [{"wall_ms": start + n * cast.MINUTE_MS, "loss_pct": 0.0, **fields} for n in range(minutes)]


def test_a_short_time_gives_every_reading(store, cast) -> None:
    cast.add_readings(store, "LHR-014", "link", link_rows(cast, 60))
    found = ask(store, cast, 60, 400)
    assert len(found["t"]) == 60
    assert found["t"] == sorted(found["t"])


def test_a_long_time_gives_no_more_points_than_asked_and_keeps_the_worst(store, cast) -> None:
    rows = link_rows(cast, 3000)
    rows[1234]["loss_pct"] = 40.0
    cast.add_readings(store, "LHR-014", "link", rows)
    found = ask(store, cast, 3000, 100)
    assert len(found["t"]) == 100
    assert max(found["loss_pct"]) == 40.0


def test_a_pause_is_a_gap_and_two_pauses_are_two(store, cast) -> None:
    rows = [row for n, row in enumerate(link_rows(cast, 120)) if not (20 <= n < 30 or 60 <= n < 64)]
    cast.add_readings(store, "LHR-014", "link", rows)
    found = ask(store, cast, 120, 400)
    assert found["loss_pct"].count(None) == 2
    assert all(after > before for before, after in itertools.pairwise(found["t"]))


def test_one_missed_minute_is_no_gap(store, cast) -> None:
    cast.add_readings(store, "LHR-014", "link", [row for n, row in enumerate(link_rows(cast, 60)) if n != 30])
    assert None not in ask(store, cast, 60, 400)["loss_pct"]


def test_speed_tests_are_points_and_have_no_gaps(store, cast) -> None:
    rows = [
        {"wall_ms": cast.NOW_MS - hours * cast.HOUR_MS, "download_mbps": 40.0, "purpose": "routine"}
        for hours in (20, 3)
    ]
    cast.add_readings(store, "LHR-014", "speed", rows)
    assert ask(store, cast, 1440, 400, "speed", ("download_mbps",))["download_mbps"] == [40.0, 40.0]


def test_a_failed_test_and_a_self_test_are_told_apart(store, cast) -> None:
    rows = [
        {"wall_ms": cast.NOW_MS - 3000, "purpose": "routine", "failure": '{"cause":"timeout"}', "download_mbps": None},
        {"wall_ms": cast.NOW_MS - 1000, "purpose": "self-test", "failure": None, "download_mbps": 9.0},
    ]
    cast.add_readings(store, "LHR-014", "speed", rows)
    found = ask(store, cast, 10, 400, "speed", ("download_mbps", "failed", "self_test"))
    assert (found["download_mbps"], found["failed"], found["self_test"]) == ([None, 9.0], [1.0, 0.0], [0.0, 1.0])


def test_other_centers_and_other_lines_stay_out(store, cast) -> None:
    cast.add_readings(store, "LHR-014", "link", link_rows(cast, 10), subject="wan")
    cast.add_readings(store, "LHR-015", "link", link_rows(cast, 10), subject="wan")
    assert len(ask(store, cast, 10, 100, subject="wan")["t"]) == 10
    assert ask(store, cast, 10, 100, subject="backup") == {"t": [], "loss_pct": []}


def test_a_list_of_ten_thousand_centers_answers_before_anybody_waits(store, cast) -> None:
    """A guard against a query that forgets an index, in seconds of CPU, which a busy machine does not change much."""
    cast.add_fleet(store, 10_000)
    with store.read() as conn:
        started = time.process_time()
        rows = queries.page(conn, Ranks(), Filter(), limit=200)
        queries.counts(conn, Ranks(), Filter())
        listed_s = time.process_time() - started
        started = time.process_time()
        queries.one(conn, Ranks(), "LHE-0000")
        one_s = time.process_time() - started
    assert len(rows) == 200
    assert listed_s < 2.0
    assert one_s < 0.2
