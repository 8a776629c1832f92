"""The form of an inspection as data: which facilities an inspector looks at, and what is asked of them. Pure, but for
the shipped example."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from functools import cache

from collector.standard.check_table import TomlTable, choice, figure, items, local_text, plain, shipped_tables
from collector.standard.criteria import AnswerKind, FormItem, Standard

SHIPPED = "example-form.toml"
ANSWERS: tuple[AnswerKind, ...] = typing.get_args(AnswerKind)
FACTS = ("seats_promised", "cabins", "meeting_rooms", "training_rooms", "seat_price_rs", "generator_kva")
BOUNDS = ("at_least", "at_most")


def form_items(tables: Sequence[dict[str, object]], where: str, mistakes: list[str]) -> tuple[FormItem, ...]:
    """The items of `[[inspection]]` tables; what is wrong with them is added to the mistakes."""
    return items(tables, "inspection", where, mistakes, _item)


def _item(one: TomlTable, name: str) -> FormItem | None:
    kind = typing.cast(AnswerKind, one.take("answer", choice(*ANSWERS)))
    used = [key for key in BOUNDS if key in one.values]
    one.known += BOUNDS
    if len(used) > 1 or (used and kind in ("yes_no", "text")):
        one.wrong(used[0], "at most one bound, and only of a number; leave it out")
    bound = one.take(used[0], figure) if len(used) == 1 else None
    words, fact = local_text(one, "name"), one.take("fact", plain, "")
    if fact and fact not in FACTS:
        one.wrong("fact", f"must be one of {' '.join(FACTS)}; or leave it out")
    if words is None:
        return None
    return FormItem(
        id=name, answer=kind, fact=fact or "", at_least=bound if used == ["at_least"] else None,
        at_most=bound if used == ["at_most"] else None, name=words,
    )  # fmt: skip


def form_of(standard: Standard) -> tuple[FormItem, ...]:
    """The version's own, or the shipped example."""
    return standard.form or shipped()


@cache
def shipped() -> tuple[FormItem, ...]:
    mistakes: list[str] = []
    form = form_items(shipped_tables(__package__, SHIPPED, "inspection"), SHIPPED, mistakes)
    assert not mistakes, mistakes
    return form
