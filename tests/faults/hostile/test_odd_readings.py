"""Figures that no gateway of ours sends, signed and chained: each is filed, set aside or refused, nothing falls over,
and who sends honest ones beside them has a receipt.

Times below zero and in the year 9999, numbers of no size, keys that stand twice, half characters (RFC 8259, sections 4,
6 and 8.2), in every field of every kind of reading.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.common.config import Settings
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.store import Store, schema
from tests.collector.conftest import NOW, Gateway
from tests.collector.standard.timeless import timeless_standards
from tests.faults.cheats.cheats import enrolled
from tests.helpers import ROOT

GOLDEN = ROOT / "tests" / "wire" / "v1"
TOGETHER = 20  # in one transaction, with an honest batch
VALUE = re.compile(rb'(?<=[:\[,])(?:-?\d+(?:\.\d+)?|"[^"\\]*")(?=[,}\]])')
NUMBERS = (
    b"-1", b"-9000000000000000", b"253402300799999", b"253402300800000", b"9223372036854775808",
    b"-9223372036854775809", b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1e308", b"1e-400", b"-0.0",
    b"1" + b"0" * 400, b'"1"', b"true", b"null", b"[]", b"{}", b"01", b"1.", b"0x1",
)  # fmt: skip
TEXTS = (
    rb'"\ud800"', rb'"\udc00\ud800"', rb'"\u0000"', b'"' + b"x" * 5000 + b'"', b'"\xed\xa0\x80"', b'"\xff"', b'""',
    b"5",
)  # fmt: skip


def golden() -> Iterator[bytes]:
    for path in sorted(GOLDEN.glob("*.json")):
        raw = path.read_bytes().strip()
        try:
            wire.decode_reading(raw)
        except wire.WireError:
            continue  # a message of another sort
        yield raw


def odd(raw: bytes) -> Iterator[bytes]:
    for match in VALUE.finditer(raw):
        for value in TEXTS if match.group().startswith(b'"') else NUMBERS:
            yield raw[: match.start()] + value + raw[match.end() :]
    yield raw[:-1] + b',"at":{}}'
    yield raw[:-1] + b',"at":{"wall_ms":1,"wall_ms":2,"mono_ms":1,"boot":"b","clock":"synced"}}'
    yield b'{"kind":"ups",' + raw[1:]
    yield raw[:-1] + b',"a":1,"a":2}'


@pytest.mark.row(31)
def test_odd_figures_are_filed_set_aside_or_refused_and_keep_no_receipt_back(tmp_path: Path, torture: bool) -> None:
    raws = [one for raw in golden() for one in odd(raw)][:: 1 if torture else 13]
    counts: Counter[str] = Counter()
    with closing(Store.open(f"sqlite:///{tmp_path}/nabz.db")) as store:
        ingest = Ingest(store, Ed25519PrivateKey.generate(), judge_with(Settings(), timeless_standards()))
        honest, hostile = enrolled(store, "LHR-1"), enrolled(store, "KHI-1")
        for first in range(0, len(raws), TOGETHER):
            now_ms = NOW + first
            messages = [hostile.batch([raw]) for raw in raws[first : first + TOGETHER]]
            taken = ingest.take([*messages, honest.batch([honest.ups(now_ms)])], now_ms)
            topics = Counter(receipt.topic for receipt in taken.receipts)
            assert topics[wire.receipt_topic(honest.device)] == 1
            counts += Counter(receipts=topics[wire.receipt_topic(hostile.device)], unframed=taken.counts["unframed"])
        assert counts["receipts"] + counts["unframed"] == len(raws)
        assert times(store, hostile) <= {True}
        with store.read() as conn:
            aside = conn.scalar(sa.select(sa.func.count()).select_from(schema.set_aside))
    print(f"\n{len(raws)} odd readings: {counts['receipts']} receipts, {counts['unframed']} no JSON, {aside} set aside")


def times(store: Store, gateway: Gateway) -> set[bool]:
    """Whether what was filed lies between the gateway's enrolment and now."""
    with store.read() as conn:
        return {
            NOW - 31 * 86_400_000 <= at_ms <= NOW + 3_600_000
            for table in schema.readings.values()
            for at_ms in conn.scalars(sa.select(table.c.wall_ms).where(table.c.device == gateway.device))
        }
