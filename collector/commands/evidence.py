"""`nabz-collector evidence ids`: every reading that is held, by id and hash, straight from the signed bytes.

Whoever knows what was promised can compare: `device spool seq sha256(reading)`, one line a reading.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator

import sqlalchemy as sa

from collector.console import answers, common_arguments, opened, settings_of
from collector.filing import fresh_raws
from collector.store import Store, schema

EXAMPLE = "nabz-collector evidence ids --center LHR-014"
PAGE = 200


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    ids = verbs.add_parser("ids", help="one line a reading: device spool seq sha256")
    common_arguments(ids)
    ids.add_argument("--center", metavar="CODE", help="of this center only")
    ids.add_argument("--json", action="store_true", help="one JSON object a line")


@answers
def run(options: argparse.Namespace) -> int:
    try:
        with opened(settings_of(options)) as store:
            for device, spool, seq, digest in held_ids(store, options.center):
                facts = {"device": device, "spool": spool, "seq": seq, "sha256": digest}
                sys.stdout.write((json.dumps(facts) if options.json else f"{device} {spool} {seq} {digest}") + "\n")
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read has read enough; what is still buffered has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def held_ids(store: Store, center: str | None = None) -> Iterator[tuple[str, str, int, str]]:
    """(device, spool, seq, sha256 of the reading's bytes) of all that is held, page by page in a fixed memory."""
    table = schema.evidence.c
    asked = sa.select(table.id, table.device, table.spool, table.first_seq, table.fresh, table.body).order_by(table.id)
    asked = asked if center is None else asked.where(table.center == center)
    last = 0
    while True:
        with store.read() as conn:
            page = conn.execute(asked.where(table.id > last).limit(PAGE)).all()
        if not page:
            return
        for row in page:
            for seq, raw in fresh_raws(bytes(row.body), row.fresh, row.first_seq).items():
                yield row.device, row.spool, seq, hashlib.sha256(raw).hexdigest()
        last = page[-1].id
