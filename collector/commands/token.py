"""`nabz-collector token`: a one-time token with which one gateway joins a center, as text and as a QR code."""

from __future__ import annotations

import argparse
import io
import json
import re
import time

import segno

from collector.access.ca import Authority
from collector.access.enrolment import format_token, issue_token
from collector.access.users import DOUBTS, PersonError
from collector.commands.console import (
    acting,
    answers,
    common_arguments,
    complain,
    proof_of,
    say,
    settings_of,
    who_argument,
)
from collector.register.centers import CenterError
from collector.store.database import existing

EXAMPLE = "nabz-collector token LHR-014 --ttl 24h"
UNITS_S = {"m": 60, "h": 3600, "d": 86_400}
LONGEST_S = 90 * 86_400


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("center", metavar="CENTER", help="the center's code")
    parser.add_argument("--ttl", type=token_ttl_s, default=86_400, metavar="TIME", help="30m, 24h, 7d (default: 24h)")
    who_argument(parser)
    parser.add_argument("--replaces", action="store_true", help="revoke the center's gateways so far once it joined")
    parser.add_argument("--no-qr", action="store_true", help="print the text alone")
    parser.add_argument("--json", action="store_true", help="print facts as JSON")


@answers
def run(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    now_ms = time.time_ns() // 1_000_000
    try:
        by = acting(options)
        with existing(settings, keys=True) as store:
            proof = proof_of(store, by, now_ms)
            with store.write() as conn:
                secret = issue_token(
                    conn, options.center, now_ms, options.ttl, by, proof=proof, replaces=options.replaces
                )
            authority = Authority(settings.data_dir, now_ms, settings.enrolment.certificate_days)
    except (CenterError, PersonError) as error:
        complain(str(error))
        return 1
    if settings.enrolment.approval == "second_person" and not proof:
        complain(DOUBTS["nobody"])
    token = format_token(secret, authority)
    line = f"nabz-agent enrol {settings.enrolment_url}"
    facts = {"center": options.center, "token": token, "expires_ms": now_ms + options.ttl * 1000, "enrol": line}
    text = f"{token}\nOn the gateway, within its time and once; it asks for the token:\n  {line}"
    say(json.dumps(facts) if options.json else text if options.no_qr else f"{text}\n\n{picture(token)}")
    return 0


def picture(text: str) -> str:
    """A QR code (ISO/IEC 18004) of half blocks, for a terminal."""
    out = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(out, compact=True)
    return out.getvalue()


def token_ttl_s(text: str) -> int:
    match = re.fullmatch(r"(\d{1,6})([mhd])", text)
    seconds = int(match[1]) * UNITS_S[match[2]] if match else 0
    if not 1 <= seconds <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time up to 90d; write e.g. 30m, 24h or 7d")
    return seconds
