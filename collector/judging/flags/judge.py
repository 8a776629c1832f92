"""One reading held against one criterion. Pure: the same reading, criterion and promise give the same verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.common.causes import SKIPPED
from agent.common.reasons import Param, Reason
from agent.wire import ENGINE_OF_RECORD
from collector.judging.flags.witness import Witness
from collector.standard.criteria import DERIVED, YES_NO, Criterion, Figure, Matching, Promise

Word = Literal["meets", "below", "unknown"]

SELF_TEST = Reason("verdict.self_test")
UNWITNESSED = Reason("witness.not_asked")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`bound` is what this center had to hold, `recovers` whether the reading also holds the stricter recovery bound.

    `below` means on the wrong side of the bound, also where small is good. Values that are words have no number.
    """

    word: Word
    reason: Reason
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
    if (reason := _does_not_count(criterion, reading)) is not None:
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


def _does_not_count(criterion: Criterion, reading: object) -> Reason | None:
    if getattr(reading, "purpose", None) == "self-test":
        return SELF_TEST
    engine = getattr(reading, "engine", None) if criterion.reading == "speed" else None
    if engine not in (None, ENGINE_OF_RECORD):
        return Reason("verdict.not_counted", {"field": "engine", "word": str(engine)})
    for name, words in criterion.ignore.items():
        if word := _matches(reading, name, words):
            return Reason("verdict.not_counted", {"field": name, "word": word})
    for name, words in criterion.only.items():
        if not _matches(reading, name, words):
            word = _word(getattr(reading, name, None))
            code = "verdict.not_counted" if word else "verdict.not_counted_unknown"
            return Reason(code, {"field": name, "word": word} if word else {"field": name})
    return None


def _matches(reading: object, name: str, words: frozenset[str]) -> str:
    """The word of the field that is among `words`, or "" if none is."""
    value = getattr(reading, name, None)
    for item in value if isinstance(value, list | tuple) else (value,):
        if _word(item) in words:
            return _word(item)
    return ""


def _any_matches(reading: object, part: Matching) -> tuple[str, str] | None:
    """(field, word) of the first that matches."""
    pairs = ((name, _matches(reading, name, words)) for name, words in part.items())
    return next((pair for pair in pairs if pair[1]), None)


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


def _why_no_value(criterion: Criterion, reading: object) -> Reason:
    failure = getattr(reading, "failure", None)
    if failure is not None:
        cause = str(getattr(failure, "cause", failure))
        return Reason("verdict.not_made" if cause in SKIPPED else "verdict.failed", {"cause": cause})
    return Reason("verdict.absent", {"fields": list(criterion.fields)})


def _judge_word(criterion: Criterion, word: str) -> Verdict:
    listed = word in criterion.words
    meets = listed if criterion.compare == "one_of" else not listed
    reason = Reason("verdict.word", {"field": criterion.fields[0], "word": word})
    return Verdict("meets" if meets else "below", reason, recovers=meets)


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
        return Verdict("unknown", witness.reason if witness else UNWITNESSED)
    credited = min(value, witness.credited.get(name, value))
    verdict = _judge_number(criterion, figure, reading, credited, center)
    if verdict.word == "below" and _judge_number(criterion, figure, reading, value, center).word == "meets":
        claimed: dict[str, Param] = {"found": verdict.reason, "value": value, "unit": criterion.unit}
        return Verdict("unknown", Reason("verdict.claimed", claimed), credited)
    return verdict


def _judge_number(criterion: Criterion, figure: Figure, reading: object, value: float, center: Promise) -> Verdict:
    promise = figure.of(center)
    bound, recovery = promise * criterion.count_at_pct / 100, promise * criterion.recovery.at_pct / 100
    low_is_bad = criterion.compare == "at_least"
    meets = value >= bound if low_is_bad else value <= bound
    recovers = value >= recovery if low_is_bad else value <= recovery
    reason = _number_reason(criterion, value, bound, promise)
    if not meets and (match := _any_matches(reading, criterion.lower_bound)):
        bounded: dict[str, Param] = {"found": reason, "field": match[0], "word": match[1]}
        return Verdict("unknown", Reason("verdict.lower_bound", bounded), value, bound)
    return Verdict("meets" if meets else "below", reason, value, bound, recovers)


def _number_reason(criterion: Criterion, value: float, bound: float, promise: float) -> Reason:
    if (criterion.reading, criterion.fields[0]) in YES_NO:
        return Reason("verdict.word", {"field": criterion.fields[0], "word": "yes" if value else "no"})
    figures: dict[str, Param] = {"value": value, "bound": bound, "unit": criterion.unit}
    if not criterion.unit:
        figures["field"] = criterion.fields[0]
    if bound == promise:
        return Reason(_WHOLE[criterion.compare, bool(criterion.unit)], figures)
    share: dict[str, Param] = {"share_pct": criterion.count_at_pct, "whole": promise}
    return Reason(_SHARE[criterion.compare, bool(criterion.unit)], figures | share)


# (comparison, whether the figure has a unit; one without is named by its field) -> code
_WHOLE: dict[tuple[str, bool], str] = {
    ("at_least", True): "verdict.at_least",
    ("at_least", False): "verdict.count_at_least",
    ("at_most", True): "verdict.at_most",
    ("at_most", False): "verdict.count_at_most",
}
_SHARE: dict[tuple[str, bool], str] = {
    ("at_least", True): "verdict.share_at_least",
    ("at_least", False): "verdict.share_count_at_least",
    ("at_most", True): "verdict.share_at_most",
    ("at_most", False): "verdict.share_count_at_most",
}
