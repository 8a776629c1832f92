"""One reading held against one criterion. Pure: the same reading, criterion and promise give the same verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from agent.wire import ENGINE_OF_RECORD
from collector.flags.witness import Witness
from collector.standard.criteria import DERIVED, Criterion, Figure, Matching, Promise

Word = Literal["meets", "below", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`bound` is what this center had to hold, `recovers` whether the reading also holds the stricter recovery bound.

    `below` means on the wrong side of the bound, also where small is good. Values that are words have no number.
    """

    word: Word
    reason: str
    value: float | None = None
    bound: float | None = None
    recovers: bool = False


def judge(criterion: Criterion, reading: object, center: Promise, witness: Witness | None = None) -> Verdict:
    """Holds a reading (a wire reading, or a row with its columns) against a criterion.

    1. A reading that does not count for the criterion is `unknown`. A self-test never counts, nor does a speed test by
       another engine than that of record, whatever a standard says.
    2. So is one without the value: the measurement failed, or the source does not report it.
    3. So is one whose witness does not agree, where a witness is asked for; and no more counts than is credited.
    4. Otherwise the value is compared; a lower bound can meet the criterion but not prove that it is missed.
    """
    if reason := _does_not_count(criterion, reading):
        return Verdict("unknown", reason)
    name, value = _value(criterion, reading, center)
    if value is None:
        return Verdict("unknown", _why_no_value(criterion, reading))
    if criterion.figure is None:
        return _judge_word(criterion, _word(value))
    assert not isinstance(value, str)
    if criterion.evidence == "witnessed":
        return _judge_witnessed(criterion, criterion.figure, reading, name, float(value), center, witness)
    return _judge_number(criterion, criterion.figure, reading, float(value), center)


def bound_of(criterion: Criterion, center: Promise) -> float | None:
    """What this center has to hold; None for criteria about words."""
    return None if criterion.figure is None else criterion.figure.of(center) * criterion.count_at_pct / 100


def show(number: float, unit: str = "") -> str:
    """A number as people write it: three or so digits, no trailing zeros."""
    digits = 0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 2
    shown = f"{number:.{digits}f}"
    if digits:
        shown = shown.rstrip("0").rstrip(".")
    return f"{shown} {unit}" if unit else shown


def _does_not_count(criterion: Criterion, reading: object) -> str:
    if getattr(reading, "purpose", None) == "self-test":
        return "a self-test never counts"
    engine = getattr(reading, "engine", None) if criterion.reading == "speed" else None
    if engine not in (None, ENGINE_OF_RECORD):
        return f"not counted: engine is {engine}"
    for name, words in criterion.ignore.items():
        if found := _matches(reading, name, words):
            return f"not counted: {name} is {found}"
    for name, words in criterion.only.items():
        if not _matches(reading, name, words):
            return f"not counted: {name} is {_word(getattr(reading, name, None)) or 'not known'}"
    return ""


def _matches(reading: object, name: str, words: frozenset[str]) -> str:
    """The word of the field that is among `words`, or "" if none is."""
    found = getattr(reading, name, None)
    for item in found if isinstance(found, list | tuple) else (found,):
        if _word(item) in words:
            return _word(item)
    return ""


def _any_matches(reading: object, part: Matching) -> str:
    return next(filter(None, (_matches(reading, name, words) for name, words in part.items())), "")


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _value(criterion: Criterion, reading: object, center: Promise) -> tuple[str, float | str | bool | None]:
    """The first field that is known, and its value."""
    for name in criterion.fields:
        derived = DERIVED.get((criterion.reading, name))
        value: float | str | bool | None = derived.reckon(reading, center) if derived else getattr(reading, name, None)
        if value is not None:
            return name, value
    return "", None


def _why_no_value(criterion: Criterion, reading: object) -> str:
    failure = getattr(reading, "failure", None)
    if failure is not None:
        return f"the measurement failed: {getattr(failure, 'cause', failure)}"
    return f"the reading has no {' or '.join(criterion.fields)}"


def _judge_word(criterion: Criterion, word: str) -> Verdict:
    listed = word in criterion.words
    meets = listed if criterion.compare == "one_of" else not listed
    rule = f"{'one of' if criterion.compare == 'one_of' else 'none of'} {_list(criterion.words)} is asked"
    return Verdict("meets" if meets else "below", f"{criterion.fields[0]} is {word}; {rule}", recovers=meets)


def _list(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))


def _judge_witnessed(
    criterion: Criterion,
    figure: Figure,
    reading: object,
    name: str,
    value: float,
    center: Promise,
    witness: Witness | None,
) -> Verdict:
    """A figure that is cut to what its witness credits may meet the criterion; that it falls short proves nothing when
    the whole figure would not."""
    if witness is None or witness.word != "agrees":
        why = f"{witness.word}: {witness.reason}" if witness else "unwitnessed: no server was asked"
        return Verdict("unknown", f"not witnessed: {why}")
    credited = min(value, witness.credited.get(name, value))
    verdict = _judge_number(criterion, figure, reading, credited, center)
    if verdict.word == "below" and _judge_number(criterion, figure, reading, value, center).word == "meets":
        shown = show(value, criterion.unit)
        return Verdict("unknown", f"{verdict.reason}; but {shown} is claimed, so it proves no shortfall", credited)
    return verdict


def _judge_number(criterion: Criterion, figure: Figure, reading: object, value: float, center: Promise) -> Verdict:
    asked = figure.of(center)
    bound, recovery = asked * criterion.count_at_pct / 100, asked * criterion.recovery.at_pct / 100
    low_is_bad = criterion.compare == "at_least"
    meets = value >= bound if low_is_bad else value <= bound
    recovers = value >= recovery if low_is_bad else value <= recovery
    reason = _number_reason(criterion, value, bound, asked)
    if not meets and (flag := _any_matches(reading, criterion.lower_bound)):
        return Verdict("unknown", f"{reason}; but the reading is {flag}, so it proves no shortfall", value, bound)
    return Verdict("meets" if meets else "below", reason, value, bound, recovers)


def _number_reason(criterion: Criterion, value: float, bound: float, asked: float) -> str:
    side = "at least" if criterion.compare == "at_least" else "at most"
    share = "" if bound == asked else f" ({criterion.count_at_pct:g} % of {show(asked, criterion.unit)})"
    return f"{show(value, criterion.unit)}; {side} {show(bound, criterion.unit)} is asked{share}"
