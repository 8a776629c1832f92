"""Signed batches beside archived readings: what a batch has besides its readings, and its bytes as they were. Pure.

A batch's chain follows from the one before it in its spool, its readings from their rows. A batch that does not come
out byte for byte keeps its `body` whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from agent import wire

Row = dict[str, Any]
Key = tuple[str, str, int]  # device, spool, number


@dataclass(frozen=True, kw_only=True)
class StoredBatch:
    """A batch as it was received: the row of `evidence`, wherever it lies."""

    id: int
    center: str
    device: str
    spool: str
    first_seq: int
    last_seq: int
    fresh: str  # JSON [[first, last], …]
    received_ms: int
    issued_ms: int | None
    body: bytes
    signature: bytes

    @property
    def names(self) -> dict[str, str]:
        """As words for people name it."""
        return {"device": self.device, "spool": self.spool, "batch": str(self.id)}


FIELDS = tuple(StoredBatch.__dataclass_fields__)


def of_row(row: Mapping[Any, Any]) -> StoredBatch:
    values = {name: row[name] for name in FIELDS}
    values |= {name: bytes(values[name]) for name in ("body", "signature")}
    return StoredBatch(**values)


def fresh_raws(batches: Iterable[StoredBatch]) -> dict[Key, bytes]:
    """The readings that these batches were the first to bring."""
    by_key = {}
    for batch in batches:
        raws = wire.decode_frame(batch.body).readings
        for first, last in json.loads(batch.fresh):
            for seq in range(first, last + 1):
                by_key[batch.device, batch.spool, seq] = bytes(raws[seq - batch.first_seq])
    return by_key


def packed(batches: Sequence[StoredBatch], raws: Mapping[Key, bytes]) -> list[Row]:
    """The rows of the archive's batches, in the order in which `unpacked` wants them. `raws` are the readings that rows
    of the same part give back."""
    chains = _Chains()
    return [_packed(batch, raws, chains) for batch in sorted(batches, key=_order)]


def unpacked(rows: Iterable[Row], raws: Mapping[Key, bytes]) -> Iterator[StoredBatch]:
    chains = _Chains()
    for row in rows:
        body = row["body"] if row["body"] is not None else _rebuilt(row, raws, chains)
        chains.follow(row["device"], row["spool"], wire.decode_frame(body))
        whole = f"[[{row['first_seq']},{row['last_seq']}]]"
        fresh = whole if row["fresh"] is None else row["fresh"]
        yield of_row(row | {"body": body, "fresh": fresh})


def _order(batch: StoredBatch) -> tuple[str, str, int, int]:
    return batch.device, batch.spool, batch.first_seq, batch.id


class _Chains:
    """The chain after the last batch of each spool."""

    def __init__(self) -> None:
        self._after: dict[tuple[str, str], tuple[int, str]] = {}

    def before(self, device: str, spool: str, seq: int) -> str | None:
        last, chain = self._after.get((device, spool), (0, ""))
        return chain if last == seq - 1 and chain else None

    def follow(self, device: str, spool: str, frame: wire.Batch) -> None:
        self._after[device, spool] = frame.last_seq, frame.last_chain().hex()


def _packed(batch: StoredBatch, raws: Mapping[Key, bytes], chains: _Chains) -> Row:
    frame = wire.decode_frame(batch.body)
    row: Row = {name: getattr(batch, name) for name in FIELDS}
    if batch.fresh == f"[[{batch.first_seq},{batch.last_seq}]]":
        row["fresh"] = None
    prev = None if chains.before(batch.device, batch.spool, batch.first_seq) == frame.prev else frame.prev
    row |= {"v": frame.v, "prev": prev, "nonce": frame.nonce, "live": frame.live, "proof": frame.proof, "body": None}
    if _rebuilt(row, raws, chains) != batch.body:
        row |= {"body": batch.body, "prev": None, "nonce": None, "proof": None}
    chains.follow(batch.device, batch.spool, frame)
    return row


def _rebuilt(row: Row, raws: Mapping[Key, bytes], chains: _Chains) -> bytes:
    """Empty when one of its readings is not at hand."""
    device, spool = row["device"], row["spool"]
    pieces = [raws.get((device, spool, seq)) for seq in range(row["first_seq"], row["last_seq"] + 1)]
    readings = [msgspec.Raw(raw) for raw in pieces if raw]
    if len(readings) < len(pieces):
        return b""
    batch = wire.Batch(
        v=row["v"],
        device=device,
        spool=spool,
        first_seq=row["first_seq"],
        prev=row["prev"] or chains.before(device, spool, row["first_seq"]) or "",
        nonce=row["nonce"],
        live=row["live"],
        proof=row["proof"],
        readings=readings,
    )
    return wire.encode(batch)
