"""`nabz-agent enrol URL`: make this gateway's keys and join a center with a one-time token, which is asked for."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import msgspec

from agent import config_file, identity
from agent.common import logs
from agent.common.errors import describe
from agent.common.files import asked_secret, on_command_line
from agent.uplink import enrol

EXAMPLE = "nabz-agent enrol https://nabz.example:8443"
FIX = "leave it away and give it when asked, on standard input, or by --token-file"


class PreparedJoin(msgspec.Struct, frozen=True):
    """The file of a prepared gateway."""

    url: str
    token: str


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", metavar="URL", help="the collector's address, as the desk gave it")
    parser.add_argument("refused", nargs="?", help=argparse.SUPPRESS)  # where the token stood until 0.2
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="the center's one-time token (default: asked for, or one line "
        "of standard input)",
    )  # fmt: skip
    parser.add_argument(
        "--prepared", type=Path, metavar="FILE", help="join.json of `nabz-collector gateway prepare`: URL and token"
    )
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
    if options.refused is not None:
        print(f"nabz-agent: {on_command_line('the token', FIX)}", file=sys.stderr)
        return 2
    if options.prepared is not None:
        return _enrolled_prepared(options)
    if options.url is None:
        print("nabz-agent: URL: is missing; give the address that the desk gave, or --prepared FILE", file=sys.stderr)
        return 2
    try:
        token = asked_secret("Token: ", options.token_file)
    except (OSError, ValueError) as error:
        print(f"nabz-agent: --token-file {options.token_file}: cannot be read ({describe(error)})", file=sys.stderr)
        return 2
    return enrolled(options, token)


def _enrolled_prepared(options: argparse.Namespace) -> int:
    try:
        prepared = msgspec.json.decode(options.prepared.read_bytes(), type=PreparedJoin)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        fix = "give a join.json of `nabz-collector gateway prepare`"
        print(f"nabz-agent: {options.prepared}: cannot be read ({describe(error)}); {fix}", file=sys.stderr)
        return 2
    options.url = prepared.url
    return enrolled(options, prepared.token)


def enrolled(options: argparse.Namespace, token: str) -> int:
    try:
        settings = config_file.load_or_default(options.config)
        mine = enrol.enrol(
            settings.state_dir,
            options.url,
            token,
            time.time_ns() // 1_000_000,
            force=options.force,
            plain=options.plain_http,
            waiting=enrol.ApprovalWait(timeout_s=options.timeout, notify=progress),
        )
    except config_file.SettingsError as error:
        logs.complain(str(error), "nabz-agent")
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
