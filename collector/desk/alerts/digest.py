"""What a digest says: what is open, what is at risk with the days left, and what to fix first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.common.words import PlainWords
from collector.desk.alerts.channel import AlertMessage
from collector.desk.symptoms import SEVERITIES, Scope
from collector.standard.criteria import Criterion, Severity
from collector.standard.names import fix_of, name_of

DigestKind = Literal["daily", "weekly"]
NAMED = 5  # incidents, fixes and risks that a digest names; the rest is a number


@dataclass(frozen=True)
class OpenIncident:
    """`place` is a center's name, or what the incident of a group is about."""

    number: int
    scope: Scope
    place: str
    cause: str  # of the catalogue's `gap`; empty: not known
    family: str
    lasted_s: float
    owner: str
    priority: float


@dataclass(frozen=True)
class RaisedFlag:
    """A center is below a criterion now."""

    center: str
    name: str
    criterion: Criterion
    since_ms: int


@dataclass(frozen=True)
class CenterRisk:
    """A center that is about to be below a criterion; `days_left` None: it cannot be told. `of_month`: until its
    running month falls short, 0: the month can no longer meet it."""

    center: str
    name: str
    criterion: Criterion
    days_left: int | None = None
    of_month: bool = False


@dataclass(frozen=True)
class DigestFacts:
    centers: int
    silent: int
    incidents: Sequence[OpenIncident] = ()
    flags: Sequence[RaisedFlag] = ()
    risks: Sequence[CenterRisk] = ()

    @property
    def is_quiet(self) -> bool:
        return not (self.incidents or self.flags or self.risks)


def digest(kind: DigestKind, facts: DigestFacts, base_url: str, languages: Sequence[PlainWords]) -> AlertMessage:
    """Once in each language, the title in the first."""
    blocks = [(_title(kind, facts, words), list(_lines(facts, base_url, words))) for words in languages]
    (title, first), *others = blocks
    text = "\n\n".join(["\n".join(first), *("\n".join((head, *lines)) for head, lines in others)])
    return AlertMessage(title, text, "raised" if facts.incidents or facts.flags else "cleared")


def _title(kind: DigestKind, facts: DigestFacts, words: PlainWords) -> str:
    count = words.number(len(facts.incidents))
    return words(f"digest.title.{kind}", n=count, centers=words.number(facts.centers))


def _lines(facts: DigestFacts, base_url: str, words: PlainWords) -> Iterator[str]:
    if facts.is_quiet:
        yield words("digest.quiet")
    if facts.silent:
        yield words("digest.silent", n=words.number(facts.silent))
    if facts.incidents:
        yield words("digest.open")
        yield from (f"- {_incident(one, words)}" for one in most_urgent(facts.incidents))
        yield from _more(facts.incidents, words)
    if facts.flags:
        yield words("digest.first")
        yield from (f"- {_fix(one, words)}" for one in first_fixes(facts.flags))
        yield from _more(facts.flags, words)
    if facts.risks:
        yield words("digest.risk")
        yield from (f"- {_risk(one, words)}" for one in nearest(facts.risks))
        yield from _more(facts.risks, words)
    yield words("alert.more", url=words.ltr(f"{base_url}/incidents"))


def most_urgent(incidents: Sequence[OpenIncident]) -> list[OpenIncident]:
    return sorted(incidents, key=lambda one: (-one.priority, one.number))[:NAMED]


def first_fixes(flags: Sequence[RaisedFlag]) -> list[RaisedFlag]:
    """The most severe, of those the ones that last longest."""
    return sorted(flags, key=lambda one: (-_weight(one.criterion.severity), one.since_ms, one.center))[:NAMED]


def nearest(risks: Sequence[CenterRisk]) -> list[CenterRisk]:
    """Those with the fewest days left, then those of which it is not known."""

    def order(one: CenterRisk) -> tuple[bool, int, int, str]:
        return one.days_left is None, one.days_left or 0, -_weight(one.criterion.severity), one.center

    return sorted(risks, key=order)[:NAMED]


def _weight(severity: Severity) -> int:
    return SEVERITIES.index(severity)


def _incident(one: OpenIncident, words: PlainWords) -> str:
    place = words(f"incident.scope.{one.scope}", place=words.name(one.place))
    what = words.word("gap", one.cause) if one.cause else words(f"incident.family.{one.family}")
    owner = words("digest.owner", name=words.name(one.owner)) if one.owner else words("digest.no_owner")
    return words(
        "digest.incident", id=words.number(one.number), place=place, cause=what, lasted=words.duration(one.lasted_s),
        owner=owner,
    )  # fmt: skip


def _fix(one: RaisedFlag, words: PlainWords) -> str:
    what, how = name_of(one.criterion, words), fix_of(one.criterion, words)
    return words("digest.fix", center=words.name(one.name), criterion=what, fix=how)


def _risk(one: CenterRisk, words: PlainWords) -> str:
    what = name_of(one.criterion, words)
    if one.days_left is None:
        return words("digest.near", center=words.name(one.name), criterion=what)
    if one.of_month and one.days_left == 0:
        return words("digest.month_lost", center=words.name(one.name), criterion=what)
    text = "digest.month_left" if one.of_month else "digest.days_left"
    return words.many(text, one.days_left, center=words.name(one.name), criterion=what)


def _more(entries: Sequence[object], words: PlainWords) -> Iterator[str]:
    if len(entries) > NAMED:
        yield words("digest.more", n=words.number(len(entries) - NAMED))
