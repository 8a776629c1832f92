"""The fleet's identities on disk, so that a second run goes on with the same gateways, keys, spools and chains.

`keys.jsonl` has one line a gateway and only grows. `spools.json` is written when a run ends and taken away when one
begins: after a run that was killed there is none, and each gateway starts a new spool, as a real one would that lost
its disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.commands.simulation.fleet import SimulatedCenter
from collector.commands.simulation.gateway import Gateway, PendingReading

KEYS, SPOOLS, LOCK = "keys.jsonl", "spools.json", "lock"


class FleetError(RuntimeError):
    """The fleet cannot play; one sentence with the thing, the rule and the fix."""


@dataclass(frozen=True, kw_only=True)
class SimulatedIdentity:
    """`enrolled` is the collector's answer: collector_key (base64), broker {host, port}, nonce."""

    center: str
    key: Ed25519PrivateKey
    enrolled: dict[str, object]
    known: bool = False  # from a run before this one

    @property
    def device(self) -> str:
        return device_of(self.key)


def device_of(key: Ed25519PrivateKey) -> str:
    return "g" + hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()[:16]


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder, for this process alone: two plays with the same keys would fork every chain. Raises FleetError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FleetError(
                f"{folder}: another simulation plays this fleet; stop it or choose another --seed"
            ) from None
        yield


def load_keys(folder: Path) -> dict[str, SimulatedIdentity]:
    """By center. Raises FleetError."""
    path, by_center = folder / KEYS, {}
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        try:
            row = json.loads(line)
            key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(row["key"]))
            by_center[row["center"]] = SimulatedIdentity(
                center=row["center"], key=key, enrolled=dict(row["enrolled"]), known=True
            )
        except (ValueError, KeyError, TypeError):
            raise FleetError(
                f"{path} line {number}: not an identity; remove that line to enrol its center anew"
            ) from None
    return by_center


def add_key(folder: Path, identity: SimulatedIdentity) -> None:
    row = {"center": identity.center, "key": identity.key.private_bytes_raw().hex(), "enrolled": identity.enrolled}
    with open(folder / KEYS, "a", opener=private) as file:
        file.write(json.dumps(row) + "\n")


def take_spools(folder: Path, fleet: Sequence[SimulatedCenter], keys: dict[str, SimulatedIdentity]) -> list[Gateway]:
    """Every center's gateway, as the last clean end left it. Raises FleetError."""
    path = folder / SPOOLS
    try:
        rows = json.loads(path.read_text()) if path.exists() else {}
        gateways = [_gateway(center, keys[center.code], rows.get(center.code)) for center in fleet]
    except (ValueError, KeyError, TypeError):
        raise FleetError(f"{path}: not what a simulation left behind; remove it to begin new spools") from None
    path.unlink(missing_ok=True)
    return gateways


def leave_spools(folder: Path, gateways: Iterable[Gateway]) -> None:
    """Written whole beside its place, then put there: a run killed meanwhile leaves none, never half of one."""
    rows = {gateway.center.code: _row(gateway) for gateway in gateways}
    part = folder / (SPOOLS + ".part")
    with open(part, "w", opener=private) as file:
        json.dump(rows, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / SPOOLS)


def _gateway(center: SimulatedCenter, identity: SimulatedIdentity, row: dict[str, object] | None) -> Gateway:
    gateway = Gateway(
        center=center,
        key=identity.key,
        device=identity.device,
        spool=uuid.uuid4().hex,
        nonce=str(identity.enrolled.get("nonce", "")),
    )
    if row is None:
        gateway.dark = "killed" if identity.known else "first"
        return gateway
    gateway.dark = "clean"
    gateway.spool, gateway.nonce = str(row["spool"]), str(row["nonce"])
    gateway.next_seq, gateway.chain = int(str(row["next_seq"])), bytes.fromhex(str(row["chain"]))
    gateway.last_alive_ms = None if row["last_alive_ms"] is None else int(str(row["last_alive_ms"]))
    waiting = row["waiting"]
    if not isinstance(waiting, list):
        raise TypeError("waiting")
    gateway.waiting = [
        PendingReading(seq, at_ms, raw.encode(), bytes.fromhex(before)) for seq, at_ms, raw, before in waiting
    ]
    return gateway


def _row(gateway: Gateway) -> dict[str, object]:
    return {
        "spool": gateway.spool,
        "nonce": gateway.nonce,
        "next_seq": gateway.next_seq,
        "chain": gateway.chain.hex(),
        "last_alive_ms": gateway.last_alive_ms,
        "waiting": [[kept.seq, kept.at_ms, kept.raw.decode(), kept.before.hex()] for kept in gateway.waiting],
    }


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
