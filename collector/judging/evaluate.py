"""From fresh readings to flags: judge, step the machine, write what moved. All inside the caller's transaction.

A flag's row is written when its state, memory or verdict moves, so a healthy fleet writes nothing here. What newer
readings have already judged is told by `latest`; judge a batch before its readings enter that table.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Reason, encode
from collector.judging.flags import machine
from collector.judging.flags.judge import Verdict, judge
from collector.judging.flags.machine import Change, FlagState
from collector.judging.flags.witness import Witness
from collector.register import opening_hours
from collector.register.centers import Center
from collector.standard import Standards
from collector.standard.criteria import EVERYONE, Criterion, Promise, Silence, Standard
from collector.store import center_states, schema, upsert, warm

NewestTimes = dict[tuple[str, str], tuple[int, int]]
"""By kind and subject: when it was taken (corrected) and received, milliseconds."""


class CenterLike(Promise, Protocol):
    """What is needed of a center; `collector.register.centers.Center` is one."""

    @property
    def code(self) -> str: ...

    @property
    def opening(self) -> str: ...

    @property
    def rules(self) -> tuple[opening_hours.DayRule, ...]: ...


@dataclass(frozen=True)
class EveryCenter:
    """The pseudo center of findings about the collector itself."""

    code: str = EVERYONE
    tier: str = EVERYONE
    seats_promised: int = 0
    opening: str = "always"
    rules: tuple[opening_hours.DayRule, ...] = ()


class FreshReading(msgspec.Struct, frozen=True):
    """A reading that has just been committed to evidence. `wall_ms` is its corrected time, `received_ms` ours; `id` is
    its device, spool and number."""

    kind: str
    reading: wire.Reading
    wall_ms: int
    received_ms: int
    id: str = ""
    witness: Witness | None = None  # what the server says of it; see collector.judging.server_check

    @property
    def at_ms(self) -> int:
        """When it was taken; never later than it was received, so that a fast clock cannot freeze a flag."""
        return self.wall_ms if self.wall_ms < self.received_ms else self.received_ms


@dataclass(slots=True)
class TrackedFlag:
    """A flag as stored, and what has become of it."""

    flag: FlagState
    word: str = ""
    verdict: Verdict | None = None
    standard: str = ""
    moved: bool = False

    @property
    def is_written(self) -> bool:
        return self.moved and self.verdict is not None

    @property
    def at_rest(self) -> bool:
        return self.word == "meets" and self.flag.state == "clear" and not self.flag.memory


@dataclass(slots=True)
class CenterState:
    """One center's case: its flags, the newest time judged of each stream, and the changes so far."""

    center: CenterLike
    flags: dict[tuple[str, str], TrackedFlag] = field(default_factory=dict)
    newest_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    changes: list[tuple[str, str, Change, Verdict, str]] = field(default_factory=list)

    @property
    def has_moved(self) -> bool:
        return any(held.moved for held in self.flags.values())

    def apply(
        self,
        criterion: Criterion,
        subject: str,
        verdict: Verdict,
        after: tuple[FlagState, Change | None],
        standard: str,
    ) -> None:
        """Takes the machine's answer: what moved will be written."""
        held = self.flags[criterion.id, subject]
        flag, change = after
        waits = flag.state in ("pending", "recovering") and flag.judged_until_ms != held.flag.judged_until_ms
        held.moved |= waits or flag.memory != held.flag.memory or verdict.word != held.word or change is not None
        held.flag, held.word, held.verdict, held.standard = flag, verdict.word, verdict, standard
        if change:
            self.changes.append((criterion.id, subject, change, verdict, standard))

    def held(self, criterion: Criterion, subject: str, at_ms: int) -> TrackedFlag:
        return self.flags.setdefault((criterion.id, subject), TrackedFlag(FlagState(since_ms=at_ms)))


def judge_readings(
    conn: sa.Connection, center: CenterLike, fresh: Sequence[FreshReading], standards: Standards, now_ms: int
) -> int:
    """`judge_group` for one center."""
    return judge_group(conn, [(center, fresh)], standards, now_ms)


def judge_group(
    conn: sa.Connection, group: Sequence[tuple[CenterLike, Sequence[FreshReading]]], standards: Standards, now_ms: int
) -> int:
    """Judges what a transaction brings for several centers (each named once); returns how many flags changed state."""
    benches = load(conn, [center for center, _ in group])
    for bench, (_, fresh) in zip(benches, group, strict=True):
        decide(bench, fresh, standards)
    return save(conn, benches, now_ms)


