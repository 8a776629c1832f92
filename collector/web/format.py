"""How things are said on the pages: times, durations, figures and reasons, in the reader's language."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from markupsafe import Markup, escape

from agent.common.bufferbloat import Bloat, bloat
from agent.common.causes import SKIPPED
from agent.common.reasons import Reason, decode
from agent.common.words import PlainWords
from agent.wire import SpeedReading
from collector.common.html_words import HtmlWords
from collector.judging.flags.cause import without_names
from collector.register.opening_text import opening_text
from collector.standard import Standards
from collector.standard.criteria import Criterion
from collector.standard.names import fix_of, found_of, name_of, value_of
from collector.store.queries import STATES


@dataclass(frozen=True)
class Show:
    """One page's way of saying things: its words, its moment and the time zone of the programme."""

    words: HtmlWords
    now_ms: int
    zone: ZoneInfo
    standards: Standards
    names_others: bool = True  # whether evidence may name centers that the page is not about

    def duration(self, seconds: float) -> Markup:
        return self.words.duration(seconds)

    def since(self, at_ms: int | None) -> Markup:
        """How long ago, with the exact time in a tooltip; a script keeps it true while the page is open."""
        if at_ms is None:
            return self.words("none")
        return self._time(at_ms, _age(self.words, (self.now_ms - at_ms) // 1000), self.clock(at_ms), live=True)

    def at(self, at_ms: int | None) -> Markup:
        """The exact time, in the programme's time zone."""
        return (
            self.words("none")
            if at_ms is None
            else self._time(at_ms, self.words.ltr(self.words.shaped(self.clock(at_ms))), "")
        )

    def day(self, at_ms: int) -> Markup:
        """The day alone where that day begins or ends then, else the exact time."""
        day, _, time = self.clock(at_ms).partition(" ")
        return (
            self._time(at_ms, self.words.ltr(self.words.shaped(day)), "")
            if time in ("00:00", "23:59")
            else self.at(at_ms)
        )

    def date(self, at_ms: int) -> str:
        """Such as 2026-01-31."""
        return self.clock(at_ms).partition(" ")[0]

    def days(self, from_ms: int, to_ms: int | None) -> Markup:
        """Until before `to_ms`. One whole day is said once."""
        begins, ends = self.clock(from_ms), self.clock(to_ms - 1) if to_ms else ""
        if begins.replace("00:00", "23:59") == ends:
            return self.day(from_ms)
        return Markup("{} – {}").format(self.day(from_ms), self.day(to_ms - 1) if to_ms else self.words("none"))

    def clock(self, at_ms: int) -> str:
        return _clock(self.zone, at_ms // MINUTE_MS)

    def _time(self, at_ms: int, text: Markup, title: str, *, live: bool = False) -> Markup:
        iso = f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
        attributes = f' data-ms="{int(at_ms)}"' if live else ""
        attributes += f' title="{escape(title)}"' if title else ""
        return Markup(f'<time datetime="{iso}"{attributes}>{escape(text)}</time>')  # noqa: S704 - escaped

    def value(self, value: float | None, unit: str = "") -> Markup:
        return self.words.figure(value, unit)

    def bloat(self, reading: SpeedReading) -> Bloat | None:
        """What a speed test's load did to round trips."""
        return bloat(reading)

    def added(self, bloat: Bloat) -> Markup:
        """What the load added to round trips, as far as it is known."""
        down, up = self.value(bloat.down_ms, "ms"), self.value(bloat.up_ms, "ms")
        ways = [] if bloat.down_ms is None else [self.words("speed.bloat.down", n=down)]
        ways += [] if bloat.up_ms is None else [self.words("speed.bloat.up", n=up)]
        return self.words.listed(ways)

    def not_tested(self, cause: str) -> Markup:
        """Why a speed test has no figures."""
        words = self.words.word("cause", cause)
        return words if cause in SKIPPED else self.words("failed", cause=words)

    def place(self, row: Mapping[str, Any]) -> Markup:
        """City, district, province; each isolated, so that none turns its neighbours round."""
        names = dict.fromkeys(name for name in (row["city"], row["district"]) if name)
        province = [self.words.place(row["province"])] if row["province"] and row["province"] not in names else []
        return self.words.listed([*map(self.words.name, names), *province] or [self.words("none")])

    def hours(self, opening: str) -> Markup:
        """Opening hours."""
        return opening_text(opening, self.words)

    def fact(self, name: str, value: object) -> Markup:
        """A fact of the register."""
        if name in ("tier", "lifecycle"):
            return self.words.word(name, str(value))
        if name in _FACT_UNITS and isinstance(value, int | float):
            return self.value(value, _FACT_UNITS[name])
        if name == "opening":
            return self.hours(str(value))
        return self.words.place(str(value)) if name == "province" else self.words.name(value)

    # ------------------------------------------------------------ criteria

    def criterion(self, name: str) -> Criterion | None:
        """The criterion of the newest standard that has it, so that old changes keep their names."""
        for standard in reversed(self.standards.versions):
            if name in standard.by_id:
                return standard.by_id[name]
        return None

    def criterion_name(self, name: str) -> Markup:
        criterion = self.criterion(name)
        return name_of(criterion, self.words) if criterion else self.words.ltr(name)

    def fix(self, name: str) -> Markup:
        criterion = self.criterion(name)
        return fix_of(criterion, self.words) if criterion else Markup("")

    def asked(self, name: str, bound: float | None) -> Markup:
        """What is asked: "at least 40 Mbit/s". Criteria about words have no bound and say so by their name."""
        criterion = self.criterion(name)
        if criterion is None or bound is None or criterion.compare not in ("at_least", "at_most"):
            return self.words("none")
        return self.words(f"asked.{criterion.compare}", bound=self.value(bound, criterion.unit))

    def why(self, row: Mapping[str, Any]) -> Markup:
        """One line for a center: its worst criterion and how far it is from what is asked."""
        name = row["criterion"]
        if row["state"] == "silent":
            return self.words("why.silent", time=self.at(row["heard_ms"]))
        if name is None or row["state"] in ("meets", "waiting", "closed", "paused"):
            return self._why_without_flag(row)
        if row["state"] in ("watch", "below") and row["verdict"] == "meets":
            return self._why_not_settled(row)
        criterion, value, bound = self.criterion(name), row["value"], row["bound"]
        if criterion is None or value is None or bound is None or criterion.unit == "":
            return self.words("why.said", name=self.criterion_name(name), reason=self.reason(row["reason"]))
        figure, limit = value_of(criterion, value, self.words), self.asked(name, bound)
        return self.words("why.figure", name=self.criterion_name(name), value=figure, asked=limit)

    def _why_not_settled(self, row: Mapping[str, Any]) -> Markup:
        """The newest reading meets what is asked, and the flag waits all the same: for what, and how far it is."""
        name = self.criterion_name(row["criterion"])
        if row["state"] == "below":
            return self.words("why.recovering", name=name)
        spoken = json.loads(row["memory"])
        return self.words("why.counted", name=name, below=sum(spoken), n=len(spoken))

    def _why_without_flag(self, row: Mapping[str, Any]) -> Markup:
        if row["state"] == "unknown":
            return self.words.many("why.unjudged", row["unknown"])
        if row["opens_ms"] is not None:
            return self.words("why.opens", time=self.at(row["opens_ms"]))
        return self.words(f"why.{row['state']}")

    def hours_bar(self, marks: str) -> Markup:
        """The last 24 hours of a center, as a bar and in words. `marks` as of `day_marks`."""
        return _bar(self.words, marks)

    def reason(self, reason: Reason | str) -> Markup:
        """A reason, or one as the database has it."""
        content = decode(reason) if isinstance(reason, str) else reason
        return self.words.reason(content if self.names_others else without_names(content))

    def found(self, name: str, reason: Reason | str) -> Markup:
        """What was found of a criterion."""
        of, known = self.criterion(name), decode(reason) if isinstance(reason, str) else reason
        return self.reason(found_of(of, known, self.words) if of else known)

    def is_figure(self, name: str, reason: Reason) -> bool:
        """Whether a reason says a value and its bound, and so nothing that does not stand beside it."""
        of = self.criterion(name)
        shown = found_of(of, reason, self.words) if of else reason
        return shown.code in ("verdict.at_least", "verdict.at_most")

    def coded(self, facts: Mapping[str, Any]) -> Markup:
        """A reason as the API has it: {code, params}."""
        return self.reason(msgspec.convert({"code": facts["code"], "params": facts["params"]}, Reason))

    def reasons(self, reasons: Iterable[Reason]) -> Markup:
        return self.words.reasons(reasons if self.names_others else map(without_names, reasons))

    def raw(self, text: str) -> Markup:
        """What a machine said, as it said it."""
        return self.words.raw(text)

    def recorded(self, text: str) -> Markup:
        """What an act was about, as it was recorded: facts that stand in it as JSON are said in words."""
        return Markup("").join(map(self._recorded, _FACTS.split(text)))

    def _recorded(self, text: str) -> Markup:
        try:
            facts = json.loads(text) if text.startswith("{") else None
        except ValueError:
            facts = None
        if not isinstance(facts, dict):
            role = f"role.{text.strip()}"
            known = self.words(role) if role in self.words.texts else self.raw(text.strip())
            return (known + " ") if text.strip() else escape(text)
        parts = [
            self.words.word("scope" if f"scope.{name}" in self.words.texts else "contacts", name)
            + ": "
            + self._fact(value)
            for name, value in facts.items()
        ]
        return self.words.listed(parts) if parts else self.words("scope.all")

    def _fact(self, value: object) -> Markup:
        return self.words.listed(map(self.words.name, value)) if isinstance(value, list) else self.words.name(value)

    def plain_place(self, province: str) -> str:
        """A province where no markup may stand."""
        return PlainWords(self.words.catalogue).place(province)

    def forms(self, *keys: str) -> str:
        """For the pages' scripts: {key: {plural category: text}} as JSON, of one key its forms alone."""
        by_key = {key.rpartition(".")[2]: self.words.catalogue.forms(key) for key in keys}
        return json.dumps(by_key if len(keys) > 1 else by_key[keys[0].rpartition(".")[2]], ensure_ascii=False)

    def listed(self, names: Sequence[str]) -> Markup:
        """Names that machines or people gave, one after the other."""
        return self.words.listed(map(self.words.ltr, names))


MINUTE_MS = 60_000
_FACT_UNITS = {
    "latitude": "°", "longitude": "°", "contract_down_mbps": "Mbit/s", "contract_up_mbps": "Mbit/s",
    "generator_kva": "kVA", "seat_price_rs": "Rs",
}  # fmt: skip
_FACTS = re.compile(r"(\{[^{}]*\})")
_FINE = {str(STATES.index(state)) for state in ("unknown", "meets")}
_CLOSED = str(STATES.index("closed"))


def day_marks(hours_ranks: str, is_open: Sequence[bool]) -> str:
    """The rank of each of the last 24 hours of a center; hours outside of its opening are closed unless something was
    wrong."""
    pairs = zip(hours_ranks, is_open, strict=False)
    return "".join([mark if opened or mark not in _FINE else _CLOSED for mark, opened in pairs])


@lru_cache(maxsize=4096)  # most centers of a list have the same day behind them
def _bar(words: HtmlWords, marks: str) -> Markup:
    """A day of a center, a digit for each hour, as a bar and in words."""
    runs = [(mark, len(list(run))) for mark, run in itertools.groupby(marks)]
    ends = itertools.accumulate(length for _, length in runs)
    bars = "".join(
        f'<rect class="{_shade(mark)}" x="{end - length}" width="{length}" height="10"/>'
        for (mark, length), end in zip(runs, ends, strict=True)
    )
    return Markup(  # noqa: S704 - escaped
        '<svg class="hours" viewBox="0 0 24 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(_hours_said(words, marks))}">{bars}</svg>'
    )


def _hours_said(words: HtmlWords, marks: str) -> str:
    plain, spent = PlainWords(words.catalogue), Counter(marks)
    parts = [
        f"{plain(f'state.{state}')} {plain.duration(3600 * spent[str(place)])}"
        for place, state in enumerate(STATES)
        if spent[str(place)]
    ]
    return str(plain("hours.said", hours=plain("comma").join(parts)))


@lru_cache(maxsize=4096)  # of a fleet most were heard in the same few minutes
def _clock(zone: ZoneInfo, minute: int) -> str:
    return f"{datetime.fromtimestamp(minute * 60, zone):%Y-%m-%d %H:%M}"


@lru_cache(maxsize=4096)
def _age(words: HtmlWords, seconds: int) -> Markup:
    return words.age(seconds)


def _shade(mark: str) -> str:
    """The class of a cell of `hours_ranks`."""
    return STATES[int(mark)] if mark.isdigit() and int(mark) < len(STATES) else "none"
