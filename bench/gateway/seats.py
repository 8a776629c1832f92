"""Seat PCs in one process: the real client of each, with an identity and keys of its own, under one machine's figures.

python -m bench.gateway.seats --gateway http://127.0.0.1:8471 --key-file seat.key --folder seats --count 50
"""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from agent.seat import snapshot as contract
from agent.seat.__main__ import SeatProgram, report
from agent.seat.drives import Seldom
from agent.seat.identity import facts_of, identify
from agent.seat.keyring import Keyring
from agent.seat.post import check_gateway


def seat(number: int, url: str, key: bytes, folder: Path, interval_s: float) -> SeatProgram:
    facts = facts_of([("board", f"bench board {number}"), ("disk", f"bench disk {number}")])
    identity = identify(facts, None)
    assert identity is not None
    keyring = Keyring(key, identity.id, folder / str(number))
    name = f"SEAT-{number:02}"
    return SeatProgram(
        identity=identity, name=name, url=url, keyring=keyring, interval_s=interval_s, drives=Seldom(tuple)
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--interval", type=float, default=60.0)
    options = parser.parse_args(argv)
    key, url = contract.parse_key(options.key_file.read_text()), check_gateway(options.gateway)
    stop = threading.Event()
    for end in (signal.SIGTERM, signal.SIGINT):
        signal.signal(end, lambda *_: stop.set())
    for number in range(options.count):
        one = seat(number, url, key, options.folder, options.interval)
        if stop.wait(options.interval / options.count):  # as in life, not all in the same second
            return
        threading.Thread(target=report, args=(one, stop.wait), daemon=True).start()
    stop.wait()


if __name__ == "__main__":
    main()
