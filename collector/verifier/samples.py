"""What the signed readings of a bundle can carry at most: no day sheet may have more measured minutes, or more samples,
than there are readings that speak for them. Opening hours, exclusions and which of two readings counts only take away,
so a sheet that claims more than this was not made of these readings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MINUTE_MS = 60_000
REACH_MS = 30_000  # a reading also speaks for its neighbour minute so far (docs/bundle.md)
ERROR_MS = 30_000  # by which a date that is derived here may differ from the collector's
AHEAD_MS = 120_000  # a clock that is further ahead of the receipt is not believed
JUMP_MS = 120_000  # a clock that was set by more may be believed or not
MOST_MINUTES = 3  # for which one reading can speak

Span = tuple[int, int]  # from, to (exclusive)


@dataclass(frozen=True)
class TimedReading:
    """`wall_ms` None where its gateway's clock does not date it by itself."""

    kind: str
    boot: str
    mono_ms: int
    wall_ms: int | None
    carries: bool | None = None  # of a line: whether it reached the far end


@dataclass
class SpokenTime:
    """Takes the readings one by one; afterwards says what a sheet has too much."""

    readings: list[TimedReading] = field(default_factory=list)
    servers_ms: list[int] = field(default_factory=list)  # when records of measurement servers began

    def take(self, raw: bytes, received_ms: int) -> None:
        """One that is not readable as a reading is left to the collector: it is in no sheet."""
        try:
            fields = json.loads(raw)
            at = fields["at"]
            wall_ms, is_synced = int(at["wall_ms"]), at["clock"] == "synced"
            carries = None
            if fields["kind"] == "link":
                loss_pct = fields.get("loss_pct")
                carries = loss_pct is not None and float(loss_pct) < 100
            is_dated = is_synced and wall_ms <= received_ms + AHEAD_MS
            one = TimedReading(
                str(fields["kind"]), str(at["boot"]), int(at["mono_ms"]), wall_ms if is_dated else None, carries
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        self.readings.append(one)

    def excess(self, sheets: Iterable[Mapping[str, Any]], kinds: Mapping[str, str]) -> Iterator[str]:
        """`kinds` are the kinds of reading that criteria are judged by. Readings without a certain date may stand on
        any day. Raises KeyError, TypeError, ValueError for what is no sheet."""
        dated, undated = self._dated()
        spoken = _Minutes(dated, self.servers_ms)
        left = Counter({name: MOST_MINUTES * undated[name] for name in _PARTS})
        loose = Counter(undated)
        for sheet in sheets:
            span = int(sheet["from_ms"]), int(sheet["to_ms"])
            for name, claimed in _claimed(sheet).items():
                over = claimed - spoken.within(name, span)
                left[name] -= max(0, over)
                if over > 0 and left[name] < 0:
                    yield (f"day sheet from {span[0]}: {_PARTS[name]} says {claimed} minutes, signed readings speak "
                           f"for {claimed - over} at most")  # fmt: skip
            yield from self._samples(sheet, span, spoken, kinds, loose)

    def _samples(
        self, sheet: Mapping[str, Any], span: Span, spoken: _Minutes, kinds: Mapping[str, str], loose: Counter[str]
    ) -> Iterator[str]:
        for row in sheet["criteria"]:
            kind = kinds.get(str(row["criterion"]))
            if kind is None:
                continue
            most = spoken.readings_within(kind, span) + loose[kind]
            if int(row["counted"]) > most:
                yield (f"day sheet from {span[0]}: {row['criterion']} counts {row['counted']} samples of {most} signed "
                       "readings")  # fmt: skip

    def _dated(self) -> tuple[list[tuple[int, TimedReading]], Counter[str]]:
        """Readings with their time, and how many of each part have none. One that its boot's synchronised clock dates
        is dated by it; where both disagree the collector may have believed either."""
        ahead: dict[str, int] = {}
        for one in self.readings:
            if one.wall_ms is not None:
                ahead.setdefault(one.boot, one.wall_ms - one.mono_ms)
        dated, undated = [], Counter[str]()
        for one in self.readings:
            by_boot = one.mono_ms + ahead[one.boot] if one.boot in ahead else None
            at_ms = by_boot if one.wall_ms is None else one.wall_ms
            if by_boot is None or at_ms is None or abs(by_boot - at_ms) > JUMP_MS:
                undated.update(["all", one.kind, *(["up" if one.carries else "down"] if one.kind == "link" else [])])
            else:
                ahead[one.boot] = at_ms - one.mono_ms  # clocks drift apart within a month
                dated.append((at_ms, one))
        return dated, undated


_PARTS = {"all": "up, below and down", "up": "a line that is up", "down": "a line that is down", "ups": "power"}


def _claimed(sheet: Mapping[str, Any]) -> dict[str, int]:
    minutes, known = sheet["minutes"], sheet["availability"]
    return {
        "all": int(minutes["up"]) + int(minutes["below"]) + int(minutes["down"]),
        "up": int(known["line_up"]),
        "down": int(known["line_down"]),
        "ups": int(known["mains"]) + int(known["battery"]),
    }


class _Minutes:
    """The minutes for which readings speak, of each part, and when readings of each kind were taken."""

    def __init__(self, dated: Iterable[tuple[int, TimedReading]], servers_ms: Iterable[int]) -> None:
        self._minutes: dict[str, set[int]] = {name: set() for name in _PARTS}
        self._times: dict[str, list[int]] = {}
        for at_ms, one in dated:
            self._add(at_ms, one.kind, one.carries)
        for at_ms in servers_ms:
            self._add(at_ms, "speed", None)

    def _add(self, at_ms: int, kind: str, carries: bool | None) -> None:
        reach_ms = REACH_MS + ERROR_MS
        covers = range((at_ms - reach_ms) // MINUTE_MS, (at_ms + reach_ms) // MINUTE_MS + 1)
        self._minutes["all"].update(covers)
        if kind == "link":
            self._minutes["up" if carries else "down"].update(covers)
        elif kind == "ups":
            self._minutes["ups"].update(covers)
        self._times.setdefault(kind, []).append(at_ms)

    def within(self, name: str, span: Span) -> int:
        minutes = self._minutes[name]
        return sum(minute in minutes for minute in range(span[0] // MINUTE_MS, -(-span[1] // MINUTE_MS)))

    def readings_within(self, kind: str, span: Span) -> int:
        return sum(span[0] - ERROR_MS <= at_ms < span[1] + ERROR_MS for at_ms in self._times.get(kind, ()))
