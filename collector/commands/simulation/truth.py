"""The truth file: what was staged and what was promised, written before it is sent; and the check against what is held.

JSON lines, one thing each, told apart by `what`: `run` (seed, number of centers, start), `center` (code and device),
`trouble` (kind, centers, from, to, subject), `promise` (device, spool, seq, SHA-256 of the reading's bytes).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from collector.commands.simulation.gateway import Gateway, PendingReading
from collector.commands.simulation.trouble import Trouble

Id = tuple[str, str, int]  # device, spool, sequence number


class TruthError(ValueError):
    """A line that is not of this file; names the line, the rule and the fix."""


class Truth:
    """Appends to the file. Call `flush` before anything promised is sent."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def run(self, seed: int, centers: int, start_ms: int) -> None:
        self._write({"what": "run", "seed": seed, "centers": centers, "start_ms": start_ms})

    def center(self, code: str, device: str) -> None:
        self._write({"what": "center", "center": code, "device": device})

    def trouble(self, trouble: Trouble) -> None:
        self._write(
            {
                "what": "trouble",
                "kind": trouble.what,
                "centers": trouble.centers,
                "from_ms": trouble.from_ms,
                "to_ms": trouble.to_ms,
                "subject": trouble.subject,
            }
        )

    def promise(self, gateway: Gateway, kept: PendingReading) -> None:
        self._write(
            {
                "what": "promise",
                "device": gateway.device,
                "spool": gateway.spool,
                "seq": kept.seq,
                "sha256": hashlib.sha256(kept.raw).hexdigest(),
            }
        )

    def flush(self) -> None:
        self._file.flush()

    def _write(self, thing: dict[str, object]) -> None:
        self._file.write(json.dumps(thing, separators=(",", ":")) + "\n")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a comparison found, in readings. `strange`: held under a promised spool, yet never promised."""

    promised: int
    held: int
    lost: int
    doubled: int
    altered: int
    strange: int
    examples: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.altered or self.strange)


def compare(promised: dict[Id, str], held: Iterable[tuple[Id, str]]) -> Comparison:
    """Hold what was promised against what is held. Spools nobody promised (other gateways') are left out."""
    spools = {(device, spool) for device, spool, _ in promised}
    seen: set[Id] = set()
    wrong: dict[str, list[Id]] = {"doubled": [], "altered": [], "strange": []}
    for key, digest in held:
        if key[:2] not in spools:
            continue
        if key in seen:
            wrong["doubled"].append(key)
        elif key not in promised:
            wrong["strange"].append(key)
        elif promised[key] != digest:
            wrong["altered"].append(key)
        seen.add(key)
    wrong["lost"] = sorted(promised.keys() - seen)
    examples = tuple(f"{word}: {d} {s} {seq}" for word, keys in wrong.items() for d, s, seq in keys[:3])
    counts = {word: len(keys) for word, keys in wrong.items()}
    return Comparison(promised=len(promised), held=len(seen), examples=examples, **counts)


def read_promises(path: Path) -> dict[Id, str]:
    """Every promise of a truth file. Raises TruthError, OSError."""
    promised: dict[Id, str] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if '"what":"promise"' in line:
                key, digest = _id_of(line, f"{path} line {number}")
                promised[key] = digest
    return promised


def read_held(lines: Iterable[str], name: str) -> Iterator[tuple[Id, str]]:
    """The lines of `nabz-collector evidence ids --json`. Raises TruthError."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _id_of(line, f"{name} line {number}")


def _id_of(line: str, where: str) -> tuple[Id, str]:
    try:
        thing = json.loads(line)
        return (str(thing["device"]), str(thing["spool"]), int(thing["seq"])), str(thing["sha256"])
    except (ValueError, KeyError, TypeError):
        raise TruthError(f"{where}: not an id (device, spool, seq, sha256); is it the right file?") from None
