"""The draw of a list of visits. Pure, so that anybody can redo it.

The hash of a seed is published first, as a leaf of the transparency log; the list is drawn later, from all centers with
their weights, and the seed is published with it. Each center's place is its key `-ln(u) / weight`, the smallest first,
where u is drawn from the seed and the center's code: the order of a weighted draw without replacement (Efraimidis and
Spirakis 2006). A center with twice the weight is twice as likely to come first; none is safe.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence
from typing import Any

SEED_BYTES = 32
Weights = Sequence[tuple[str, float]]


def seed_of(secret: bytes, name: str) -> str:
    """Of a list, in hex: whoever knows the secret alone can tell it before it is published."""
    return hmac.digest(secret, f"visits {name}".encode(), "sha256").hex()


def hash_of(seed: str) -> str:
    return hashlib.sha256(bytes.fromhex(seed)).hexdigest()


def drawn(seed: str, weights: Weights, number: int) -> list[str]:
    """The centers to be visited, in their order."""
    keys = {center: _key(bytes.fromhex(seed), center, weight) for center, weight in weights}
    return sorted(keys, key=lambda center: (keys[center], center))[:number]


def _key(seed: bytes, center: str, weight: float) -> float:
    digest = hmac.digest(seed, center.encode(), "sha256")
    share = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 1)
    return -math.log(share) / max(weight, 1e-9)


def problems(facts: Mapping[str, Any]) -> list[str]:
    """What is wrong with a list as `visits show --json` gives it, whoever made it; nothing where its draw is right."""
    try:
        seed, number = str(facts["seed"]), int(facts["number"])
        weights = [(str(code), float(weight)) for code, weight in facts["weights"]]
        mistakes = []
        if len(seed) != 2 * SEED_BYTES or hash_of(seed) != facts["seed_hash"]:
            mistakes.append("seed: is not the one whose hash was published")
        elif drawn(seed, weights, number) != list(facts["visits"]):
            mistakes.append("visits: are not what the seed draws from these centers")
        published, made = facts.get("published_leaf"), facts.get("drawn_leaf")
        if published is None or made is None or published >= made:
            mistakes.append("log: the hash of the seed was not in the log before the list was drawn")
    except (KeyError, TypeError, ValueError):
        return ["list: is none; give what `visits show NAME --json` prints of a list that was drawn"]
    return mistakes
