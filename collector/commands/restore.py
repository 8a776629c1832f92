"""`nabz-collector restore FILE`: an empty database filled from a copy, all of it or nothing."""

from __future__ import annotations

import argparse
import json
import time
from contextlib import closing
from pathlib import Path

from collector.commands.console import Bar, answers, common_arguments, say, settings_of
from collector.database import make_data_dir
from collector.store import NeedsMigration, Store, migrate
from collector.store.backup import begin_epoch, restore

EXAMPLE = "nabz-collector restore /var/backups/nabz-2026-11-22.backup --data /var/lib/nabz-collector"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="a copy made by `backup`, or before a migration")
    parser.add_argument("--json", action="store_true", help="one JSON object")


@answers
def run(options: argparse.Namespace) -> int:
    settings = settings_of(options).as_keeper
    make_data_dir(settings)
    with closing(Store.attach(settings.database_url)) as store, Bar("restored") as bar:
        restore(store, options.file, bar.share)
        store.close()
        with store.read() as conn:
            held = migrate.version(conn)
        begin_epoch(store, time.time_ns() // 1_000_000)
    try:
        Store.open(settings.database_url).close()
        ready = True
    except NeedsMigration:
        ready = False
    if options.json:
        say(json.dumps({"file": str(options.file), "version": held, "ready": ready}))
    else:
        say(f"restored from {options.file}" + ("" if ready else "; run `nabz-collector migrate` next"))
    return 0
