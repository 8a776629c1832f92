"""What measurement servers signed of a bundle's tests: their signatures, and the figures by their curves."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from collector.verifier.batches import BatchError, signed, unbased

TAIL_SHARE, SETTLED_SHARE = 0.99, 0.4  # of the bytes; of the time in which they moved
MIN_POINTS, MAX_POINTS = 5, 200
MAX_CURVE = 10_000

Row = Mapping[str, Any]


def compare(row: Row, servers: Mapping[str, bytes], devices: Mapping[str, bytes]) -> Iterator[str]:
    """What is wrong with a record; `servers` and `devices` are keys by name."""
    name = f"record of test {str(row.get('test'))[:40]}"
    try:
        yield from [f"{name}: {text}" for text in _record(row, servers, devices)]
    except (BatchError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        yield f"{name}: cannot be read"


def _record(row: Row, servers: Mapping[str, bytes], devices: Mapping[str, bytes]) -> Iterator[str]:
    body = unbased(row["body"])
    if not signed(servers.get(str(row["server"]), b""), body, unbased(row["signature"])):
        yield f"is not signed by server {str(row['server'])[:40]}"
        return
    record = json.loads(body)
    stated = {"test": record["test"], "server": record["server"], "started_ms": record["started_ms"]}
    if record["device"] not in devices:
        yield f"is of gateway {str(record['device'])[:40]}, which is none of this center"
    for way in ("down", "up"):
        curve = record[way]
        stated |= {f"{way}_mbps": rate_mbps(curve["at_ms"], curve["total"]), f"{way}_bytes": curve["bytes"]}
    for key, value in stated.items():
        if row[key] != value:
            yield f"{key} says {row[key]!r:.40}, what was signed gives {value!r:.40}"


def rate_mbps(at_ms: Sequence[int], total: Sequence[int]) -> float | None:
    """Of a cumulative curve: the median slope of its settled part (Theil-Sen), in Mbit/s; None where nothing moved.
    Raises ValueError for what is no curve."""
    if len(at_ms) != len(total) or len(at_ms) > MAX_CURVE:
        raise ValueError("no curve")
    if len(at_ms) < 2 or total[-1] <= 0:
        return None
    first = next(i for i, value in enumerate(total) if value >= 0.01 * total[-1])
    last = next(i for i, value in enumerate(total) if value >= TAIL_SHARE * total[-1])
    settled_ms = at_ms[first] + SETTLED_SHARE * max(0, at_ms[last] - at_ms[first])
    inside = [i for i in range(first, last + 1) if at_ms[i] >= settled_ms]
    inside = inside if len(inside) >= MIN_POINTS else list(range(first, last + 1))
    some = inside[:: -(-len(inside) // MAX_POINTS)]
    pairs = (pair for pair in itertools.combinations(some, 2) if at_ms[pair[1]] > at_ms[pair[0]])
    slopes = [(total[j] - total[i]) / (at_ms[j] - at_ms[i]) for i, j in pairs]
    return round(statistics.median(slopes) * 8 / 1e3, 3) if slopes else None
