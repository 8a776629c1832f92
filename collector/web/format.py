"""How things are said on the pages: times, durations, figures and reasons, in the reader's language."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from agent.common.bufferbloat import Bloat, bloat
from agent.wire import SpeedReading
from collector.flags.cause import SAID, WEIGHT, Grade, Name
from collector.standard import Standards
from collector.standard.criteria import Criterion
from collector.web import reasons
from collector.web.i18n import Words

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
NOT_MADE = (  # causes that a gateway gives for a test that was due and left out
    "skipped_on_battery", "skipped_battery_low", "skipped_failover", "skipped_budget", "skipped_no_turn",
)  # fmt: skip


@dataclass(frozen=True)
class Show:
    """One page's way of saying things: its words, its moment and the time zone of the programme."""

    words: Words
    now_ms: int
    zone: ZoneInfo
    standards: Standards

    def duration(self, seconds: float) -> Markup:
        """Two units at most, from days to seconds: "2 h 14 min"."""
        whole = max(0, int(seconds))
        if whole < MINUTE_S:
            return self._units((whole, "s"))
        if whole < HOUR_S:
            return self._units((whole // MINUTE_S, "min"))
        if whole < DAY_S:
            return self._units((whole // HOUR_S, "h"), (whole % HOUR_S // MINUTE_S, "min"))
        return self._units((whole // DAY_S, "d"), (whole % DAY_S // HOUR_S, "h"))

    def _units(self, *parts: tuple[int, str]) -> Markup:
        said = [f"{number} {self.words.texts[f'unit.{unit}']}" for number, unit in parts if number or len(parts) == 1]
        return Markup("<bdi>{}</bdi>").format("\u00a0".join(said).replace(" ", "\u00a0"))

    def since(self, at_ms: int | None) -> Markup:
        """How long ago, with the exact time in a tooltip; a script keeps it true while the page is open."""
        if at_ms is None:
            return self.words("none")
        return self._time(at_ms, self.duration((self.now_ms - at_ms) / 1000), self.clock(at_ms), live=True)

    def at(self, at_ms: int | None) -> Markup:
        """The exact time, in the programme's time zone."""
        return self.words("none") if at_ms is None else self._time(at_ms, self.words.ltr(self.clock(at_ms)), "")

    def clock(self, at_ms: int) -> str:
        return f"{datetime.fromtimestamp(at_ms / 1000, self.zone):%Y-%m-%d %H:%M}"

    def _time(self, at_ms: int, text: Markup, title: str, *, live: bool = False) -> Markup:
        iso = f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
        attributes = Markup(' data-ms="{}"').format(at_ms) if live else Markup("")
        attributes += Markup(' title="{}"').format(title) if title else Markup("")
        return Markup('<time datetime="{}"{}>{}</time>').format(iso, attributes, text)

    def value(self, value: float | None, unit: str = "") -> Markup:
        """A figure as people write it: three or so digits and its unit; seconds as a duration; a dash for unknown."""
        if value is None:
            return self.words("none")
        if unit == "s":
            return self.duration(value)
        digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
        figure = f"{value:,.{digits}f}"
        if digits:
            figure = figure.rstrip("0").rstrip(".")
        return self.words.ltr(f"{figure}\u00a0{unit}" if unit else figure)

    def bloat(self, reading: SpeedReading) -> Bloat | None:
        """What a speed test's load did to round trips."""
        return bloat(reading)

    def not_tested(self, cause: str) -> Markup:
        """Why a speed test has no figures."""
        return self.words(cause) if cause in NOT_MADE else self.words("failed", cause=self.raw(cause))

    def place(self, row: Mapping[str, Any]) -> Markup:
        """City, district, province; each isolated, so that none turns its neighbours round."""
        names = dict.fromkeys(name for name in (row["city"], row["district"], row["province"]) if name) or ["–"]
        return self.words("comma").join(Markup("<bdi>{}</bdi>").format(name) for name in names)

    def cause(self, name: Name) -> str:
        return SAID[name].ur if self.words.lang == "ur" else SAID[name].en

    def weight(self, grade: Grade) -> str:
        """How well a cause is shown."""
        return WEIGHT[grade].ur if self.words.lang == "ur" else WEIGHT[grade].en

    # ------------------------------------------------------------ criteria

    def criterion(self, name: str) -> Criterion | None:
        """The criterion of the newest standard that has it, so that old changes keep their names."""
        for standard in reversed(self.standards.versions):
            if name in standard.by_id:
                return standard.by_id[name]
        return None

    def criterion_name(self, name: str) -> str:
        found = self.criterion(name)
        return (found.name.ur if self.words.lang == "ur" else found.name.en) if found else name

    def fix(self, name: str) -> str:
        found = self.criterion(name)
        return (found.fix.ur if self.words.lang == "ur" else found.fix.en) if found else ""

    def asked(self, name: str, bound: float | None) -> Markup:
        """What is asked: "at least 40 Mbit/s". Criteria about words have no bound and say so by their name."""
        found = self.criterion(name)
        if found is None or bound is None or found.compare not in ("at_least", "at_most"):
            return self.words("none")
        return self.words(f"asked.{found.compare}", bound=self.value(bound, found.unit))

    def why(self, row: Mapping[str, Any]) -> Markup:
        """One line for a center: its worst criterion and how far it is from what is asked."""
        name = row["criterion"]
        if row["state"] == "silent":
            return self.words("why.silent", time=self.at(row["heard_ms"]))
        if name is None or row["state"] in ("meets", "waiting", "paused"):
            return self._why_without_flag(row)
        if row["state"] in ("watch", "below") and row["verdict"] == "meets":
            return self._why_not_settled(row)
        found, value, bound = self.criterion(name), row["value"], row["bound"]
        if found is None or value is None or bound is None or found.unit == "":
            return self.words("why.said", name=self.criterion_name(name), reason=self.said(row["reason"]))
        figure, asked = self.value(value, found.unit), self.asked(name, bound)
        return self.words("why.figure", name=self.criterion_name(name), value=figure, asked=asked)

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
        return self.words(f"why.{row['state']}")

    def said(self, reason: str) -> Markup:
        """A sentence of the judge."""
        return reasons.said(self.words, reason)

    def seat_note(self, note: str) -> Markup:
        """What a gateway says is wrong with a seat."""
        return reasons.seat_note(self.words, note)

    def raw(self, text: str) -> Markup:
        """What a machine said, as it said it."""
        return Markup('<bdi lang="en" dir="ltr">{}</bdi>').format(text)

    def person(self, name: str) -> Markup:
        """Somebody's name, in whatever script."""
        return Markup("<bdi>{}</bdi>").format(name)

    def listed(self, names: Sequence[str]) -> Markup:
        """Names that machines or people gave, one after the other."""
        return self.words("comma").join(self.words.ltr(name) for name in names)
