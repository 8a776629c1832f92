"""From changes to words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agent.common.center_time import TZ
from collector.alerts.channel import AlertMessage, Event
from collector.flags.cause import SAID, WEIGHT, Cause
from collector.flags.judge import show
from collector.register.opening_hours import local
from collector.standard.criteria import EVERYONE, Criterion, Standard

SUMMARY = "Many changes at once"
NAMED = 10  # centers that a summary names
EVIDENCE = 2  # sentences of it in a message; the page has all


@dataclass(frozen=True)
class Announcement:
    """A change that people are told of, with its center's facts. `began_ms`: when a cleared flag was raised. `cause`:
    why the center was silent, if it was and anything tells."""

    id: int
    center: str
    criterion: str
    subject: str
    was: str
    now: str
    at_ms: int
    value: float | None
    bound: float | None
    reason: str
    name: str | None = None
    city: str | None = None
    province: str | None = None
    began_ms: int | None = None
    cause: Cause | None = None

    @property
    def event(self) -> Event:
        return "raised" if self.now == "raised" else "cleared"


def message(told: Announcement, standard: Standard | None, base_url: str) -> AlertMessage:
    """One change: center, what, since, value against bound, cause, fix, link."""
    criterion = standard.by_id.get(told.criterion) if standard else None
    what = criterion.name.en if criterion else told.criterion
    where = told.name or ("the collector" if told.center == EVERYONE else told.center)
    raised = told.event == "raised"
    title = f"{where}: {what} {'is below the standard' if raised else 'is well again'}"
    if told.center == EVERYONE:
        title = what if raised else "The collector hears the centers again"
    tz = standard.tz if standard else TZ
    lines = [
        f"Center: {_center(told)}",
        f"What: {what} ({' '.join(filter(None, (told.criterion, told.subject)))})",
        f"Since: {local(told.at_ms, tz)}{_lasted(told)}",
        *_numbers(told, criterion),
        f"Why: {told.reason}",
        *_cause(told.cause),
        *((f"Severity: {criterion.severity}", *_fix(criterion)) if raised and criterion else ()),
        f"More: {base_url}/{'' if told.center == EVERYONE else f'centers/{told.center}'}",
        *([_standard(standard)] if standard else ()),
    ]
    return AlertMessage(title, "\n".join(lines), told.event)


def summary(told: Sequence[Announcement], standard: Standard | None, base_url: str) -> AlertMessage:
    """Many changes in one message: how many of what, and where."""
    centers = sorted({item.center for item in told})
    raised, cleared = ([item for item in told if item.event == event] for event in ("raised", "cleared"))
    lines = [
        f"{len(told)} changes at {len(centers)} centers; single messages are held back while there are so many.",
        f"Raised: {_counts(raised, standard)}",
        f"Cleared: {_counts(cleared, standard)}",
        f"Where: {_top(Counter(item.province or 'not known' for item in told))}",
        f"Centers: {', '.join(centers[:NAMED])}{' …' if len(centers) > NAMED else ''}",
        f"More: {base_url}/",
    ]
    return AlertMessage(f"{SUMMARY}: {len(told)} at {len(centers)} centers", "\n".join(lines))


def _center(told: Announcement) -> str:
    if told.center == EVERYONE:
        return "none; this is about the collector itself"
    return f"{told.center}{f' {told.name}' if told.name else ''}{f', {told.city}' if told.city else ''}"


def _lasted(told: Announcement) -> str:
    if told.event == "raised" or told.began_ms is None:
        return ""
    hours, minutes = divmod((told.at_ms - told.began_ms) // 60_000, 60)
    return f" (was below for {f'{hours} h ' if hours else ''}{minutes} min)"


def _numbers(told: Announcement, criterion: Criterion | None) -> list[str]:
    if told.value is None or told.bound is None:
        return []
    unit = criterion.unit if criterion else ""
    side = "at most" if criterion and criterion.compare == "at_most" else "at least"
    return [f"Measured: {show(told.value, unit)}; asked: {side} {show(told.bound, unit)}"]


def _cause(cause: Cause | None) -> list[str]:
    if cause is None or cause.name == "unknown":
        return []
    name, weight = SAID[cause.name], WEIGHT[cause.grade]
    said = [f"Cause: {name.en} ({weight.en})", f"وجہ: {name.ur} ({weight.ur})"]
    return said + [f"Evidence: {word}" for word in cause.evidence[:EVIDENCE]]


def _fix(criterion: Criterion) -> tuple[str, str]:
    return f"Do: {criterion.fix.en}", f"کریں: {criterion.fix.ur}"


def _standard(standard: Standard) -> str:
    return f"Standard: {standard.id}{'' if standard.official else ' (an example, not official)'}"


def _counts(told: Sequence[Announcement], standard: Standard | None) -> str:
    names = standard.by_id if standard else {}
    return _top(Counter(names[item.criterion].name.en if item.criterion in names else item.criterion for item in told))


def _top(counted: Counter[str]) -> str:
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} ({count})" for name, count in ordered[:NAMED]) or "none"
