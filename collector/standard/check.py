"""From a TOML table to a Standard, or to the list of everything that is wrong with it. Pure.

Each key has a shape: a function from the value found to the value meant, which raises ValueError with the rule and
the fix. `TomlTable.take` collects what they raise, so that one look at a file names every mistake.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from agent import wire
from agent.common.center_time import TZ
from agent.common.errors import describe
from collector.register import opening_hours
from collector.standard.criteria import (
    DERIVED,
    TIERS,
    Comparison,
    Criterion,
    Evidence,
    Figure,
    LocalText,
    Matching,
    MonthRule,
    Recovery,
    Severity,
    Standard,
    When,
    Window,
)

T = TypeVar("T")
COMPARISONS: tuple[Comparison, ...] = ("at_least", "at_most", "one_of", "none_of")
READINGS = (*(kind.name for kind in wire.KINDS.values() if kind.is_judged), "silence")
DAY_S = 86_400


class TomlTable:
    """One table of the file while it is read: what is taken out of it, what is missing, what is left over."""

    def __init__(self, where: str, values: Mapping[str, object], mistakes: list[str]) -> None:
        self.where, self.values, self.mistakes = where, values, mistakes
        self.known: list[str] = []

    def take(self, key: str, shape: Callable[[object], T], default: T | None = None) -> T | None:
        """The value of `key`, or `default`; None after a mistake, which is noted. No default: the key is required."""
        self.known.append(key)
        if key not in self.values:
            if default is None:
                self.wrong(key, "is missing; add it")
            return default
        try:
            return shape(self.values[key])
        except ValueError as error:
            self.wrong(key, f"{describe(error)} (found {_shown(self.values[key])})")
            return None

    def wrong(self, key: str, rule_and_fix: str) -> None:
        self.mistakes.append(f"{self.where}: {_plain(key)}: {rule_and_fix}")

    def done(self) -> None:
        for key in self.values:
            if key not in self.known:
                self.wrong(key, f"is not a key here; remove it, or use one of {' '.join(sorted(set(self.known)))}")


def _plain(key: str) -> str:
    """A key as it stands, or quoted when it would break the line."""
    return key if key.isprintable() else repr(key)


def _shown(value: object) -> str:
    try:
        return repr(value)[:60]
    except ValueError:  # Python writes no whole number of over 4,300 digits
        return "a number of thousands of digits"


# ---------------------------------------------------------------- shapes


def text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError('must be text, e.g. "Mbit/s"')
    return value


def plain(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError('must be text; write "" for none')
    return value


def identifier(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 64 or not all(c.isalnum() or c in "._-" for c in value):
        raise ValueError('must be 1 to 64 letters, digits, dots, dashes, e.g. "internet.download"')
    return value


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false, without quotes")
    return value


def number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e12:
        raise ValueError("must be a number without quotes, e.g. 20 or 1.5")
    return float(value)


def whole(low: int, high: int) -> Callable[[object], int]:
    def shape(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return shape


def percent(value: object) -> float:
    found = number(value)
    if not 0 <= found <= 1000:
        raise ValueError("must be a percentage, e.g. 80")
    return found


def choice(*words: str) -> Callable[[object], str]:
    def shape(value: object) -> str:
        if value not in words:
            raise ValueError(f"must be one of {' '.join(words)}")
        return str(value)

    return shape


def word(value: object) -> str:
    """Words and booleans alike as text, the form in which readings are compared."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise ValueError('must be a list of words or of true and false, e.g. ["online"]')
    return value


def words(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not value:
        raise ValueError('must be a list of words or of true and false, e.g. ["online"]')
    return frozenset(word(item) for item in value)


def names(value: object) -> tuple[str, ...]:
    found = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(item, str) for item in found):
        raise ValueError('must be a field or a list of fields, e.g. "loss_pct"')
    return tuple(found)


def local_date(value: object) -> date:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("must be a date without quotes, e.g. 2026-01-01")
    return value


