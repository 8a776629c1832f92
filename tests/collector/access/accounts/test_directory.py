"""The register as accounts: what was there before, its journal, and the commands."""

from __future__ import annotations

import contextlib
import json
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.__main__ import main
from collector.access import passwords, users
from collector.access.accounts import activity, api_keys, directory, second_factors
from collector.access.accounts.activity import ActFilter
from collector.access.users import PersonError
from collector.common.config import CollectorTable, DatabaseSection, Settings
from collector.common.scope import EVERYWHERE, Scope
from collector.run.upgrades import opened_and_upgraded
from collector.store import Store, migrate, schema
from collector.web import auth
from collector.web.app import build
from collector.web.live import Hub
from tests.collector.empty_stores import empty_store
from tests.collector.standard.timeless import timeless_standards

NOW = 1_795_000_000_000
QUICK = passwords.Cost(64, 1, 1)
BEFORE = "0015"  # the newest step of programs that had one token and no roles


def test_a_data_folder_of_before_opens_with_its_people_and_its_link(database_url: str, tmp_path: Path) -> None:
    """People of before are of the desk, for all centers, with the rights they had; the link makes one an admin."""
    token = "t" * 43
    (tmp_path / auth.TOKEN_FILE).write_text(f"{token}\n")
    kept = "scrypt$4$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$AAAA"
    with closing(Store.attach(database_url)) as store, store.write() as conn:
        migrate.upgrade(conn, BEFORE)
        insert = "INSERT INTO persons (key, name, kept, may_issue, may_approve, added_ms, added_by, removed_ms) VALUES "
        conn.execute(sa.text(insert + f"('ali', 'Ali', '{kept}', true, false, 1, 'root', NULL)"))
        conn.execute(sa.text(insert + f"('zed', 'Zed', '{kept}', true, true, 1, 'root', 2)"))
    settings = Settings(collector=CollectorTable(data_dir=tmp_path), database=DatabaseSection(url=database_url))
    with opened_and_upgraded(settings, migrates=True) as store:
        with store.read() as conn:
            ali, zed = directory.everybody(conn)
            assert users.registered(conn), "names that had to be proven still have to be"
        assert (ali.account.role, ali.account.scope, ali.may, zed.removed_ms) == ("desk", EVERYWHERE, ("issue",), 2)
        key = Ed25519PrivateKey.generate()
        app = build(store, settings, Hub(), standards=timeless_standards(), key=key, now=lambda: NOW)
        link = next(item.kwargs["site"].first_link for item in app.user_middleware if "site" in item.kwargs)
        assert link.knows(token)


def test_an_operator_without_centers_and_an_admin_of_some_cannot_be(sqlite_store: Store) -> None:
    punjab = Scope(province=frozenset({"Punjab"}))
    for role, scope in (("operator", EVERYWHERE), ("admin", punjab), ("king", EVERYWHERE)):
        with pytest.raises(PersonError), sqlite_store.write() as conn:
            directory.add(conn, "Ali", "kept", role, scope, "root", NOW)  # type: ignore[arg-type]
    with sqlite_store.read() as conn:
        assert directory.everybody(conn) == []


def test_there_is_always_an_admin(sqlite_store: Store) -> None:
    with sqlite_store.write() as conn:
        directory.add(conn, "Amna", "kept", "admin", EVERYWHERE, "root", NOW)
    for change in (
        lambda conn: directory.remove(conn, "Amna", "root", NOW),
        lambda conn: directory.set_role(conn, "Amna", "desk", EVERYWHERE, "root", NOW),
    ):
        with pytest.raises(PersonError) as why, sqlite_store.write() as conn:
            change(conn)
        assert why.value.reason == "last_admin"
    with sqlite_store.write() as conn:
        directory.add(conn, "Bina", "kept", "admin", EVERYWHERE, "root", NOW)
        directory.remove(conn, "Amna", "root", NOW)
        assert directory.has_admin(conn)


