"""The `nabz-seat` command, on each seat PC. It sends facts about the machine and none about the person using it."""

from __future__ import annotations

import argparse
import json
import os
import queue
import secrets
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agent import __version__
from agent.common import logs
from agent.common.command_line import Parser
from agent.common.errors import describe
from agent.common.files import read_text
from agent.common.logs import Event
from agent.common.releases import launch
from agent.common.releases.trial import FOLDER
from agent.seat import snapshot as contract
from agent.seat.clocks import boot_id
from agent.seat.condition import ConditionReader
from agent.seat.drives import Seldom
from agent.seat.drives import read as read_drives
from agent.seat.identity import SeatIdentity, identify
from agent.seat.keyring import Keyring
from agent.seat.measure import hardware, measure
from agent.seat.post import PostFailed, check_gateway, fetch_release, post
from agent.seat.releases import MAX_BYTES, ROOT_FILE, SeatReleases

PROGRAM = "nabz-seat"
STARTED = Event(PROGRAM, "info", "seat_started", "this seat sends snapshots", fields="gateway interval_s")
UNSENT = Event(
    PROGRAM, "warning", "snapshot_unsent", "the gateway does not take snapshots; they are tried again", fields="error"
)
RECOVERED = Event(PROGRAM, "info", "snapshot_sent", "the gateway takes snapshots again")
STOP_UNSENT = Event(
    PROGRAM, "warning", "stop_unsent", "the gateway did not take the stop message; this seat will seem missing",
    fields="error",
)  # fmt: skip
ID_UNSAVED = Event(
    PROGRAM, "warning", "seat_id_unsaved", "this seat's id cannot be written: a changed part would make this PC a new "
    "seat", fields="file error",
)  # fmt: skip
KEY_UNSAVED = Event(
    PROGRAM, "warning", "seat_key_unsaved", "a key of this seat's own cannot be kept; it goes on under the center's",
    fields="error",
)  # fmt: skip

IDENTITY_FILE = "identity.json"
STEADY_MS = 60_000  # a gateway that refuses while the clocks agree so far has another reason
RETRY_S = 5.0
FIRST_CPU_WINDOW_S = 0.5  # psutil averages since its last call; the first needs some time behind it