def table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("must be a table, e.g. { for_s = 600 }")
    return value


def figure(value: object) -> Figure:
    if not isinstance(value, dict):
        return Figure(dict.fromkeys(TIERS, number(value)))
    if set(value) - {"per_seat"} != set(TIERS):
        raise ValueError("must be a number or name every tier, e.g. { one = 50, two = 30, three = 20, per_seat = 1.0 }")
    return Figure({tier: number(value[tier]) for tier in TIERS}, number(value.get("per_seat", 0.0)))


def matching(value: object) -> Matching:
    return {name: words(wanted) for name, wanted in table(value).items()}


def m_of_n(value: object) -> tuple[int, int]:
    if not (isinstance(value, list) and len(value) == 2 and all(type(item) is int for item in value)):
        raise ValueError("must be two whole numbers, e.g. [3, 4] for three of the last four")
    m, n = value
    if not 1 <= m <= n <= 20:
        raise ValueError("must be M of the last N with 1 <= M <= N <= 20, e.g. [3, 4]")
    return m, n


def slots(value: object) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError('must be a list of hours, e.g. ["00:00-10:00", "10:00-24:00"]')
    return tuple(span for item in value for day in opening_hours.parse(f"Mon {item}").week for span in day)


# ---------------------------------------------------------------- tables


def standard(values: Mapping[str, object], digest: str, where: str) -> tuple[Standard | None, list[str]]:
    """(the standard, []) or (None, every mistake as "WHERE: CRITERION: KEY: rule; fix")."""
    mistakes: list[str] = []
    top = TomlTable(where, values, mistakes)
    name, official = top.take("id", identifier), top.take("official", flag)
    note, tz = top.take("note", text), top.take("timezone", _zone, TZ)
    first, last = top.take("valid_from", local_date), top.take("valid_to", local_date, date.max)
    none: list[dict[str, object]] = []
    found = top.take("criterion", _list_of_tables, none)
    top.done()
    if found == []:
        top.wrong("criterion", "a standard has at least one; add a [[criterion]] table")
    if first and last and last < first:
        top.wrong("valid_to", "must not be before valid_from; it is the last day on which the standard holds")
    criteria = tuple(criterion(entry, i, where, mistakes) for i, entry in enumerate(found or [], 1))
    ids = [given for item in found or [] if isinstance(given := item.get("id"), str)]
    twice = sorted({item for item in ids if ids.count(item) > 1})
    mistakes += [f"{where}: {_plain(item)}: id: is used by two criteria; give each its own" for item in twice]
    if mistakes or not (name and note and tz and first and last):
        return None, mistakes
    to_ms = None if last == date.max else _midnight_ms(last + timedelta(days=1), tz)
    return Standard(
        id=name, official=bool(official), note=note, tz=tz, digest=digest,
        valid_from_ms=_midnight_ms(first, tz), valid_to_ms=to_ms,
        criteria=tuple(item for item in criteria if item),
    ), []  # fmt: skip


