"""A start verifies the journal from its signed checkpoint on, and what is before it by its hash."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.access.signing_key import load_or_make
from collector.common.config import Settings
from collector.store import Store, schema
from collector.store.journal import FILE, checkpoint
from collector.store.journal.checkpoint import JournalCheckpoint
from collector.store.journal.journal import mark_of
from tests.collector.store.journal.test_journal import NOW, copied, lines, settings, started

__all__ = ["copied", "settings"]  # fixtures
pytestmark = pytest.mark.row(53)


@pytest.mark.parametrize(("forger", "is_believed"), [(False, True), (True, False)], ids=["own key", "another's"])
def test_a_start_verifies_what_came_since_the_checkpoint(
    forger: bool, is_believed: bool, settings: Settings, copied: tuple[Path, list[str]]
) -> None:
    """Seen by a line that no key has signed, in file and database alike: below a checkpoint nobody looks at it."""
    file, held = settings.data_dir / FILE, lines(settings)
    bad = held[-1][:-4] + "AAA="
    file.write_text("".join(f"{line}\n" for line in [*held[:-1], bad]))
    with closing(Store.open(settings.database_url)) as store, store.write() as conn:
        conn.execute(sa.update(schema.journal).where(schema.journal.c.n == len(held)).values(line=bad))
    key = Ed25519PrivateKey.generate() if forger else load_or_make(settings.data_dir)
    about = {"lines": len(held), "size": file.stat().st_size, "mark": mark_of(bad), "events": 0}
    with file.open("rb") as opened_file:
        digest = checkpoint.digest_of(opened_file.fileno(), file.stat().st_size)
    checkpoint.save(file, JournalCheckpoint(**about, digest=digest), key)  # type: ignore[arg-type]
    started(settings)
    assert (list(settings.data_dir.glob(f"{FILE}.{NOW}")) == []) is is_believed


def test_a_changed_byte_before_the_checkpoint_is_seen(settings: Settings, copied: tuple[Path, list[str]]) -> None:
    file, held = settings.data_dir / FILE, lines(settings)
    assert checkpoint.beside(file).exists()
    file.write_text("".join(f"{line}\n" for line in [held[0].replace('"n":1', '"n":01'), *held[1:]]))
    started(settings)
    assert lines(settings) == held
