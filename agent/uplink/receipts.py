"""What a receipt requires of this gateway besides forgetting: decided by its code. Pure."""

from __future__ import annotations

from agent.wire import Receipt

# The collector holds other readings under our numbers: this spool is a restored image or a clone. What was sent is held
# as evidence; only new numbers can say anything new. The last two words are those of collectors before `code`.
OTHER_HISTORY = frozenset({"other_history", "equivocation", "fork"})


def is_other_history(receipt: Receipt) -> bool:
    """Whether this spool has to end and a new one begin."""
    return (receipt.code or code_before_0_2(receipt)) in OTHER_HISTORY


def code_before_0_2(receipt: Receipt) -> str:
    """The code of a collector that sends none: the word before the first colon of its reason. The one place where the
    agent reads a sentence; it goes when no collector before 0.2 is left."""
    word, colon, _sentence = receipt.reason.partition(": ")
    return word if colon else ""
