"""`evidence ids`: what is held, straight from the signed bytes, in a fixed memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.__main__ import main
from collector.commands import evidence
from collector.ingest.transaction import Ingest
from collector.store import Store
from collector.store.cold import held
from tests.helpers.processes import child


def nobody_judges(_conn: sa.Connection, _group: Sequence[object], _now_ms: int) -> None:
    return None


@pytest.fixture
def ingest(either_store: Store) -> Ingest:
    return Ingest(either_store, Ed25519PrivateKey.generate(), nobody_judges)


def test_every_reading_is_named_once_with_the_hash_of_its_own_bytes(
    either_store: Store, ingest: Ingest, gateway
) -> None:
    mine, other = gateway(either_store), gateway(either_store, "KHI-1")
    raws = [mine.ups(load_pct=float(number)) for number in range(4)]
    first, second = mine.sealed(raws[:3], 1, wire.GENESIS), mine.sealed(raws[1:], 2, wire.chain(wire.GENESIS, raws[:1]))
    ingest.take([first, second, first, other.batch([other.ups()])], 1_795_000_000_000)
    found = list(evidence.held_ids(either_store, "LHR-1"))
    assert found == [
        (mine.device, mine.spool, seq, hashlib.sha256(raw).hexdigest()) for seq, raw in enumerate(raws, start=1)
    ]
    assert len(list(evidence.held_ids(either_store))) == 5


def test_pages_follow_each_other_without_gap_or_overlap(either_store: Store, ingest: Ingest, gateway) -> None:
    mine = gateway(either_store)
    count = 2 * held.PAGE + 1
    ingest.take([mine.batch([mine.ups()]) for _ in range(count)], 1_795_000_000_000)
    assert [seq for *_, seq, _ in evidence.held_ids(either_store)] == list(range(1, count + 1))


@pytest.mark.slow
def test_memory_does_not_grow_with_what_is_held(sqlite_store: Store, gateway) -> None:
    ingest = Ingest(sqlite_store, Ed25519PrivateKey.generate(), nobody_judges)
    mine = gateway(sqlite_store)
    full = [mine.ups(model="x" * 200, alarms_count=number) for number in range(20)]

    def peak_bytes() -> int:
        tracemalloc.start()
        for _ in evidence.held_ids(sqlite_store):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    ingest.take([mine.batch(full) for _ in range(2 * held.PAGE)], 1_795_000_000_000)
    before = peak_bytes()
    ingest.take([mine.batch(full) for _ in range(4 * held.PAGE)], 1_795_000_000_000)
    assert peak_bytes() < 1.5 * before


def test_the_command_prints_lines_or_json(tmp_path: Path, gateway, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/nabz.db")
    mine = gateway(store)
    raw = mine.ups()
    Ingest(store, Ed25519PrivateKey.generate(), nobody_judges).take([mine.batch([raw])], 1_795_000_000_000)
    store.close()
    digest = hashlib.sha256(raw).hexdigest()
    assert main(["evidence", "ids", "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{mine.device} {mine.spool} 1 {digest}\n"
    assert (
        main(["evidence", "ids", "--database", f"sqlite:///{tmp_path}/nabz.db", "--data", str(tmp_path), "--json"]) == 0
    )
    facts = {"device": mine.device, "spool": mine.spool, "seq": 1, "sha256": digest}
    assert json.loads(capsys.readouterr().out) == facts


def test_a_reader_that_has_read_enough_is_no_error(tmp_path: Path, gateway) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/nabz.db")
    mine = gateway(store)
    batches = [mine.batch([mine.ups()] * 100) for _ in range(40)]
    Ingest(store, Ed25519PrivateKey.generate(), nobody_judges).take(batches, 1_795_000_000_000)
    store.close()
    words = [sys.executable, "-m", "collector", "evidence", "ids", "--data", str(tmp_path)]
    with child(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 0
