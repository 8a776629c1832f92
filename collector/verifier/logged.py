"""A bundle beside the transparency log: its leaves stand in a signed head, and say what the bundle's files say."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from collector.log import merkle
from collector.log.notes import Checkpoint, Note, NoteError, NoteKey
from collector.verifier.batches import AHEAD_MS

DIGEST_CHARS = 32
CHANGING = frozenset({"confirmed_ms", "confirmed_by", "withdrawn_ms", "withdrawn_by", "withdrawn_why"})
CHANGES: Mapping[str, frozenset[str]] = {"facts": CHANGING, "calendar": CHANGING | {"from_ms", "to_ms"}}
LEFT_OUT = frozenset({"id", "waits"})


@dataclass
class LoggedFacts:
    """What the leaves of a bundle say, by what they speak of."""

    days: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    marks: dict[str, dict[str, str]] = field(default_factory=lambda: {"facts": {}, "calendar": {}})
    reports: dict[tuple[str, int], str] = field(default_factory=dict)
    before: dict[tuple[str, int], merkle.Frontier] = field(default_factory=dict)  # of the log, at the report's leaf
    standards: dict[str, str] = field(default_factory=dict)
    head: Checkpoint | None = None
    records: set[str] = field(default_factory=set)  # STARTED_MS:DIGEST of what measurement servers signed
    leaves: int = 0


def head_of(text: bytes, key: NoteKey, witnesses: Sequence[NoteKey]) -> tuple[Checkpoint | None, list[str]]:
    """The head of a bundle, and what is wrong with it."""
    try:
        note = Note.parse(text)
        head = Checkpoint.parse(note.text)
    except NoteError as error:
        return None, [f"checkpoint: {error}"]
    wrong = [] if note.signed_by(key) else [f"checkpoint: is not signed with the key of {key.name}"]
    if head.origin != key.name:
        wrong.append(f"checkpoint: is of {head.origin[:60]!r}, not of {key.name!r}")
    wrong += [f"checkpoint: {one.name} has not cosigned it" for one in witnesses if note.signed_by(one) is None]
    return head, wrong


def read(rows: Iterable[Mapping[str, Any]], head: Checkpoint, center: str, known: LoggedFacts) -> Iterator[str]:
    """Leaves that stand in the tree are noted; others are named."""
    last, known.head = -1, head
    for row in rows:
        number = row.get("number")
        try:
            entry = str(row["entry"]).encode()
            proof = [base64.b64decode(part, validate=True) for part in row["proof"]]
            facts = json.loads(entry)
            stands = isinstance(number, int) and merkle.includes(
                merkle.leaf_hash(entry), number, head.size, proof, head.root
            )
        except (KeyError, TypeError, ValueError, binascii.Error, RecursionError):
            stands, facts = False, {}
        if not stands or not isinstance(facts, dict) or not isinstance(number, int):
            yield f"leaf {number}: is not in the log that the checkpoint signs"
            continue
        if number <= last:
            yield f"leaf {number}: stands twice or out of order"
        last, known.leaves = number, known.leaves + 1
        _note(facts, center, known)
        if facts.get("kind") == "report":
            known.before[_report(facts)] = merkle.Frontier.before(number, head.size, proof)


def _report(facts: Mapping[str, Any]) -> tuple[str, int]:
    return str(facts.get("month")), int(facts.get("revision") or 0)


def _note(facts: Mapping[str, Any], center: str, known: LoggedFacts) -> None:
    kind, of = facts.get("kind"), facts.get("center")
    if kind == "day" and of == center:
        known.days[str(facts.get("day"))] = facts
    elif kind == "report" and of == center:
        known.reports[_report(facts)] = str(facts.get("sha256"))
    elif kind == "standard":
        known.standards[str(facts.get("id"))] = str(facts.get("sha256"))
    elif kind == "records" and of == center:
        known.records.update(str(mark) for mark in facts.get("rows") or ())
    elif (kind == "facts" and of == center) or kind == "calendar":
        for mark in facts.get("rows") or ():
            base, _, whole = str(mark).partition(":")
            known.marks[str(kind)][base] = whole


def mark_of(kind: str, row: Mapping[str, Any]) -> tuple[str, str]:
    """(digest of what never changes, digest of all) of a row that a person recorded."""
    known = {name: value for name, value in sorted(row.items()) if name not in LEFT_OUT}
    base = {name: value for name, value in known.items() if name not in CHANGES[kind]}
    return _digest(base), _digest(known)


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGEST_CHARS]


def compare_rows(kind: str, rows: Iterable[Mapping[str, Any]], known: LoggedFacts) -> Iterator[str]:
    held = set()
    for row in rows:
        base, whole = mark_of(kind, row)
        held.add(base)
        if known.marks[kind].get(base) != whole:
            yield f"{kind} {row.get('id')}: is not what was recorded and logged"
    for base in known.marks[kind].keys() - held:
        yield f"{kind}: an entry that was recorded and logged is missing ({base})"


def record_mark(row: Mapping[str, Any]) -> str:
    """As a leaf has a record of the bundle. Raises KeyError, TypeError, ValueError for what is none."""
    signature = base64.b64decode(row["signature"], validate=True)
    return f"{row['started_ms']}:{hashlib.sha256(signature).hexdigest()[:DIGEST_CHARS]}"


def compare_records(held: Set[str], span: tuple[int, int], known: LoggedFacts) -> Iterator[str]:
    """Records of tests that began within the month, and were logged when they came."""
    for mark in sorted(known.records - held):
        started = mark.partition(":")[0]
        if started.isdecimal() and span[0] <= int(started) < span[1]:
            at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(started) + AHEAD_MS)
            yield f"record of a test at {at:%Y-%m-%d %H:%M}: was logged when it came, and the bundle lacks it"


def compare_days(days: Mapping[int, Any], known: LoggedFacts) -> Iterator[str]:
    """Batches by the day of their receipt. Days that were not closed yet have no leaf."""
    by_day = {_day_name(begin): (count, digest.hexdigest()) for begin, (count, digest) in days.items()}
    last = max(known.days, default="")
    for day, (count, digest) in sorted(by_day.items()):
        facts = known.days.get(day)
        if facts is None and min(known.days, default="~") < day < last:
            yield f"day {day}: {count} batches were received, the log has no leaf of it"
        elif facts is not None and (facts.get("batches"), facts.get("sha256")) != (count, digest):
            yield f"day {day}: {count} batches with another digest than the {facts.get('batches')} that were logged"
    for day in sorted(known.days.keys() - by_day.keys()):
        yield f"day {day}: {known.days[day].get('batches')} batches were logged, the bundle has none"


def unlogged(days: Mapping[int, Any], known: LoggedFacts) -> list[str]:
    """Days before the log began, or that are not closed yet."""
    names = [_day_name(begin) for begin in sorted(days)]
    lacking = [day for day in names if day not in known.days]
    return (
        [f"{len(lacking)} days of batches, {lacking[0]} to {lacking[-1]}, have no leaf of the log"] if lacking else []
    )


def _day_name(begin_ms: int) -> str:
    return (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=begin_ms + AHEAD_MS)).date().isoformat()
