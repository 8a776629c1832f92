"""`nabz-collector pilot`: the whole of Nabz on one machine, this very machine being its first center.

1. Write settings with free ports, the first time. 2. Start the collector. 3. Register the center. 4. Enrol this
machine with a one-time token, as a gateway would. 5. Start its agent and a seat. 6. Print a link.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from agent.common.errors import describe
from agent.common.files import parse_toml
from agent.common.threads import SignalEvent
from collector.access import users
from collector.access.ca import Authority
from collector.access.enrolment import format_token, issue_token
from collector.commands.console import answers, complain, say
from collector.common.config import Settings, load
from collector.register import centers
from collector.run.pilot import PilotProcess, PilotProcesses, python, run_to_the_end, wait_until_healthy
from collector.run.upgrades import opened_and_upgraded

EXAMPLE = "nabz-collector pilot --simulate 1000"
CODE = "PILOT"
# What simulated gateways sign stays in the evidence, so that a demo has a folder of its own.
DATA, DEMO_DATA = Path("data"), Path("data-demo")
PORTS = {
    "web": 8480,
    "measure": 8481,
    "broker": 18830,
    "gateways": 18831,
    "enrolment": 8443,
    "status": 8470,
    "seats": 8471,
}

COLLECTOR_TOML = """\
# Written by `nabz-collector pilot` once; edit as you like. Every key: docs/settings.md
[collector]
data_dir = {data}

[web]
listen = "127.0.0.1:{web}"

[measure]
listen = "127.0.0.1:{measure}"

[broker]
listen = "127.0.0.1:{broker}"
kind = "auto"  # Mosquitto where it is installed
tls_listen = "127.0.0.1:{gateways}"

[enrolment]
listen = "127.0.0.1:{enrolment}"
"""

AGENT_TOML = """\
# Written by `nabz-collector pilot` once; edit as you like. Every key: docs/settings.md
[agent]
state_dir = {state}
status_listen = "127.0.0.1:{status}"

[seats]
listen = "127.0.0.1:{seats}"

# A UPS with an SNMP card, if this machine has one:
# [[ups]]
# host = "192.0.2.7"
# community = "public"
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help=f"where everything is kept (default: {DATA}, of a demo {DEMO_DATA})"
    )
    parser.add_argument(
        "--simulate", type=int, default=0, metavar="N", help="a demo, with N simulated centers in trouble"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="the script of the simulated centers")


@answers
def run(options: argparse.Namespace) -> int:
    folder: Path = options.data or (DEMO_DATA if options.simulate else DATA)
    data = folder.absolute()
    write_settings(data)
    settings = load(data / "collector.toml")
    household = PilotProcesses(_teller())
    stopped = SignalEvent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        _start(household, data, settings, options)
        link = settings.web_url + _log_in(data)
        say(f"\n  Nabz runs. Open this link:  {link}\n  Ctrl-C stops it; everything is kept in {folder}.\n")
        while not stopped.wait(0.5):
            if why := household.tend():
                raise RuntimeError(why)
        return 0
    except RuntimeError as error:
        complain(f"pilot: {describe(error)}")
        return 0 if stopped.is_set() else 1
    finally:
        say("stopping …")
        household.stop()


def write_settings(data: Path) -> None:
    """Both files, if they are not there yet, on the usual ports or, where those are taken, on free ones."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (data / "collector.toml").exists() and (data / "agent.toml").exists():
        return
    ports = {name: _free(port) for name, port in PORTS.items()}
    texts = {"collector.toml": COLLECTOR_TOML, "agent.toml": AGENT_TOML}
    for name, text in texts.items():
        # JSON's quoting of a path is TOML's too.
        paths = {"data": json.dumps(str(data)), "state": json.dumps(str(data / "agent"))}
        (data / name).write_text(text.format(**paths, **ports))


def _start(household: PilotProcesses, data: Path, settings: Settings, options: argparse.Namespace) -> None:
    collector_toml, agent_toml = str(data / "collector.toml"), str(data / "agent.toml")
    serve = household.start(
        PilotProcess("collector", python("collector", "serve", "--config", collector_toml), vital=True)
    )
    wait_until_healthy(f"{settings.web_url}/healthz", serve)
    token = _register(settings)
    if not (data / "agent" / "identity.json").exists():
        run_to_the_end(
            python("agent", "enrol", settings.enrolment_url, "--config", agent_toml), household.say, "agent", token
        )
    key = run_to_the_end(python("agent", "seat-key", "--config", agent_toml), household.say, "agent")
    key_file = data / "seat.key"
    key_file.touch(mode=0o600)
    key_file.write_text(key)
    household.start(PilotProcess("agent", python("agent", "run", "--config", agent_toml)))
    seats = f"http://{_seats_listen(data)}"
    seat_words = ("--key-file", str(key_file), "--name", "THIS-PC", "--state-dir", str(data / "seat"))
    household.start(PilotProcess("seat", python("agent.seat", "run", "--gateway", seats, *seat_words)))
    if options.simulate:
        fleet = ("--centers", str(options.simulate), "--seed", str(options.seed))
        household.start(PilotProcess("fleet", python("collector", "simulate", "--config", collector_toml, *fleet)))


def _register(settings: Settings) -> str:
    """The center of this machine, registered when it is not yet; returns a token for its gateway."""
    facts = {"center": CODE, "name": "This machine", "tier": "one", "seats_promised": "1", "opening": "always"}
    now_ms = time.time_ns() // 1_000_000
    with opened_and_upgraded(settings, migrates=False, keys=True) as store, store.write() as conn:
        if not centers.some_centers(conn, [CODE]):
            centers.add(conn, facts | {"lifecycle": "probation"}, now_ms)
        maker = "" if users.registered(conn) else "pilot"  # where names are proven, that one issues nothing
        secret = issue_token(conn, CODE, now_ms, 600, made_by=maker)
    return format_token(secret, Authority(settings.data_dir, now_ms, settings.enrolment.certificate_days))


def _seats_listen(data: Path) -> str:

    return str(parse_toml((data / "agent.toml").read_bytes())["seats"]["listen"])


def _log_in(data: Path) -> str:
    """The one-time link of the first admin, or where people log in once there is one."""
    try:
        return f"/login#token={(data / 'web-token').read_text().strip()}"
    except FileNotFoundError:
        return "/login"


def _free(wanted: int) -> int:
    """`wanted` if nobody listens there, else a port that is free now."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise RuntimeError("no free TCP port on 127.0.0.1")


def _teller() -> Callable[[str, str], None]:
    """One log for all parts: their name, coloured on a terminal, before each line."""
    colours = {"collector": 36, "agent": 32, "seat": 35, "fleet": 33} if sys.stdout.isatty() else {}
    colours = {} if os.environ.get("NO_COLOR") else colours
    turn = threading.Lock()

    def tell(name: str, line: str) -> None:
        colour = colours.get(name)
        head = f"\x1b[{colour}m{name:>9}\x1b[0m" if colour else f"{name:>9}"
        with turn:
            say(f"{head} │ {line}")
            sys.stdout.flush()

    return tell
