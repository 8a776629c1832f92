"""`nabz-collector dispute`: what operators dispute of a month, the tests before a witness, and what was decided."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.common.errors import describe
from collector.access import users
from collector.access.accounts import directory
from collector.acts import disputes
from collector.acts.notices import board_of
from collector.acts.person import ActingPerson
from collector.commands.console import (
    acting,
    answers,
    clock_ms,
    complain,
    moment,
    proof_of,
    say,
    settings_of,
    table,
    time_ms,
    verb_arguments,
    who_argument,
)
from collector.commands.standard import standards_of
from collector.common.attachments import MAX_BYTES
from collector.common.scope import EVERYWHERE
from collector.register.centers import CenterError
from collector.reports.disputes import attachments, records, witnessed
from collector.reports.disputes.dispute import OPEN, OUTCOMES, Dispute, DisputeError, Filing, Ruling
from collector.store.database import existing

EXAMPLE = (
    'nabz-collector dispute file 2026-11 --center LHR-014 --day 2026-11-12 --text "The line was full by our own backup"'
)
EXAMPLES = {
    "file": '2026-11 --center LHR-014 --criterion internet.download --text "measured elsewhere" --test',
    "list": "--open",
    "show": "3",
    "test": '3 --witness "Sara Malik" --from 2026-12-05T09:00 --to 2026-12-05T17:00',
    "decide": '3 upheld --reason "the provider confirms the outage" --from 2026-11-12T09:00 --to 2026-11-12T11:30',
    "withdraw": "3",
    "attach": "3 mast.jpg",
    "save": "3 --output dispute-3",
}
FILE_HEADS = ("file", "kind", "bytes", "sha256")
HEADS = ("number", "center", "about", "criterion", "state", "outcome", "filed", "by", "decided by", "text")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    filed = verbs.add_parser("file", help="dispute a month, a day or a criterion of a center")
    filed.add_argument("month", metavar="YYYY-MM")
    filed.add_argument("--center", required=True, metavar="CODE")
    filed.add_argument("--day", default="", metavar="YYYY-MM-DD", help="this day of it; default: the whole month")
    filed.add_argument("--criterion", default="", metavar="ID", help="this one; default: all of them")
    filed.add_argument("--text", required=True, help="what is wrong, and how you know")
    filed.add_argument("--test", action="store_true", help="ask for a test before a witness")
    listed = verbs.add_parser("list", help="disputes, the open ones first")
    listed.add_argument("--open", action="store_true", help="only those that are not decided")
    listed.add_argument("--center", default="", metavar="CODE")
    listed.add_argument("--month", default="", metavar="YYYY-MM")
    verbs.add_parser("show", help="one, with its test")
    tested = verbs.add_parser("test", help="arrange a test before a witness, at a moment that only the collector knows")
    tested.add_argument("--witness", required=True, metavar="NAME")
    decided = verbs.add_parser("decide", help="decide; the month's report is revised, the operator is told")
    verbs.add_parser("withdraw", help="it is taken back")
    attached = verbs.add_parser("attach", help="a file with an open one: a photo, a PDF, or a table as plain text")
    saved = verbs.add_parser("save", help="its files into a folder, each looked at by its hash")
    for name in ("show", "test", "decide", "withdraw", "attach", "save"):
        verbs.choices[name].add_argument("number", type=int, metavar="NUMBER")
    attached.add_argument("file", type=Path, metavar="FILE")
    saved.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="made if it is not there")
    decided.add_argument("outcome", choices=OUTCOMES, metavar="OUTCOME", help=", ".join(OUTCOMES))
    decided.add_argument("--reason", required=True, metavar="TEXT", help="stands in the report")
    for verb, help_text, needed in ((tested, "when the witness is there", True), (decided, "takes it out", False)):
        for end in ("from", "to"):
            verb.add_argument(
                f"--{end}", dest=f"{end}_time", required=needed, default="", metavar="YYYY-MM-DDTHH:MM", help=help_text
            )
    for name in ("file", "test", "decide", "withdraw", "attach"):
        who_argument(verbs.choices[name])
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return VERBS[options.verb](options)
    except (DisputeError, CenterError, users.PersonError) as error:
        complain(str(error))
        return 1
    except OSError as error:
        complain(f"{error.filename or 'file'}: cannot be read or written ({describe(error)}); name one that can")
        return 1
    except ValueError as error:
        complain(describe(error))
        return 2


def _file(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    filing = Filing(
        center=options.center, month=options.month, day=options.day, criterion=options.criterion, text=options.text,
        wants_test=options.test,
    )  # fmt: skip
    with existing(settings) as store, store.write() as conn:
        who = ActingPerson(name=acting(options), now_ms=clock_ms())
        dispute = disputes.file(conn, filing, who, standards_of(settings), settings.disputes.file_within_days)
    return _say(options, dispute)


def _list(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        states = OPEN if options.open else ()
        rows = records.listed(conn, EVERYWHERE, states=states, center=options.center, month=options.month)
    say(json.dumps([dataclasses.asdict(one) for one in rows]) if options.json else _table(rows))
    return 0


def _table(rows: Sequence[Dispute]) -> str:
    cells = [
        (
            one.id, one.center, one.day or one.month, one.criterion, one.state, one.outcome, moment(one.filed_ms),
            one.filed_by, one.decided_by, one.text[:60],
        )
        for one in rows
    ]  # fmt: skip
    return table(HEADS, cells)


def _show(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        dispute = records.get(conn, options.number)
        result, files = witnessed.result(conn, dispute), attachments.of_dispute(conn, dispute.id)
    facts = dataclasses.asdict(dispute) | {"test": dict(result) if result else None}
    facts["files"] = [dataclasses.asdict(one) for one in files] if options.json else [one.name for one in files]
    rows = [(name, moment(value) if name.endswith("_ms") else value) for name, value in facts.items()]
    rows = [row for row in rows if row[1] not in ("", None, [])]
    say(json.dumps(facts) if options.json else table(("what", "is"), rows))
    return 0


def _attach(options: argparse.Namespace) -> int:
    with options.file.open("rb") as file:
        body = file.read(MAX_BYTES + 1)
    with existing(settings_of(options)) as store, store.write() as conn:
        who = ActingPerson(name=acting(options), now_ms=clock_ms())
        one = disputes.attach(conn, options.number, options.file.name, body, who)
    say(json.dumps(dataclasses.asdict(one)) if options.json else f"{one.name}: {one.size} bytes, SHA-256 {one.sha256}")
    return 0


def _save(options: argparse.Namespace) -> int:
    options.output.mkdir(parents=True, exist_ok=True)
    with existing(settings_of(options)) as store, store.read() as conn:
        files = attachments.of_dispute(conn, records.get(conn, options.number).id)
        for one in files:
            path = options.output / f"{one.attachment}-{one.name}"
            path.write_bytes(attachments.body_of(conn, one))
    rows = [(one.name, one.kind, one.size, one.sha256) for one in files]
    say(json.dumps([dataclasses.asdict(one) for one in files]) if options.json else table(FILE_HEADS, rows))
    return 0


def _test(options: argparse.Namespace) -> int:
    settings, window = settings_of(options), (time_ms(options.from_time), time_ms(options.to_time))
    with existing(settings) as store:
        name, now_ms = acting(options), clock_ms()
        proof = proof_of(store, name, now_ms)
        with store.write() as conn:
            is_proven = directory.check_may(
                conn, name, proof, "dispute.decide", records.get(conn, options.number).center
            )
            who = ActingPerson(name=name, now_ms=now_ms, is_proven=is_proven)
            dispute = disputes.arrange_test(conn, options.number, options.witness, window, who, board_of(settings))
    return _say(options, dispute)


def _decide(options: argparse.Namespace) -> int:
    if bool(options.from_time) != bool(options.to_time):
        raise ValueError("--from, --to: a time that is taken out has both; give both, or neither")
    settings = settings_of(options)
    excused = (time_ms(options.from_time), time_ms(options.to_time)) if options.from_time else None
    decision = Ruling(outcome=options.outcome, reason=options.reason, excused=excused)
    with existing(settings) as store:
        name, now_ms = acting(options), clock_ms()
        proof = proof_of(store, name, now_ms)
        with store.write() as conn:
            is_proven = directory.check_may(
                conn, name, proof, "dispute.decide", records.get(conn, options.number).center
            )
            who = ActingPerson(name=name, now_ms=now_ms, is_proven=is_proven)
            dispute = disputes.decide(conn, options.number, decision, who, board_of(settings))
    return _say(options, dispute)


def _withdraw(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.write() as conn:
        dispute = disputes.withdraw(conn, options.number, ActingPerson(name=acting(options), now_ms=clock_ms()))
    return _say(options, dispute)


def _say(options: argparse.Namespace, dispute: Dispute) -> int:
    words = f"dispute {dispute.id}: {dispute.center} {dispute.day or dispute.month}: {dispute.outcome or dispute.state}"
    say(json.dumps(dataclasses.asdict(dispute)) if options.json else words)
    return 0


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "file": _file, "list": _list, "show": _show, "test": _test, "decide": _decide, "withdraw": _withdraw,
    "attach": _attach, "save": _save,
}  # fmt: skip
