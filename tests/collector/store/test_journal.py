"""Decisions outlive a restore: the journal is written first, and what it has beyond a copy is carried out again."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.__main__ import main
from collector.access import devices, passwords, users
from collector.access.signing_key import load_or_make
from collector.accounts import api_keys, directory, erasure, second_factors, sessions
from collector.accounts.policy import Account
from collector.config import BackupSection, CollectorTable, DatabaseSection, Settings, StandardSection
from collector.database import opened
from collector.recovery import settle
from collector.register import centers
from collector.run.settings import read_standards
from collector.scope import EVERYWHERE
from collector.standard import load
from collector.store import Store, StoreError, schema
from collector.store.backup import backup, begin_epoch, restore
from collector.store.journal import FILE
from tests.collector.store.test_copies import empty

NOW = 1_795_000_000_000
EXAMPLE = Path(__file__).parents[3] / "collector" / "standard" / "example-2026-1.toml"
pytestmark = pytest.mark.row(53)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    data = tmp_path / "data"
    data.mkdir()
    load_or_make(data)
    return settings_at(database_url, data)


def settings_at(url: str, data: Path, **sections: object) -> Settings:
    return Settings(collector=CollectorTable(data_dir=data), database=DatabaseSection(url=url), **sections)  # type: ignore[arg-type]


def started(settings: Settings) -> None:
    """A start, as far as the journal goes."""
    with opened(settings) as store:
        settle.settle(store, settings, NOW)


def went_back(settings: Settings, copy: Path, tmp_path: Path) -> Settings:
    """The copy in another database, beside the same data folder."""
    other = settings_at(empty(settings.database_url, tmp_path), settings.data_dir)
    with closing(Store.attach(other.database_url)) as store:
        restore(store, copy)
        begin_epoch(store, NOW)
    return other


def lines(settings: Settings) -> list[str]:
    return (settings.data_dir / FILE).read_text().splitlines()


@pytest.fixture
def copied(
    settings: Settings, either_store: Store, gateway: Callable[..., object], tmp_path: Path
) -> tuple[Path, list[str]]:
    """A copy, and what was decided after it: the names of two gateways, one of them revoked, one new."""
    started(settings)
    with opened(settings) as store:
        old = gateway(store).device  # type: ignore[attr-defined]
        with store.write() as conn:
            for name in ("Ali", "Chand"):
                users.add(conn, name, passwords.hash_password("one two three four five"), ["issue"], "root", NOW)
            directory.add(conn, "Amna", "kept", "admin", EVERYWHERE, "root", NOW)
            api_keys.add(conn, "board", "auditor", EVERYWHERE, 30, "Amna", NOW)
            amna = Account("Amna", "admin", key="amna")
            row = {"person": "amna", "factor": "f1", "kind": "totp", "name": "", "secret": "sealed", "counter": 1}
            conn.execute(sa.insert(schema.second_factors).values(**row, added_ms=NOW, confirmed_ms=NOW))
            sessions.begin(conn, amna, NOW)
        backup(store, tmp_path / "copy")
        with store.write() as conn:
            devices.revoke(conn, old, "Bina", "stolen", NOW)
            users.remove(conn, "Ali", "root", NOW)
            directory.set_role(conn, "Chand", "auditor", EVERYWHERE, "root", NOW)
            api_keys.revoke(conn, str(api_keys.listing(conn)[0]["prefix"]), "Amna", NOW)
            second_factors.remove(conn, amna, "Amna", NOW)
            token = {"token_hash": "t" * 64, "center": "LHR-1", "issued_ms": NOW, "expires_ms": NOW + 1}
            conn.execute(sa.insert(schema.tokens).values(**token, used_ms=NOW, device="g1"))
        new = gateway(store, "KHI-1").device  # type: ignore[attr-defined]
    started(settings)  # which notes what had no line: a token and a gateway that came by no program of this version
    return tmp_path / "copy", [old, new]


def test_what_was_decided_after_a_copy_holds_again_after_its_restore(
    settings: Settings, copied: tuple[Path, list[str]], tmp_path: Path
) -> None:
    copy, (old, new) = copied
    other = went_back(settings, copy, tmp_path)
    with closing(Store.open(other.database_url)) as store, store.read() as conn:
        assert old not in devices.revoked(conn)
    started(other)
    with opened(other) as store, store.read() as conn:
        assert devices.revoked(conn) == {old}
        assert new in devices.trusted(conn)
        assert users.listing(conn)[0]["removed_ms"] == NOW
        assert [person.account.role for person in directory.everybody(conn)] == ["desk", "admin", "auditor"]
        assert api_keys.listing(conn)[0]["revoked_ms"] == NOW
        assert second_factors.listing(conn, Account("Amna", "admin", key="amna")) == []
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.sessions)) == 0
        assert conn.scalar(sa.select(schema.tokens.c.used_ms)) == NOW
        (row,) = devices.listing(conn, "LHR-1")
        assert (row["revoked_by"], row["reason"]) == ("Bina", "stolen")
        assert settle.unsettled(conn) == []
    before = lines(other)
    started(other)
    assert lines(other) == before


@pytest.mark.parametrize("harm", ["missing", "shorter", "one line changed", "of another key"])
def test_where_the_journal_is_lost_too_a_person_must_confirm(
    harm: str, settings: Settings, copied: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, file = went_back(settings, copied[0], tmp_path), settings.data_dir / FILE
    held = file.read_text().splitlines(keepends=True)
    if harm == "missing":
        file.unlink()
    elif harm == "shorter":
        file.write_text(held[0])
    elif harm == "one line changed":
        file.write_text("".join([held[0].replace('"n":1', '"n":01'), *held[1:]]))
    else:
        other_key = Ed25519PrivateKey.generate()
        bodies = [line.rpartition(" ")[0] for line in held]
        signed = [f"{body} {base64.b64encode(other_key.sign(body.encode())).decode()}\n" for body in bodies]
        file.write_text("".join(signed))
    with pytest.raises(StoreError, match=r"may be undone; put it back, or .*--confirm-by NAME"):
        started(other)
    with opened(other) as store, store.read() as conn:
        assert settle.unsettled(conn) != []
    words = ["--data", str(other.data_dir), "--database", other.database_url]
    capsys.readouterr()
    with closing(Store.open(other.database_url)) as store, store.write() as conn:
        conn.execute(sa.delete(schema.persons))  # names need no proof here
    assert main(["restore", *words]) == 2
    assert main(["restore", "--confirm-by", "Bina", *words]) == 0
    started(other)
    with opened(other) as store, store.read() as conn:
        assert conn.scalar(sa.select(schema.restores.c.confirmed_by)) == "Bina"
        assert conn.scalar(sa.select(schema.decisions.c.act).order_by(schema.decisions.c.id.desc())) == "restored"
        assert lines(other) == list(conn.scalars(sa.select(schema.journal.c.line).order_by(schema.journal.c.n)))


def killed_before_its_commit(store: Store, conn: sa.Connection, device: str) -> None:
    devices.revoke(conn, device, "Bina", "", NOW)
    assert store.journal is not None
    store.journal.keep(conn, conn.info["journal"])
    raise KeyboardInterrupt


def test_a_line_of_a_transaction_that_did_not_end_is_carried_out_by_the_next(
    settings: Settings, either_store: Store, gateway: Callable[..., object]
) -> None:
    one, two = gateway(either_store).device, gateway(either_store).device  # type: ignore[attr-defined]
    started(settings)
    with opened(settings) as store:
        with pytest.raises(KeyboardInterrupt), store.write() as conn:
            killed_before_its_commit(store, conn, one)
        with store.read() as conn:
            assert devices.revoked(conn) == frozenset()
        with store.write() as conn:
            devices.revoke(conn, two, "Bina", "", NOW)
        with store.read() as conn:
            assert devices.revoked(conn) == {one, two}


def test_half_a_line_was_never_promised(
    settings: Settings, either_store: Store, gateway: Callable[..., object]
) -> None:
    one = gateway(either_store).device  # type: ignore[attr-defined]
    started(settings)
    whole = lines(settings)
    with (settings.data_dir / FILE).open("a") as file:
        file.write('{"n":9,"prev":"')
    with opened(settings) as store, store.write() as conn:
        devices.revoke(conn, one, "Bina", "", NOW)
    assert lines(settings)[: len(whole)] == whole
    assert [json.loads(line.rpartition(" ")[0])["table"] for line in lines(settings)[len(whole) :]] == [
        "devices",
        "revocations",
    ]


def test_a_decision_that_cannot_be_noted_is_not_made(
    settings: Settings, either_store: Store, gateway: Callable[..., object]
) -> None:
    one = gateway(either_store).device  # type: ignore[attr-defined]
    settings = settings.model_copy(update={"backup": BackupSection(journal=settings.data_dir / "none" / "x.journal")})
    with opened(settings) as store:
        with pytest.raises(StoreError, match="cannot be written"), store.write() as conn:
            devices.revoke(conn, one, "Bina", "", NOW)
        with store.read() as conn:
            assert devices.revoked(conn) == frozenset()


def test_a_lost_journal_beside_a_database_that_lives_is_written_anew(
    settings: Settings, copied: tuple[Path, list[str]]
) -> None:
    held = lines(settings)
    (settings.data_dir / FILE).unlink()
    started(settings)
    assert lines(settings) == held


def test_a_standard_that_was_adopted_after_the_copy_holds_again(
    settings: Settings, either_store: Store, tmp_path: Path
) -> None:
    started(settings)
    backup(either_store, tmp_path / "copy")
    newer = tmp_path / "newer.toml"
    newer.write_text(EXAMPLE.read_text() + "# as it was adopted\n")
    started(settings.model_copy(update={"standard": StandardSection(files=(newer,))}))
    other = went_back(settings, tmp_path / "copy", tmp_path)  # whose settings are of before too
    adopted = load(newer)
    assert adopted.digest not in {version.digest for version in read_standards(other).versions}
    started(other)
    assert adopted.digest in {version.digest for version in read_standards(other).versions}
    newer.write_text(EXAMPLE.read_text() + "# as it was edited since\n")
    edited = other.model_copy(update={"standard": StandardSection(files=(newer,))})
    started(edited)
    assert [version.digest for version in read_standards(edited).versions] == [load(newer).digest]


def test_who_was_forgotten_and_which_centers_were_registered_outlives_a_restore(
    settings: Settings, either_store: Store, gateway: Callable[..., object], tmp_path: Path
) -> None:
    started(settings)
    fresh = {"center": "PEW-7", "name": "Seven", "tier": "two", "seats_promised": "9", "opening": "always"}
    with opened(settings) as store:
        old = gateway(store)
        with store.write() as conn:
            for name in ("Amna", "Chand"):
                directory.add(conn, name, "kept", "admin", EVERYWHERE, "root", NOW)
            conn.execute(sa.update(schema.devices).values(hostname="chands-pc"))
            sight = {"center": "LHR-1", "device": old.device, "source": "session", "address": "9.9.9.9"}
            conn.execute(sa.insert(schema.sightings).values(**sight, first_ms=1, last_ms=1))
        backup(store, tmp_path / "copy")
        with store.write() as conn:
            conn.execute(sa.update(schema.centers).values(lifecycle="closed"))
            erasure.erase_center(conn, "LHR-1", "Amna", NOW)
            erasure.erase(conn, "Chand", "Amna", NOW)
            centers.add(conn, fresh | {"contact": "Gul", "phone": "+923001234567"}, NOW)
    assert "Gul" not in "".join(lines(settings)), "a journal is for ever"
    other = went_back(settings, tmp_path / "copy", tmp_path)
    started(other)
    with opened(other) as store, store.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.sightings)) == 0
        assert set(conn.scalars(sa.select(schema.devices.c.hostname))) == {""}
        kept = {row.key: row.kept for row in conn.execute(sa.select(schema.persons))}
        assert kept == {"amna": "kept", "chand": erasure.UNUSABLE}
        again = centers.get(conn, "PEW-7")
        assert (again.name, again.seats_promised, again.tier) == ("Seven", 9, "two")
        facts = set(conn.scalars(sa.select(schema.facts.c.name).where(schema.facts.c.center == "PEW-7")))
        assert {"name", "tier", "opening"} <= facts
