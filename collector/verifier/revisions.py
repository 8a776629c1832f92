"""What the log took after a bundle's report: every leaf from that one on, in the tree that the log's newest head signs.

The leaves before are known by the report's own proof of inclusion, so that nobody has to read the log from its start.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy

from collector.log import merkle
from collector.log.merkle import Frontier
from collector.log.notes import Checkpoint, NoteError, NoteKey, opened
from collector.log.tiles import WIDTH, TileError, TilePath, unbundled

Fetch = Callable[[str], bytes]
"""The bytes that a log serves at a path, such as `checkpoint`. May raise OSError."""


class LogError(Exception):
    """The log is not readable, or is not the one that the bundle is of."""


def newest_revision(
    before: Frontier, shown: Checkpoint, center: str, month: str, key: NoteKey, fetch: Fetch
) -> tuple[int, int]:
    """(newest revision of the center's month that the log has from there on, leaves of the log).

    `shown` is the bundle's head. Raises LogError, OSError."""
    frontier, revision = deepcopy(before), 0
    try:
        _, head = opened(fetch("checkpoint"), key)
        if head.size < shown.size:
            raise LogError(
                f"has {head.size} leaves, and the bundle's head {shown.size}: it was cut back, or is a copy of before"
            )
        for entry in _entries(frontier.size, head, fetch):
            frontier.add(merkle.leaf_hash(entry))
            facts = json.loads(entry)
            if (facts.get("kind"), facts.get("center"), facts.get("month")) == ("report", center, month):
                revision = max(revision, int(facts["revision"]))
            if frontier.size == shown.size and frontier.root() != shown.root:
                raise LogError(f"its first {shown.size} leaves are not those of the bundle's head: it was rewritten")
    except (NoteError, TileError) as error:
        raise LogError(str(error)) from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise LogError(f"leaf {frontier.size - 1}: is none of ours") from None
    if frontier.root() != head.root:
        raise LogError(f"the leaves that it serves are not those of its own head of {head.size}")
    return revision, head.size


def _entries(first: int, head: Checkpoint, fetch: Fetch) -> Iterator[bytes]:
    """Of the leaves from that number on."""
    for index in range(first // WIDTH, -(-head.size // WIDTH)):
        path = TilePath(None, index, min(WIDTH, head.size - index * WIDTH))
        entries = unbundled(fetch(str(path)))
        if len(entries) != path.width:
            raise TileError(f"{path}: has {len(entries)} entries, must have {path.width}")
        yield from entries[max(0, first - index * WIDTH) :]
