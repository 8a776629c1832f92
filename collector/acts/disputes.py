"""Disputes from filing to the revision of the report. Who may is the caller's to check."""

from __future__ import annotations

import sqlalchemy as sa

from agent.common.reasons import Reason
from collector.access import users
from collector.acts import notices
from collector.acts.notices import NoticeBoard
from collector.acts.person import ActingPerson
from collector.judging import reopening
from collector.register import calendar, centers
from collector.register.calendar import CalendarEntry
from collector.reports.disputes import attachments, records, witnessed
from collector.reports.disputes.attachments import Attachment
from collector.reports.disputes.dispute import Dispute, Filing, Outcome, Ruling, Span, day_of, month_span, span_of
from collector.standard import Standards

OUTCOMES: dict[Outcome, str] = {
    "upheld": "disputes.outcome.upheld", "partly": "disputes.outcome.partly", "refused": "disputes.outcome.refused",
}  # fmt: skip


def criteria_of(standards: Standards, month: str) -> tuple[str, ...]:
    """Those that a month is held against: what may be disputed. Raises DisputeError."""
    standard = standards.at(month_span(month)[1] - 1)
    return tuple(one.id for one in standard.criteria if one.id not in standard.notices) if standard else ()


def file(conn: sa.Connection, filing: Filing, who: ActingPerson, standards: Standards, days: int) -> Dispute:
    """`days` is for how long a closed month may be disputed. Raises DisputeError, centers.CenterError."""
    centers.get(conn, filing.center)
    dispute = records.file(conn, filing, who.name, criteria_of(standards, filing.month), days, who.now_ms)
    _record(conn, "dispute_filed", dispute, who, dispute.text)
    return dispute


def attach(conn: sa.Connection, number: int, name: str, body: bytes, who: ActingPerson) -> Attachment:
    """A file with a dispute that is open. Raises DisputeError."""
    dispute = records.get(conn, number)
    one = attachments.add(conn, dispute, name, body, who.name, who.now_ms)
    _record(conn, "dispute_file", dispute, who, f"{one.name} {one.sha256}")
    return one


def withdraw(conn: sa.Connection, number: int, who: ActingPerson) -> Dispute:
    """Raises DisputeError."""
    dispute = records.withdraw(conn, records.get(conn, number), who.now_ms)
    _record(conn, "dispute_dropped", dispute, who, "")
    return dispute


def arrange_test(
    conn: sa.Connection, number: int, witness: str, window: Span, who: ActingPerson, board: NoticeBoard
) -> Dispute:
    """Raises DisputeError, centers.CenterError."""
    dispute, test_id = records.get(conn, number), witnessed.new_id()
    result = records.arrange_test(conn, dispute, witness, window, test_id, who.name, who.now_ms)
    _record(conn, "dispute_test", result, who, result.witness)
    text = Reason.of(
        "notice.dispute_test", number=result.id, center=result.center, name=result.witness, begin=day_of(window[0]),
        end=day_of(window[1] - 1),
    )  # fmt: skip
    _tell(conn, result, text, who, board)
    return result


def decide(conn: sa.Connection, number: int, decision: Ruling, who: ActingPerson, board: NoticeBoard) -> Dispute:
    """The report of the month is revised, and a time that is taken out stands in the calendar by both persons. Raises
    DisputeError, centers.CenterError."""
    dispute = records.decide(conn, records.get(conn, number), decision, who.name, who.now_ms)
    if decision.excused is not None:
        _excuse(conn, dispute, decision.excused, who)
    reopening.record_dispute(conn, dispute.center, month_span(dispute.month)[0], who.now_ms)
    _record(conn, "dispute_decided", dispute, who, f"{dispute.outcome}: {dispute.reason}")
    text = Reason.of(
        "notice.dispute_decided", number=dispute.id, center=dispute.center, month=dispute.day or dispute.month,
        outcome=Reason(OUTCOMES[decision.outcome]), text=dispute.reason[:400],
    )  # fmt: skip
    _tell(conn, dispute, text, who, board)
    return dispute


def _excuse(conn: sa.Connection, dispute: Dispute, excused: Span, who: ActingPerson) -> None:
    entry = CalendarEntry(
        kind="dispute", scope="center", subject=dispute.center, from_ms=excused[0], to_ms=excused[1],
        recorded_ms=who.now_ms, recorded_by=dispute.filed_by, reason=f"dispute {dispute.id}: {dispute.reason}",
    )  # fmt: skip
    calendar.add(conn, [entry], second=who.name)
    reopening.record_calendar(conn, [dispute.center], *excused, who.now_ms)


def _record(conn: sa.Connection, act: users.Act, dispute: Dispute, who: ActingPerson, why: str) -> None:
    span = span_of(dispute)
    about = " ".join(filter(None, (day_of(span[0]) if dispute.day else dispute.month, dispute.criterion)))
    users.record(
        conn, act, who.name, who.now_ms, is_proven=who.is_proven, subject=f"dispute {dispute.id}",
        center=dispute.center, reason=f"{about}: {why}".removesuffix(": "),
    )  # fmt: skip


def _tell(conn: sa.Connection, dispute: Dispute, text: Reason, who: ActingPerson, board: NoticeBoard) -> None:
    title = Reason.of("notice.dispute", number=dispute.id, center=dispute.center)
    center = centers.get(conn, dispute.center)
    notices.tell(conn, board, center, title, text, f"/disputes/{dispute.id}", who.now_ms)
