"""`nabz-collector log`: the transparency log as this collector has it."""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path

import sqlalchemy as sa

from agent.common.errors import describe
from agent.common.words import plain
from collector.commands.console import Bar, answers, common_arguments, complain, log_key_of, say, settings_of
from collector.common import http_client
from collector.common.config import Settings
from collector.log import checking, sequencing, submitting
from collector.log.notes import Checkpoint, Note, NoteError, NoteKey
from collector.log.sequencing import LogSigner
from collector.store import Store, schema
from collector.store.database import existing

EXAMPLE = "nabz-collector log checkpoint"
EXAMPLES = {
    "checkpoint": "",
    "key": "",
    "prove": "--center LHR-014 --month 2026-01",
    "check": "--json",
    "cosign": "cosignature.txt --key ministry.example+12345678+BASE64",
    "submit": "https://witness.example.org --key witness.example.org+12345678+BASE64",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    words = {
        "checkpoint": "the newest signed head, with its cosignatures",
        "key": "the log's public key, as witnesses and other tools are set up with it",
        "prove": "that leaves of a center stand in the newest head, one JSON object a line",
        "check": "the whole log: every leaf, tile and signed head; exit code 1 when it was altered",
        "cosign": "take a witness's cosignature of a head of ours",
        "submit": "bring the newest head to a witness that listens, and take its cosignature (C2SP tlog-witness)",
    }
    made = {name: verbs.add_parser(name, help=text) for name, text in words.items()}
    for verb in made.values():
        common_arguments(verb)
    made["prove"].add_argument("--center", required=True, metavar="CODE")
    made["prove"].add_argument("--kind", metavar="KIND", help="only leaves of this kind: facts, day, report …")
    made["prove"].add_argument("--month", metavar="YYYY-MM", help="only leaves whose name begins so")
    made["check"].add_argument("--json", action="store_true", help="print facts as JSON")
    made["cosign"].add_argument("file", type=Path, metavar="FILE", help="the head as the witness gave it")
    made["submit"].add_argument("url", metavar="URL", help="the witness's submission prefix, without add-checkpoint")
    for name in ("cosign", "submit"):
        made[name].add_argument("--key", required=True, metavar="KEY", help="the witness's public key: NAME+ID+KEY")


@answers
def run(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    with existing(settings) as store:
        if options.verb == "cosign":
            with store.write() as conn:
                return _cosign(conn, options)
        if options.verb == "submit":
            return _submit(store, options)
        with store.read() as conn:
            note = sequencing.newest(conn)
            if note is None:
                complain("log: has no leaf yet; it begins with `nabz-collector serve`")
                return 1
            if options.verb == "checkpoint":
                say(str(note).rstrip("\n"))
                return 0
            if options.verb == "prove":
                return _prove(conn, note, options)
            key = _public_key(conn, settings)
            if key is None:
                complain(f"{settings.data_dir}: holds no collector.key, so the log's key is not known here")
                return 2
            return _check(conn, key, as_json=options.json) if options.verb == "check" else _say_key(key)


def _public_key(conn: sa.Connection, settings: Settings) -> NoteKey | None:
    key = log_key_of(settings)
    return LogSigner(sequencing.origin_of(conn), key).public if key else None


def _say_key(key: NoteKey) -> int:
    say(str(key))
    return 0


def _prove(conn: sa.Connection, note: Note, options: argparse.Namespace) -> int:
    head, table = Checkpoint.parse(note.text), schema.log_leaves.c
    query = sa.select(table.number, table.body).where(table.center == options.center, table.number < head.size)
    if options.kind:
        query = query.where(table.kind == options.kind)
    if options.month:
        query = query.where(table.name.like(f"{options.month.replace('%', '')}%"))
    for row in conn.execute(query.order_by(table.number)):
        proof = [base64.b64encode(part).decode() for part in sequencing.proven(conn, row.number, head)]
        facts = {"leaf": row.number, "size": head.size, "entry": bytes(row.body).decode(), "proof": proof}
        say(json.dumps(facts, ensure_ascii=False))
    return 0


def _check(conn: sa.Connection, key: NoteKey, *, as_json: bool) -> int:
    with Bar("of the leaves checked") as bar:
        faults, size = list(checking.check(conn, key, bar.share)), sequencing.size_of(conn)
    if as_json:
        say(json.dumps({"leaves": size, "wrong": [one.code for one in faults]}, indent=2))
    elif faults:
        complain("\n".join(plain().reason(one) for one in faults[:20]))
    else:
        say(f"{size} leaves, and every tile and head is as it was signed")
    return 1 if faults else 0


def _cosign(conn: sa.Connection, options: argparse.Namespace) -> int:
    try:
        note = Note.parse(options.file.read_bytes())
        sequencing.keep_cosignatures(conn, note, NoteKey.parse(options.key))
    except OSError as error:
        complain(f"{options.file}: cannot be read ({describe(error)}); name the file that the witness wrote")
        return 2
    except NoteError as error:
        complain(f"{options.file}: {error}")
        return 1
    say(f"the head of {Checkpoint.parse(note.text).size} leaves is cosigned")
    return 0


def _submit(store: Store, options: argparse.Namespace) -> int:
    """Exit codes: 0 cosigned, 1 the witness does not cosign, 2 it cannot be reached."""
    try:
        head = submitting.submit(store, options.url, NoteKey.parse(options.key))
    except NoteError as error:
        complain(f"{options.url}: {error}")
        return 1
    except (*http_client.FAILURES, ValueError) as error:
        complain(f"{options.url}: cannot be reached ({describe(error)}); name the address where the witness listens")
        return 2
    if head is None:
        complain("log: has no leaf yet; it begins with `nabz-collector serve`")
        return 1
    say(f"the head of {head.size} leaves is cosigned")
    return 0
