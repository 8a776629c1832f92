"""All of a bundle, one part after the other: what was looked at, what is wrong, and the verdicts of the month."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.common.errors import describe
from collector.log.notes import NoteError, NoteKey
from collector.verifier import arithmetic, logged, revisions, servers
from collector.verifier.archive import Bundle, BundleError
from collector.verifier.batches import BatchCheck, BatchError, SpoolChain, device_name, unbased

Row = Mapping[str, Any]
LISTED = 50  # things that are wrong, listed one by one


@dataclass
class Outcome:
    """`wrong` is cut after LISTED; `count` says how many."""

    center: str = ""
    month: str = ""
    batches: int = 0
    readings: int = 0
    records: int = 0
    leaves: int = 0
    sheets: int = 0
    log_leaves: int | None = None  # that the log has now; None where it was not looked at
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, sentences: Iterator[str] | Sequence[str]) -> None:
        for one in sentences:
            self.count += 1
            if len(self.wrong) < LISTED:
                self.wrong.append(one)


def check(
    path: Path, key: NoteKey | None = None, witnesses: Sequence[NoteKey] = (), log: revisions.Fetch | None = None
) -> Outcome:
    """Without `key` the one that the bundle names is taken, which proves nothing about who wrote it; `log` is asked
    for a later revision. Raises OSError, BundleError."""
    bundle = Bundle(path)
    try:
        done = Outcome(bundle.manifest["center"], bundle.manifest["month"])
        batches = _batches(bundle, done)
        known = _log(bundle, key, witnesses, done)
        if known is not None:
            done.add(logged.compare_days(batches.days, known))
            done.unproven += logged.unlogged(batches.days, known)
            for kind in ("facts", "calendar"):
                done.add(logged.compare_rows(kind, bundle.rows(f"{kind}.jsonl"), known))
        _records(bundle, batches, known, done)
        _month(bundle, known, batches, done)
        if known is not None:
            _later(bundle, known, key, log, done)
    finally:
        bundle.close()
    return done


# ---------------------------------------------------------------- the parts


def _batches(bundle: Bundle, done: Outcome) -> BatchCheck:
    keys: dict[str, bytes] = {}
    for row in bundle.rows("gateways.jsonl"):
        try:
            keys[str(row.get("device"))] = unbased(row.get("public_key"))
        except BatchError as error:
            done.add([f"gateway {row.get('device')}: {error}"])
    done.add(f"gateway {name[:40]}: has a key that is not its own" for name in keys if device_name(keys[name]) != name)
    rows = list(bundle.rows("spools.jsonl"))
    stories = frozenset((str(row.get("device")), str(row.get("spool"))) for row in rows if row.get("story"))
    batch_check = BatchCheck(keys, stories)
    for row in rows:
        done.add(_before(row, batch_check))
    for row in bundle.rows("batches.jsonl"):
        done.add(batch_check.take(row))
    for row in rows:
        done.add(_lacking(row, batch_check))
    done.batches, done.readings = batch_check.batches, batch_check.readings
    return batch_check


def _records(bundle: Bundle, batches: BatchCheck, known: logged.LoggedFacts | None, done: Outcome) -> None:
    if bundle.manifest["format"] == 1:
        done.unproven.append("the bundle is of format 1, without the records of measurement servers")
        return
    keys: dict[str, bytes] = {}
    for row in bundle.rows("servers.jsonl"):
        try:
            keys[str(row.get("server"))] = unbased(row.get("public_key"))
        except BatchError as error:
            done.add([f"server {row.get('server')}: {error}"])
    tests: set[str] = set()
    marks: set[str] = set()
    for row in bundle.rows("records.jsonl"):
        done.records += 1
        done.add(servers.compare(row, keys, batches.keys))
        done.add([f"record of test {row.get('test')}: stands twice"] if row.get("test") in tests else [])
        tests.add(str(row.get("test")))
        if isinstance(row.get("started_ms"), int):
            batches.spoken.servers_ms.append(row["started_ms"])
        with suppress(KeyError, TypeError, ValueError):  # has been named
            marks.add(logged.record_mark(row))
    if known is not None:
        done.add(logged.compare_records(marks, (bundle.manifest["from_ms"], bundle.manifest["to_ms"]), known))
        if lacking := len(marks - known.records):
            done.unproven.append(f"{lacking} records of measurement servers have no leaf of the log")


def _before(row: Row, batch_check: BatchCheck) -> Iterator[str]:
    """What was held of a spool before the first batch of the bundle: its chain is not shown here, only gone on with."""
    try:
        parts = [(int(p[0]), int(p[1]), bytes.fromhex(p[2]), bytes.fromhex(p[3])) for p in row["before"]]
    except (KeyError, TypeError, ValueError, IndexError):
        yield f"spool {row.get('spool')}: what was held before is not readable"
        return
    batch_check.spools[str(row.get("device")), str(row.get("spool"))] = SpoolChain(parts)


def _lacking(row: Row, batch_check: BatchCheck) -> Iterator[str]:
    held = batch_check.spools.get((str(row.get("device")), str(row.get("spool"))), SpoolChain())
    for part in row.get("held") or ():
        try:
            gaps = held.missing(int(part[0]), int(part[1]))
        except (TypeError, ValueError, IndexError):
            gaps = [[0, 0]]
        for low, high in gaps:
            yield f"spool {row.get('spool')}: readings {low}-{high} had a receipt, and no batch has them"


def _log(bundle: Bundle, key: NoteKey | None, witnesses: Sequence[NoteKey], done: Outcome) -> logged.LoggedFacts | None:
    if bundle.manifest.get("log_key") is None:
        done.unproven.append("the bundle has no transparency log")
        return None
    if key is None:
        done.unproven.append("the log's key is the bundle's own word; give the one you know with --key")
        try:
            key = NoteKey.parse(str(bundle.manifest["log_key"]))
        except NoteError as error:
            done.add([f"manifest.json: {error}"])
            return None
    if not witnesses:
        done.unproven.append("no witness is asked for; give the key of one you trust with --witness")
    head, wrong = logged.head_of(bundle.text("checkpoint.txt"), key, witnesses)
    done.add(wrong)
    if head is None:
        return None
    known = logged.LoggedFacts()
    done.add(logged.read(bundle.rows("leaves.jsonl"), head, done.center, known))
    done.leaves = known.leaves
    return known


def _month(bundle: Bundle, known: logged.LoggedFacts | None, batches: BatchCheck, done: Outcome) -> None:
    body, month = bundle.text("report.json"), arithmetic.AddedMonth()
    report, spans = bundle.object("report.json"), []
    for row in bundle.rows("sheets.jsonl"):
        done.sheets += 1
        try:
            month.add(row)
            spans.append((int(row["from_ms"]), int(row["to_ms"])))
        except (KeyError, TypeError, ValueError, AttributeError):
            done.add([f"day sheet {done.sheets}: is none"])
    done.add(arithmetic.sheets_span(spans, bundle.manifest["from_ms"], bundle.manifest["to_ms"]))
    document = _standard(bundle, _part(report, "standard"), known, done)
    try:
        done.add(arithmetic.compare(month, report, arithmetic.rules_of(document)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        done.add([f"report: cannot be added up ({describe(error)[:60]})"])
    _samples(bundle, document, batches, done)
    center = _part(report, "center")
    if (center.get("code"), report.get("month")) != (done.center, done.month):
        done.add([f"report: is of {center.get('code')} {report.get('month')}, not of {done.center} {done.month}"])
    if known is not None:
        _logged_report(bundle, body, known, done)
    rows = report.get("criteria")
    names = ("criterion", "subject", "verdict", "met_pct", "samples", "coverage_pct")
    done.verdicts = [{name: row.get(name) for name in names} for row in rows or () if isinstance(row, dict)]


def _samples(bundle: Bundle, document: bytes, batches: BatchCheck, done: Outcome) -> None:
    """Whether the sheets claim more than the readings carry. A bundle of format 1 lacks what servers saw."""
    if bundle.manifest["format"] == 1:
        return
    try:
        rules = arithmetic.rules_of(document)
        kinds = {
            name: str(rule["reading"]) for name, rule in rules.items() if rule.get("reading") not in ("silence", None)
        }
        done.add(batches.spoken.excess(bundle.rows("sheets.jsonl"), kinds))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        done.add([f"day sheets: cannot be held against the readings ({describe(error)[:60]})"])


def _part(report: Row, name: str) -> Row:
    part = report.get(name)
    return part if isinstance(part, dict) else {}


def _standard(bundle: Bundle, stated: Row, known: logged.LoggedFacts | None, done: Outcome) -> bytes:
    documents = bundle.standards()
    for name, body in documents.items():
        if hashlib.sha256(body).hexdigest() != name:
            done.add([f"standard {name[:16]}: is another document than its name says"])
    digest = str(stated.get("sha256"))
    if digest not in documents:
        done.add([f"standard {stated.get('id')}: its document ({digest[:16]}) is not in the bundle"])
    elif known is not None and known.standards.get(str(stated.get("id"))) != digest:
        done.add([f"standard {stated.get('id')}: is not the document that was adopted and logged"])
    return documents.get(digest, b"")


def _logged_report(bundle: Bundle, body: bytes, known: logged.LoggedFacts, done: Outcome) -> None:
    number = bundle.manifest.get("revision")
    digest = known.reports.get((done.month, number if isinstance(number, int) else 0))
    if digest is None:
        done.unproven.append("the month has no closed report in the log yet")
    elif digest != hashlib.sha256(body).hexdigest():
        done.add([f"report: is not the text of revision {number} that was closed and logged"])


def _later(
    bundle: Bundle, known: logged.LoggedFacts, key: NoteKey | None, log: revisions.Fetch | None, done: Outcome
) -> None:
    """Whether this is the month's last word. Whoever wrote the bundle may have left out the leaf of another."""
    number = bundle.manifest.get("revision")
    before = known.before.get((done.month, number)) if isinstance(number, int) else None
    if before is None or known.head is None:
        return
    newest = max(revision for month, revision in known.reports if month == done.month)
    if log is None:
        done.unproven.append("whether a later revision of the report was closed: the log says it with --log")
    else:
        key = key or NoteKey.parse(str(bundle.manifest["log_key"]))
        try:
            center, month = done.center, done.month
            revision, done.log_leaves = revisions.newest_revision(before, known.head, center, month, key, log)
            newest = max(newest, revision)
        except revisions.LogError as error:
            done.add([f"log: {error}"])
    if newest > int(number or 0):
        done.unproven.append(f"revision {newest} of the report was closed since; this is revision {number}")


__all__ = ["BundleError", "Outcome", "check"]