def judge_again(
    conn: sa.Connection, group: Sequence[tuple[CenterLike, Sequence[FreshReading]]], standards: Standards, now_ms: int
) -> int:
    """`judge_group` for readings that are held already and of which more is known now. They are no sign of life, and
    those that newer ones of their stream have followed move nothing."""
    benches = load(conn, [center for center, _ in group])
    for bench, (_, fresh) in zip(benches, group, strict=True):
        for reading in sorted(fresh, key=lambda one: one.at_ms):
            _judge_newest(bench, reading, standards)
    return save(conn, benches, now_ms)


# ---------------------------------------------------------------- deciding: no I/O


def decide(bench: CenterState, fresh: Iterable[FreshReading], standards: Standards) -> None:
    """1. Readings in the order they were taken, each against the criteria of its kind that held then.
    2. A reading older than what its stream has brought before is history: it moves no flag.
    3. Whoever sends anything is not silent.
    """
    heard_ms = -1
    for reading in sorted(fresh, key=lambda one: one.at_ms):
        heard_ms = max(heard_ms, reading.received_ms)
        _judge_newest(bench, reading, standards)
    standard = standards.at(heard_ms)
    if standard is not None:
        _heard(bench, standard, heard_ms)
        _retire(bench, standard, heard_ms)


def _judge_newest(bench: CenterState, fresh: FreshReading, standards: Standards) -> None:
    stream = fresh.kind, fresh.reading.subject
    if fresh.at_ms < bench.newest_ms.get(stream, 0):
        return
    bench.newest_ms[stream] = fresh.at_ms
    standard = standards.at(fresh.at_ms)
    if standard is not None:
        _judge_one(bench, fresh, standard)


def _judge_one(bench: CenterState, fresh: FreshReading, standard: Standard) -> None:
    at_ms, subject = fresh.at_ms, fresh.reading.subject
    age_ms = fresh.received_ms - at_ms
    criteria = [one for one in standard.by_reading.get(fresh.kind, ()) if age_ms <= one.fresh_s * 1000]
    if not criteria:
        return  # it speaks for the past only
    center = bench.center.at(at_ms) if isinstance(bench.center, Center) else bench.center
    closed = not opening_hours.is_open(opening_hours.parse(center.opening, standard.tz, center.rules), at_ms)
    for criterion in criteria:
        if closed and criterion.when == "open_hours":
            _close(bench, criterion, subject, at_ms, standard)
            continue
        verdict = judge(criterion, fresh.reading, center, fresh.witness)
        held = bench.held(criterion, subject, at_ms)
        if held.at_rest and verdict.word == "meets":  # nearly all there is: nothing can move
            held.verdict = verdict
            continue
        bench.apply(criterion, subject, verdict, machine.step(held.flag, verdict, criterion, at_ms), standard.id)


def _close(bench: CenterState, criterion: Criterion, subject: str, at_ms: int, standard: Standard) -> None:
    held = bench.flags.get((criterion.id, subject))
    if held is not None and held.flag.state in ("pending", "recovering"):
        verdict = Verdict("unknown", Reason("verdict.closed"))
        bench.apply(criterion, subject, verdict, machine.pause(held.flag, at_ms), standard.id)


def _heard(bench: CenterState, standard: Standard, heard_ms: int) -> None:
    for criterion in standard.by_reading.get("silence", ()):
        held = bench.held(criterion, "", heard_ms)
        if held.flag.state != "clear" or held.word != "meets":
            verdict = judge(criterion, Silence(0.0), bench.center)
            bench.apply(criterion, "", verdict, machine.step(held.flag, verdict, criterion, heard_ms), standard.id)


def _retire(bench: CenterState, standard: Standard, at_ms: int) -> None:
    """A flag of a criterion that the standard no longer has is cleared, and says so."""
    for (criterion, subject), held in bench.flags.items():
        if criterion not in standard.by_id and held.flag.state != "clear":
            change = Change(held.flag.state, "clear", at_ms, "change.no_longer_asked")
            verdict = Verdict("unknown", Reason.of("verdict.retired", standard=standard.id))
            held.flag, held.verdict, held.standard = FlagState("clear", at_ms, at_ms), verdict, standard.id
            held.moved = True
            bench.changes.append((criterion, subject, change, verdict, standard.id))


# ---------------------------------------------------------------- reading and writing


def load(
    conn: sa.Connection, centers: Sequence[CenterLike], subjects: Collection[str] | None = None
) -> list[CenterState]:
    """The centers' cases, in two questions for all of them; with the flags of these subjects, or of all."""
    benches = {center.code: CenterState(center) for center in centers}
    read = partial(_flags, conn, subjects=subjects)
    by_center = warm.recall(conn, "flags", benches, read) if subjects is None else read(list(benches))
    for code, known in by_center.items():
        benches[code].flags = {key: TrackedFlag(flag, word) for key, (flag, word) in known.items()}
    for code, times in newest(conn, benches).items():
        benches[code].newest_ms = {stream: min(both) for stream, both in times.items()}  # as in FreshReading.at_ms
    return list(benches.values())


