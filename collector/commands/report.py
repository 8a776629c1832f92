"""`nabz-collector report`: a center's month, each criterion's verdict with its numbers."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agent.common.errors import describe
from agent.common.words import languages
from collector.access.ca import Authority
from collector.audit import bundle
from collector.commands.console import answers, common_arguments, complain, log_key_of, say, settings_of
from collector.commands.verify import put_verification, verification
from collector.config import Settings
from collector.database import AUTHORITY, existing
from collector.html_words import html_words
from collector.log.sequencing import LogSigner, origin_of
from collector.register import centers
from collector.reports import schedule
from collector.reports.monthly import ReportError
from collector.reports.pdf import document, pades
from collector.reports.render import FORMS, as_html
from collector.standard import StandardError, Standards, documents, examples, load

EXAMPLE = "nabz-collector report --center LHR-014 --month 2026-01 --format html --output january.html"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("--center", metavar="CODE")
    parser.add_argument("--month", metavar="YYYY-MM")
    parser.add_argument("--format", choices=tuple(FORMS), default="json", help="default: json")
    parser.add_argument(
        "--language",
        action="append",
        choices=tuple(languages()),
        help="of a page in HTML or a PDF; default: each in turn, of a PDF English",
    )
    parser.add_argument("--json", action="store_true", help="same as --format json")
    parser.add_argument(
        "--check", action="store_true", help="verify a reported month from its signed bytes; exit 1 if anything differs"
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="FILE", help="write all that proves the month there, for `nabz-verify`"
    )
    parser.add_argument("--pdf", type=Path, metavar="FILE", help="write it there as a signed PDF (extra `reports`)")
    parser.add_argument("--unsigned", action="store_true", help="with --pdf: without a signature")
    parser.add_argument(
        "--check-pdf", type=Path, metavar="FILE", help="instead: whether that PDF is as it was signed; exit 1 if not"
    )
    parser.add_argument(
        "--roots", type=Path, metavar="FILE", help="with --check-pdf: who is trusted, PEM; default: our own authority"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of printing")


@answers
def run(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    if options.check_pdf:
        return _check_pdf(options.check_pdf, options.roots or settings.data_dir / AUTHORITY / "trusted.pem")
    if not (options.center and options.month):
        complain("report: needs --center and --month; write e.g. --center LHR-014 --month 2026-01")
        return 2
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
    if options.pdf:
        return _put_pdf(report, options, settings)
    words = [html_words(lang) for lang in options.language or ()]
    form = partial(as_html, languages=words) if words else FORMS["json" if options.json else options.format]
    return _put(form(report).encode(), options.output)


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


def _put_pdf(report: Mapping[str, Any], options: argparse.Namespace, settings: Settings) -> int:
    now_ms = time.time_ns() // 1_000_000
    try:
        pdf = document.as_pdf(report, next(iter(options.language or ()), "en"))
        if not options.unsigned:
            authority = Authority(settings.data_dir, now_ms, settings.enrolment.certificate_days)
            pdf = pades.signed(pdf, pades.key_of(settings.reports, authority, now_ms), pades.reason_of(report))
    except document.PdfError as error:
        complain(str(error))
        return 1
    return _put(pdf, options.pdf)


def _check_pdf(path: Path, roots: Path) -> int:
    try:
        found = pades.checked(path.read_bytes(), roots.read_bytes())
    except OSError as error:
        complain(f"{error.filename}: cannot be read ({describe(error)}); name a file that exists")
        return 2
    except document.PdfError as error:
        complain(f"{path}: {error}")
        return 1
    if not found.is_true:
        complain(f"{path}: not as it was signed: {found.why}")
        return 1
    say(f"{path}: as it was signed by {found.signer}, {found.signed_at} by its own word")
    return 0


def _put(body: bytes, output: Path | None) -> int:
    if output is None:
        sys.stdout.buffer.write(body)
        return 0
    try:
        output.write_bytes(body)
    except OSError as error:
        complain(f"{output}: cannot be written ({describe(error)}); name another file")
        return 1
    return 0