def criterion(values: Mapping[str, object], place: int, where: str, mistakes: list[str]) -> Criterion | None:
    named = values.get("id")
    before = len(mistakes)
    called = named if isinstance(named, str) and named and named.isprintable() else f"criterion {place}"
    one = TomlTable(f"{where}: {called}", values, mistakes)
    compare, bound, wanted = _comparison(one)
    reading = typing.cast(str, one.take("reading", choice(*READINGS)))
    fields = one.take("field", names)
    if reading and fields and compare:
        _check_fields(one, reading, fields, compare)
    count_at_pct = one.take("count_at_pct", percent, 100.0)
    anything: Matching = {}
    parts = {key: one.take(key, matching, anything) for key in ("only", "ignore", "lower_bound")}
    for key, part in parts.items():
        _check_matching(one, key, reading, part)
    evidence = typing.cast(Evidence, one.take("evidence", choice("signed", "witnessed"), "signed"))
    if evidence == "witnessed" and reading != "speed":
        one.wrong("evidence", "only speed readings have a witness, the measurement server; leave it out")
    severity = typing.cast(Severity, one.take("severity", choice("notice", "info", "warning", "serious", "urgent")))
    built = dict(
        id=one.take("id", identifier), reading=reading, fields=fields, compare=compare, figure=bound, words=wanted,
        unit=one.take("unit", plain), count_at_pct=count_at_pct, window=_window(one, "window"),
        recovery=_recovery(one, compare, count_at_pct), fresh_s=one.take("fresh_s", whole(1, 400 * DAY_S)),
        when=typing.cast(When, one.take("when", choice("open_hours", "always"))),
        severity=severity, month=_no_month(one) if severity == "notice" else _month(one),
        name=_words(one, "name"), fix=_words(one, "fix"), evidence=evidence, **parts,
    )  # fmt: skip
    one.done()
    return None if len(mistakes) > before else Criterion(**built)  # type: ignore[arg-type]  # None only with mistakes


def _comparison(one: TomlTable) -> tuple[Comparison | None, Figure | None, frozenset[str]]:
    used = [key for key in COMPARISONS if key in one.values]
    one.known += COMPARISONS
    if len(used) != 1:
        one.wrong("at_least", f"exactly one of {' '.join(COMPARISONS)} must be given; found {' '.join(used) or 'none'}")
        return None, None, frozenset()
    if used[0] in ("at_least", "at_most"):
        return used[0], one.take(used[0], figure), frozenset()
    return used[0], None, one.take(used[0], words) or frozenset()


def _window(owner: TomlTable, key: str) -> Window | None:
    values = owner.take(key, table)
    if values is None:
        return None
    one = TomlTable(f"{owner.where}: {key}", values, owner.mistakes)
    window = _window_of(one)
    one.done()
    return window


def _window_of(one: TomlTable) -> Window | None:
    if ("for_s" in one.values) == ("m_of_n" in one.values):
        one.known += ["for_s", "m_of_n"]
        one.wrong("for_s", "give either for_s (seconds) or m_of_n, e.g. { for_s = 600 } or { m_of_n = [3, 4] }")
        return None
    if "for_s" in one.values:
        one.known.append("m_of_n")
        for_s = one.take("for_s", whole(0, DAY_S))
        return None if for_s is None else Window(for_s=for_s)
    one.known.append("for_s")
    pair = one.take("m_of_n", m_of_n)
    return pair and Window(*pair)


def _recovery(owner: TomlTable, compare: Comparison | None, count_at_pct: float | None) -> Recovery | None:
    values = owner.take("recover", table)
    if values is None:
        return None
    one = TomlTable(f"{owner.where}: recover", values, owner.mistakes)
    window = _window_of(one)
    numeric = compare not in ("one_of", "none_of")
    at_pct = one.take("at_pct", percent, count_at_pct) if numeric else 100.0
    one.done()
    if at_pct is not None and count_at_pct is not None and compare in ("at_least", "at_most"):
        looser = at_pct < count_at_pct if compare == "at_least" else at_pct > count_at_pct
        if looser:
            side = "least" if compare == "at_least" else "most"
            one.wrong("at_pct", f"recovery must not be looser than the bound; give at {side} {count_at_pct:g}")
    return None if window is None or at_pct is None else Recovery(at_pct, window)


