"""`nabz-collector verify`: a center's month derived anew from the signed bytes and compared with all that is stored."""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa

from agent.common import logs
from agent.common.logs import Event
from agent.common.words import languages, plain
from collector.commands.console import (
    Bar,
    answers,
    clock_ms,
    collector_key_of,
    common_arguments,
    complain,
    log_key_of,
    say,
    settings_of,
)
from collector.common.config import Settings
from collector.log.sequencing import LogSigner, origin_of
from collector.register import centers
from collector.register.dated import day_of
from collector.reports.audit import nightly, processes, verified_days
from collector.reports.audit.recorded import RecordedFacts
from collector.reports.audit.verify import AuditQuestion, Progress, Verification, verify
from collector.reports.monthly import ReportError
from collector.standard import StandardError, Standards, examples, load
from collector.store import Store
from collector.store.database import existing

EXAMPLE = "nabz-collector verify --center LHR-014 --month 2026-01"
ALTERED = Event(
    __name__, "error", "evidence_altered", "what is stored of a center is not as it was signed", key="center",
    fields="month differences first",
)  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("--center", metavar="CODE")
    parser.add_argument("--month", metavar="YYYY-MM")
    parser.add_argument(
        "--since-last", action="store_true", help="leave out days that were verified and are stored as they were then"
    )
    parser.add_argument("--sample", action="store_true", help="instead: some centers by chance, as each night does")
    parser.add_argument("--language", choices=tuple(languages()), default="en", help="of what is found; default: en")
    parser.add_argument("--json", action="store_true", help="print facts as JSON")
    logs.argument(parser)


@answers
def run(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    if not options.sample and not (options.center and options.month):
        complain("verify: needs --center and --month, or --sample; write e.g. --center LHR-014 --month 2026-01")
        return 2
    try:
        standards = Standards.of([load(path) for path in settings.standard.files] or examples())
        with existing(settings) as store:
            if options.sample:
                return _sample(store, standards, settings)
            with Bar("verified") as bar, store.read() as conn:
                done = verification(
                    conn, options.center, options.month, standards, settings, bar.share, since_last=options.since_last
                )
            keep(store, done, settings)
    except (ReportError, StandardError) as error:
        complain(str(error))
        return 2
    except centers.CenterError as error:
        complain(str(error))
        return 1
    return put_verification(done, as_json=options.json, lang=options.language)


def verification(
    conn: sa.Connection, code: str, month: str, standards: Standards, settings: Settings,
    progress: Progress | None = None, *, is_alone: bool = False, since_last: bool = False,
) -> Verification:  # fmt: skip
    """Everything that can be compared: with the log, too, where this machine has the collector's key. On two cores,
    unless it has to be alone; what differs then is looked at once more, for the two have not looked at the same moment.
    `since_last` notes for the next time what is stored, which costs a twelfth more; where something differs, all is
    looked at. Raises ReportError, CenterError."""
    key, origin, own = log_key_of(settings), origin_of(conn), collector_key_of(settings)
    recorded = RecordedFacts(standards, LogSigner(origin, key).public) if key is not None and origin else None
    noting = verified_days.mac_key(own) if own and since_last else None
    question = AuditQuestion(code, month, standards, clock_ms(), noting)
    look = partial(verify, conn, recorded=recorded)
    look = look if progress is None else partial(look, progress=progress)
    if since_last and (done := look(replace(question, since_last=True))).is_true:
        return done
    span = question.span
    if not is_alone and processes.is_large(conn, code, span.from_ms, span.to_ms):
        with processes.sheets_beside(partial(existing, settings), code, month, standards, question.now_ms) as made:
            done = look(question, made=made)
        if done.is_true:
            return done
    return look(question)


def keep(store: Store, done: Verification, settings: Settings) -> None:
    """For the next time, where this machine has the collector's key."""
    own = collector_key_of(settings)
    if own is None or (done.is_true and not done.days):
        return
    with store.keep() as conn:
        if done.is_true:
            key = verified_days.mac_key(own)
            verified_days.save(conn, done.center, done.from_ms, done.days, key, clock_ms())
        else:
            verified_days.forget(conn, done.center, done.from_ms)


def put_verification(done: Verification, *, as_json: bool, lang: str = "en") -> int:
    """Prints what was found; returns the exit code."""
    if as_json:
        say(json.dumps(facts(done), ensure_ascii=False, indent=2))
        return 0 if done.is_true else 1
    looked = f"{done.batches} batches, {done.readings} readings, {done.sheets} day sheets"
    looked += f", since {day_of(done.since_ms)}; nothing before is stored otherwise" if done.since_ms else ""
    looked += ", the closed report" if done.is_reported else "; no report is closed yet"
    if done.is_true:
        say(f"{done.center} {done.month}: as it was signed, the same to the bit ({looked})")
        return 0
    counts = ", ".join(f"{count} {kind}" for kind, count in done.found.counts.items())
    complain(f"{done.center} {done.month}: not as it was signed ({looked}): {counts}")
    words = plain(lang)
    for one in done.found:
        say(f"  {one.kind}: {words.reason(one.reason)}")
    return 1


def facts(done: Verification) -> dict[str, Any]:
    return {
        "center": done.center, "month": done.month, "batches": done.batches, "readings": done.readings,
        "sheets": done.sheets, "since": day_of(done.since_ms) if done.since_ms else None,
        "is_reported": done.is_reported, "counts": dict(done.found.counts),
        "differences": [{"kind": one.kind, "reason": msgspec.to_builtins(one.reason)} for one in done.found],
    }  # fmt: skip


# ---------------------------------------------------------------- a night's sample


def _sample(store: Store, standards: Standards, settings: Settings) -> int:
    begin_ms = clock_ms()
    with store.read() as conn:
        sample = nightly.drawn(conn, settings.audit.share_pct, begin_ms, random.SystemRandom())
    differing = []
    with Bar("verified") as bar:
        for code in bar.over(sample.codes, len(sample.codes)):
            with store.read() as conn:
                done = verification(conn, code, sample.month, standards, settings, is_alone=True)
            if not done.is_true:
                differing.append(code)
                count = sum(done.found.counts.values())
                ALTERED.log(center=code, month=done.month, differences=count, first=_kind(done))
            keep(store, done, settings)
            with store.write() as conn:
                nightly.tell(conn, done, standards, clock_ms())
    took_s = (clock_ms() - begin_ms) / 1000
    result = nightly.NightResult(
        at_ms=begin_ms, month=sample.month, centers=len(sample.codes), differing=tuple(differing), took_s=took_s
    )
    with store.write() as conn:
        nightly.record(conn, result)
    say(f"{len(sample.codes)} centers of {sample.month} verified in {took_s:.1f} s, {len(differing)} not as signed")
    return 1 if differing else 0


def _kind(done: Verification) -> str:
    return done.found.first.kind if done.found.first else ""
