"""The form of an inspection as data: which facilities an inspector looks at, and what is asked of them. Pure, but for
the shipped example."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from functools import cache
from importlib import resources

from agent.common.files import parse_toml
from collector.standard.check_table import TomlTable, choice, figure, identifier, one_line, plain, table, text
from collector.standard.criteria import AnswerKind, FormItem, LocalText, Standard

SHIPPED = "example-form.toml"
ANSWERS: tuple[AnswerKind, ...] = typing.get_args(AnswerKind)
FACTS = ("seats_promised", "cabins", "meeting_rooms", "training_rooms", "seat_price_rs", "generator_kva")
BOUNDS = ("at_least", "at_most")


def items(tables: list[dict[str, object]], where: str, mistakes: list[str]) -> tuple[FormItem, ...]:
    """The items of `[[inspection]]` tables; what is wrong with them is added to the mistakes."""
    made = [_item(values, place, where, mistakes) for place, values in enumerate(tables, 1)]
    ids = [item.id for item in made if item]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    mistakes += [
        f"{where}: {one_line(name)}: id: is used by two items of the form; give each its own" for name in twice
    ]
    return tuple(item for item in made if item)


def _item(values: Mapping[str, object], place: int, where: str, mistakes: list[str]) -> FormItem | None:
    before = len(mistakes)
    one = TomlTable(f"{where}: inspection {place}", values, mistakes)
    kind = typing.cast(AnswerKind, one.take("answer", choice(*ANSWERS)))
    used = [key for key in BOUNDS if key in one.values]
    one.known += BOUNDS
    if len(used) > 1 or (used and kind in ("yes_no", "text")):
        one.wrong(used[0], "at most one bound, and only of a number; leave it out")
    bound = one.take(used[0], figure) if len(used) == 1 else None
    names = TomlTable(f"{one.where}: name", one.take("name", table) or {}, mistakes)
    texts = {lang: names.take(lang, text) for lang in ("en", "ur")}
    fact = one.take("fact", plain, "")
    if fact and fact not in FACTS:
        one.wrong("fact", f"must be one of {' '.join(FACTS)}; or leave it out")
    item_id = one.take("id", identifier)
    one.done()
    if len(mistakes) > before or item_id is None:
        return None
    return FormItem(
        id=item_id, answer=kind, fact=fact or "", at_least=bound if used == ["at_least"] else None,
        at_most=bound if used == ["at_most"] else None,
        name=LocalText({lang: name for lang, name in texts.items() if name}),
    )  # fmt: skip


def form_of(standard: Standard) -> tuple[FormItem, ...]:
    """The version's own, or the shipped example."""
    return standard.form or shipped()


@cache
def shipped() -> tuple[FormItem, ...]:
    mistakes: list[str] = []
    values = parse_toml(resources.files(__package__).joinpath(SHIPPED).read_bytes())
    form = items(typing.cast(list[dict[str, object]], values["inspection"]), SHIPPED, mistakes)
    assert not mistakes, mistakes
    return form
