"""From changes to messages, in the languages of a channel. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.common.center_time import TZ
from agent.common.reasons import Reason
from agent.common.words import PlainWords
from collector.alerts.channel import AlertMessage, Event
from collector.flags.cause import Cause
from collector.register.opening_hours import local
from collector.standard.criteria import EVERYONE, Criterion, Standard
from collector.standard.names import fix_of, name_of

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
    reason: Reason
    name: str | None = None
    city: str | None = None
    province: str | None = None
    began_ms: int | None = None
    cause: Cause | None = None

    @property
    def event(self) -> Event:
        return "raised" if self.now == "raised" else "cleared"


def message(
    told: Announcement, standard: Standard | None, base_url: str, languages: Sequence[PlainWords]
) -> AlertMessage:
    """One change: center, what, since, value against bound, cause, fix, link; once in each language, the title in the
    first."""
    blocks = [(_title(told, standard, words), _lines(told, standard, base_url, words)) for words in languages]
    return AlertMessage(blocks[0][0], _joined(blocks), told.event)


def summary(
    told: Sequence[Announcement], standard: Standard | None, base_url: str, languages: Sequence[PlainWords]
) -> AlertMessage:
    """Many changes in one message: how many of what, and where."""
    centers = {item.center for item in told}
    blocks = [
        (
            words("summary.title", n=words.number(len(told)), centers=words.number(len(centers))),
            _summary_lines(told, standard, base_url, words),
        )
        for words in languages
    ]
    return AlertMessage(blocks[0][0], _joined(blocks))


def _joined(blocks: Sequence[tuple[str, Iterator[str]]]) -> str:
    """The first block without its title, which the message has, then the others with theirs."""
    (_, first), *others = blocks
    return "\n\n".join(["\n".join(first), *("\n".join((title, *lines)) for title, lines in others)])


# ---------------------------------------------------------------- one change


def _title(told: Announcement, standard: Standard | None, words: PlainWords) -> str:
    what = _what(told.criterion, standard, words)
    if told.center == EVERYONE:
        return what if told.event == "raised" else words("alert.hears_again")
    return words(f"alert.{told.event}", center=words.name(told.name or told.center), criterion=what)


def _lines(told: Announcement, standard: Standard | None, base_url: str, words: PlainWords) -> Iterator[str]:
    criterion = standard.by_id.get(told.criterion) if standard else None
    yield _center(told, words)
    ids = words.ltr(" ".join(filter(None, (told.criterion, told.subject))))
    yield words("alert.what", criterion=_what(told.criterion, standard, words), id=ids)
    yield _since(told, standard, words)
    yield from _numbers(told, criterion, words)
    yield words("alert.why", reason=words.reason(told.reason))
    yield from _cause(told.cause, words)
    if criterion is not None and told.event == "raised":
        yield words("alert.severity", severity=words.word("severity", criterion.severity))
        yield words("alert.fix", fix=fix_of(criterion, words))
    place = "" if told.center == EVERYONE else f"centers/{told.center}"
    yield words("alert.more", url=words.ltr(f"{base_url}/{place}"))
    if standard is not None:
        yield words("standard" if standard.official else "standard.unofficial", id=words.ltr(standard.id))


def _what(criterion: str, standard: Standard | None, words: PlainWords) -> str:
    found = standard.by_id.get(criterion) if standard else None
    return name_of(found, words) if found else words.ltr(criterion)


def _center(told: Announcement, words: PlainWords) -> str:
    if told.center == EVERYONE:
        return words("alert.about_collector")
    names = [words.name(name) for name in (told.name, told.city) if name]
    return words("alert.center", center=" ".join(filter(None, (words.ltr(told.center), words.listed(names)))))


def _since(told: Announcement, standard: Standard | None, words: PlainWords) -> str:
    time = words.ltr(local(told.at_ms, standard.tz if standard else TZ))
    if told.event == "raised" or told.began_ms is None:
        return words("alert.since", time=time)
    return words("alert.since_lasted", time=time, lasted=words.duration((told.at_ms - told.began_ms) / 1000))


def _numbers(told: Announcement, criterion: Criterion | None, words: PlainWords) -> Iterator[str]:
    if told.value is None or told.bound is None or criterion is None or not criterion.unit:
        return
    asked = words(f"asked.{criterion.compare}", bound=words.figure(told.bound, criterion.unit))
    yield words("alert.measured", value=words.figure(told.value, criterion.unit), asked=asked)


def _cause(cause: Cause | None, words: PlainWords) -> Iterator[str]:
    if cause is None or cause.name == "unknown":
        return
    grade = words.word("grade", cause.grade)
    yield words("alert.cause", cause=words.word("gap", cause.name), grade=grade)
    for reason in cause.evidence[:EVIDENCE]:
        yield words("alert.evidence", evidence=words.reason(reason))


# ---------------------------------------------------------------- many changes


def _summary_lines(
    told: Sequence[Announcement], standard: Standard | None, base_url: str, words: PlainWords
) -> Iterator[str]:
    centers = sorted({item.center for item in told})
    yield words("summary.held_back", n=words.number(len(told)), centers=words.number(len(centers)))
    for event in ("raised", "cleared"):
        names = (_what(item.criterion, standard, words) for item in told if item.event == event)
        yield words(f"summary.{event}", counts=_top(Counter(names), words))
    places = (words.place(item.province) if item.province else words("not_known") for item in told)
    yield words("summary.where", counts=_top(Counter(places), words))
    more = " …" if len(centers) > NAMED else ""
    yield words("summary.centers", centers=words.listed(map(words.ltr, centers[:NAMED])) + more)
    yield words("alert.more", url=words.ltr(f"{base_url}/"))


def _top(counted: Counter[str], words: PlainWords) -> str:
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:NAMED]
    return words.listed(f"{name} ({words.number(count)})" for name, count in ordered) or words("none")