def newest(conn: sa.Connection, codes: Iterable[str]) -> dict[str, NewestTimes]:
    """When the newest reading of each kind and subject was taken and received, as `latest` has it."""
    return warm.recall(conn, "newest", codes, partial(_newest, conn))


def save_newest(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes these rows of `latest`, each unless a newer one of its kind and subject is there."""
    with warm.written_through(conn, "newest"):
        upsert(conn, schema.latest, rows, newer_by="wall_ms")
    for row in rows:
        known, stream = warm.held(conn, "newest", row["center"]), (row["kind"], row["subject"])
        if known is not None and known.get(stream, (0, 0))[0] <= row["wall_ms"]:
            known[stream] = (row["wall_ms"], row["received_ms"])


def save(conn: sa.Connection, benches: Iterable[CenterState], now_ms: int) -> int:
    """Writes the flags that moved and a row for each change; returns the number of changes."""
    benches = list(benches)
    with warm.written_through(conn, "flags"):
        upsert(conn, schema.flags, list(itertools.chain.from_iterable(map(_flag_rows, benches))))
    for bench in benches:
        if (known := warm.held(conn, "flags", bench.center.code)) is not None:
            known.update({key: (one.flag, one.word) for key, one in bench.flags.items() if one.is_written})
    changes = list(itertools.chain.from_iterable(_change_rows(bench, now_ms) for bench in benches))
    if changes:
        conn.execute(sa.insert(schema.changes), changes)
    center_states.refresh(conn, [bench.center.code for bench in benches if bench.has_moved], now_ms)
    return len(changes)


def _flags(
    conn: sa.Connection, codes: Sequence[str], subjects: Collection[str] | None = None
) -> dict[str, dict[tuple[str, str], tuple[FlagState, str]]]:
    """The flags as stored, by center, criterion and subject, each with the word of its last verdict."""
    by_center: dict[str, dict[tuple[str, str], tuple[FlagState, str]]] = {code: {} for code in codes}
    query = _FLAGS if subjects is None else _FLAGS.where(_f.subject.in_(sorted(subjects)))
    for row in conn.execute(query, {"codes": codes}):
        flag = FlagState(row.state, row.since_ms, row.judged_until_ms, _memory(row.memory))
        by_center[row.center][row.criterion, row.subject] = (flag, row.verdict)
    return by_center


def _newest(conn: sa.Connection, codes: Sequence[str]) -> dict[str, NewestTimes]:
    by_center: dict[str, NewestTimes] = {code: {} for code in codes}
    for row in conn.execute(_NEWEST, {"codes": codes}):
        by_center[row.center][row.kind, row.subject] = (row.wall_ms, row.received_ms)
    return by_center


_f = schema.flags.c
_FLAGS = sa.select(
    _f.center, _f.criterion, _f.subject, _f.state, _f.since_ms, _f.judged_until_ms, _f.memory, _f.verdict
).where(_f.center.in_(sa.bindparam("codes", expanding=True)))
_NEWEST = sa.select(
    schema.latest.c.center,
    schema.latest.c.kind,
    schema.latest.c.subject,
    schema.latest.c.wall_ms,
    schema.latest.c.received_ms,
).where(schema.latest.c.center.in_(sa.bindparam("codes", expanding=True)))


def _memory(text: str) -> tuple[bool, ...]:
    return () if text == "[]" else tuple(json.loads(text))


def _flag_rows(bench: CenterState) -> Iterator[dict[str, Any]]:
    for (criterion, subject), held in bench.flags.items():
        if held.is_written and held.verdict is not None:
            yield {
                "center": bench.center.code,
                "criterion": criterion,
                "subject": subject,
                "state": held.flag.state,
                "since_ms": held.flag.since_ms,
                "judged_until_ms": held.flag.judged_until_ms,
                "memory": json.dumps(list(held.flag.memory)),
                "verdict": held.verdict.word,
                "value": held.verdict.value,
                "bound": held.verdict.bound,
                "reason": encode(held.verdict.reason),
                "standard": held.standard,
            }


def _change_rows(bench: CenterState, now_ms: int) -> Iterator[dict[str, Any]]:
    for criterion, subject, change, verdict, standard in bench.changes:
        yield {
            "center": bench.center.code,
            "criterion": criterion,
            "subject": subject,
            "was": change.was,
            "now": change.now,
            "at_ms": change.at_ms,
            "recorded_ms": now_ms,
            "value": verdict.value,
            "bound": verdict.bound,
            "reason": encode(Reason(change.reason, {"found": verdict.reason})),
            "standard": standard,
        }