@dataclass(kw_only=True)
class SeatProgram:
    """All a running seat needs to know of itself."""

    identity: SeatIdentity
    name: str
    url: str
    keyring: Keyring
    interval_s: float
    drives: Seldom = field(default_factory=lambda: Seldom(read_drives))
    releases: SeatReleases | None = None
    condition: ConditionReader = field(default_factory=ConditionReader)
    is_asked: bool = False  # for its condition, by the last answer


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the gateway did not take it, 2 wrong use or settings."""
    options = arguments().parse_args(argv)
    logs.start("info", options.log_format)
    if options.command == "run":
        launch.enter(options.state_dir / FOLDER, "agent.seat.__main__", argv or sys.argv[1:], __version__, boot_id())
    try:
        if options.command == "show":
            return show(options)
        seat = load(options)
    except (OSError, ValueError) as error:
        logs.complain(describe(error), PROGRAM)
        return 2
    time.sleep(FIRST_CPU_WINDOW_S)
    return run(seat, options.log_format) if options.command == "run" else once(seat)


def arguments() -> argparse.ArgumentParser:
    parser = Parser(
        prog="nabz-seat",
        description="Tells the center's gateway how this PC is; no user name, window title, file name or content.",
        epilog="example: nabz-seat run --gateway http://192.168.1.10:8471 --key-file /etc/nabz/seat.key --name SEAT-01",
    )
    parser.add_argument("--version", action="version", version=f"nabz-seat {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in (
        ("run", "send a snapshot every minute until stopped, and a stop message at the end"),
        ("once", "send one snapshot now"),
        ("show", "print the snapshot that would be sent, send nothing"),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("--name", default="", help="the seat's label in the center, for example SEAT-01")
        command.add_argument("--state-dir", type=Path, default=default_state_dir(), help="where this seat keeps its id")
        logs.argument(command)
        if name != "show":
            command.add_argument("--gateway", required=True, metavar="URL", help="http://HOST:PORT of the gateway")
            command.add_argument(
                "--key-file", required=True, type=Path, help="holds what `nabz-agent seat-key` printed"
            )
            command.add_argument("--interval", type=float, default=60.0, metavar="SECONDS", help="from 5 to 600 (60)")
    return parser


def default_state_dir() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA", "C:\\ProgramData")) / "Nabz"
    return Path("/var/lib/nabz-seat")


def load(options: argparse.Namespace) -> SeatProgram:
    """Checks everything before anything is sent. Raises OSError or ValueError with one sentence."""
    if not 5 <= options.interval <= 600:
        raise ValueError(f"--interval {options.interval:g} must lie between 5 and 600 seconds")
    url = check_gateway(options.gateway)
    try:
        key = contract.parse_key(read_text(options.key_file))
    except (OSError, ValueError) as error:
        raise ValueError(f"--key-file {options.key_file}: {describe(error)}") from None
    name = check_name(options.name)
    identity, is_new = load_identity(options.state_dir)
    if is_new:
        save_identity(identity, options.state_dir)
    keyring = Keyring(key, identity.id, options.state_dir, may_agree=options.command == "run")
    root = options.state_dir / ROOT_FILE.name if sys.platform == "win32" else ROOT_FILE
    releases = SeatReleases(options.state_dir, __version__, root) if options.command == "run" else None
    return SeatProgram(
        identity=identity, name=name, url=url, keyring=keyring, interval_s=options.interval, releases=releases
    )


def check_name(name: str) -> str:
    if len(name) > 32 or not contract.NAME_SIGNS.issuperset(name):
        raise ValueError(f"--name {name!r} must be at most 32 letters, digits or - _ .")
    return name


def load_identity(state_dir: Path) -> tuple[SeatIdentity, bool]:
    """(the id this PC had before, or one made from its hardware; whether that is to be kept). Raises ValueError."""
    kept = read_identity(state_dir / IDENTITY_FILE)
    identity = identify(hardware(), kept)
    if identity is None:
        raise ValueError("no network card, disk, board or machine id identifies this PC: it cannot be a seat")
    return identity, identity != kept


def save_identity(identity: SeatIdentity, state_dir: Path) -> None:
    """Written when the id is new or a part changed. A seat that cannot still works, with a warning."""
    file = state_dir / IDENTITY_FILE
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps({"id": identity.id, "facts": identity.facts}), "ascii")
        fresh.replace(file)
    except OSError as error:
        ID_UNSAVED.log(file=file, error=error)


def read_identity(file: Path) -> SeatIdentity | None:
    try:
        kept = json.loads(file.read_bytes())
        identity = SeatIdentity(id=str(kept["id"]), facts=tuple(str(fact) for fact in kept["facts"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # none yet, or spoilt: made anew from hardware
        return None
    return identity


def show(options: argparse.Namespace) -> int:
    time.sleep(FIRST_CPU_WINDOW_S)
    identity, _is_new = load_identity(options.state_dir)
    shown = measure(identity, check_name(options.name), "0" * 32, wall_ms(), version=__version__, drives=read_drives())
    print(json.dumps(json.loads(contract.encode(shown)), indent=2))
    return 0


def once(seat: SeatProgram) -> int:
    try:
        send(seat, "running", 0)
    except PostFailed as error:
        logs.complain(str(error), PROGRAM)
        return 1
    print(f"nabz-seat: {seat.name or seat.identity.id} is registered at the gateway")
    return 0


def run(seat: SeatProgram, form: logs.Format | None = None) -> int:
    """Every `interval_s`, until stopped; then a stop message, so that *off* differs from *missing*."""
    stops: queue.SimpleQueue[None] = queue.SimpleQueue()  # may be put to by a handler at any point, an Event may not
    for number in stop_signals():
        signal.signal(number, lambda _number, _frame: stops.put(None))
    logs.start("info", form, context={"seat": seat.name or seat.identity.id})
    STARTED.log(gateway=seat.url, interval_s=seat.interval_s)
    offset_ms = report(seat, lambda seconds: is_stopped(stops, seconds))
    if seat.releases is not None and seat.releases.ended:
        launch.again()
    try:
        send(seat, "stopping", offset_ms)
    except PostFailed as error:
        STOP_UNSENT.log(error=error)
    return 0


def is_stopped(stops: queue.SimpleQueue[None], seconds: float) -> bool:
    """Waits for so long, or until stopped."""
    try:
        stops.get(timeout=seconds)
    except queue.Empty:
        return False
    return True


def stop_signals() -> list[signal.Signals]:
    """On Windows SIGBREAK means that the console closes or the machine shuts down."""
    return [signal.SIGTERM, signal.SIGINT, *(number for number in signal.Signals if number.name == "SIGBREAK")]


def report(seat: SeatProgram, wait: Callable[[float], bool]) -> int:
    """Sends snapshots until ``wait`` returns True. Returns by how much the gateway's clock is ahead, milliseconds."""
    offset_ms, trouble = 0, ""
    while True:
        try:
            offset_ms, now_trouble = send(seat, "running", offset_ms), ""
        except PostFailed as error:
            now_trouble = str(error)
            if now_trouble != trouble:  # once when it begins and once when it ends, not every minute
                UNSENT.log(error=error)
        if trouble and not now_trouble:
            RECOVERED.log()
        trouble = now_trouble
        if seat.releases is not None and seat.releases.ended:
            return offset_ms
        # A gateway that is only starting, or a cable just plugged in, is not kept waiting for a whole interval.
        if wait(min(RETRY_S, seat.interval_s) if trouble else seat.interval_s):
            return offset_ms


def send(seat: SeatProgram, state: contract.State, offset_ms: int) -> int:
    """Sends one snapshot. Tries once more by the gateway's clock if this PC's is wrong, and once under the center's key
    if the gateway has forgotten this seat's own. Raises PostFailed."""
    key = seat.keyring.key
    for tries_left in (2, 1, 0):
        at_ms = wall_ms() + offset_ms
        snapshot = measure(
            seat.identity, seat.name, secrets.token_hex(16), at_ms, state=state, interval_s=seat.interval_s,
            version=__version__, drives=seat.drives(), hand=seat.keyring.hand(key),
            condition=seat.condition() if seat.is_asked else None,
        )  # fmt: skip
        try:
            answer = post(snapshot, seat.url, key)
        except PostFailed as error:
            if not tries_left:
                raise
            if error.now_ms is not None and abs(error.now_ms - at_ms) > STEADY_MS:
                offset_ms = error.now_ms - wall_ms()
            elif error.is_key and key != seat.keyring.center_key:
                key = seat.keyring.center_key
            else:
                raise
        else:
            seat.is_asked = answer.conditions
            if trouble := seat.keyring.take(answer.hand):
                KEY_UNSAVED.log(error=trouble)
            if seat.releases is not None and state == "running":
                offered = answer.release if key != seat.keyring.center_key else ""
                fetch = partial(fetch_release, seat.url, seat.identity.id, key, limit=MAX_BYTES)
                seat.releases.heard(offered, fetch)
            break
    return offset_ms


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    sys.exit(main())
