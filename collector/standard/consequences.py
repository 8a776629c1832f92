"""What follows from months below the standard, as data: levels, each after so many months. Pure, but for the shipped
example. No consequence has been published: the example's are made up, and nothing of a center's changes by them here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from collector.standard.check_table import TomlTable, items, local_text, shipped_tables, whole
from collector.standard.criteria import Consequence, Standard

SHIPPED = "example-consequences.toml"
LONGEST = 24  # months that a level may look back


def levels(tables: Sequence[dict[str, object]], where: str, mistakes: list[str]) -> tuple[Consequence, ...]:
    """The levels of `[[consequence]]` tables, the mildest first as they stand; what is wrong with them is added to the
    mistakes."""
    return items(tables, "consequence", where, mistakes, _level)


def _level(one: TomlTable, name: str) -> Consequence | None:
    below, within = one.take("months_below", whole(1, LONGEST)), one.take("within_months", whole(1, LONGEST))
    if below and within and below > within:
        one.wrong("months_below", f"is more than within_months ({within}) has; lower it")
    words = local_text(one, "name")
    if words is None or below is None or within is None:
        return None
    return Consequence(id=name, months_below=below, within_months=within, name=words)


def consequences_of(standard: Standard) -> tuple[Consequence, ...]:
    """The version's own, or the shipped example."""
    return standard.consequences or shipped()


@cache
def shipped() -> tuple[Consequence, ...]:
    mistakes: list[str] = []
    made = levels(shipped_tables(__package__, SHIPPED, "consequence"), SHIPPED, mistakes)
    assert not mistakes, mistakes
    return made


def reached(below: Sequence[bool], known: Sequence[Consequence]) -> Consequence | None:
    """The last of the levels that a center has reached. `below`: of each month whether it was below, the newest first,
    False for one without a closed report. Who meets the standard again has no level."""
    if not below or not below[0]:
        return None
    return next((one for one in reversed(known) if sum(below[: one.within_months]) >= one.months_below), None)
