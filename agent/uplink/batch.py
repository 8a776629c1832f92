"""The body of a batch: what one message carries to the collector."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent import wire
from agent.spool.record import Group


def batch_of(
    groups: Sequence[Group],
    *,
    device: str,
    nonce: str,
    live: bool,
    proof: str = "",
    settings: wire.SettingsReport | None = None,
) -> bytes:
    """The body of a batch: consecutive groups of one spool. A proof for which it has no room waits for the next."""
    batch = wire.Batch(
        v=wire.VERSION,
        device=device,
        spool=groups[0].spool,
        first_seq=groups[0].first_seq,
        prev=groups[0].prev.hex(),
        nonce=nonce,
        live=live,
        proof=proof,
        settings=settings,
        readings=[msgspec.Raw(reading) for group in groups for reading in group.raws],
    )
    body = wire.encode(batch)
    return body if len(body) <= wire.MAX_BATCH_BYTES else wire.encode(msgspec.structs.replace(batch, proof=""))
