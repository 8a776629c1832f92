"""The transparency log: what counts later is a leaf of an append-only tree, whose heads are signed and given away."""

__all__ = [
    "checking", "days", "inclusion", "merkle", "notes", "sequencing", "submissions", "submitting", "tiles", "witness",
]  # fmt: skip