def test_whoever_may_issue_no_more_does_not_make_names_unproven(sqlite_store: Store) -> None:
    with sqlite_store.write() as conn:
        directory.add(conn, "Amna", "kept", "admin", EVERYWHERE, "root", NOW)
        assert not users.registered(conn)
        directory.add(conn, "Ali", "kept", "desk", EVERYWHERE, "root", NOW)
        assert users.registered(conn)
        directory.remove(conn, "Ali", "root", NOW)
        directory.add(conn, "Ali", "kept", "auditor", EVERYWHERE, "root", NOW)
        assert users.registered(conn)


def test_an_act_and_its_row_are_of_one_transaction(sqlite_store: Store) -> None:
    with contextlib.suppress(ZeroDivisionError), sqlite_store.write() as conn:
        directory.add(conn, "Amna", "kept", "admin", EVERYWHERE, "root", NOW)
        raise ZeroDivisionError
    with sqlite_store.read() as conn:
        assert (directory.everybody(conn), activity.page(conn, ActFilter(), 9)) == ([], [])


def test_a_secret_that_another_key_sealed_or_that_is_anothers_is_none(sqlite_store: Store) -> None:
    one, two = (second_factors.Seal(Ed25519PrivateKey.generate()) for _ in range(2))
    sealed = one.seal("LETTERS", "ali")
    assert one.unseal(sealed, "ali") == "LETTERS"
    assert two.unseal(sealed, "ali") is None
    assert one.unseal(sealed, "bina") is None


# ---------------------------------------------------------------- the commands


def test_the_commands_make_people_keys_and_contacts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def ask(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main([*words, "--data", str(tmp_path)]) == code
        printed = capsys.readouterr()
        return printed.out if code == 0 else printed.err

    empty_store(tmp_path / "nabz.db").close()
    made = json.loads(ask("person", "add", "Ali", "--role", "operator", "--owner", "Trust", "--json"))
    assert len(made["password"]) == 24
    assert "of their own" in ask("person", "add", "Bina", "--role", "operator", code=1)
    renewed = json.loads(ask("person", "password", "Ali", "--json"))["password"]
    ask("person", "role", "Ali", "--role", "desk", "--district", "Lahore", "--district", "Kasur")
    ask("person", "end-sessions", "Ali")
    (ali,) = json.loads(ask("person", "list", "--json"))
    assert (ali["role"], ali["scope"]) == ("desk", {"district": ["Kasur", "Lahore"]})
    key = json.loads(ask("key", "add", "board", "--province", "Sindh", "--json"))["key"]
    assert "auditor" in ask("key", "list")
    ask("key", "revoke", key[5:15])
    assert "not in use" in ask("key", "revoke", key[5:15], code=1)
    kept = json.loads(ask("contact", "set", "provider", "PTCL", "--telephone", "0421234567", "--json"))
    assert (kept["id"], kept["telephone"]) == (1, "+92421234567")
    assert "correct it" in ask("contact", "set", "provider", "PTCL", "--telephone", "none", code=1)
    ask("contact", "remove", "1")
    assert json.loads(ask("contact", "list", "--json")) == []
    center = ("--code", "LHE-1", "--name", "One", "--tier", "one", "--seats-promised", "5", "--opening", "always")
    ask("center", "add", *center, "--lifecycle", "probation", "--by", "Hamid")
    ask("center", "move", "LHE-1", "declared", "--by", "Hamid")
    with closing(empty_store(tmp_path / "nabz.db")) as store, store.read() as conn:
        found = [row["act"] for row in reversed(activity.page(conn, ActFilter(), 50))]
        assert api_keys.find(conn, key, NOW) is None
        assert passwords.verify(renewed, str(conn.scalar(sa.select(schema.persons.c.kept))))
    assert found == [
        "person_added", "person_renewed", "role_set", "key_added", "key_revoked", "contact_set", "contact_removed",
        "center_added", "center_changed",
    ]  # fmt: skip
