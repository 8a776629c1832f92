"""`nabz-collector archive`: days that are over out of the database into the archive's files, and what lies there.

A running collector does this by itself each hour. Exit codes: 0 done, or nothing to do; 1 not done; 2 wrong use.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, field

from collector.commands.console import Bar, answers, common_arguments, logged_settings_of, say, settings_of, table
from collector.common.config import Settings
from collector.reports import schedule
from collector.store import Store, StoreError, schema
from collector.store.archive import pack, remove, status, thaw
from collector.store.cold import held, parts
from collector.store.database import existing

EXAMPLE = "nabz-collector archive --dry-run"
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


@dataclass(kw_only=True)
class Work:
    """What was done, or would be: `center_days` archived; `rewritten` parts that late readings had opened; `dropped`
    parts that nothing keeps any more."""

    center_days: int = 0
    batches: int = 0
    readings: int = 0
    size: int = 0
    rewritten: int = 0
    dropped: int = 0
    days: list[str] = field(default_factory=list)


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("verb", nargs="?", choices=("run", "status"), default="run", help="default: run")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go into the archive, and out of it")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--log-format", choices=("text", "json"), help="of what is logged")


@answers
def run(options: argparse.Namespace) -> int:
    settings = (settings_of(options) if options.dry_run else logged_settings_of(options)).as_keeper
    with existing(settings) as store:
        if options.verb == "status":
            return _show(store, settings, options)
        now_ms = time.time_ns() // 1_000_000
        if options.dry_run:
            return _say(_planned(store, settings, now_ms), options, "would be")
        with remove.folder_lock(settings.archive_folder) as is_free:
            if not is_free:
                raise StoreError(f"{settings.archive_folder}: another program works in it; wait for its end")
            with Bar("archived") as bar:
                done = worked(store, settings, now_ms, bar)
    return _say(done, options, "were")


def worked(store: Store, settings: Settings, now_ms: int, bar: Bar) -> Work:
    """All that is due. To be called with the folder's lock. Raises StoreError."""
    done = Work(rewritten=_rewrite(store, now_ms), dropped=_drop(store, settings, now_ms))
    with store.read() as conn:
        due = pack.due(conn, now_ms, _after_ms(settings))
    if due and not parts.installed():
        raise StoreError(f"pyarrow: is not installed; {parts.NEEDS}")
    for number, day in enumerate(due, 1):
        made = pack.pack(store, day, now_ms)
        done.center_days += made.centers
        done.batches += made.batches
        done.readings += made.readings
        done.size += made.size
        done.days = sorted({*done.days, parts.day_name(day.day_ms)})
        bar.share(number / len(due))
    return done


def _rewrite(store: Store, now_ms: int) -> int:
    """What a late reading's center has left of its part goes back too, and all of it into a new one."""
    folder = pack.folder_of(store)
    remove.sweep(store, folder, now_ms)
    with store.read() as conn:
        opened = thaw.left(conn)
    for part in opened:
        with store.keep() as conn:
            thaw.thaw(conn, held.places(conn, schema.archived.c.part == part))
    with store.read() as conn:
        empty = remove.empty(conn)
    return remove.remove(store, folder, empty, now_ms)


def _drop(store: Store, settings: Settings, now_ms: int) -> int:
    return remove.remove(store, pack.folder_of(store), _too_old(store, settings, now_ms), now_ms)


def _too_old(store: Store, settings: Settings, now_ms: int) -> list[str]:
    """As the evidence is kept; nothing of which a report is still to be made."""
    if not (days := settings.keep.evidence_days):
        return []
    with store.read() as conn:
        return remove.too_old(conn, min(now_ms - days * DAY_MS, schedule.reported_until(conn)))


def _planned(store: Store, settings: Settings, now_ms: int) -> Work:
    with store.read() as conn:
        due, opened = pack.due(conn, now_ms, _after_ms(settings)), thaw.left(conn)
        batches = sum(pack.count(conn, day) for day in due)
    old = _too_old(store, settings, now_ms)
    days = sorted({parts.day_name(day.day_ms) for day in due})
    center_days = sum(len(day.codes) for day in due)
    return Work(center_days=center_days, batches=batches, rewritten=len(opened), dropped=len(old), days=days)


def _after_ms(settings: Settings) -> int:
    return int(settings.archive.after_h * HOUR_MS)


def _say(work: Work, options: argparse.Namespace, verb: str) -> int:
    words = (
        f"{work.center_days} days of centers {verb} archived: {work.batches} batches"
        + (f", {work.readings} readings, {work.size} bytes" if not options.dry_run else "")
        + f"; parts {verb} rewritten: {work.rewritten}, dropped: {work.dropped}"
    )
    say(json.dumps(asdict(work)) if options.json else words)
    return 0


def _show(store: Store, settings: Settings, options: argparse.Namespace) -> int:
    with store.read() as conn:
        totals = status.status(conn)
    facts = {
        **asdict(totals),
        "size": totals.size,
        "batch_bytes": totals.batch_bytes,
        "folder": settings.archive.url or str(settings.archive_folder),
        "available": parts.installed(),
    }
    if options.json:
        say(json.dumps(facts))
        return 0
    say(f"{facts['folder']}: {totals.parts} parts of {totals.days} days, {totals.first_day} to {totals.last_day}")
    say(f"{totals.centers} centers, {totals.batches} batches, {totals.readings} readings, {totals.size} bytes")
    if totals.batches:
        rows = [[kind, size, round(size / totals.batches, 1)] for kind, size in totals.sizes.items()]
        say(table(["kind", "bytes", "a batch"], rows))
    return 0
