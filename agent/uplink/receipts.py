"""What a receipt requires of this gateway besides forgetting: decided by its code. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from agent import wire
from agent.wire import Receipt

# The collector holds other readings under our numbers: this spool is a restored image or a clone. What was sent is held
# as evidence; only new numbers can say anything new. The last two words are those of collectors before `code`.
OTHER_HISTORY = frozenset({"other_history", "equivocation", "fork"})

REMEMBERED = 8  # receipts, in memory


def is_other_history(receipt: Receipt) -> bool:
    """Whether this spool has to end and a new one begin."""
    return (receipt.code or code_before_0_2(receipt)) in OTHER_HISTORY


def code_before_0_2(receipt: Receipt) -> str:
    """The code of a collector that sends none: the word before the first colon of its reason. The one place where the
    agent reads a sentence; it goes when no collector before 0.2 is left."""
    word, colon, _sentence = receipt.reason.partition(": ")
    return word if colon else ""


@dataclass
class ReceiptWitness:
    """Remembers the last receipts. When a later one of the same epoch lacks what one of them was given for, the
    collector's database is older than it was; `proof` is then that receipt as it came, until the epoch is another. A
    proof is rare and the only one there may be: it outlives a restart (agent.spool.proof).

    `older_journal` is the receipt that told of the most decisions, as long as newer ones tell of fewer: the collector's
    journal is older than it was. `newest` outlives a restart too."""

    proof: str = ""
    epoch: str = ""
    older_journal: str = ""
    _most: tuple[int, str] = (0, "")
    _last: deque[tuple[str, int, str]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    @property
    def shown(self) -> str:
        """What is to be shown to the collector; empty: nothing."""
        return self.proof or self.older_journal

    @property
    def newest(self) -> str:
        """The receipt that says the most after a restart; empty before the first."""
        return self.older_journal or (self._last[-1][2] if self._last else "")

    def recall(self, sealed: bytes, is_collectors: Callable[[bytes, bytes], bool]) -> None:
        """Takes up what was `newest` before a restart. A damaged one, or another collector's, is none."""
        try:
            body, signature = wire.unseal(sealed, wire.MAX_SMALL_BYTES)
            receipt = wire.decode_receipt(body)
        except wire.WireError:
            return
        if is_collectors(body, signature) and (not self.proof or receipt.epoch == self.epoch):
            self.learn(receipt, sealed)

    def learn(self, receipt: Receipt, sealed: bytes) -> bool:
        """Whether there is another proof now, or none any more: time to save it."""
        before = self.proof
        self._learn_decisions(receipt.decisions, sealed.decode("ascii", errors="replace"))
        if receipt.epoch != self.epoch:
            self.proof, self.epoch = "", receipt.epoch
            self._last.clear()
        for spool, last_seq, kept in self._last:
            if spool == receipt.spool and any(low <= last_seq <= high for low, high in receipt.lacks):
                self.proof = self.proof or kept
        if receipt.epoch:
            self._last.append((receipt.spool, receipt.last_seq, sealed.decode("ascii", errors="replace")))
        return self.proof != before

    def _learn_decisions(self, decisions: int, sealed: str) -> None:
        """A collector that tells of none is one before 0.5."""
        if decisions >= self._most[0]:
            self._most, self.older_journal = (decisions, sealed), ""
        elif decisions:
            self.older_journal = self._most[1]
