"""The Merkle tree of an append-only log, as RFC 6962 §2.1 and RFC 9162 §2.1 have it, with SHA-256. Pure.

A tree is known by a function from (level, index) to the hash over leaves index·2^level to (index+1)·2^level: only whole
subtrees are asked for. Needs the standard library alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

EMPTY_ROOT = hashlib.sha256(b"").digest()
HASH_BYTES = 32
MAX_PROOF = 63  # hashes: a log of 2^63 leaves needs no more

HashOf = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def folded(hashes: Sequence[bytes]) -> bytes:
    """The root over so many hashes as a whole subtree has: a power of two."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


def of_leaves(hashes: Sequence[bytes]) -> HashOf:
    """A tree that lies in memory."""
    return lambda level, index: folded(hashes[index << level : (index + 1) << level])


def root(size: int, hash_of: HashOf) -> bytes:
    """Of the first `size` leaves."""
    return _range_hash(0, size, hash_of) if size else EMPTY_ROOT


def _range_hash(low: int, high: int, hash_of: HashOf) -> bytes:
    """Over leaves low to high - 1; `low` begins a subtree that is at least as large."""
    count = high - low
    level = count.bit_length() - 1
    if count == 1 << level:
        return hash_of(level, low >> level)
    middle = low + _split(count)
    return node_hash(_range_hash(low, middle, hash_of), _range_hash(middle, high, hash_of))


def _split(count: int) -> int:
    """The largest power of two below `count`, which is at least 2."""
    return int(1 << ((count - 1).bit_length() - 1))


# ---------------------------------------------------------------- proofs


def inclusion_proof(index: int, size: int, hash_of: HashOf) -> list[bytes]:
    """That leaf `index` is in the tree of `size` (RFC 6962 §2.1.1)."""
    proof: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(_range_hash(middle, high, hash_of))
            high = middle
        else:
            proof.append(_range_hash(low, middle, hash_of))
            low = middle
    return proof[::-1]


def consistency_proof(old: int, size: int, hash_of: HashOf) -> list[bytes]:
    """That the tree of `old` leaves is the beginning of that of `size` (RFC 6962 §2.1.2)."""
    if not 0 < old < size:
        return []
    proof: list[bytes] = []
    low, high, whole = 0, size, True
    while old < high:
        middle = low + _split(high - low)
        if old <= middle:
            proof.append(_range_hash(middle, high, hash_of))
            high = middle
        else:
            proof.append(_range_hash(low, middle, hash_of))
            low, whole = middle, False
    return ([] if whole else [_range_hash(low, high, hash_of)]) + proof[::-1]


def includes(leaf: bytes, index: int, size: int, proof: Sequence[bytes], its_root: bytes) -> bool:
    """Whether the proof shows that a leaf of that hash stands there (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size or len(proof) > MAX_PROOF:
        return False
    place, last, node = index, size - 1, leaf
    for part in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(part, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, part)
        place, last = place >> 1, last >> 1
    return last == 0 and node == its_root


def extends(old: int, old_root: bytes, size: int, its_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the larger tree begins with the smaller one (RFC 9162 §2.1.4.2)."""
    if old > size or len(proof) > MAX_PROOF:
        return False
    if old in (0, size):
        return not proof and old_root == (its_root if old else EMPTY_ROOT)
    parts = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not parts:
        return False
    place, last = old - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = parts[0]
    for part in parts[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node_hash(part, first), node_hash(part, second)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, part)
        place, last = place >> 1, last >> 1
    return last == 0 and first == old_root and second == its_root


# ---------------------------------------------------------------- going on


@dataclass
class Frontier:
    """The first `size` leaves as the whole subtrees that they make, the largest first: all that a tree grows by."""

    size: int = 0
    subtrees: list[bytes] = field(default_factory=list)

    @classmethod
    def before(cls, index: int, size: int, proof: Sequence[bytes]) -> Frontier:
        """What stands before a leaf, by its proof of inclusion (`includes`) in a tree of that size."""
        place, last, left = index, size - 1, []
        for part in proof:
            if place & 1 or place == last:
                left.append(part)
                while not place & 1 and place:
                    place, last = place >> 1, last >> 1
            place, last = place >> 1, last >> 1
        return cls(index, left[::-1])

    def add(self, leaf: bytes) -> None:
        place, node = self.size, leaf
        while place & 1:
            place, node = place >> 1, node_hash(self.subtrees.pop(), node)
        self.subtrees.append(node)
        self.size += 1

    def root(self) -> bytes:
        if not self.subtrees:
            return EMPTY_ROOT
        *larger, node = self.subtrees
        for subtree in reversed(larger):
            node = node_hash(subtree, node)
        return node
