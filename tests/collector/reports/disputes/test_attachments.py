"""Files that are given with a dispute: what they are, how many, and what becomes of their bytes."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import sqlalchemy as sa

from collector.acts import disputes
from collector.common.attachments import PNG_HEAD
from collector.reports.audit import recorded
from collector.reports.disputes import attachments, records
from collector.reports.disputes.attachments import MAX_BYTES, MAX_CENTER_BYTES, MAX_FILES, Attachment
from collector.reports.disputes.dispute import DisputeError
from collector.store import Store, schema, upsert
from collector.store.journal import MARKS
from collector.store.journal.leaves import LeafKind
from tests.collector.acts.test_disputes import CENTER, FILING, OMAR, STANDARDS

JPEG, PNG, CSV = b"\xff\xd8\xff\xe0JFIF", PNG_HEAD + b"...", b"time,down\n09:00,3\n"
HELD = Attachment(
    attachment="a", dispute=1, center="LHR-1", name="a.csv", kind="csv", size=1, sha256="", added_ms=0, added_by="Omar"
)
LOGGED: tuple[LeafKind, ...] = ("disputes", "attachments")


@pytest.mark.parametrize(
    ("body", "digest", "n", "center_bytes", "code"),
    [(b"", "", 0, 0, "empty"), (b"a" * (MAX_BYTES + 1), "", 0, 0, "too_large"), (b"a", "d0", 1, 0, "known"),
     (b"a", "", MAX_FILES, 0, "too_many"), (b"a", "", 0, MAX_CENTER_BYTES, "full"), (b"<html>", "", 0, 0, "kind")],
)  # fmt: skip
def test_files_are_bounded(body: bytes, digest: str, n: int, center_bytes: int, code: str) -> None:
    held = [replace(HELD, sha256=f"d{number}") for number in range(n)]
    with pytest.raises(DisputeError) as error:
        attachments.check(body, digest, held, center_bytes)
    assert error.value.reason.code == f"attachment.{code}"


def test_what_just_fits_is_taken() -> None:
    held = [replace(HELD, sha256=f"d{number}") for number in range(MAX_FILES - 1)]
    assert attachments.check(b"a" * MAX_BYTES, "", held, MAX_CENTER_BYTES - MAX_BYTES) == "csv"


@pytest.fixture
def store(either_store: Store) -> Store:
    with either_store.write() as conn:
        upsert(conn, schema.centers, [CENTER.row()])
    return either_store


def test_a_file_is_a_leaf_and_a_line_and_every_change_of_it_is_named(store: Store) -> None:
    with store.write() as conn:
        number = disputes.file(conn, FILING, OMAR, STANDARDS, 30).id
        one = disputes.attach(conn, number, "mast.jpg", JPEG, OMAR)
        assert ("attachments", (one.attachment,)) in conn.info[MARKS]
        assert (one.sha256, attachments.body_of(conn, one)) == (hashlib.sha256(JPEG).hexdigest(), JPEG)
        with pytest.raises(DisputeError, match="there already"):
            disputes.attach(conn, number, "again.jpg", JPEG, OMAR)
    assert found(store) == []
    with store.write() as conn:
        conn.execute(sa.update(schema.attachment_bodies).values(body=PNG))
    assert found(store) == ["attachment_edited"]
    with store.write() as conn:
        disputes.withdraw(conn, number, OMAR)
        disputes.attach(conn, number, "mast.jpg", JPEG, OMAR)  # put right, though it is over
        with pytest.raises(DisputeError, match="is over"):
            disputes.attach(conn, number, "new.png", PNG, OMAR)
    assert found(store) == []
    with store.write() as conn:
        conn.execute(sa.update(schema.attachments).values(name="pole.jpg"))
    assert found(store) == ["attachment_edited", "attachment_missing"]
    with store.write() as conn:
        conn.execute(sa.delete(schema.attachments))
    assert found(store) == ["attachment_missing"]


def test_bytes_that_a_copy_lacked_are_given_again(store: Store) -> None:
    with store.write() as conn:
        number = disputes.file(conn, FILING, OMAR, STANDARDS, 30).id
        one = disputes.attach(conn, number, "log.csv", CSV, OMAR)
        conn.execute(sa.delete(schema.attachment_bodies))
    with store.write() as conn:
        assert attachments.lost(conn, number) == {one.attachment}
        with pytest.raises(DisputeError, match="not in this database"):
            attachments.body_of(conn, one)
        assert disputes.attach(conn, number, "other name.csv", CSV, OMAR) == one
        assert attachments.lost(conn, number) == set()
        assert attachments.of_dispute(conn, records.get(conn, number).id) == [one]


def found(store: Store) -> list[str]:
    with store.read() as conn:
        rows = [one for kind in LOGGED for one in recorded._rows(conn, kind, CENTER.code)]
        return [one.kind for one in (*rows, *recorded._files(conn, CENTER.code))]