def _month(owner: TomlTable) -> MonthRule | None:
    values = owner.take("month", table)
    if values is None:
        return None
    one = TomlTable(f"{owner.where}: month", values, owner.mistakes)
    none: tuple[tuple[int, int], ...] = ()
    bands = one.take("slots", slots, none)
    rule = MonthRule(
        share_pct=one.take("share_pct", percent) or 0.0,
        min_samples=one.take("min_samples", whole(1, 10**6), 1) or 1,
        min_days=one.take("min_days", whole(0, 31), 0) or 0,
        min_slots=one.take("min_slots", whole(0, 24), 0) or 0,
        min_coverage_pct=one.take("min_coverage_pct", percent, 0.0) or 0.0,
        slots=bands or (),
        per=typing.cast(typing.Literal["reading", "day"], one.take("per", choice("reading", "day"), "reading")),
    )
    one.done()
    if rule.per == "day" and not {"at_least", "at_most"} & owner.values.keys():
        one.wrong("per", "a day of words has no mean; leave it out, or ask for at_least or at_most")
    if bands is not None and rule.min_slots > len(bands):
        one.wrong("min_slots", f"asks for {rule.min_slots} slots and {len(bands)} are given; list them in slots")
    return rule


def _no_month(owner: TomlTable) -> MonthRule:
    if "month" in owner.values:
        owner.known.append("month")
        owner.wrong("month", "a notice is no shortfall and has none; remove it, or give another severity")
    return MonthRule(share_pct=0.0)


ASKED_LANGUAGES = ("en", "ur")
LANGUAGE = re.compile(r"[a-z]{2,3}")  # ISO 639


def _words(owner: TomlTable, key: str) -> LocalText | None:
    """A text in English and Urdu, and in other languages where the file has them."""
    values = owner.take(key, table)
    if values is None:
        return None
    one = TomlTable(f"{owner.where}: {key}", values, owner.mistakes)
    others = sorted(name for name in values if LANGUAGE.fullmatch(name) and name not in ASKED_LANGUAGES)
    texts = {lang: one.take(lang, text) for lang in (*ASKED_LANGUAGES, *others)}
    one.done()
    return LocalText({lang: wording for lang, wording in texts.items() if wording}) if all(texts.values()) else None


# ---------------------------------------------------------------- what readings have


TOO_FEW = {("speed", "loss_pct")}  # one test's echoes tell no loss: a day of the link's readings does


def value_type(reading: str, name: str) -> str | None:
    """`number`, `word` or `words` for a value that readings of this kind can have, else None."""
    if (reading, name) in DERIVED:
        return "number"
    if (reading, name) in TOO_FEW:
        return None
    kind = wire.KINDS.get(reading)
    if kind is None or name not in kind.struct.__struct_fields__ or name in ("at", "subject", "failure"):
        return None
    return _type_name(typing.get_type_hints(kind.struct)[name])


def _type_name(hint: object) -> str:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is list:
        return "words"
    return "number" if hint in (int, float) else "word"


def _values_of(reading: str, wanted: tuple[str, ...]) -> list[str]:
    kind = wire.KINDS.get(reading)
    every = [*(kind.struct.__struct_fields__ if kind else ()), *(name for of, name in DERIVED if of == reading)]
    return sorted(name for name in every if value_type(reading, name) in wanted)


def _check_fields(one: TomlTable, reading: str, fields: tuple[str, ...], compare: Comparison) -> None:
    wanted = "number" if compare in ("at_least", "at_most") else "word"
    for name in fields:
        if value_type(reading, name) != wanted:
            fits = " ".join(_values_of(reading, (wanted,))) or "none"
            one.wrong("field", f"{name!r} is not a {wanted} that {reading} readings have; use one of {fits}")


def _check_matching(one: TomlTable, key: str, reading: str | None, part: Matching | None) -> None:
    for name in part or {}:
        if reading and value_type(reading, name) not in ("word", "words"):
            fits = " ".join(_values_of(reading, ("word", "words"))) or "none"
            one.wrong(key, f"{name!r} is not a word that {reading} readings have; use one of {fits}")


def _list_of_tables(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("must be tables headed [[criterion]]")
    return value


def _zone(value: object) -> str:
    try:
        return ZoneInfo(text(value)).key
    except (KeyError, ValueError, OSError, RecursionError):  # the last for a path of thousands of steps
        raise ValueError(f'must be a time zone, e.g. "{TZ}"') from None


def _midnight_ms(day: date, tz: str) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(tz)).timestamp() * 1000)
