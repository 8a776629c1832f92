"""`nabz-collector backup FILE`: a copy of the whole database, while the collector runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from collector.commands.console import Bar, answers, common_arguments, say, settings_of
from collector.database import opened
from collector.store.backup import backup

EXAMPLE = "nabz-collector backup /var/backups/nabz-2026-11-22.backup"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="where to write it; nothing is overwritten")
    parser.add_argument("--json", action="store_true", help="one JSON object")


@answers
def run(options: argparse.Namespace) -> int:
    with opened(settings_of(options).as_keeper) as store, Bar("copied") as bar:
        size = backup(store, options.file, bar.share)
    if options.json:
        say(json.dumps({"file": str(options.file), "bytes": size}))
    else:
        say(f"{options.file}: {size} bytes, whole")
    return 0
