"""`nabz-collector report`: a center's month, each criterion's verdict with its numbers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from agent.common.center_time import TZ
from agent.common.errors import describe
from agent.common.words import languages, plain
from collector.access import users
from collector.access.ca import Authority
from collector.commands.console import (
    Bar,
    answers,
    clock_ms,
    common_arguments,
    complain,
    log_key_of,
    say,
    settings_of,
    user_name,
)
from collector.commands.verify import put_verification, verification
from collector.common.config import Settings
from collector.common.html_words import html_words
from collector.log.notes import NoteError, NoteKey
from collector.log.sequencing import LogSigner, origin_of
from collector.register import centers
from collector.reports import revisions, schedule
from collector.reports.audit import bundle
from collector.reports.fleet import files, summary
from collector.reports.fleet.summary import PARTS
from collector.reports.monthly import ReportError, period
from collector.reports.pdf import document, pades
from collector.reports.render import FORMS, as_html
from collector.standard import StandardError, Standards, documents, examples, load
from collector.store.database import AUTHORITY, existing

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
    parser.add_argument(
        "--given-to", metavar="NAME", help="record that the closed report is passed on to NAME, by your user name"
    )
    overall = parser.add_argument_group("a month over all centers, from the closed reports")
    overall.add_argument(
        "--all", action="store_true", help="instead of --center: as JSON, with --format csv its groups"
    )
    overall.add_argument("--by", choices=PARTS, default="district", help="what makes a group; default: district")
    overall.add_argument("--xlsx", type=Path, metavar="FILE", help="write a workbook there, in --language")
    parser.add_argument("--unsigned", action="store_true", help="with --pdf: without a signature")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of printing")
    _check_arguments(parser)


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    """What is checked is a file that somebody brings."""
    parser.add_argument(
        "--check-pdf", type=Path, metavar="FILE", help="instead: whether that PDF is as it was signed; exit 1 if not"
    )
    parser.add_argument(
        "--check-json",
        type=Path,
        metavar="FILE",
        help="instead: whether that report is the one in the log; exit 1 if not",
    )
    parser.add_argument("--log-key", metavar="KEY", help="with --check-json: the log's, as you know it from elsewhere")
    parser.add_argument(
        "--roots", type=Path, metavar="FILE", help="with --check-pdf: who is trusted, PEM; default: our own authority"
    )


@answers
def run(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    if options.check_pdf:
        return _check_pdf(options.check_pdf, options.roots or settings.data_dir / AUTHORITY / "trusted.pem")
    if options.check_json:
        return _check_json(options.check_json, options.log_key)
    if not (options.month and (options.center or options.all)):
        complain("report: needs --center and --month; write e.g. --center LHR-014 --month 2026-01")
        return 2
    try:
        standards = Standards.of([load(path) for path in settings.standard.files] or examples())
        with existing(settings) as store, store.read() as conn:
            arguments = options.center, options.month, standards, clock_ms()
            if options.all:
                return _put_fleet(conn, options, standards)
            if options.check:
                schedule.closed_number(conn, options.center, options.month, arguments[3])
                return _check(conn, *arguments, settings, as_json=options.json)
            if options.bundle:
                return _put_bundle(conn, options, standards, settings)
            report = schedule.told(conn, *arguments)
        if options.given_to:
            _record_recipient(settings, report, options.given_to)
    except (ReportError, StandardError, users.PersonError) as error:
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


def _check(
    conn: sa.Connection, code: str, month: str, standards: Standards, now_ms: int, settings: Settings, *, as_json: bool
) -> int:
    """From the signed bytes up, and the proof that the report carries. Raises ReportError, CenterError."""
    key, origin = log_key_of(settings), origin_of(conn)
    exit_code = put_verification(verification(conn, code, month, standards, settings), as_json=as_json)
    report = schedule.told(conn, code, month, standards, now_ms)
    if "proof" not in report:
        return exit_code  # its leaf is in no head yet, or the log had not begun
    sentences = list(schedule.unproven(report, LogSigner(origin, key).public if key is not None else None))
    for sentence in sentences:
        complain(f"{code} {month}: {sentence}")
    return 1 if sentences else exit_code


def _put_bundle(
    conn: sa.Connection, options: argparse.Namespace, standards: Standards, settings: Settings
) -> int:  # fmt: skip
    key, origin, now_ms = log_key_of(settings), origin_of(conn), clock_ms()
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


def _put_fleet(conn: sa.Connection, options: argparse.Namespace, standards: Standards) -> int:
    """Raises ReportError."""
    lang = next(iter(options.language or ()), "en")
    month = period(options.month, TZ, clock_ms())
    standard = standards.at(month.to_ms - 1)
    with Bar("of the reports read") as bar:
        fleet = summary.of_month(conn, options.month, month.from_ms, options.by, standard=standard, taken=bar.over)
    if not fleet.centers:
        raise ReportError(f"month {options.month}: no report of it is closed yet; see one with --center")
    if options.xlsx:
        return _put(files.fleet_workbook(fleet, plain(lang)), options.xlsx)
    is_csv = options.format == "csv" and not options.json
    return _put(files.fleet_csv(fleet).encode() if is_csv else files.fleet_json(fleet), options.output)


def _record_recipient(settings: Settings, report: Mapping[str, Any], name: str) -> None:
    """Raises ReportError for a month that is not closed, PersonError for what is no name."""
    code, revision = report["center"]["code"], report["revision"]
    if revision["closed_ms"] is None:
        raise ReportError(f"month {report['month']}: is not closed, so nothing stands that could be given; wait for it")
    by, person = users.named(user_name()), users.named(name)
    with existing(settings) as store, store.write() as conn:
        revisions.give(conn, code, report["from_ms"], revision["number"], person, clock_ms(), given_by=by)


def _put_pdf(report: Mapping[str, Any], options: argparse.Namespace, settings: Settings) -> int:
    now_ms = clock_ms()
    try:
        pdf = document.as_pdf(report, next(iter(options.language or ()), "en"))
        if not options.unsigned:
            authority = Authority(settings.data_dir, now_ms, settings.enrolment.certificate_days)
            pdf = pades.signed(pdf, pades.key_of(settings.reports, authority, now_ms), pades.reason_of(report))
    except document.PdfError as error:
        complain(str(error))
        return 1
    if exit_code := _put(pdf, options.pdf):
        return exit_code
    say(f"{options.pdf}: " + ("not signed" if options.unsigned else "signed; check it with report --check-pdf"))
    return 0


def _check_pdf(path: Path, roots: Path) -> int:
    try:
        signature = pades.checked(path.read_bytes(), roots.read_bytes())
    except OSError as error:
        complain(f"{error.filename}: cannot be read ({describe(error)}); name a file that exists")
        return 2
    except document.PdfError as error:
        complain(f"{path}: {error}")
        return 1
    if not signature.is_true:
        complain(f"{path}: not as it was signed: {signature.why}")
        return 1
    when = f"{signature.signed_at} by its own word"
    when = f"before {signature.stamped_at} by the word of a time-stamping authority" if signature.stamped_at else when
    say(f"{path}: as it was signed by {signature.signer}, {when}")
    return 0


def _check_json(path: Path, text: str | None) -> int:
    try:
        key = NoteKey.parse(text) if text else None
        report = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        complain(f"{path}: cannot be read ({describe(error)}); name a file that exists")
        return 2
    except (NoteError, ValueError, RecursionError) as error:  # msgspec.DecodeError is a ValueError
        complain(f"{path}: is no report, or the key is none ({describe(error)[:120]})")
        return 2
    sentences = list(schedule.unproven(report, key))
    for sentence in sentences:
        complain(f"{path}: {sentence}")
    if not sentences:
        proof = report["proof"]
        say(f"{path}: is leaf {proof['number']} of the log {proof['origin']}")
        if key is None:
            say("not proven: the log's key is the report's own word; give the one you know with --log-key")
    return 1 if sentences else 0


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
