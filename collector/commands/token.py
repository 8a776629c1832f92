"""`nabz-collector token`: a one-time token with which one gateway joins a center."""

from __future__ import annotations

import argparse
import json
import re
import time

from collector.centers import CenterError
from collector.console import answers, common_arguments, complain, opened, say, settings_of
from collector.enrolment import issue_token

EXAMPLE = "nabz-collector token LHR-014 --ttl 24h"
UNITS_S = {"m": 60, "h": 3600, "d": 86_400}
LONGEST_S = 90 * 86_400


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("center", metavar="CENTER", help="the center's code")
    parser.add_argument("--ttl", type=_seconds, default=86_400, metavar="TIME", help="30m, 24h, 7d (default: 24h)")
    parser.add_argument("--json", action="store_true", help="print facts as JSON")


@answers
def run(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    now_ms = time.time_ns() // 1_000_000
    try:
        with opened(settings) as store, store.write() as conn:
            token = issue_token(conn, options.center, now_ms, options.ttl)
    except CenterError as error:
        complain(str(error))
        return 1
    line = f"nabz-agent enrol {settings.web_url} {token}"
    facts = {"center": options.center, "token": token, "expires_ms": now_ms + options.ttl * 1000, "enrol": line}
    say(json.dumps(facts) if options.json else f"{token}\nOn the gateway, within its time and once:\n  {line}")
    return 0


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d{1,6})([mhd])", text)
    seconds = int(match[1]) * UNITS_S[match[2]] if match else 0
    if not 1 <= seconds <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time up to 90d; write e.g. 30m, 24h or 7d")
    return seconds
