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


def sealed(what: wire.Receipt) -> bytes:
    return wire.seal(wire.encode(what), lambda _body: bytes(64))


@pytest.mark.parametrize("is_ours", [True, False], ids=["ours", "of another collector"])
def test_the_newest_receipt_outlives_a_restart_and_proves_what_the_next_one_lacks(
    is_ours: bool, tmp_path: Path
) -> None:
    now_s, before = [0.0], ReceiptWitness()
    kept = proof.LastReceipt(tmp_path / "proof", lambda: now_s[0])
    for last in (5, 6):
        before.learn(told := msgspec.structs.replace(receipt(last), decisions=9), sealed(told))
        if kept.is_due:
            kept.keep(before.newest)
    assert proof.LastReceipt(tmp_path / "proof").read() == sealed(msgspec.structs.replace(receipt(5), decisions=9))
    kept.keep(before.newest)  # the session ends
    again = started(tmp_path / "proof")
    newest = proof.LastReceipt(tmp_path / "proof").read()
    again.recall(newest, lambda *_: is_ours)
    again.learn(msgspec.structs.replace(receipt(9, lacks=[(6, 8)]), decisions=8), b"9")
    assert again.proof == again.older_journal == (newest.decode() if is_ours else "")


@pytest.mark.parametrize("content", [b"", b"\xff", b"{}", sealed(receipt(5, "e2")), sealed(receipt(5))[:-9]])
def test_a_damaged_or_older_receipt_takes_no_proof_away(content: bytes, tmp_path: Path) -> None:
    witness = proven(tmp_path / "proof")
    witness.recall(content, lambda *_: True)
    assert (witness.proof, witness.epoch) == ("the receipt of 5", "e1")
