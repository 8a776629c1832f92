"""What people call a criterion and what they are to do about it, in their language."""

from __future__ import annotations

from typing import TypeVar

from msgspec.structs import replace

from agent.common.reasons import Param, Reason
from agent.common.words import Renderer
from collector.standard.criteria import Criterion, LocalText

S = TypeVar("S", bound=str)


def name_of(criterion: Criterion, words: Renderer[S]) -> S:
    """Its name as its standard has it; the collector's own criteria are named by the catalogue."""
    return _text(f"criterion.{criterion.id}", criterion.name, words)


def fix_of(criterion: Criterion, words: Renderer[S]) -> S:
    return _text(f"criterion.{criterion.id}.fix", criterion.fix, words)


def measure_of(criterion: Criterion, words: Renderer[S]) -> S | None:
    """What was measured, where the criterion's name may say the opposite: of what must be little, a name can tell the
    good or the bad ("names resolve", "packet loss"), so its share or its time is given with the field's own name."""
    if criterion.compare != "at_most" or criterion.unit not in ("%", "s"):
        return None
    measure = words.word("field", criterion.fields[0])
    return None if str(measure).casefold() == str(name_of(criterion, words)).casefold() else measure


def value_of(criterion: Criterion, value: float, words: Renderer[S]) -> S:
    """A value with its unit, and with the name of what was measured where that is needed."""
    figure, measure = words.figure(value, criterion.unit), measure_of(criterion, words)
    return figure if measure is None else words("measure.named", field=measure, value=figure)


def found_of(criterion: Criterion, reason: Reason, words: Renderer[S]) -> Reason:
    """A reason of this criterion, its figure named where that is needed."""
    return reason if measure_of(criterion, words) is None else _with_measure(reason, criterion.fields[0])


def _with_measure(reason: Reason, field: str) -> Reason:
    """The same reason, its figure named by this field."""
    named = _NAMED.get(reason.code)
    inner: dict[str, Param] = {
        name: _with_measure(value, field) for name, value in reason.params.items() if isinstance(value, Reason)
    }
    if named:
        inner["field"] = field
    return replace(reason, code=named or reason.code, params={**reason.params, **inner}) if inner else reason


_NAMED = {"verdict.at_most": "verdict.count_at_most", "verdict.share_at_most": "verdict.share_count_at_most"}


def _text(key: str, own: LocalText, words: Renderer[S]) -> S:
    if key in words.texts:
        return words(key)
    return words.fill("{text}", {"text": own.of(words.lang)}) if words.lang in own.texts else words.raw(own.en)
