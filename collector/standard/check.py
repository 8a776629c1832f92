"""From a TOML table to a Standard, or to the list of everything that is wrong with it. Pure.

Each key has a shape: a function from the value found to the value meant, which raises ValueError with the rule and
the fix. `TomlTable.take` collects what they raise, so that one look at a file names every mistake.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from agent import wire
from agent.common.center_time import TZ
from collector.standard.check_table import (
    TomlTable,
    choice,
    counts,
    figure,
    flag,
    identifier,
    local_date,
    local_text,
    m_of_n,
    matching,
    names,
    percent,
    plain,
    slots,
    table,
    text,
    used_twice,
    whole,
    words,
)
from collector.standard.consequences import levels
from collector.standard.criteria import (
    DERIVED,
    Comparison,
    Criterion,
    Evidence,
    Figure,
    Matching,
    MonthRule,
    Recovery,
    Severity,
    Standard,
    When,
    Window,
)
from collector.standard.form import form_items

COMPARISONS: tuple[Comparison, ...] = ("at_least", "at_most", "one_of", "none_of")
READINGS = (*(kind.name for kind in wire.KINDS.values() if kind.is_judged), "silence")
DAY_S = 86_400


# ---------------------------------------------------------------- tables


def standard(values: Mapping[str, object], digest: str, where: str) -> tuple[Standard | None, list[str]]:
    """(the standard, []) or (None, every mistake as "WHERE: CRITERION: KEY: rule; fix")."""
    mistakes: list[str] = []
    top = TomlTable(where, values, mistakes)
    name, official = top.take("id", identifier), top.take("official", flag)
    note, tz = top.take("note", text), top.take("timezone", _zone, TZ)
    first, last = top.take("valid_from", local_date), top.take("valid_to", local_date, date.max)
    none: list[dict[str, object]] = []
    tables = top.take("criterion", _list_of_tables, none)
    after = levels(top.take("consequence", _list_of_tables, none) or [], where, mistakes)
    form = form_items(top.take("inspection", _list_of_tables, none) or [], where, mistakes)
    top.done()
    if tables == []:
        top.wrong("criterion", "a standard has at least one; add a [[criterion]] table")
    if first and last and last < first:
        top.wrong("valid_to", "must not be before valid_from; it is the last day on which the standard holds")
    criteria = tuple(criterion(entry, i, where, mistakes) for i, entry in enumerate(tables or [], 1))
    ids = [given for item in tables or [] if isinstance(given := item.get("id"), str)]
    mistakes += used_twice(ids, "criteria", where)
    if mistakes or not (name and note and tz and first and last):
        return None, mistakes
    to_ms = None if last == date.max else _midnight_ms(last + timedelta(days=1), tz)
    return Standard(
        id=name, official=bool(official), note=note, tz=tz, digest=digest,
        valid_from_ms=_midnight_ms(first, tz), valid_to_ms=to_ms,
        criteria=tuple(item for item in criteria if item), form=form, consequences=after,
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
        name=local_text(one, "name"), fix=local_text(one, "fix"), evidence=evidence, **parts,
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
    watch = one.take("watch", whole(1, pair[0] if pair else DAY_S), 1)
    return Window(*pair, watch=watch) if pair and watch else None


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
        unused=_unused(one),
        per=typing.cast(typing.Literal["reading", "day"], one.take("per", choice("reading", "day"), "reading")),
    )
    one.done()
    if rule.per == "day" and not {"at_least", "at_most"} & owner.values.keys():
        one.wrong("per", "a day of words has no mean; leave it out, or ask for at_least or at_most")
    if rule.unused is not None and owner.values.get("evidence") != "witnessed":
        one.wrong("unused", 'asks for granted tests; give evidence = "witnessed", or leave it out')
    if bands is not None and rule.min_slots > len(bands):
        one.wrong("min_slots", f"asks for {rule.min_slots} slots and {len(bands)} are given; list them in slots")
    return rule


def _unused(one: TomlTable) -> dict[str, int] | None:
    one.known.append("unused")
    return one.take("unused", counts) if "unused" in one.values else None


def _no_month(owner: TomlTable) -> MonthRule:
    if "month" in owner.values:
        owner.known.append("month")
        owner.wrong("month", "a notice is no shortfall and has none; remove it, or give another severity")
    return MonthRule(share_pct=0.0)


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
