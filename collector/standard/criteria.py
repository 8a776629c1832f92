"""What a standard is, once read: frozen values. Pure; `collector.standard.check` builds them from a TOML table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

from agent.common.power import has_plenty

TIERS = ("one", "two", "three")

Comparison = Literal["at_least", "at_most", "one_of", "none_of"]
When = Literal["open_hours", "always"]
Severity = Literal["notice", "info", "warning", "serious", "urgent"]
Evidence = Literal["signed", "witnessed"]  # by the gateway alone, or also by the server it tested against
Matching = Mapping[str, frozenset[str]]  # field -> the words that match


class Promise(Protocol):
    """What a center promised, as far as judging needs it; `collector.register.centers.Center` is one."""

    @property
    def tier(self) -> str: ...

    @property
    def seats_promised(self) -> int: ...


@dataclass(frozen=True)
class Figure:
    """What is asked of a center: the larger of its tier's value and `per_seat` times the seats it promised."""

    by_tier: Mapping[str, float]
    per_seat: float = 0.0

    def of(self, center: Promise) -> float:
        return max(self.by_tier[center.tier], self.per_seat * center.seats_promised)


@dataclass(frozen=True)
class Window:
    """When verdicts become a change: `m` of the last `n`, and for at least `for_s` seconds without a gap. From `watch`
    of the last `n` on, the flag says that it is on its way; fewer are what chance alone brings."""

    m: int = 1
    n: int = 1
    for_s: int = 0
    watch: int = 1


@dataclass(frozen=True)
class Recovery:
    """When a raised flag clears: readings hold `at_pct` of the figure (stricter than the bound) for the window."""

    at_pct: float
    window: Window


@dataclass(frozen=True)
class MonthRule:
    """When a month can be decided, and the share of its samples that must meet the bound.

    `slots` are (from, to) minutes of the local day; samples must lie on `min_days` days and in `min_slots` slots.
    `min_coverage_pct` is the share of open minutes with a sample. A sample is a reading, or all of a day's readings as
    one (`collector.reports.daily_samples`). `unused` is how many granted tests that were not made each reason excuses,
    `other` those it does not name; further ones are samples that fall short. None: they are no samples.
    """

    share_pct: float
    min_samples: int = 1
    min_days: int = 0
    min_slots: int = 0
    min_coverage_pct: float = 0.0
    per: Literal["reading", "day"] = "reading"
    slots: tuple[tuple[int, int], ...] = ()
    unused: Mapping[str, int] | None = None

    def excused_of(self, cause: str) -> int:
        """How many unused tests of a month this reason excuses."""
        caps = self.unused or {}
        return caps.get(cause, caps.get("other", 0))


@dataclass(frozen=True)
class LocalText:
    """A text by language. A standard gives each in English and Urdu at least, and in as many others as it likes."""

    texts: Mapping[str, str]

    @property
    def en(self) -> str:
        return self.of("en")

    def of(self, lang: str) -> str:
        """In this language, or else in English."""
        return self.texts.get(lang) or self.texts.get("en", "")


@dataclass(frozen=True, kw_only=True, eq=False)
class Criterion:
    """One line of a standard, the same only as itself. A *notice* tells how things stand and is no shortfall: its flag
    lowers no center and sends no alert, and no month is held against it.

    `figure` is None for the word comparisons, `words` empty for the numeric ones.
    """

    id: str
    reading: str
    fields: tuple[str, ...]  # the first one that is known gives the value
    compare: Comparison
    figure: Figure | None = None
    words: frozenset[str] = frozenset()
    unit: str = ""
    count_at_pct: float = 100.0
    window: Window
    recovery: Recovery
    when: When
    severity: Severity
    fresh_s: int  # how long a reading speaks for the present
    only: Matching = field(default_factory=dict)  # readings that do not match say nothing about this criterion
    ignore: Matching = field(default_factory=dict)  # readings that match say nothing
    lower_bound: Matching = field(default_factory=dict)  # readings that match may meet it, but never fall short
    evidence: Evidence = "signed"  # what a reading needs to count
    month: MonthRule
    name: LocalText
    fix: LocalText


