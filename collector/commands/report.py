"""`nabz-collector report`: a center's month, each criterion's verdict with its numbers."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from agent.common.errors import describe
from agent.common.words import languages
from collector.audit import bundle
from collector.commands.console import answers, common_arguments, complain, log_key_of, say, settings_of
from collector.commands.verify import put_verification, verification
from collector.config import Settings
from collector.database import existing
from collector.html_words import html_words
from collector.log.sequencing import LogSigner, origin_of
from collector.register import centers
from collector.reports import schedule
from collector.reports.monthly import ReportError
from collector.reports.render import FORMS, as_html
from collector.standard import StandardError, Standards, documents, examples, load

EXAMPLE = "nabz-collector report --center LHR-014 --month 2026-01 --format html --output january.html"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("--center", required=True, metavar="CODE")
    parser.add_argument("--month", required=True, metavar="YYYY-MM")
    parser.add_argument("--format", choices=tuple(FORMS), default="json", help="default: json")
    parser.add_argument(
        "--language", action="append", choices=tuple(languages()), help="of a page in HTML; default: each in turn"
    )
    parser.add_argument("--json", action="store_true", help="same as --format json")
    parser.add_argument(
        "--check", action="store_true", help="verify a reported month from its signed bytes; exit 1 if anything differs"
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="FILE", help="write all that proves the month there, for `nabz-verify`"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of printing")


@answers
def run(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    try:
        standards = Standards.of([load(path) for path in settings.standard.files] or examples())
        with existing(settings) as store, store.read() as conn:
            arguments = options.center, options.month, standards, time.time_ns() // 1_000_000
            if options.check:
                schedule.closed_number(conn, options.center, options.month, arguments[3])
                return put_verification(verification(conn, *arguments[:3], settings), as_json=options.json)
            if options.bundle:
                return _put_bundle(conn, options, standards, settings)
            report = schedule.told(conn, *arguments)
    except (ReportError, StandardError) as error:
        complain(str(error))
        return 2
    except centers.CenterError as error:
        complain(str(error))
        return 1
    words = [html_words(lang) for lang in options.language or ()]
    form = partial(as_html, languages=words) if words else FORMS["json" if options.json else options.format]
    return _put(form(report), options.output)


def _put_bundle(
    conn: sa.Connection, options: argparse.Namespace, standards: Standards, settings: Settings
) -> int:  # fmt: skip
    key, origin, now_ms = log_key_of(settings), origin_of(conn), time.time_ns() // 1_000_000
    public = LogSigner(origin, key).public if key is not None and origin else None
    bodies = documents(settings.standard.files)
    try:
        manifest = bundle.write(
            conn, options.bundle, options.center, options.month, standards, bodies, public, now_ms
        )  # fmt: skip
    except OSError as error:
        complain(f"{options.bundle}: cannot be written ({describe(error)}); name another file with --bundle")
        return 1
    number = manifest["revision"]
    say(f"{options.bundle}: {options.center} {options.month}, revision {number}; check it with nabz-verify")
    return 0


def _put(text: str, output: Path | None) -> int:
    if output is None:
        sys.stdout.write(text)
        return 0
    try:
        output.write_bytes(text.encode())
    except OSError as error:
        complain(f"{output}: cannot be written ({describe(error)}); name another file with --output")
        return 1
    return 0
