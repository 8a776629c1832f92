"""One simulated gateway: an in-memory spool that sends live readings first and forgets only on a receipt. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.commands.simulation.fleet import SimulatedCenter

RESEND_S = 20.0
LIVE_MS = 3 * 60_000  # older readings are backlog
MAX_BODY_BYTES = 40 * 1024

Answer = Literal["receipted", "set_aside", "stale", "forked"]


@dataclass(frozen=True, slots=True)
class PendingReading:
    """A reading not yet receipted; `before` is the chain before it."""

    seq: int
    at_ms: int
    raw: bytes
    before: bytes


@dataclass
class Gateway:
    """`flying` is the (first, last) of the batch on its way and `sent_s` when it left; `paced_s`: no backlog before.

    `dark` says why it took no reading lately: the next one is preceded by a boot reading with that reason.
    """

    center: SimulatedCenter
    key: Ed25519PrivateKey
    device: str
    spool: str
    next_seq: int = 1
    chain: bytes = wire.GENESIS
    waiting: list[PendingReading] = field(default_factory=list)
    nonce: str = ""
    boot_ms: int = 0
    last_alive_ms: int | None = None
    dark: str | None = "first"
    flying: tuple[int, int] | None = None
    sent_s: float = 0.0
    paced_s: float = 0.0
    resend_s: float = RESEND_S

    def keep(self, reading: wire.Reading, at_ms: int) -> PendingReading:
        kept = PendingReading(self.next_seq, at_ms, wire.encode_reading(reading), self.chain)
        self.waiting.append(kept)
        self.chain = wire.chain(self.chain, [kept.raw])
        self.next_seq += 1
        return kept

    def next_batch(self, now_ms: int, now_s: float) -> bytes | None:
        """The sealed batch to send now, or None: nothing waits, or one is on its way.

        `now_ms` is the simulated wall clock, `now_s` a monotonic one.
        """
        if not self.waiting or (self.flying and now_s - self.sent_s < self.resend_s):
            return None
        run, live = self._choose(now_ms, now_s)
        if not run:
            return None
        self.flying, self.sent_s = (run[0].seq, run[-1].seq), now_s
        batch = wire.Batch(
            v=wire.VERSION,
            device=self.device,
            spool=self.spool,
            first_seq=run[0].seq,
            prev=run[0].before.hex(),
            nonce=self.nonce,
            live=live,
            readings=[msgspec.Raw(kept.raw) for kept in run],
        )
        return wire.seal(wire.encode(batch), self.key.sign)

    def _choose(self, now_ms: int, now_s: float) -> tuple[Sequence[PendingReading], bool]:
        """The newest run that is live, or else the oldest run of the backlog once its pause is over."""
        live = [kept for kept in self.waiting if now_ms - kept.at_ms < LIVE_MS]
        if live:
            return fitting(live), True
        return (fitting(self.waiting), False) if now_s >= self.paced_s else ([], False)

    def take_receipt(self, receipt: wire.Receipt, now_s: float) -> Answer:
        """Forget what the receipt covers, if its chain is ours; otherwise keep everything."""
        if (receipt.device, receipt.spool) != (self.device, self.spool):
            return "stale"
        if receipt.nonce:
            self.nonce = receipt.nonce
        covered = [kept for kept in self.waiting if receipt.first_seq <= kept.seq <= receipt.last_seq]
        if not covered or covered[-1].seq != receipt.last_seq:
            return "stale"
        if wire.chain(covered[-1].before, [covered[-1].raw]).hex() != receipt.chain:
            return "forked"
        gone = {kept.seq for kept in covered}
        self.waiting = [kept for kept in self.waiting if kept.seq not in gone]
        self.flying, self.paced_s = None, now_s + receipt.pace_ms / 1000
        return "receipted" if receipt.outcome == "stored" else "set_aside"


def fitting(run: Sequence[PendingReading]) -> Sequence[PendingReading]:
    """The beginning of `run` that is consecutive and fits into one batch."""
    size = 0
    for index, kept in enumerate(run[: wire.MAX_BATCH_READINGS]):
        size += len(kept.raw) + 1
        if index and (size > MAX_BODY_BYTES or kept.seq != run[index - 1].seq + 1):
            return run[:index]
    return run[: wire.MAX_BATCH_READINGS]
