"""`nabz-collector evidence`: what is held, in a form that others can check without us.

`ids` names every reading by id and hash, straight from the signed bytes: `device spool seq sha256(reading)`, one line a
reading. `records` gives what measurement servers signed, with their public keys; `verify` checks such a file offline.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from agent import wire
from agent.common.errors import describe
from collector.access.enrolment import is_signed
from collector.commands.console import Bar, answers, common_arguments, complain, say, settings_of
from collector.ingest.spools import fresh_raws
from collector.judging.flags.witness import rate_mbps
from collector.speedtests.measure.record import decode
from collector.speedtests.signed_records import record_lines
from collector.store import Store
from collector.store.cold import held
from collector.store.database import existing

EXAMPLE = "nabz-collector evidence ids --center LHR-014"
EXAMPLES = {
    "ids": "--center LHR-0001",
    "records": "--center LHR-0001",
    "verify": "records.jsonl --key 3q2+7w==",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    ids = verbs.add_parser("ids", help="one line a reading: device spool seq sha256")
    common_arguments(ids)
    ids.add_argument("--center", metavar="CODE", help="of this center only")
    ids.add_argument("--json", action="store_true", help="one JSON object a line")
    records = verbs.add_parser("records", help="what measurement servers signed, one JSON object a line")
    common_arguments(records)
    records.add_argument("--center", metavar="CODE", help="of this center's tests only")
    check = verbs.add_parser("verify", help="check such a file offline; exit code 1 when a line is not as signed")
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument(
        "--key", action="append", required=True, metavar="BASE64",
        help="a server's public key, as you had it from whoever runs that server; may be given several times",
    )  # fmt: skip
    check.add_argument("--json", action="store_true", help="print facts as JSON")


@answers
def run(options: argparse.Namespace) -> int:
    if options.verb == "verify":
        return _verify(options)
    try:
        with existing(settings_of(options)) as store, Bar("written", is_seen=not sys.stdout.isatty()) as bar:
            for line in bar.over(_lines(store, options)):
                sys.stdout.write(line + "\n")
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read has read enough; what is still buffered has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _lines(store: Store, options: argparse.Namespace) -> Iterator[str]:
    if options.verb == "records":
        with store.read() as conn:
            yield from map(json.dumps, record_lines(conn, options.center))
        return
    for device, spool, seq, digest in held_ids(store, options.center):
        facts = {"device": device, "spool": spool, "seq": seq, "sha256": digest}
        yield json.dumps(facts) if options.json else f"{device} {spool} {seq} {digest}"


def held_ids(store: Store, center: str | None = None) -> Iterator[tuple[str, str, int, str]]:
    """(device, spool, seq, sha256 of the reading's bytes) of all that is held, page by page in a fixed memory."""
    with store.read() as conn:
        for batch in held.batches(conn, center=center):
            for seq, raw in fresh_raws(batch.body, batch.fresh, batch.first_seq).items():
                yield batch.device, batch.spool, seq, hashlib.sha256(raw).hexdigest()


# ---------------------------------------------------------------- records


def _verify(options: argparse.Namespace) -> int:
    """Signature, test, server, and that the figures follow from the curves that were signed."""
    right, wrong = 0, []
    try:
        with options.file.open(encoding="utf-8") as lines, Bar("records verified") as bar:
            for number, line in enumerate(bar.over(lines), 1):
                why = why_not(line, options.key)
                right += not why
                wrong += [f"line {number}: {why}"] if why else []
    except (OSError, UnicodeDecodeError) as error:
        complain(f"{options.file}: cannot be read ({describe(error)}); name a file that `evidence records` wrote")
        return 2
    facts = {"right": right, "wrong": len(wrong), "examples": wrong[:5]}
    say(json.dumps(facts) if options.json else "\n  ".join([f"{right} right, {len(wrong)} wrong", *wrong[:5]]))
    return 1 if wrong or not right else 0


def why_not(line: str, trusted: Collection[str]) -> str:
    """Why this line of `evidence records` proves nothing; empty when it is as a server whose key is `trusted` signed
    it. Who made the file may have put a key of their own into it: that one alone proves nothing."""
    try:
        fields = json.loads(line)
        key, body, signature = (
            base64.b64decode(fields[name], validate=True) for name in ("public_key", "body", "signature")
        )
        record = decode(body)
    except (ValueError, KeyError, TypeError, wire.WireError) as error:
        return f"is no record ({describe(error)})"
    if fields["public_key"] not in trusted:
        return f"names a key of server {record.server} that you do not trust; give it with --key if you know it"
    if len(key) != 32 or not is_signed(key, body, signature):
        return f"the signature is not of server {fields['server']}"
    if (record.test, record.server) != (fields["test_id"], fields["server"]):
        return f"says test {fields['test_id']} of {fields['server']}, signed was {record.test} of {record.server}"
    drawn = tuple(rate_mbps(item.at_ms, item.total)[0] for item in (record.down, record.up))
    if drawn != (fields["down_mbps"], fields["up_mbps"]):
        return f"says {fields['down_mbps']} and {fields['up_mbps']} Mbit/s, the signed curves {drawn[0]} and {drawn[1]}"
    return ""
