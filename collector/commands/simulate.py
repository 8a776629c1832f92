"""`nabz-collector simulate`: play a fleet against a running collector, list its script, or check what was promised."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.common.errors import describe
from collector.commands.console import answers, common_arguments, complain, say, settings_of
from collector.commands.simulation import identities, join, register, witness
from collector.commands.simulation.fleet import SimulatedCenter, make_fleet
from collector.commands.simulation.gateway import Gateway
from collector.commands.simulation.identities import FleetError
from collector.commands.simulation.run import Play, SimulatedClock, perform
from collector.commands.simulation.trouble import CYCLE_MS, Stage, Trouble
from collector.commands.simulation.truth import Truth, TruthError, compare, read_held, read_promises
from collector.common.config import Settings
from collector.store.database import opened

EXAMPLE = "nabz-collector simulate --centers 1000 --seed 7 --minutes 10 --truth truth.jsonl"
TELL_EVERY_S = 30.0


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("--centers", type=_whole, default=100, metavar="N", help="how many centers (default 100)")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="S", help="the same seed plays the same script (default 1)"
    )
    parser.add_argument("--truth", type=Path, metavar="FILE", help="where to write what is staged and promised")
    parser.add_argument("--url", metavar="URL", help="where gateways enrol (default: as the settings say)")
    parser.add_argument("--broker", type=_host_port, metavar="HOST:PORT", help="default: as named at enrolment")
    parser.add_argument("--minutes", type=_positive, metavar="M", help="simulated minutes (default: until Ctrl-C)")
    parser.add_argument("--speedup", type=_positive, default=1.0, metavar="X", help="play X times as fast as the clock")
    parser.add_argument("--list-trouble", action="store_true", help="print the script and stop")
    parser.add_argument("--check", type=Path, metavar="TRUTH", help="compare the promises of TRUTH with what is held")
    parser.add_argument("--held", metavar="FILE", help="for --check: the ids held, `-` for standard input")
    parser.add_argument("--json", action="store_true", help="print facts as JSON")


@answers
def run(options: argparse.Namespace) -> int:
    if options.speedup != 1 and options.minutes is None:
        complain("--speedup: needs an end; add --minutes M")
        return 2
    if options.url and not options.url.startswith(("http://", "https://")):
        complain("--url: must begin with http:// or https://; write e.g. http://127.0.0.1:8480")
        return 2
    try:
        if options.check:
            return _check(options)
        return _list(options) if options.list_trouble else _play(options, settings_of(options))
    except BrokenPipeError:  # whoever read the list has read enough; what is still buffered has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (FleetError, TruthError, OSError) as error:
        complain(f"simulate: {describe(error)}")
        return 1


def _check(options: argparse.Namespace) -> int:
    promised = read_promises(options.check)
    with _held_lines(options) as lines:
        finding = compare(promised, read_held(lines, options.held or "evidence ids"))
    facts = {**asdict(finding), "good": finding.good}
    say(json.dumps(facts) if options.json else _sentence(facts))
    return 0 if finding.good else 1


def _sentence(facts: dict[str, object]) -> str:
    words = ", ".join(f"{facts[word]} {word}" for word in ("promised", "held", "lost", "doubled", "altered", "strange"))
    examples = facts["examples"]
    return "\n  ".join([words, *(examples if isinstance(examples, tuple) else ())])


@contextmanager
def _held_lines(options: argparse.Namespace) -> Iterator[Iterable[str]]:
    """The ids held: a file, standard input, or what `nabz-collector evidence ids` says."""
    if options.held == "-":
        yield sys.stdin
    elif options.held:
        with open(options.held, encoding="utf-8") as file:
            yield file
    else:
        places = (("--config", options.config), ("--data", options.data), ("--database", options.database))
        named = [word for name, value in places if value for word in (name, str(value))]
        words = [sys.executable, "-m", "collector", "evidence", "ids", "--json", *named]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            yield process.stdout or ()
        if process.returncode:
            raise FleetError(f"`nabz-collector evidence ids` failed with exit code {process.returncode}")


def _list(options: argparse.Namespace) -> int:
    stage = _stage(options, make_fleet(options.centers, options.seed), 0)
    for trouble in sorted(stage.extend(1), key=lambda item: item.from_ms):
        say(json.dumps(asdict(trouble)) if options.json else _line_of(trouble))
    return 0


def _line_of(trouble: Trouble) -> str:
    first, last = trouble.from_ms / 60_000, trouble.to_ms / 60_000
    who = trouble.centers[0] if len(trouble.centers) == 1 else f"{len(trouble.centers)} centers"
    return f"minute {first:5.1f} to {last:5.1f}  {trouble.what:15} {who:14} {trouble.subject}"


def _stage(options: argparse.Namespace, fleet: list[SimulatedCenter], start_ms: int) -> Stage:
    cycle_ms = CYCLE_MS if options.minutes is None else min(CYCLE_MS, int(options.minutes * 60_000))
    return Stage(fleet, options.seed, start_ms, cycle_ms)


def _play(options: argparse.Namespace, settings: Settings) -> int:
    folder = settings.data_dir / "simulated" / f"seed-{options.seed}"
    fleet = make_fleet(options.centers, options.seed)
    tell = _teller()
    with identities.held(folder):
        keys = _join_all(options, settings, folder, fleet, tell)
        members = [keys[center.code] for center in fleet]
        truth_path = options.truth or folder / "truth.jsonl"
        with truth_path.open("a", encoding="utf-8") as file:
            gateways = identities.take_spools(folder, fleet, keys)
            try:
                play, start_ms = _cast(options, gateways, Truth(file), join.collector_key_of(members))
                url = options.url or settings.web_url
                play.server = witness.joined(url, folder, lambda: opened(settings), f"simulated-{options.seed}")
                broker = options.broker or join.broker_of(members)
                asyncio.run(_perform(options, play, broker, start_ms, tell))
            finally:
                identities.leave_spools(folder, gateways)
    facts = {**asdict(play.counts), "waiting": play.waiting(), "truth": str(truth_path)}
    say(json.dumps(facts) if options.json else ", ".join(f"{word} {value}" for word, value in facts.items()))
    return 0 if play.waiting() == 0 or options.minutes is None else 1


def _cast(options: argparse.Namespace, gateways: list[Gateway], truth: Truth, collector_key: bytes) -> tuple[Play, int]:
    """The play and when it begins, with its opening lines in the truth file."""
    start_ms = _start_ms(options, max((gateway.last_alive_ms or 0 for gateway in gateways), default=0))
    truth.run(options.seed, options.centers, start_ms)
    for gateway in gateways:
        truth.center(gateway.center.code, gateway.device)
    play = Play(
        fleet={gateway.device: gateway for gateway in gateways},
        stage=_stage(options, [gateway.center for gateway in gateways], start_ms),
        truth=truth,
        collector_key=Ed25519PublicKey.from_public_bytes(collector_key),
    )
    play.begin(start_ms)
    return play, start_ms


def _start_ms(options: argparse.Namespace, last_alive_ms: int) -> int:
    """Simulated time ends when the real clock does, so a sped-up play begins in the past, but never before its last."""
    now_ms = time.time_ns() // 1_000_000
    ahead_ms = 0 if options.minutes is None else int(options.minutes * 60_000 * (1 - 1 / options.speedup))
    return max(now_ms - ahead_ms, last_alive_ms + 60_000 if last_alive_ms else 0)


async def _perform(
    options: argparse.Namespace, play: Play, broker: tuple[str, int], start_ms: int, tell: Callable[[str], None]
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    pace = SimulatedClock(start_ms=start_ms, began_s=time.monotonic(), speedup=options.speedup)
    until_ms = None if options.minutes is None else start_ms + int(options.minutes * 60_000)
    await perform(play, broker, pace, until_ms, stop, tell)


def _join_all(
    options: argparse.Namespace,
    settings: Settings,
    folder: Path,
    fleet: list[SimulatedCenter],
    tell: Callable[[str], None],
) -> dict[str, identities.SimulatedIdentity]:
    """Register and enrol whoever is missing, by the same code as a real center."""
    keys = identities.load_keys(folder)
    missing = [center for center in fleet if center.code not in keys]
    if missing:
        with opened(settings) as store:
            tokens = register.register(store, missing, time.time_ns() // 1_000_000)
        url = options.url or settings.web_url
        keys |= {identity.center: identity for identity in join.join(url, folder, tokens, tell)}
    return keys


def _teller() -> Callable[[str], None]:
    """Tells how far it is: the same line over and over on a terminal, a line each half minute in a log."""
    terminal = sys.stderr.isatty()
    last_s = 0.0

    def tell(line: str) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= (1.0 if terminal else TELL_EVERY_S):
            last_s = now_s
            sys.stderr.write(f"\r\x1b[2K{line}" if terminal else f"{line}\n")
            sys.stderr.flush()

    return tell


def _whole(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 100000")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not HOST:PORT, e.g. 127.0.0.1:1883")
    return host, int(port)
