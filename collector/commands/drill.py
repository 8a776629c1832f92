"""`nabz-collector drill`: the newest backup, restored beside the running system, compared, and thrown away.

Exit codes: 0 it would bring this server back, 1 it would not, 2 wrong use or settings.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from agent.common.words import plain
from collector.commands.console import Bar, answers, common_arguments, say, settings_of
from collector.recovery import drill
from collector.store.database import existing

EXAMPLE = "nabz-collector drill --json"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="this backup instead of the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object")


@answers
def run(options: argparse.Namespace) -> int:
    settings, now_ms = settings_of(options).as_keeper, time.time_ns() // 1_000_000
    with existing(settings) as store, Bar("restored and compared") as bar:
        copy = drill.run(settings, options.file, now_ms, bar.share)
        drill.record(store, copy)
    age_h = copy.age_h(now_ms)
    facts = {
        "file": copy.file, "good": copy.is_good, "age_h": None if age_h is None else round(age_h, 2),
        "took_s": round(copy.took_s, 1), "code": copy.detail.code, "params": copy.detail.params,
    }  # fmt: skip
    age = "" if age_h is None else f", made {age_h:.1f} h ago"
    say(json.dumps(facts) if options.json else f"{copy.file or 'drill'}{age}: {plain(copy.detail)}")
    return 0 if copy.is_good else 1
