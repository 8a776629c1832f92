"""One table of a standard's file, and the shapes of its keys: each from the value found to the value meant. Pure, but
for what is shipped."""

from __future__ import annotations

import re
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from importlib import resources
from typing import TypeVar

from agent.common.errors import describe
from agent.common.files import parse_toml
from collector.register import opening_hours
from collector.standard.criteria import (
    TIERS,
    Figure,
    LocalText,
    Matching,
)

T = TypeVar("T")
ASKED_LANGUAGES = ("en", "ur")
LANGUAGE = re.compile(r"[a-z]{2,3}")  # ISO 639


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
        self.mistakes.append(f"{self.where}: {one_line(key)}: {rule_and_fix}")

    def done(self) -> None:
        for key in self.values:
            if key not in self.known:
                self.wrong(key, f"is not a key here; remove it, or use one of {' '.join(sorted(set(self.known)))}")


def items(
    tables: Sequence[dict[str, object]],
    kind: str,
    where: str,
    mistakes: list[str],
    item: Callable[[TomlTable, str], T | None],
) -> tuple[T, ...]:
    """What `item` makes of each `[[kind]]` table and its id; what is wrong with them is added to the mistakes."""
    made, ids = [], []
    for place, values in enumerate(tables, 1):
        before = len(mistakes)
        one = TomlTable(f"{where}: {kind} {place}", values, mistakes)
        name = one.take("id", identifier) or ""
        row = item(one, name)
        one.done()
        ids.append(name)
        if row is not None and len(mistakes) == before:
            made.append(row)
    mistakes += used_twice([name for name in ids if name], f"{kind} tables", where)
    return tuple(made)


def shipped_tables(package: str, file: str, kind: str) -> list[dict[str, object]]:
    """The `[[kind]]` tables of a file that comes with a package."""
    values = parse_toml(resources.files(package).joinpath(file).read_bytes())
    return typing.cast(list[dict[str, object]], values[kind])


def used_twice(ids: Sequence[str], whose: str, where: str) -> Iterator[str]:
    """The mistake of each id that is not used once."""
    for name in sorted(name for name, n in Counter(ids).items() if n > 1):
        yield f"{where}: {one_line(name)}: id: is used by two {whose}; give each its own"


def local_text(owner: TomlTable, key: str) -> LocalText | None:
    """A text in English and Urdu, and in other languages where the file has them."""
    values = owner.take(key, table)
    if values is None:
        return None
    one = TomlTable(f"{owner.where}: {key}", values, owner.mistakes)
    others = sorted(name for name in values if LANGUAGE.fullmatch(name) and name not in ASKED_LANGUAGES)
    texts = {lang: one.take(lang, text) for lang in (*ASKED_LANGUAGES, *others)}
    one.done()
    return LocalText({lang: wording for lang, wording in texts.items() if wording}) if all(texts.values()) else None


def one_line(key: str) -> str:
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
    pct = number(value)
    if not 0 <= pct <= 1000:
        raise ValueError("must be a percentage, e.g. 80")
    return pct


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
    fields = value if isinstance(value, list) else [value]
    if not fields or not all(isinstance(item, str) for item in fields):
        raise ValueError('must be a field or a list of fields, e.g. "loss_pct"')
    return tuple(fields)


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


def counts(value: object) -> dict[str, int]:
    """Words with how many of each."""
    return {identifier(name): whole(0, 10_000)(count) for name, count in table(value).items()}


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