AnswerKind = Literal["count", "rupees", "yes_no", "text"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FormItem:
    """One thing that an inspector looks at. `fact` is the column of the register to compare with; empty: none."""

    id: str
    answer: AnswerKind
    fact: str = ""
    at_least: Figure | None = None
    at_most: Figure | None = None
    name: LocalText

    def bound_of(self, center: Promise) -> float | None:
        figure = self.at_least or self.at_most
        return None if figure is None else figure.of(center)


@dataclass(frozen=True, kw_only=True, eq=False)
class Consequence:
    """A level that a center reaches when `months_below` of its last `within_months` were below the standard."""

    id: str
    months_below: int
    within_months: int
    name: LocalText


@dataclass(frozen=True, kw_only=True, eq=False)
class Standard:
    """A version of what a center must give, the same only as itself. `digest` is the SHA-256 of the file's bytes."""

    id: str
    official: bool
    note: str
    valid_from_ms: int
    valid_to_ms: int | None  # exclusive; None: until another one holds
    tz: str
    criteria: tuple[Criterion, ...]
    digest: str
    form: tuple[FormItem, ...] = ()  # of inspections; empty: the shipped example
    consequences: tuple[Consequence, ...] = ()  # the mildest first; empty: the shipped example

    @cached_property
    def by_reading(self) -> dict[str, tuple[Criterion, ...]]:
        kinds = {criterion.reading for criterion in self.criteria}
        return {kind: tuple(c for c in self.criteria if c.reading == kind) for kind in kinds}

    @cached_property
    def notices(self) -> frozenset[str]:
        return frozenset(criterion.id for criterion in self.criteria if criterion.severity == "notice")

    @cached_property
    def by_id(self) -> dict[str, Criterion]:
        return {criterion.id: criterion for criterion in (*self.criteria, DEAF, CLOCK, AUDIT)}


@dataclass(frozen=True)
class Silence:
    """The reading that nobody sends: open seconds since a center was last heard."""

    silent_s: float
    failure: None = None


@dataclass(frozen=True)
class DerivedValue:
    """A value that is reckoned of a reading and what its center promised. `of` are the fields of the wire it needs
    besides `failure`, so that a row with these columns will do."""

    of: tuple[str, ...]
    reckon: Callable[[object, Promise], float | None]


def _share_of_promised(*states: str) -> DerivedValue:
    """Percent of the seats promised that are in these states."""

    def reckon(reading: object, center: Promise) -> float | None:
        counts: list[int | None] = [getattr(reading, state) for state in states]
        if None in counts or center.seats_promised <= 0:
            return None
        return 100.0 * sum(count or 0 for count in counts) / center.seats_promised

    return DerivedValue(states, reckon)


def _clock_off_ms(reading: object, _center: Promise) -> float | None:
    offset_ms: float | None = getattr(reading, "clock_offset_ms", None)
    return None if offset_ms is None else abs(offset_ms)


def _low_in_a_cut(reading: object, _center: Promise) -> float | None:
    """1 while the battery that carries the load is nearly empty, and what is left in it does not contradict that. One
    that was just emptied is low on mains, too."""
    state, battery = getattr(reading, "output_state", None), getattr(reading, "battery_status", None)
    if state is None or (state == "battery" and battery is None):
        return None
    plenty = has_plenty(getattr(reading, "battery_charge_pct", None), getattr(reading, "runtime_s", None))
    return float(state == "battery" and battery in ("low", "depleted") and not plenty)


# Values a criterion may name beside the fields of the wire, by kind of reading and name.
DERIVED: dict[tuple[str, str], DerivedValue] = {
    ("ups", "readable"): DerivedValue((), lambda reading, _center: float(getattr(reading, "failure", None) is None)),
    ("ups", "low_in_a_cut"): DerivedValue(
        ("output_state", "battery_status", "battery_charge_pct", "runtime_s"), _low_in_a_cut
    ),
    ("seats", "healthy_of_promised_pct"): _share_of_promised("healthy"),
    ("seats", "ready_of_promised_pct"): _share_of_promised("healthy", "off"),
    ("gateway", "clock_off_ms"): DerivedValue(("clock_offset_ms",), _clock_off_ms),
    ("silence", "silent_s"): DerivedValue((), lambda reading, _center: getattr(reading, "silent_s", None)),
    ("fleet", "silent_pct"): DerivedValue((), lambda reading, _center: getattr(reading, "silent_pct", None)),
}

# Derived values that are 1 or 0: people say yes or no.
YES_NO = frozenset({("ups", "readable"), ("ups", "low_in_a_cut")})

EVERYONE = "*"  # the center code under which findings about the collector itself are kept


@dataclass(frozen=True)
class Fleet:
    """How much of the fleet that should be heard is not: the collector's reading of itself."""

    silent_pct: float
    failure: None = None


@dataclass(frozen=True)
class Clocks:
    """How many of the synchronised gateways heard lately disagree with the collector's clock."""

    off_pct: float
    failure: None = None


@dataclass(frozen=True)
class Audit:
    """How much of a center's month is not stored as it was signed, by the newest audit."""

    differences: float
    failure: None = None


DEAF = Criterion(
    id="collector.deaf",
    reading="fleet",
    fields=("silent_pct",),
    compare="at_most",
    figure=Figure({EVERYONE: 49.9}),  # half of them or more
    unit="%",
    window=Window(),
    recovery=Recovery(100.0, Window()),
    when="always",
    severity="urgent",
    fresh_s=300,
    month=MonthRule(share_pct=100),
    name=LocalText({}),  # of the catalogue, see collector.standard.names
    fix=LocalText({}),
)

CLOCK = Criterion(
    id="collector.clock",
    reading="clocks",
    fields=("off_pct",),
    compare="at_most",
    figure=Figure({EVERYONE: 50.0}),  # most of them
    unit="%",
    window=Window(),
    recovery=Recovery(100.0, Window()),
    when="always",
    severity="urgent",
    fresh_s=600,
    month=MonthRule(share_pct=100),
    name=LocalText({}),
    fix=LocalText({}),
)

AUDIT = Criterion(
    id="collector.audit",
    reading="audit",
    fields=("differences",),
    compare="at_most",
    figure=Figure({EVERYONE: 0.0}),
    unit="",
    window=Window(),
    recovery=Recovery(100.0, Window()),
    when="always",
    severity="urgent",
    fresh_s=86_400,
    month=MonthRule(share_pct=100),
    name=LocalText({}),
    fix=LocalText({}),
)
