"""Copies of the whole database: backup, the restore drill, and the move to another make, on both databases."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.__main__ import main
from collector.commands.evidence import held_ids
from collector.ingest.transaction import Ingest
from collector.recovery.move import _tally, move
from collector.store import Store, StoreError, bulk_insert, schema
from collector.store.backup import backup, rescue

NOW = 1_795_000_000_000


def fill(store: Store, gateway: Callable[..., object], batches: int = 8) -> None:
    """What gateways send, through ingest itself, with words that are hard on copies."""
    ingest = Ingest(store, Ed25519PrivateKey.generate(), lambda *_: None)
    for number in range(3):
        mine = gateway(store, f"LHR-{number}")
        for at in range(batches):
            dice = random.Random(f"{number} {at}")
            words = [mine.ups(NOW + at, load_pct=dice.uniform(0, 100), model="نبض\\N\t\"'\\. " * 3) for _ in range(4)]
            ingest.take([mine.batch(words)], NOW + at)


def digest(store: Store) -> dict[str, tuple[int, str]]:
    """Every table's rows, in an order of their own."""
    found = {}
    with store.read() as conn:
        for name, table in schema.metadata.tables.items():
            rows = sorted(repr(tuple(row)) for row in conn.execute(sa.select(table)))
            found[name] = len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return found


def empty(url: str, tmp_path: Path) -> str:
    """Another empty database of the same make."""
    if url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'restored.db'}"
    name = sa.make_url(url).database
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(sa.text(f"CREATE DATABASE {name}_b"))
    engine.dispose()
    return url.replace(f"/{name}?", f"/{name}_b?")


def test_the_restore_drill(either_store: Store, database_url: str, gateway, tmp_path: Path) -> None:
    fill(either_store, gateway)
    copy, other = tmp_path / "nabz.backup", empty(database_url, tmp_path)
    assert main(["backup", str(copy), "--database", database_url]) == 0
    before = digest(either_store)
    fill(either_store, gateway, 1)  # what comes after the copy is not in it
    assert main(["restore", str(copy), "--database", other, "--data", str(tmp_path)]) == 0
    with closing(Store.open(other)) as restored:
        after = digest(restored)
        assert {name for name in before if after[name] != before[name]} == {"about", "restores"}
        with restored.read() as conn:
            (loss,) = conn.execute(sa.select(schema.restores))
        assert (loss.epoch, loss.from_ms) == (restored.epoch, NOW + 7)
        assert restored.epoch != either_store.epoch
        assert len(list(held_ids(restored))) == 96
        fill(restored, gateway, 1)  # and work goes on there, ids and all
        assert len(list(held_ids(restored))) == 108


def test_a_copy_never_overwrites(either_store: Store, database_url: str, tmp_path: Path) -> None:
    copy = tmp_path / "nabz.backup"
    assert main(["backup", str(copy), "--database", database_url]) == 0
    held = copy.read_bytes()
    assert main(["backup", str(copy), "--database", database_url]) == 1
    assert main(["restore", str(copy), "--database", database_url, "--data", str(tmp_path)]) == 1
    assert copy.read_bytes() == held
    assert not list(tmp_path.glob("*.part"))


