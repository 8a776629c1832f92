"""`nabz-collector move`: all of one database into another, SQLite to PostgreSQL say, with checksums at both ends."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path

from collector.commands.console import Bar, answers, say, table
from collector.recovery.move import move, plan
from collector.store import Store, StoreError

EXAMPLE = "nabz-collector move --from sqlite:///data/nabz.db --to postgresql+psycopg://nabz_migrate@db/nabz"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="source", required=True, metavar="URL", help="stop what writes to it first")
    parser.add_argument("--to", required=True, metavar="URL", help="an empty database, or one of a move broken off")
    parser.add_argument("--dry-run", action="store_true", help="say what would be moved, and move nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object")


@answers
def run(options: argparse.Namespace) -> int:
    if options.source == options.to:
        raise StoreError("--to: is the database that --from names; name another")
    if (file := options.source.removeprefix("sqlite:///")) != options.source and not Path(file).exists():
        raise StoreError(f"--from {options.source}: there is no such file; name the database that is")
    with closing(Store.open(options.source)) as source, closing(Store.attach(options.to)) as to:
        if options.dry_run:
            rows = plan(source)
            facts: dict[str, object] = {"rows": sum(rows.values()), "tables": rows}
            lines = [[name, count] for name, count in rows.items() if count]
        else:
            with Bar("moved and checked") as bar:
                moved = move(source, to, lambda done, total: bar.share(done / max(1, total)))
            facts = {"rows": sum(item.rows for item in moved), "tables": {e.name: vars(e) for e in moved}}
            lines = [[item.name, item.rows, item.checksum] for item in moved if item.rows]
    if options.json:
        say(json.dumps(facts))
        return 0
    say(table(["table", "rows", *([] if options.dry_run else ["checksum, the same at both ends"])], lines))
    say(f"{facts['rows']} rows {'would be moved' if options.dry_run else 'moved; set [database] url to the new one'}")
    return 0
