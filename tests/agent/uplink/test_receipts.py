"""A proof that the collector's database went back: found, kept across a restart, and let go with the epoch."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from agent import wire
from agent.spool import proof
from agent.uplink.receipts import ReceiptWitness


def receipt(last: int, epoch: str = "e1", lacks: list[tuple[int, int]] | None = None) -> wire.Receipt:
    return wire.Receipt(
        v=1, device="g1", spool="ab", first_seq=last, last_seq=last, chain="00", at_ms=1, epoch=epoch, lacks=lacks or []
    )


def started(file: Path | None) -> ReceiptWitness:
    return ReceiptWitness(*proof.load(file))


def proven(file: Path | None) -> ReceiptWitness:
    witness = started(file)
    assert not witness.learn(receipt(5), b"the receipt of 5")
    assert witness.learn(receipt(6, lacks=[(4, 5)]), b"6")
    proof.save(file, witness.proof, witness.epoch)
    return witness


def test_a_receipt_that_a_later_one_contradicts_is_the_proof_and_outlives_a_restart(tmp_path: Path) -> None:
    assert proven(tmp_path / "proof").proof == "the receipt of 5"
    again = started(tmp_path / "proof")
    assert again.proof == "the receipt of 5"
    assert not again.learn(receipt(7), b"7"), "the epoch is the same, so the collector has not taken it up"
    assert again.proof == "the receipt of 5"


def test_another_epoch_ends_it_on_disk_too(tmp_path: Path) -> None:
    proven(tmp_path / "proof")
    again = started(tmp_path / "proof")
    assert again.learn(receipt(7, epoch="e2"), b"7")
    proof.save(tmp_path / "proof", again.proof, again.epoch)
    assert (again.proof, (tmp_path / "proof").exists()) == ("", False)
    assert started(tmp_path / "proof").proof == ""


@pytest.mark.parametrize("content", [b"", b"[]", b'["e1"]', b'{"a":1}', b"\xff", b"[1,2]"])
def test_a_damaged_file_is_no_proof(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "proof").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert started(tmp_path / "proof").proof == ""
    assert "cannot be read" in caplog.text


def test_without_a_disk_it_lives_in_memory(tmp_path: Path) -> None:
    assert proven(None).proof == "the receipt of 5"
    assert proven(tmp_path / "no folder" / "proof").proof == "the receipt of 5"


def test_a_receipt_of_more_decisions_than_newer_ones_is_shown_as_long_as_that_is_so() -> None:
    witness = ReceiptWitness()

    def shown(decisions: int, epoch: str = "e1") -> str:
        told = msgspec.structs.replace(receipt(5, epoch), decisions=decisions)
        assert not witness.learn(told, f"of {decisions}".encode())  # nothing to save
        return witness.shown

    assert [shown(7), shown(9), shown(9)] == ["", "", ""]
    assert [shown(8), shown(8, "e2"), shown(0, "e2")] == ["of 9"] * 3  # a restored database has another epoch
    assert [shown(9, "e2"), shown(8, "e2"), shown(12, "e2")] == ["", "of 9", ""]


def test_what_proves_the_database_older_goes_first() -> None:
    witness = ReceiptWitness()
    witness.learn(msgspec.structs.replace(receipt(5), decisions=9), b"of 5")
    witness.learn(msgspec.structs.replace(receipt(6, lacks=[(4, 5)]), decisions=8), b"of 6")
    assert (witness.shown, witness.older_journal) == ("of 5", "of 5")
    witness.learn(msgspec.structs.replace(receipt(7, "e2"), decisions=8), b"of 7")
    assert (witness.proof, witness.shown) == ("", "of 5")
