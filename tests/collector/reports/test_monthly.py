"""A center's month: verdicts with their numbers, and honest where there are too few."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from agent.common.center_time import TZ
from agent.common.words import plain
from collector.__main__ import main
from collector.register.centers import Center
from collector.reports.day_sheets import Samples
from collector.reports.monthly import ReportError, period
from collector.reports.monthly_verdicts import decide, percentile, wilson_pct
from collector.reports.render import as_csv, as_html, as_json, not_counted, reason_of, safe_cell
from collector.reports.schedule import told
from collector.standard import Standards
from collector.standard.criteria import MonthRule
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless

MINUTE = 60_000
WITNESSED = timeless()
PLAIN = replace(WITNESSED, criteria=tuple(replace(rule, evidence="signed") for rule in WITNESSED.criteria))
STANDARDS = Standards.of([PLAIN])
CENTER = Center(
    code="LHR-001", name="Gulberg <b>", city="Lahore", tier="three", seats_promised=10, lifecycle="declared",
    opening="Mon-Sat 09:00-21:00",
)  # fmt: skip
RULE = MonthRule(share_pct=80, min_samples=42, min_days=15, min_slots=3)


def words(reason: dict[str, Any]) -> str:
    """What a reason of a report says in English."""
    return plain().reason(reason_of(reason))


def uncounted(row: dict[str, Any]) -> dict[str, int]:
    return {plain().reason(reason): count for reason, count in not_counted(row)}


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(TZ)).timestamp() * 1000)


AFTER = at("2026-03-05T12:00")


@pytest.fixture
def store(either_store: Store) -> Store:
    enrol(either_store, at("2026-02-01T00:00"))
    return either_store


def enrol(store: Store, at_ms: int) -> None:
    device = {"device": "g0", "center": CENTER.code, "public_key": b"", "enrolled_ms": at_ms}
    with store.write() as conn:
        upsert(conn, schema.centers, [CENTER.row()])
        upsert(conn, schema.devices, [device])


def put(store: Store, kind: str, times: list[int], **values: object) -> None:
    """Readings of the same values at these times, as ingest files them."""
    with store.write() as conn:
        first = conn.scalar(sa.select(sa.func.coalesce(sa.func.max(schema.readings[kind].c.seq), 0))) or 0
        rows = [
            {
                "wall_ms": wall_ms, "center": CENTER.code, "device": "g0", "spool": "s", "seq": first + i,
                "subject": "", "received_ms": wall_ms, **values,
            }
            for i, wall_ms in enumerate(times, 1)
        ]  # fmt: skip
        if rows:
            conn.execute(sa.insert(schema.readings[kind]), rows)


def four_a_day(count: int, first: int = 2) -> list[int]:
    """Times of speed tests in four parts of the day, on working days from this day of February on."""
    days = [day for day in range(first, 29) if day % 7 != 1]  # the 1st is a Sunday
    hours = ("09:30", "12:00", "16:00", "20:00")
    return [at(f"2026-02-{days[i // 4]:02}T{hours[i % 4]}") for i in range(count)]


def minutes(day: str, first: str = "09:00", count: int = 720) -> list[int]:
    return [at(f"{day}T{first}") + i * MINUTE for i in range(count)]


def report(store: Store, standards: Standards = STANDARDS, month: str = "2026-02", now_ms: int = AFTER) -> Any:
    with store.read() as conn:
        return told(conn, CENTER.code, month, standards, now_ms)


def row(found: Any, criterion: str, subject: str = "") -> Any:
    return next(item for item in found["criteria"] if (item["criterion"], item["subject"]) == (criterion, subject))


def speed(store: Store, times: list[int], mbps: float, **more: object) -> None:
    put(
        store,
        "speed",
        times,
        **{"purpose": "routine", "flags": "[]", "download_mbps": mbps, "upload_mbps": 9.0, **more},
    )


# ---------------------------------------------------------------- verdicts


def test_a_month_of_good_tests_meets(store: Store) -> None:
    speed(store, four_a_day(60), 20.0)
    found = row(report(store), "internet.download")
    assert (found["verdict"], found["samples"], found["met"], found["met_pct"]) == ("meets", 60, 60, 100.0)
    assert (found["bound"], found["median"], found["days"], found["slots"]) == (16.0, 20.0, 14, 4) or found[
        "days"
    ] == 15
    assert found["reason"] == {"code": "month.meets", "params": {"met_pct": 100.0, "n": 60, "asked_pct": 80.0}}


def test_too_few_tests_are_not_enough_data_and_say_what_is_missing(store: Store) -> None:
    speed(store, four_a_day(41), 20.0)
    found = row(report(store), "internet.download")
    assert found["verdict"] == "not enough data"
    assert words(found["reason"]) == "41 samples, at least 42 needed; 11 days, at least 15 needed"


def test_self_tests_are_not_counted_and_are_shown(store: Store) -> None:
    speed(store, four_a_day(80), 900.0, purpose="self-test")
    found = row(report(store), "internet.download")
    assert (found["verdict"], found["samples"]) == ("not enough data", 0)
    assert uncounted(found) == {"A self-test never counts": 80}


def test_failed_tests_prove_nothing_but_are_shown(store: Store) -> None:
    put(store, "speed", four_a_day(10), purpose="routine", flags="[]", failure='{"cause":"unreachable","detail":"x"}')
    found = row(report(store), "internet.download")
    assert uncounted(found) == {"The measurement failed: cannot be reached": 10}


def test_tests_outside_the_opening_hours_do_not_count(store: Store) -> None:
    speed(store, [at("2026-02-02T03:00"), at("2026-02-01T12:00")], 20.0)  # night, and a Sunday
    assert row(report(store), "internet.download")["samples"] == 0


@pytest.mark.parametrize(
    ("met", "of", "verdict"),
    [(42, 42, "meets"), (34, 42, "meets"), (33, 42, "watch"), (29, 42, "watch"), (28, 42, "below"),
     (96, 120, "meets"), (88, 120, "watch"), (87, 120, "below"), (0, 120, "below")],
)  # fmt: skip
def test_a_share_too_close_to_tell_is_watched_not_accused(met: int, of: int, verdict: str) -> None:
    samples = Samples(counted=of, met=met, days=20, slots={0, 1, 2})
    assert decide(RULE, samples, 0.0)[0] == verdict


def test_the_bound_of_the_share_is_wilsons() -> None:
    """Against figures worked by hand from the formula: 28 of 42 and 87 of 120 are the last that are surely below."""
    assert wilson_pct(28, 42, 1) == pytest.approx(78.99, abs=0.006)
    assert wilson_pct(87, 120, 1) == pytest.approx(79.70, abs=0.006)
    assert wilson_pct(10, 10, 1) == 100.0


def test_thin_coverage_is_not_enough_data_however_good_the_rest(store: Store) -> None:
    days = [f"2026-02-{day:02}" for day in range(2, 21) if day not in (8, 15)]
    for day in days:
        put(store, "link", minutes(day, count=600), rtt_median_ms=20.0, jitter_ms=1.0, loss_pct=0.0)
    found = row(report(store), "internet.loss")
    assert (found["verdict"], found["met_pct"]) == ("not enough data", 100.0)
    assert found["coverage_pct"] == pytest.approx(100 * 17 * 600 / (24 * 720), abs=0.1)
    assert words(found["reason"]) == "59 % of the open minutes, at least 90 % needed"


def test_a_silent_center_does_not_pass(store: Store) -> None:
    found = report(store)
    presence = row(found, "presence.silent")
    assert (presence["verdict"], presence["samples"], presence["met"]) == ("below", 24 * 720, 0)
    assert {item["verdict"] for item in found["criteria"]} == {"below", "not enough data"}


def test_each_line_has_its_own_row(store: Store) -> None:
    put(store, "link", minutes("2026-02-02"), subject="fibre", loss_pct=0.0)
    put(store, "link", minutes("2026-02-02"), subject="radio", loss_pct=9.0)
    found = report(store)
    assert row(found, "internet.loss", "fibre")["met"] == 1  # a day is one sample
    assert row(found, "internet.loss", "radio")["met"] == 0


def far_hop(sent: int) -> str:
    """A router that was asked often, and the far end."""
    hops = [
        {"role": "lan", "target": "192.0.2.1", "method": "icmp", "sent": 999, "received": 999},
        {"role": "collector", "target": "192.0.2.2", "method": "icmp", "sent": sent, "received": 0},
    ]
    return json.dumps(hops)


def test_a_days_loss_is_that_of_all_its_packets(store: Store) -> None:
    put(store, "link", minutes("2026-02-02", count=100), loss_pct=0.0, hops=far_hop(90))
    put(store, "link", minutes("2026-02-02", "12:00", count=100), loss_pct=20.0, hops=far_hop(10))
    put(store, "link", minutes("2026-02-03", count=100), loss_pct=0.0, hops=far_hop(10))
    put(store, "link", minutes("2026-02-03", "12:00", count=100), loss_pct=20.0, hops=far_hop(90))
    found = row(report(store), "internet.loss")
    assert (found["samples"], found["days"], found["met"]) == (2, 2, 1)  # 2 % and 18 % lost; a mean of minutes says 10
    assert (found["p10"], found["p90"]) == (2.0, 18.0)
    assert 400 <= found["covered_minutes"] <= 404  # a reading also speaks for its neighbour


def test_readings_that_do_not_tell_how_much_was_sent_count_alike(store: Store) -> None:
    for hops in (None, "[]", "{", '[{"role":"lan","target":"x","method":"icmp","sent":9,"received":9}]'):
        put(store, "link", minutes("2026-02-02", count=10), loss_pct=1.0, hops=hops)
        put(store, "link", minutes("2026-02-02", "12:00", count=30), loss_pct=5.0, hops=hops)
    assert row(report(store), "internet.loss")["median"] == 4.0


def test_a_minute_of_loss_no_longer_spoils_nor_a_clean_one_saves_a_day(store: Store) -> None:
    for day in range(2, 21):
        lossy = 20 if day % 2 else 200  # of 720 minutes, each a quarter lost
        put(store, "link", minutes(f"2026-02-{day:02}", count=lossy), loss_pct=25.0, hops=far_hop(20))
        put(store, "link", minutes(f"2026-02-{day:02}", "13:00", count=480), loss_pct=0.0, hops=far_hop(20))
    found = row(report(store), "internet.loss")
    working = [day for day in range(2, 21) if day % 7 != 1]
    assert (found["samples"], found["met"]) == (len(working), sum(day % 2 for day in working))


def test_another_centers_readings_are_not_this_ones(store: Store) -> None:
    put(store, "link", minutes("2026-02-02"), loss_pct=0.0)
    with store.write() as conn:
        conn.execute(sa.update(schema.readings["link"]).values(center="X"))
    found = report(store)
    assert row(found, "internet.loss")["samples"] == 0
    assert found["minutes"]["measured"] == 0


def test_no_month_is_held_against_a_notice(store: Store) -> None:
    put(store, "ups", minutes("2026-02-02"), output_state="battery", self_test=None)
    assert "power.mains" not in {item["criterion"] for item in report(store)["criteria"]}


def test_words_have_counts_but_no_percentiles(store: Store) -> None:
    put(store, "ups", minutes("2026-02-02"), output_state="online", battery_replace=False)
    put(store, "ups", minutes("2026-02-03", count=10), output_state="bypass", battery_replace=True)
    found = report(store)
    protected, battery = row(found, "power.protected"), row(found, "power.battery")
    assert (protected["samples"], protected["met"], protected["median"]) == (730, 720, None)
    assert (battery["samples"], battery["met"]) == (730, 720)


def test_flags_of_a_test_are_read_from_their_column(store: Store) -> None:
    speed(store, four_a_day(5), 3.0, flags='["not_saturated"]')
    speed(store, four_a_day(5, first=9), 900.0, flags='["implausible"]')
    assert row(report(store), "internet.download")["samples"] == 0


def test_a_test_counts_as_far_as_its_server_saw_it(store: Store, vouch) -> None:
    days = four_a_day(60)
    for i, wall_ms in enumerate(days):
        speed(store, [wall_ms], 20.0, test_id=f"t{i}")
    vouch(store, CENTER.code, "g0", {f"t{i}": (20.0 if i % 2 else 12.0, 9.0) for i in range(59)}, days[0])
    found = row(report(store, Standards.of([WITNESSED])), "internet.download")
    assert (found["samples"], found["met"], found["grade"]) == (
        59,
        29,
        "E2",
    )  # the server's own figure counts in place of another one
    saw = "download: gateway g0 says 20 Mbit/s, server s saw 12 Mbit/s; they may differ by 5 %"
    assert uncounted(found) == {
        f"Not counted: the server saw another figure: {saw}": 30,
        "Not counted: the server – is none of ours": 1,
    }


def test_a_report_with_witnesses_is_the_same_each_time(store: Store, vouch) -> None:
    days = four_a_day(50)
    for i, wall_ms in enumerate(days):
        speed(store, [wall_ms], 20.0, test_id=f"t{i}")
    vouch(store, CENTER.code, "g0", {f"t{i}": (20.0, 9.0) for i in range(49)}, days[0])
    first, later = (
        as_json(report(store, Standards.of([WITNESSED]), now_ms=AFTER + later)) for later in (0, 90 * 86_400_000)
    )
    assert first == later


def test_percentiles_are_of_the_values_themselves() -> None:
    assert [percentile({5.0: 1, 1.0: 1, 3.0: 1, 2.0: 1, 4.0: 1}, p) for p in (10, 50, 90)] == [1.0, 3.0, 5.0]
    assert percentile({7.0: 1}, 10) == 7.0
    assert percentile({}, 50) is None


def test_a_reading_is_judged_by_the_version_that_held_then(store: Store) -> None:
    speed(store, four_a_day(40), 20.0)
    half = at("2026-02-08T00:00")
    older = replace(PLAIN, valid_to_ms=half)
    stricter = tuple(
        replace(item, count_at_pct=200.0) if item.id == "internet.download" else item for item in PLAIN.criteria
    )
    newer = replace(PLAIN, id="example-2026-3", valid_from_ms=half, criteria=stricter)
    found = report(store, Standards.of([older, newer]))
    assert found["standard"]["id"] == "example-2026-3"
    assert 0 < row(found, "internet.download")["met"] < row(found, "internet.download")["samples"]


# ---------------------------------------------------------------- minutes


def test_the_ledger_tells_dark_from_silent_from_ours(store: Store) -> None:
    enrol(store, at("2026-02-02T10:00"))
    put(store, "link", minutes("2026-02-02", "10:00", 600), loss_pct=0.0)
    power = {"previous_end": "power", "last_alive_ms": at("2026-02-02T20:00")}
    put(store, "boot", [at("2026-02-02T20:30")], **power)
    put(store, "boot", [at("2026-02-03T12:00")], previous_end="crash", last_alive_ms=at("2026-02-03T11:00"))
    deaf = {
        "center": "*", "criterion": "collector.deaf", "subject": "", "recorded_ms": 0, "reason": "", "standard": "",
    }  # fmt: skip
    with store.write() as conn:
        conn.execute(
            sa.insert(schema.changes),
            [
                {**deaf, "was": "clear", "now": "raised", "at_ms": at("2026-02-03T09:00")},
                {**deaf, "was": "raised", "now": "clear", "at_ms": at("2026-02-03T09:15")},
                {**deaf, "center": "X", "was": "clear", "now": "raised", "at_ms": at("2026-02-04T09:00")},
            ],
        )
    found = report(store)
    book = found["ledger"]
    assert (found["minutes"]["before"], book["ours"]) == (60 - 1, 15)  # a reading at 10:00 speaks for 09:59 too
    assert found["minutes"]["measured"] == 601
    assert book["unknown_explained"] == 30
    assert sum(book.values()) == 2 * book["open"] == 2 * (24 * 720 - 59)


# ---------------------------------------------------------------- the same every time


def test_the_same_evidence_gives_the_same_bytes(store: Store) -> None:
    speed(store, four_a_day(50), 20.0)
    put(store, "link", minutes("2026-02-02"), loss_pct=0.5, rtt_median_ms=33.3, jitter_ms=1.25)
    first, later = report(store), report(store, now_ms=AFTER + 90 * 86_400_000)
    for form in (as_json, as_csv, as_html):
        assert form(first) == form(later)


def test_other_evidence_gives_another_digest(store: Store) -> None:
    speed(store, four_a_day(50), 20.0)
    before = report(store)["evidence"]["sha256"]
    speed(store, [at("2026-02-27T11:00")], 20.0)
    assert report(store)["evidence"]["sha256"] != before


def test_a_month_that_is_not_over_counts_up_to_now_and_says_so(store: Store) -> None:
    found = report(store, now_ms=at("2026-02-03T09:00"))
    assert (found["complete"], found["ledger"]["open"]) == (False, 720)


# ---------------------------------------------------------------- forms


def test_the_page_escapes_what_people_wrote_and_needs_nothing_from_elsewhere(store: Store) -> None:
    page = as_html(report(store))
    assert "Gulberg &lt;b&gt;" in page
    assert "Gulberg <b>" not in page
    assert "No official technical standard" in page

    class Links(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "onclick")]
            self.found += [tag] if tag in ("script", "link", "iframe") else []

    links = Links()
    links.feed(page)
    assert links.found == []


def test_the_table_has_a_row_a_criterion(store: Store) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(report(store)))))
    assert [line["criterion"] for line in lines] == [
        item.id for item in timeless().criteria if item.severity != "notice"
    ]
    assert lines[0]["standard_sha256"] == timeless().digest


@pytest.mark.parametrize("text", ["=1+1", "+1", "-cmd", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    assert safe_cell(-1.5) == -1.5
    assert safe_cell("plain") == "plain"


# ---------------------------------------------------------------- the command


def test_the_command_writes_a_file(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    words = ["report", "--center", "LHR-001", "--month", "2026-02", "--output", str(out), "--database", str(store.url)]
    assert main([*words, "--data", str(tmp_path)]) == 0
    assert json.loads(out.read_text())["center"]["code"] == "LHR-001"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--month", "2026-13"], 2, "month '2026-13': must be a year and a month; write e.g. 2026-01"),
        (["--month", "9026-01"], 2, "month 9026-01: has not begun; name this month or an earlier one"),
        (["--month", "2025-02"], 2, "month 2025-02: no standard holds at its end; add its version to [standard] files"),
        (["--center", "X-1"], 1, "center 'X-1': is not registered; see `nabz-collector center list`"),
    ],
)
def test_a_report_that_cannot_be_is_one_sentence(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, sentence: str
) -> None:
    usual = ["report", "--center", "LHR-001", "--month", "2026-02", "--database", str(store.url)]
    assert main([*usual, *words, "--data", str(tmp_path)]) == code
    assert capsys.readouterr().err == sentence + "\n"


def test_december_ends_with_the_year() -> None:
    found = period("2025-12", TZ, AFTER)
    assert (found.from_ms, found.to_ms) == (at("2025-12-01T00:00"), at("2026-01-01T00:00"))


@pytest.mark.parametrize("month", ["", "2026", "2026-1", "2026-00", "1969-12", "٢٠٢٦-٠١", "2026-01\n"])
def test_what_is_no_month_is_refused(month: str) -> None:
    with pytest.raises(ReportError):
        period(month, TZ, AFTER)
