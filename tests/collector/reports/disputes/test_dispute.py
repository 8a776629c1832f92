"""What may be disputed until when, who decides, what a decision may take out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collector.register.dated import day_ms
from collector.reports.disputes import dispute
from collector.reports.disputes.dispute import DAY_MS, Dispute, DisputeError, Filing, Ruling

NOVEMBER, DECEMBER = day_ms("2026-11-01"), day_ms("2026-12-01")
NOW = DECEMBER + 10 * DAY_MS
CRITERIA = ("internet.download", "power.backup")
FILING = Filing(center="LHR-1", month="2026-11", text="the line was full by our own backup")
FILED = Dispute(
    **vars(FILING), id=3, filed_ms=NOW - DAY_MS, filed_by="Omar", state="filed", witness="", test_from_ms=None,
    test_to_ms=None, test_by="", test_id="", outcome="", decided_ms=None, decided_by="", reason="",
    excused_from_ms=None, excused_to_ms=None,
)  # fmt: skip


def refusal(call, *args: object) -> str:
    with pytest.raises(DisputeError) as caught:
        call(*args)
    assert len(str(caught.value)) > 20
    return caught.value.reason.code.removeprefix("dispute.")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"month": "2026-13"}, "no_month"),
        ({"month": "<script>"}, "no_month"),
        ({"month": "2027-01"}, "not_begun"),
        ({"month": "2026-12", "day": "2026-12-20"}, "not_begun"),
        ({"day": "2026-12-01"}, "no_day"),
        ({"day": "2026-11-31"}, "no_day"),
        ({"day": "20261105"}, "no_day"),
        ({"criterion": "internet.colour"}, "no_criterion"),
        ({"text": " \n"}, "no_text"),
    ],
)
def test_what_is_no_dispute_is_refused(changes: dict[str, str], code: str) -> None:
    assert refusal(dispute.check_filing, replace(FILING, **changes), CRITERIA, None, NOW) == code


def test_a_closed_month_may_be_disputed_for_as_long_as_the_setting_says() -> None:
    until_ms = dispute.deadline_ms(DECEMBER, 30)
    assert until_ms == DECEMBER + 30 * DAY_MS
    dispute.check_filing(FILING, CRITERIA, until_ms, until_ms)
    assert refusal(dispute.check_filing, FILING, CRITERIA, until_ms, until_ms + 1) == "late"
    assert dispute.deadline_ms(None, 30) is None
    dispute.check_filing(replace(FILING, criterion="power.backup", day="2026-11-30"), CRITERIA, None, NOW)


def test_a_day_is_a_day_of_the_center_and_a_month_ends_where_the_next_begins() -> None:
    assert dispute.month_span("2026-11") == (NOVEMBER, DECEMBER)
    assert dispute.month_span("2026-12")[1] == day_ms("2027-01-01")
    day = day_ms("2026-11-05")
    assert dispute.span_of(replace(FILING, day="2026-11-05")) == (day, day + DAY_MS)


def decide(decision: Ruling, by: str = "sara", held: Dispute = FILED) -> None:
    dispute.check_decision(held, decision, by, "omar", NOW)


def test_another_person_decides_with_reasons_and_once() -> None:
    good = Ruling(outcome="upheld", reason="the provider confirms it", excused=(NOVEMBER, NOVEMBER + DAY_MS))
    decide(good)
    assert refusal(decide, good, "omar") == "own"
    assert refusal(decide, good, "") == "own"
    assert refusal(decide, replace(good, reason="  ")) == "no_reason"
    assert refusal(decide, replace(good, outcome="refused")) == "not_excused"
    assert refusal(decide, good, "sara", replace(FILED, state="decided")) == "over"
    decide(replace(good, outcome="refused", excused=None), held=replace(FILED, state="test"))


@pytest.mark.parametrize("span", [(0, 1), (1, 1), (1, 0), (-1, 5), (0, 40 * DAY_MS)])
def test_only_a_time_of_what_is_disputed_is_taken_out(span: tuple[int, int]) -> None:
    decision = Ruling(outcome="upheld", reason="seen", excused=(NOVEMBER + span[0], NOVEMBER + span[1]))
    if span == (0, 1):
        return decide(decision)
    assert refusal(decide, decision) == "no_time"
    return None


def test_what_has_not_happened_yet_is_not_taken_out() -> None:
    held = replace(FILED, month="2026-12")
    decide(Ruling(outcome="upheld", reason="seen", excused=(DECEMBER, NOW)), held=held)
    assert refusal(decide, Ruling(outcome="upheld", reason="seen", excused=(DECEMBER, NOW + 1)), "s", held) == "no_time"


@pytest.mark.parametrize(
    ("begin_ms", "length_ms", "is_fit"),
    [
        (0, dispute.HOUR_MS * 8, True), (0, dispute.HOUR_MS - 1, False), (0, 15 * DAY_MS, False),
        (-DAY_MS, DAY_MS, False), (DAY_MS, -DAY_MS, False),
    ],
)  # fmt: skip
def test_a_witness_is_there_ahead_and_for_a_while(begin_ms: int, length_ms: int, is_fit: bool) -> None:
    window = (NOW + begin_ms, NOW + begin_ms + length_ms)
    if is_fit:
        return dispute.check_window(window, NOW)
    assert refusal(dispute.check_window, window, NOW) == "no_window"
    return None