def test_a_damaged_copy_is_refused_and_leaves_nothing(database_url: str, tmp_path: Path, gateway) -> None:
    with closing(Store.open(database_url)) as store:
        fill(store, gateway)
        copy = tmp_path / "nabz.backup"
        backup(store, copy)
    whole = copy.read_bytes()
    other = empty(database_url, tmp_path)
    for damaged in (whole[: len(whole) // 2], b"", whole[:4096] + os.urandom(len(whole) - 4096)):
        copy.write_bytes(damaged)
        assert main(["restore", str(copy), "--database", other, "--data", str(tmp_path)]) == 1
    with closing(Store.attach(other)) as store, store.read() as conn:
        assert sa.inspect(conn).get_table_names() == []


def test_a_copy_of_the_other_make_is_sent_to_move(
    either_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "x"
    copy.write_bytes(b"SQLite format 3\0" if either_store.parted else b"PGDMP\x01")
    other = empty(either_store.url.render_as_string(hide_password=False), tmp_path)
    assert main(["restore", str(copy), "--database", other, "--data", str(tmp_path)]) == 1
    assert "use `nabz-collector move`" in capsys.readouterr().err


def test_without_postgresqls_programs_the_error_says_what_to_install(either_store: Store, tmp_path: Path) -> None:
    words = ["backup", str(tmp_path / "x"), "--database", either_store.url.render_as_string(hide_password=False)]
    argv = [sys.executable, "-m", "collector", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ | {"PATH": str(tmp_path)})
    if either_store.parted:
        assert done.returncode == 1
        assert "install PostgreSQL's client programs" in done.stderr
        assert "Traceback" not in done.stderr
    else:
        assert done.returncode == 0


# ---------------------------------------------------------------- move


def test_all_of_a_database_moves_and_both_ends_agree(
    database_url: str, sqlite_store: Store, gateway, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = f"sqlite:///{tmp_path / 'target.db'}" if database_url.startswith("sqlite") else database_url
    fill(sqlite_store, gateway)
    words = ["move", "--from", str(sqlite_store), "--to", target, "--json"]
    assert main([*words, "--dry-run"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert main(words) == 0
    moved = json.loads(capsys.readouterr().out)
    assert moved["rows"] == planned["rows"] > 100
    with closing(Store.open(target)) as store:
        assert digest(store) == digest(sqlite_store)
        fill(store, gateway, 1)  # ids go on after those that came
    assert main(words) == 1  # it is not empty any more
    assert "never overwrites" in capsys.readouterr().err


def test_a_move_broken_off_is_not_opened_and_starts_over(database_url: str, gateway, tmp_path: Path) -> None:
    with closing(Store.open(f"sqlite:///{tmp_path / 'source.db'}")) as source:
        fill(source, gateway)
        target = f"sqlite:///{tmp_path / 'target.db'}" if database_url.startswith("sqlite") else database_url

        def break_off(done: int, _total: int) -> None:
            if done > 100:
                raise KeyboardInterrupt

        with closing(Store.attach(target)) as to:
            with pytest.raises(KeyboardInterrupt):
                move(source, to, break_off)
            with pytest.raises(StoreError, match="broken off; run `nabz-collector move` again"):
                Store.open(target)
            move(source, to, lambda _done, _total: None)
        with closing(Store.open(target)) as store:
            assert digest(store) == digest(source)


def test_one_changed_byte_is_seen_by_the_checksum(sqlite_store: Store, gateway) -> None:
    fill(sqlite_store, gateway, 1)
    table = schema.readings["ups"]
    before = _tally(sqlite_store, table, lambda _rows: None)
    with sqlite_store.write() as conn:
        conn.execute(sa.update(table).where(table.c.seq == 1, table.c.center == "LHR-0").values(load_pct=1e-9))
    assert _tally(sqlite_store, table, lambda _rows: None) != before


def test_a_source_that_is_no_file_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "absent.db"
    assert main(["move", "--from", f"sqlite:///{missing}", "--to", f"sqlite:///{tmp_path}/b.db"]) == 1
    assert not missing.exists()


def test_a_statement_of_copy_that_the_database_refuses_is_an_error_like_any_other(either_store: Store) -> None:
    row = {"nonce": "n", "issued_ms": 1}
    with pytest.raises(sa.exc.IntegrityError), either_store.write() as conn:
        bulk_insert(conn, schema.nonces, [row, row])


@pytest.mark.row(51)
def test_a_deleted_database_is_copied_from_its_open_file_and_a_moved_one_is_not(
    gateway: Callable[..., object], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with closing(Store.open(f"sqlite:///{folder}/nabz.db")) as store:
        fill(store, gateway, 2)
        held = digest(store)
        (folder / "nabz.db").rename(folder / "moved.db")
        assert rescue(store, NOW) is None
        (folder / "moved.db").rename(folder / "nabz.db")
        for path in folder.glob("nabz.db*"):
            path.unlink()
        rescued = rescue(store, NOW)
        assert rescued is not None
        assert [path.name for path in folder.iterdir()] == [rescued.name]
    rescued.rename(folder / "nabz.db")
    with closing(Store.open(f"sqlite:///{folder}/nabz.db")) as again:
        assert digest(again) == held
