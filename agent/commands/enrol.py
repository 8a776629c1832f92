"""`nabz-agent enrol URL TOKEN`: make this gateway's keys and join a center with a one-time token."""

from __future__ import annotations

import argparse
import json
import sys
import time

from agent import config_file, identity
from agent.common.errors import describe
from agent.uplink import enrol

EXAMPLE = "nabz-agent enrol https://nabz.example:8443 0123456789abcdef0123456789abcdef.89abcdef0123456789abcdef01234567"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="the collector's address, as the desk gave it")
    parser.add_argument("token", metavar="TOKEN", help="the one-time token of this center, with its fingerprint")
    parser.add_argument(
        "--config", metavar="FILE", help=f"settings (default: {config_file.DEFAULT_PATH}, if it is there)"
    )
    parser.add_argument(
        "--force", action="store_true", help="keep the identity and unsent readings so far under other names"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=enrol.APPROVAL_S,
        metavar="S",
        help="seconds to wait for a second person's approval",
    )
    parser.add_argument("--plain-http", action="store_true", help="allow http to another machine: it hides nothing")
    parser.add_argument("--json", action="store_true", help="print the identity as JSON")


def run(options: argparse.Namespace) -> int:
    try:
        settings = config_file.load_or_default(options.config)
        mine = enrol.enrol(
            settings.state_dir,
            options.url,
            options.token,
            time.time_ns() // 1_000_000,
            force=options.force,
            plain=options.plain_http,
            waiting=enrol.ApprovalWait(timeout_s=options.timeout, notify=progress),
        )
    except config_file.SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except (enrol.EnrolFailed, identity.IdentityError) as error:
        print(f"nabz-agent: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"nabz-agent: {error.filename}: {describe(error)}; set [agent] state_dir or its owner",
            file=sys.stderr,
        )
        return 1
    print(format_identity(mine) if not options.json else json.dumps({"device": mine.device, "center": mine.center}))
    return 0


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def format_identity(mine: identity.Identity) -> str:
    brokers = ", ".join(f"{broker.host}:{broker.port}{' (TLS)' if broker.tls else ''}" for broker in mine.brokers)
    return (
        f"enrolled as {mine.device} of center {mine.center} ({mine.name})\n"
        f"broker {brokers}; measurement server {mine.measure_url}\n"
        "next: nabz-agent run"
    )
