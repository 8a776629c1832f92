"""What follows from months below the standard, as data: levels, each after so many months. Pure, but for the shipped
example. No consequence has been published: the example's are made up, and nothing of a center's changes by them here.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

from agent.common.files import parse_toml
from collector.standard.check_table import TomlTable, identifier, one_line, table, text, whole
from collector.standard.criteria import Consequence, LocalText, Standard

SHIPPED = "example-consequences.toml"
LONGEST = 24  # months that a level may look back


def levels(tables: list[dict[str, object]], where: str, mistakes: list[str]) -> tuple[Consequence, ...]:
    """The levels of `[[consequence]]` tables, the mildest first as they stand; what is wrong with them is added to the
    mistakes."""
    made = [_level(values, place, where, mistakes) for place, values in enumerate(tables, 1)]
    ids = [level.id for level in made if level]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    mistakes += [f"{where}: {one_line(name)}: id: is used by two consequences; give each its own" for name in twice]
    return tuple(level for level in made if level)


def _level(values: Mapping[str, object], place: int, where: str, mistakes: list[str]) -> Consequence | None:
    before = len(mistakes)
    one = TomlTable(f"{where}: consequence {place}", values, mistakes)
    name = one.take("id", identifier)
    below, within = one.take("months_below", whole(1, LONGEST)), one.take("within_months", whole(1, LONGEST))
    if below and within and below > within:
        one.wrong("months_below", f"is more than within_months ({within}) has; lower it")
    words = TomlTable(f"{one.where}: name", one.take("name", table) or {}, mistakes)
    texts = {lang: words.take(lang, text) for lang in ("en", "ur")}
    words.done()
    one.done()
    if len(mistakes) > before or not (name and below and within):
        return None
    names = LocalText({lang: given for lang, given in texts.items() if given})
    return Consequence(id=name, months_below=below, within_months=within, name=names)


def consequences_of(standard: Standard) -> tuple[Consequence, ...]:
    """The version's own, or the shipped example."""
    return standard.consequences or shipped()


@cache
def shipped() -> tuple[Consequence, ...]:
    mistakes: list[str] = []
    values = parse_toml(resources.files(__package__).joinpath(SHIPPED).read_bytes())
    made = levels(typing.cast(list[dict[str, object]], values["consequence"]), SHIPPED, mistakes)
    assert not mistakes, mistakes
    return made


def reached(below: Sequence[bool], known: Sequence[Consequence]) -> Consequence | None:
    """The last of the levels that a center has reached. `below`: of each month whether it was below, the newest first,
    False for one without a closed report. Who meets the standard again has no level."""
    if not below or not below[0]:
        return None
    return next((one for one in reversed(known) if sum(below[: one.within_months]) >= one.months_below), None)
