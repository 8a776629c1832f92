"""What a dispute is, and what may become of it: no input or output; `now_ms` is an argument.

    filed ──arranged──▶ test ──┐
      ├────────────────────────┴─▶ decided (upheld, partly, refused)
      └─▶ withdrawn (by whoever filed it)

How long a closed month may be disputed is a setting. A decision is another person's than the filer's, has a reason, and
may take a time out of the month; it becomes a revision of the report.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

from agent.common.center_time import CENTER_TIME
from agent.common.reasons import Reason
from agent.common.words import CodedError

State = Literal["filed", "test", "decided", "withdrawn"]
Outcome = Literal["upheld", "partly", "refused"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
OPEN: tuple[State, ...] = ("filed", "test")

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
MAX_TEXT = 2000
MAX_NAME = 64
LONGEST_WINDOW_MS = 14 * DAY_MS  # in which a witnessed test may come
SHORTEST_WINDOW_MS = HOUR_MS

Span = tuple[int, int]  # from, to (exclusive)


class DisputeError(CodedError):
    """It cannot be filed or decided so; its code says why."""

    def __init__(self, code: str, /, **params: str | int) -> None:
        super().__init__(Reason.of(code, **params))


@dataclass(frozen=True, kw_only=True)
class Filing:
    """What an operator disputes: a month, perhaps one day of it, perhaps one criterion. `text` says why."""

    center: str
    month: str
    day: str = ""
    criterion: str = ""
    text: str
    wants_test: bool = False


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What a person decided; `excused` is a time that is taken out of the month."""

    outcome: Outcome
    reason: str
    excused: Span | None = None


@dataclass(frozen=True, kw_only=True)
class Dispute(Filing):
    """A row."""

    id: int
    filed_ms: int
    filed_by: str
    state: State
    witness: str
    test_from_ms: int | None
    test_to_ms: int | None
    test_by: str
    test_id: str
    outcome: Outcome | Literal[""]
    decided_ms: int | None
    decided_by: str
    reason: str
    excused_from_ms: int | None
    excused_to_ms: int | None

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def excused(self) -> Span | None:
        if self.excused_from_ms is None or self.excused_to_ms is None:
            return None
        return self.excused_from_ms, self.excused_to_ms


# ---------------------------------------------------------------- times


def month_span(month: str) -> Span:
    """Of a month such as 2026-11 by the centers' clock. Raises DisputeError."""
    if re.fullmatch(r"(19[7-9]|20\d|21\d)\d-(0[1-9]|1[0-2])", month) is None:
        raise DisputeError("dispute.no_month", month=month[:20])
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=CENTER_TIME)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return round(first.timestamp() * 1000), round(after.timestamp() * 1000)


def span_of(filing: Filing) -> Span:
    """The time that it is about. Raises DisputeError."""
    from_ms, to_ms = month_span(filing.month)
    if not filing.day:
        return from_ms, to_ms
    try:
        day = date.fromisoformat(filing.day)
    except ValueError:
        raise DisputeError("dispute.no_day", day=filing.day[:20], month=filing.month) from None
    begin_ms = round(datetime(day.year, day.month, day.day, tzinfo=CENTER_TIME).timestamp() * 1000)
    if filing.day != day.isoformat() or not from_ms <= begin_ms < to_ms:
        raise DisputeError("dispute.no_day", day=filing.day[:20], month=filing.month)
    return begin_ms, begin_ms + DAY_MS


def day_of(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, CENTER_TIME):%Y-%m-%d}"


def deadline_ms(closed_ms: int | None, days: int) -> int | None:
    """Until when a month may be disputed whose newest report was closed then; None while none is closed."""
    return None if closed_ms is None else closed_ms + days * DAY_MS


# ---------------------------------------------------------------- rules


def check_filing(filing: Filing, criteria: Collection[str], until_ms: int | None, now_ms: int) -> None:
    """`criteria` are those of the standard of that month. Raises DisputeError."""
    from_ms, _ = span_of(filing)
    if from_ms > now_ms:
        raise DisputeError("dispute.not_begun", month=filing.day or filing.month)
    if until_ms is not None and now_ms > until_ms:
        raise DisputeError("dispute.late", month=filing.month, day=day_of(until_ms))
    if filing.criterion and filing.criterion not in criteria:
        raise DisputeError("dispute.no_criterion", criterion=filing.criterion[:40], month=filing.month)
    if not filing.text.strip():
        raise DisputeError("dispute.no_text")


def check_open(dispute: Dispute) -> None:
    """Raises DisputeError."""
    if not dispute.is_open:
        raise DisputeError("dispute.over", number=dispute.id)


def check_window(window: Span, now_ms: int) -> None:
    """Of a witnessed test. Raises DisputeError."""
    from_ms, to_ms = window
    is_fit = SHORTEST_WINDOW_MS <= to_ms - from_ms <= LONGEST_WINDOW_MS
    if not is_fit or to_ms <= now_ms + SHORTEST_WINDOW_MS:
        raise DisputeError("dispute.no_window")


def check_decision(dispute: Dispute, decision: Ruling, by_key: str, filer_key: str, now_ms: int) -> None:
    """The keys are the persons' names without regard to case and spaces. Raises DisputeError."""
    check_open(dispute)
    if not by_key or by_key == filer_key:
        raise DisputeError("dispute.own", number=dispute.id)
    if not decision.reason.strip():
        raise DisputeError("dispute.no_reason")
    if decision.excused is None:
        return
    if decision.outcome == "refused":
        raise DisputeError("dispute.not_excused")
    from_ms, to_ms = span_of(dispute)
    begin_ms, end_ms = decision.excused
    if not from_ms <= begin_ms < end_ms <= min(to_ms, now_ms):
        raise DisputeError("dispute.no_time", begin=day_of(from_ms), end=day_of(to_ms - 1))
