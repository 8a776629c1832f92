"""`nabz-collector gateway`: all gateways at once: how far they are, and which need somebody's hand."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time

from collector.commands.console import answers, say, settings_of, table, verb_arguments
from collector.database import existing
from collector.remote import funnel

EXAMPLE = "nabz-collector gateway funnel --json"
EXAMPLES = {"funnel": "--json"}
SECOND_MS, DAY_MS = 1000, 86_400_000


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("funnel", help="centers registered, invited, enrolled, reporting, complete, silent, by province")
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        found = funnel.survey(conn, time.time_ns() // 1_000_000)
    if options.json:
        troubles = [dataclasses.asdict(trouble) for trouble in found.troubles]
        facts = {"provinces": found.provinces, "total": found.total, "versions": found.versions, "troubles": troubles}
        say(json.dumps(facts))
        return 0
    rows = [(province or "(none)", counts) for province, counts in sorted(found.provinces.items())]
    cells = [(name, *(counts[stage] for stage in funnel.STAGES)) for name, counts in [*rows, ("all", found.total)]]
    say(table(("province", *funnel.STAGES), cells))
    if found.versions:
        say("\n" + table(("version", "gateways"), sorted(found.versions.items())))
    if found.troubles:
        lines = [(one.center, one.device, one.kind, _text(one)) for one in found.troubles]
        say("\n" + table(("center", "device", "trouble", "what"), lines))
    return 0


def _text(trouble: funnel.GatewayTrouble) -> str:
    match trouble.kind:
        case "drift":
            return f"its clock is {trouble.value / SECOND_MS:+.0f} s from ours"
        case "certificate":
            return f"its certificate ends in {trouble.value / DAY_MS:.1f} days"
        case _:
            return f"{trouble.value} readings wait to be sent"
