"""From changes to messages, in the languages of a channel. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.common.center_time import TZ
from agent.common.reasons import Reason
from agent.common.words import PlainWords
from collector.desk.alerts import incident_message
from collector.desk.alerts.channel import AlertMessage, Event
from collector.desk.alerts.incident_message import IncidentNews, cause_lines, closing
from collector.desk.incident import ROUTED
from collector.judging.flags.cause import Cause
from collector.register.opening_hours import local
from collector.standard.criteria import EVERYONE, Criterion, Standard
from collector.standard.names import fix_of, found_of, name_of, value_of

NAMED = 10  # centers that a summary names


@dataclass(frozen=True)
class Announcement:
    """A change that people are told of, with its center's facts. `began_ms`: when a cleared flag was raised. `cause`:
    why the center was silent, if it was and anything tells. `news`: the incident that it is an event of. One that no
    change brought about, or that many centers share, has no criterion."""

    id: int  # of the event
    center: str
    criterion: str
    subject: str
    was: str
    now: str
    at_ms: int
    value: float | None
    bound: float | None
    reason: Reason
    name: str | None = None
    city: str | None = None
    province: str | None = None
    began_ms: int | None = None
    cause: Cause | None = None
    news: IncidentNews | None = None
    change: int | None = None  # that brought it about

    @property
    def event(self) -> Event:
        if self.news is not None:
            return ROUTED[self.news.act]
        return "raised" if self.now == "raised" else "cleared"


def message(
    announcement: Announcement, standard: Standard | None, base_url: str, languages: Sequence[PlainWords]
) -> AlertMessage:
    """One change, or one event of an incident: where, what, since, value against bound, cause, fix, link; once in each
    language, the title in the first."""
    news = announcement.news
    if news is not None and not announcement.criterion:
        blocks = [
            (incident_message.title(news, words), incident_message.lines(news, standard, base_url, words))
            for words in languages
        ]
    else:
        blocks = [
            (_title(announcement, standard, words), _lines(announcement, standard, base_url, words))
            for words in languages
        ]
    return AlertMessage(blocks[0][0], _joined(blocks), announcement.event)


def summary(
    announcements: Sequence[Announcement], standard: Standard | None, base_url: str, languages: Sequence[PlainWords]
) -> AlertMessage:
    """Many changes in one message: how many of what, and where."""
    centers = {item.center for item in announcements}
    blocks = [
        (
            words("summary.title", n=words.number(len(announcements)), centers=words.number(len(centers))),
            _summary_lines(announcements, standard, base_url, words),
        )
        for words in languages
    ]
    return AlertMessage(blocks[0][0], _joined(blocks))


def held_summary(titles: Sequence[str], base_url: str, words: PlainWords) -> AlertMessage:
    """What one person was not sent one by one: how many messages, and the newest of them."""
    count = words.number(len(titles))
    newest = titles[::-1][:NAMED]
    lines = [words("summary.held", n=count), *newest, *(["…"] if len(titles) > NAMED else [])]
    lines.append(words("alert.more", url=words.ltr(f"{base_url}/incidents")))
    return AlertMessage(words("summary.held_title", n=count), "\n".join(lines))


def _joined(blocks: Sequence[tuple[str, Iterator[str]]]) -> str:
    """The first block without its title, which the message has, then the others with theirs."""
    (_, first), *others = blocks
    return "\n\n".join(["\n".join(first), *("\n".join((title, *lines)) for title, lines in others)])


# ---------------------------------------------------------------- one change


def _title(announcement: Announcement, standard: Standard | None, words: PlainWords) -> str:
    what = _what(announcement.criterion, standard, words)
    if announcement.center == EVERYONE:
        return what if announcement.event == "raised" else words("alert.hears_again")
    return words(
        f"alert.{announcement.event}", center=words.name(announcement.name or announcement.center), criterion=what
    )


def _lines(announcement: Announcement, standard: Standard | None, base_url: str, words: PlainWords) -> Iterator[str]:
    criterion = standard.by_id.get(announcement.criterion) if standard else None
    yield _center(announcement, words)
    ids = words.ltr(" ".join(filter(None, (announcement.criterion, announcement.subject))))
    yield words("alert.what", criterion=_what(announcement.criterion, standard, words), id=ids)
    yield _since(announcement, standard, words)
    yield from _numbers(announcement, criterion, words)
    reason = found_of(criterion, announcement.reason, words) if criterion else announcement.reason
    yield words("alert.why", reason=words.reason(reason))
    yield from cause_lines(announcement.cause, words)
    if criterion is not None and announcement.event == "raised":
        yield words("alert.severity", severity=words.word("severity", criterion.severity))
        yield words("alert.fix", fix=fix_of(criterion, words))
    place = "" if announcement.center == EVERYONE else f"centers/{announcement.center}"
    yield words("alert.more", url=words.ltr(f"{base_url}/{place}"))
    if announcement.news is not None:
        yield from closing(announcement.news.incident.id, announcement.news.numbers, base_url, words)
    if standard is not None:
        yield words("standard" if standard.official else "standard.unofficial", id=words.ltr(standard.id))


def _what(criterion: str, standard: Standard | None, words: PlainWords) -> str:
    definition = standard.by_id.get(criterion) if standard else None
    return name_of(definition, words) if definition else words.ltr(criterion)


def _center(announcement: Announcement, words: PlainWords) -> str:
    if announcement.center == EVERYONE:
        return words("alert.about_collector")
    names = [words.name(name) for name in (announcement.name, announcement.city) if name]
    return words("alert.center", center=" ".join(filter(None, (words.ltr(announcement.center), words.listed(names)))))


def _since(announcement: Announcement, standard: Standard | None, words: PlainWords) -> str:
    time = words.ltr(local(announcement.at_ms, standard.tz if standard else TZ))
    if announcement.event == "raised" or announcement.began_ms is None:
        return words("alert.since", time=time)
    return words(
        "alert.since_lasted", time=time, lasted=words.duration((announcement.at_ms - announcement.began_ms) / 1000)
    )


def _numbers(announcement: Announcement, criterion: Criterion | None, words: PlainWords) -> Iterator[str]:
    if announcement.value is None or announcement.bound is None or criterion is None or not criterion.unit:
        return
    limit = words(f"asked.{criterion.compare}", bound=words.figure(announcement.bound, criterion.unit))
    yield words("alert.measured", value=value_of(criterion, announcement.value, words), asked=limit)


# ---------------------------------------------------------------- many changes


def _summary_lines(
    announcements: Sequence[Announcement], standard: Standard | None, base_url: str, words: PlainWords
) -> Iterator[str]:
    centers = sorted({item.center for item in announcements})
    yield words("summary.held_back", n=words.number(len(announcements)), centers=words.number(len(centers)))
    for event in ("raised", "cleared"):
        names = (_kind(item, standard, words) for item in announcements if item.event == event)
        yield words(f"summary.{event}", counts=_top(Counter(names), words))
    places = (words.place(item.province) if item.province else words("not_known") for item in announcements)
    yield words("summary.where", counts=_top(Counter(places), words))
    more = " …" if len(centers) > NAMED else ""
    yield words("summary.centers", centers=words.listed(map(words.ltr, centers[:NAMED])) + more)
    yield words("alert.more", url=words.ltr(f"{base_url}/"))


def _kind(announcement: Announcement, standard: Standard | None, words: PlainWords) -> str:
    if announcement.news is not None and not announcement.criterion:
        return words(f"incident.family.{announcement.news.incident.family}")
    return _what(announcement.criterion, standard, words)


def _top(counted: Counter[str], words: PlainWords) -> str:
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:NAMED]
    return words.listed(f"{name} ({words.number(count)})" for name, count in ordered) or words("none")
