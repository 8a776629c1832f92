"""What people read of an incident of many centers, or of what time did to one: where, since when, how wide, why, whom
to call. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.common.center_time import TZ
from agent.common.reasons import Reason
from agent.common.words import PlainWords, Renderer
from collector.desk.incident import Act, Incident
from collector.desk.view.contacts import Number
from collector.judging.flags.cause import Cause
from collector.register.opening_hours import local
from collector.standard.criteria import Standard

NAMED = 10  # centers that a message names
EVIDENCE = 2  # sentences of it


@dataclass(frozen=True)
class IncidentNews:
    """An event of an incident, with what its message needs. `name` is of the center, for an incident of one,
    `person` who did what it is about, and `text` what they wrote."""

    act: Act
    incident: Incident
    at_ms: int
    detail: Reason | None = None
    cause: Cause | None = None
    numbers: tuple[Number, ...] = ()
    centers: tuple[str, ...] = ()
    name: str = ""
    person: str = ""
    text: str = ""

    @property
    def is_over(self) -> bool:
        return self.act == "resolved"


def place_of(incident: Incident, words: Renderer[str], name: str = "") -> str:
    """What an incident is about, in words: a center, a feeder, a provider in its city …"""
    place = words.name(name or incident.place)
    return words(f"incident.scope.{incident.scope}", place=place)


def title(news: IncidentNews, words: PlainWords) -> str:
    incident = news.incident
    what = words.word("gap", news.cause.name) if news.cause else words(f"incident.family.{incident.family}")
    lasted = words.duration(incident.lasted_ms(news.at_ms) / 1000)
    count = words.number(incident.most if news.is_over else incident.centers)
    place = place_of(incident, words, news.name)
    return words(
        f"incident.title.{news.act}", place=place, n=count, cause=what, lasted=lasted, name=words.name(news.person)
    )


def lines(news: IncidentNews, standard: Standard | None, base_url: str, words: PlainWords) -> Iterator[str]:
    incident = news.incident
    tz = standard.tz if standard else TZ
    yield words("incident.where", place=place_of(incident, words, news.name))
    began = words.ltr(local(incident.began_ms, tz))
    if news.is_over:
        lasted = words.duration(incident.lasted_ms(news.at_ms) / 1000)
        yield words("incident.from_to", began=began, over=words.ltr(local(news.at_ms, tz)), lasted=lasted)
    else:
        yield words("alert.since", time=began)
    if news.text:
        yield words("incident.note", text=words.name(news.text))
    if news.detail is not None:
        yield words("alert.why", reason=words.reason(news.detail))
    yield from cause_lines(news.cause, words)
    if news.centers:
        more = " …" if len(news.centers) > NAMED else ""
        yield words("summary.centers", centers=words.listed(map(words.ltr, news.centers[:NAMED])) + more)
    if not news.is_over:
        yield words("alert.severity", severity=words.word("severity", incident.severity))
    yield from closing(incident.id, news.numbers, base_url, words)
    if standard is not None:
        yield words("standard" if standard.official else "standard.unofficial", id=words.ltr(standard.id))


def cause_lines(cause: Cause | None, words: PlainWords) -> Iterator[str]:
    if cause is None or cause.name == "unknown":
        return
    yield words("alert.cause", cause=words.word("gap", cause.name), grade=words.word("grade", cause.grade))
    for reason in cause.evidence[:EVIDENCE]:
        yield words("alert.evidence", evidence=words.reason(reason))


def closing(number: int, numbers: Sequence[Number], base_url: str, words: PlainWords) -> Iterator[str]:
    """Whom to call, and where the incident is worked on."""
    if numbers:
        called = (words("incident.number", name=words.name(one.name), n=words.ltr(one.telephone)) for one in numbers)
        yield words("alert.call", numbers=words.listed(called))
    yield words("alert.incident", id=words.number(number), url=words.ltr(f"{base_url}/incidents/{number}"))
