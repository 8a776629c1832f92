"""Decisions outlive a restore: the journal is written first, and what it has beyond a copy is carried out again."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.__main__ import main
from collector.access import devices, passwords, users
from collector.access.accounts import api_keys, directory, erasure, second_factors, sessions
from collector.access.accounts.policy import Account
from collector.access.signing_key import load_or_make
from collector.acts import adoption, disputes, restored
from collector.acts.notices import NoticeBoard
from collector.acts.person import ActingPerson
from collector.common.config import BackupSection, CollectorTable, DatabaseSection, Settings, StandardSection
from collector.common.scope import EVERYWHERE
from collector.recovery import settle
from collector.register import calendar, centers, facts, imports
from collector.register.centers import Center
from collector.reports import revisions
from collector.reports.disputes import records
from collector.reports.disputes.dispute import Filing, Ruling
from collector.run.settings import read_standards
from collector.standard import Standards, examples, load
from collector.store import Store, StoreError, schema, upsert
from collector.store.backup import backup, begin_epoch, restore
from collector.store.database import opened
from collector.store.journal import FILE, rows
from tests.collector.store.test_copies import empty
from tests.helpers import ROOT

NOW, DAY = 1_795_000_000_000, 86_400_000
EXAMPLE = ROOT / "collector" / "standard" / "example-2026-1.toml"
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
            centers.add(conn, fresh | {"contact": "Gul Bano", "phone": "+923001234567"}, NOW)
    noted = [rows.unpacked(json.loads(line.rpartition(" ")[0])["row"]) for line in lines(settings)]
    assert any("Seven" in str(of) for of in noted)
    assert not any("Gul Bano" in str(of) or "923001234567" in str(of) for of in noted), "a journal is for ever"
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


# ---------------------------------------------------------------- what people record


def recorded(conn: sa.Connection, by: str, value: str) -> facts.Fact:
    """A fact of LHR-1 from a past day, by two persons."""
    how = facts.Recording(from_ms=0, now_ms=NOW, today_ms=NOW, by=by, reason="lease", second="Sara")
    return centers.set_fact(conn, "LHR-1", "owner", value, how)


def closure(reason: str) -> calendar.CalendarEntry:
    return calendar.CalendarEntry(
        kind="closure", scope="center", subject="LHR-1", from_ms=NOW - 9 * DAY, to_ms=NOW - 8 * DAY, recorded_ms=NOW,
        recorded_by="Ali", reason=reason,
    )  # fmt: skip


@pytest.fixture
def registered(settings: Settings, either_store: Store) -> Settings:
    """A collector that knows one center."""
    shared = {"tier": "one", "seats_promised": 20, "lifecycle": "declared", "opening": "always"}
    with either_store.write() as conn:
        center = Center(code="LHR-1", name="x", owner="Old", **shared)
        upsert(conn, schema.centers, [center.row()])
    started(settings)
    return settings


HEADER = f"{','.join(centers.COLUMNS)}\n"


def brought_in(conn: sa.Connection, code: str, name: str) -> int:
    """A center by an import of its own; the number of that."""
    new = replace(centers.get(conn, "LHR-1"), code=code, name=name, tier="two", opening="Mon-Fri 09:00-21:00")
    line = ",".join(str(new.facts()[column] or "") for column in centers.COLUMNS)
    origin = imports.Origin(by="Ali", reason="list", file="a.csv", sha256=code.ljust(64, "0"))
    number = imports.do_import(conn, [HEADER, f"{line}\n"], NOW, None, origin).number
    assert number is not None
    return number


def codes(conn: sa.Connection) -> set[str]:
    return set(conn.scalars(sa.select(schema.centers.c.center)))


def test_imports_are_whole_after_a_restore_and_those_taken_back_stay_so(registered: Settings, tmp_path: Path) -> None:
    again = imports.Origin(by="Ali", reason="wrong file", second="Sara")
    with opened(registered) as store:
        with store.write() as conn:
            kept = brought_in(conn, "KHI-1", "taken back later")
        backup(store, tmp_path / "copy")
        with store.write() as conn:
            imports.undo(conn, kept, again, NOW)
            after, gone = brought_in(conn, "KHI-2", "after"), brought_in(conn, "KHI-3", "gone")
            imports.undo(conn, gone, again, NOW)
    other = went_back(registered, tmp_path / "copy", tmp_path)
    with opened(other) as store:
        settle.settle(store, other, NOW + 2, partial(restored.follow, now_ms=NOW + 2))
        with store.write() as conn:
            assert codes(conn) == {"LHR-1", "KHI-2"}
            assert [row["undone_ms"] for row in imports.listed(conn)] == [NOW, None, NOW]
            assert imports.undo(conn, after, again, NOW).removed == ("KHI-2",)
            assert codes(conn) == {"LHR-1"}
            assert brought_in(conn, "KHI-4", "numbers go on") == gone + 1
    noted = lines(other)
    started(other)
    assert lines(other) == noted


def test_facts_calendar_and_decisions_after_a_copy_hold_again_after_its_restore(
    registered: Settings, either_store: Store, tmp_path: Path
) -> None:
    ali, sara = ActingPerson(name="Ali", now_ms=NOW), ActingPerson(name="Sara", now_ms=NOW + 1)
    standards = Standards.of(examples())
    filing = Filing(center="LHR-1", month="2026-11", text="wrong")
    with opened(registered) as store:
        with store.write() as conn:
            calendar.add(conn, [closure("before")], second="Sara")
            disputes.file(conn, filing, ali, standards, 30)
        backup(store, tmp_path / "copy")
        with store.write() as conn:
            recorded(conn, "Ali", "New Trust")
            calendar.add(conn, [closure("after")], second="Sara")
            calendar.withdraw(conn, calendar.by_ids(conn, [1]), "Ali", "none", NOW, "Sara")
            ruling = Ruling(outcome="upheld", reason="seen", excused=(NOW - 5 * DAY, NOW - 4 * DAY))
            disputes.decide(conn, 1, ruling, sara, NoticeBoard())
            adoption.propose(conn, standards.versions[0], "12", ali)
            adoption.adopt(conn, standards.versions[0], sara)
            for at_ms in (NOW, NOW + 1):
                revisions.give(conn, "LHR-1", 7, 1, "Owner", at_ms, given_by="Ali")
            brought_in(conn, "KHI-9", "New")
    other = went_back(registered, tmp_path / "copy", tmp_path)
    with opened(other) as store:
        settle.settle(store, other, NOW + 2, partial(restored.follow, now_ms=NOW + 2))
        with store.read() as conn:
            assert centers.get(conn, "LHR-1").owner == "New Trust"
            again = centers.get(conn, "KHI-9")
            assert (again.tier, again.opening) == ("two", "Mon-Fri 09:00-21:00")
            entries = {one.reason: one.state for one in calendar.listed(conn, 0, 2**53)}
            assert entries == {"before": "withdrawn", "after": "holds", "dispute 1: seen": "holds"}
            assert records.get(conn, 1).outcome == "upheld"
            assert [one.state for one in adoption.states_of(conn, standards.versions)][-1] == "adopted"
            assert [row["person"] for row in revisions.recipients_of(conn, "LHR-1")] == ["Owner"]
        with store.write() as conn:  # and work goes on, numbers and all
            assert disputes.file(conn, replace(filing, day="2026-11-05"), ali, standards, 30).id == 2
            recorded(conn, "Bina", "Third Trust")
    before = lines(other)
    started(other)
    assert lines(other) == before


def broken_off(store: Store, conn: sa.Connection) -> None:
    calendar.add(conn, [closure("broken off")], second="Sara")
    assert store.journal is not None
    store.journal.keep(conn, conn.info["journal"])
    raise KeyboardInterrupt


def test_a_number_that_a_broken_off_transaction_had_is_another_rows_and_neither_is_lost(registered: Settings) -> None:
    with opened(registered) as store:
        with pytest.raises(KeyboardInterrupt), store.write() as conn:
            broken_off(store, conn)
        with store.write() as conn:
            calendar.add(conn, [closure("whole")], second="Sara")
        with store.write() as conn:
            found = {one.reason: one for one in calendar.listed(conn, 0, 2**53)}
            assert found.keys() == {"broken off", "whole"}
            calendar.withdraw(conn, [found["broken off"]], "Ali", "none", NOW, "Sara")
        with store.read() as conn:
            states = {one.reason: one.state for one in calendar.listed(conn, 0, 2**53)}
    assert states == {"broken off": "withdrawn", "whole": "holds"}
    before = lines(registered)
    started(registered)
    assert lines(registered) == before


def test_rows_of_an_older_program_are_noted_at_a_start_and_once(registered: Settings) -> None:
    with opened(registered) as store, store.write() as conn:
        calendar.add(conn, [closure(f"day {n}") for n in range(450)], second="Sara")
        conn.info.pop("journal")  # as a program did that kept none of these
    before = lines(registered)
    started(registered)
    noted = [json.loads(line.rpartition(" ")[0]) for line in lines(registered)[len(before) :]]
    assert [one["table"] for one in noted] == ["calendar"] * 3
    assert sum(len(rows.unpacked(one["row"])) for one in noted) == 450
    assert len("".join(lines(registered))) < 450 * 100  # packed
    after = lines(registered)
    started(registered)
    assert lines(registered) == after
