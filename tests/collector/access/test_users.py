"""Persons: their passphrases, what they may do, and that a name without its passphrase decides nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.access import approvals, passwords, users
from collector.access.enrolment import issue_token
from collector.access.passwords import Cost
from collector.access.users import HOUR_MS, TRIES_AN_HOUR, PersonError
from collector.register import centers
from collector.store import Store, schema
from tests.collector.empty_stores import empty_store

NOW = 1_795_000_000_000
ROW = {"name": "One", "tier": "one", "seats_promised": "20", "opening": "always"}
QUICK = Cost(64, 1, 1)
SECRETS = {"Ali": "ali likes long walks", "Bina": "bina sails to Gwadar"}
KEY = b"k" * 32
HASH = hashlib.sha256(KEY).hexdigest()
DEVICE = "g" + HASH[:16]


def add(store: Store, name: str, *may: users.May) -> None:
    with store.write() as conn:
        users.add(conn, name, passwords.hash_password(SECRETS[name], QUICK), may or users.MAY, "root", NOW)


def proof(store: Store, name: str, secret: str = "", *, counted: bool = False, now_ms: int = NOW) -> str:
    return users.prove(store, name, secret or SECRETS[name], now_ms, counted=counted).proof


def wait(store: Store, maker: str = "Ali", given: str = "", center: str = "LHR-1") -> None:
    """A gateway that came with a token of `maker` and waits."""
    with store.write() as conn:
        if not centers.some_centers(conn, [center]):
            centers.add(conn, {"center": center, **ROW}, NOW)
        token = hashlib.sha256(issue_token(conn, center, NOW, 3600, maker, proof=given).encode()).hexdigest()
        approvals.request_approval(conn, token, DEVICE, HASH, "box", NOW)


def decide(store: Store, by: str, given: str = "", decision: approvals.Decision = "approved", **about: str) -> None:
    with store.write() as conn:
        approvals.decide(conn, DEVICE, decision, by, NOW + 7, "well known", proof=given, **about)


def reason_of(why: pytest.ExceptionInfo[PersonError]) -> str:
    return why.value.reason


def decisions(store: Store) -> list[sa.RowMapping]:
    with store.read() as conn:
        return list(conn.execute(sa.select(schema.decisions).order_by(schema.decisions.c.id)).mappings())


# ---------------------------------------------------------------- passphrases


def test_a_passphrase_fits_itself_alone_and_is_nowhere_in_what_is_kept() -> None:
    kept = passwords.hash_password("caf\u00e9 at the corner", QUICK)
    assert passwords.verify("cafe\u0301 at the corner", kept)  # as another keyboard writes it
    for wrong in ("", "Caf\u00e9 at the corner", "caf\u00e9 at the corner ", "x" * 10_000):
        assert not passwords.verify(wrong, kept)
    assert "corner" not in kept
    assert passwords.hash_password("caf\u00e9 at the corner", QUICK) != kept


def test_what_is_kept_costs_what_is_recommended() -> None:
    assert passwords.hash_password("any").startswith("$argon2id$v=19$m=47104,t=1,p=1$")


def test_passphrases_that_are_made_are_long_and_never_the_same() -> None:
    made = {passwords.make() for _ in range(200)}
    assert len(made) == 200
    for item in made:
        passwords.judge(item)


@pytest.mark.parametrize("weak", ["", "short", "x" * 13, "a" * 40, "abababababababab", "y" * 201])
def test_a_passphrase_that_can_be_guessed_is_refused(weak: str) -> None:
    with pytest.raises(passwords.Weak, match="take several words"):
        passwords.judge(weak)


# ---------------------------------------------------------------- the register


def test_one_name_is_one_person_however_it_is_written(sqlite_store: Store) -> None:
    add(sqlite_store, "Ali")
    for same in ("ali", " A\uff2c\uff29 ", "ALI"):
        with pytest.raises(PersonError, match="registered already") as why, sqlite_store.write() as conn:
            users.add(conn, same, "x", users.MAY, "root", NOW)
        assert reason_of(why) == "known"
    assert proof(sqlite_store, "aLI", SECRETS["Ali"])


def test_the_register_is_listed_without_what_is_kept_of_passphrases(sqlite_store: Store) -> None:
    add(sqlite_store, "Ali", "issue")
    with sqlite_store.read() as conn:
        (row,) = users.listing(conn)
    assert (row["name"], row["may_issue"], row["may_approve"], row["added_by"]) == ("Ali", True, False, "root")
    assert "argon2" not in str(row)


def test_a_renewed_passphrase_ends_the_old_and_a_removed_person_proves_nothing(sqlite_store: Store) -> None:
    add(sqlite_store, "Ali")
    with sqlite_store.write() as conn:
        users.renew(conn, "ali", passwords.hash_password("another one, quite long", QUICK), "root", NOW)
    with pytest.raises(PersonError):
        proof(sqlite_store, "Ali")
    assert proof(sqlite_store, "Ali", "another one, quite long")
    with sqlite_store.write() as conn:
        users.remove(conn, "Ali", "root", NOW)
    with pytest.raises(PersonError):
        proof(sqlite_store, "Ali", "another one, quite long")
    with pytest.raises(PersonError, match="is not registered"), sqlite_store.write() as conn:
        users.remove(conn, "Ali", "root", NOW)
    assert [row["act"] for row in decisions(sqlite_store)] == ["person_added", "person_renewed", "person_removed"]


def test_what_is_in_doubt_is_named(sqlite_store: Store) -> None:
    def doubt() -> str | None:
        with sqlite_store.read() as conn:
            return users.doubt(conn)

    assert doubt() == "nobody"
    add(sqlite_store, "Ali")
    assert doubt() == "no_pair"
    add(sqlite_store, "Bina", "approve")
    assert doubt() is None
    with sqlite_store.write() as conn:
        users.remove(conn, "Bina", "root", NOW)
        users.remove(conn, "Ali", "root", NOW)
    assert doubt() == "no_pair"  # never "nobody" again: names without a proof stay worthless


# ---------------------------------------------------------------- the proof


@pytest.mark.parametrize(("name", "secret"), [("Ali", "wrong"), ("Ali", ""), ("Nobody", SECRETS["Ali"])])
def test_a_wrong_passphrase_and_a_name_that_nobody_has_are_told_the_same(
    sqlite_store: Store, name: str, secret: str
) -> None:
    add(sqlite_store, "Ali")
    with pytest.raises(PersonError) as why:
        users.prove(sqlite_store, name, secret, NOW, counted=True)
    assert (reason_of(why), str(why.value)[:24]) == ("wrong", "name or password: do not")


@pytest.mark.parametrize("name", ["", " ", "a\x00b", "\ud800", "x" * 65, "\u202eilA"])
def test_what_cannot_be_a_name_is_refused_before_any_look(either_store: Store, name: str) -> None:
    with pytest.raises(PersonError) as why:
        users.prove(either_store, name, "any", NOW, counted=True)
    assert reason_of(why) == "bad_name"


@pytest.mark.parametrize("secret", ["\x00", "\ud800", "\U0001f600" * 300])
def test_a_strange_passphrase_is_only_wrong(either_store: Store, secret: str) -> None:
    add(either_store, "Ali")
    with pytest.raises(PersonError) as why:
        users.prove(either_store, "Ali", secret, NOW, counted=True)
    assert reason_of(why) == "wrong"


@pytest.mark.row(41)
def test_twenty_wrong_passphrases_an_hour_and_no_more_even_all_at_once(either_store: Store) -> None:
    add(either_store, "Ali")

    def guess(number: int) -> str:
        try:
            return proof(either_store, "Ali", f"guess number {number}", counted=True, now_ms=NOW + number)
        except PersonError as error:
            return error.reason

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(guess, range(60)))
    assert answers.count("wrong") == TRIES_AN_HOUR == 20
    assert set(answers) <= {"wrong", "too_many", "busy"}
    with pytest.raises(PersonError, match="within an hour") as why:
        proof(either_store, "Ali", counted=True, now_ms=NOW + 100)  # the right one is not looked at either
    assert reason_of(why) == "too_many"
    assert proof(either_store, "Ali", now_ms=NOW + 100)  # the command on the collector shuts nobody out
    assert proof(either_store, "Ali", counted=True, now_ms=NOW + HOUR_MS + 100)


def test_another_name_is_not_throttled_and_right_passphrases_count_for_nothing(sqlite_store: Store) -> None:
    add(sqlite_store, "Ali")
    add(sqlite_store, "Bina")
    for number in range(3 * TRIES_AN_HOUR):
        assert proof(sqlite_store, "Bina", counted=True, now_ms=NOW + number)
    for _ in range(TRIES_AN_HOUR):
        with pytest.raises(PersonError):
            proof(sqlite_store, "Ali", "wrong", counted=True)
    assert proof(sqlite_store, "Bina", counted=True)
    with sqlite_store.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.wrong_tries)) == TRIES_AN_HOUR


# ---------------------------------------------------------------- decisions


def test_without_persons_names_count_as_given_and_are_recorded_as_not_proven(either_store: Store) -> None:
    wait(either_store)
    decide(either_store, "Bina")
    issued, approved = decisions(either_store)
    assert (issued["act"], issued["person"], issued["is_proven"], issued["center"]) == ("issued", "Ali", False, "LHR-1")
    assert (approved["act"], approved["person"], approved["is_proven"]) == ("approved", "Bina", False)


def test_a_proven_decision_is_a_row_that_names_who_when_and_which_key(either_store: Store) -> None:
    add(either_store, "Ali", "issue")
    add(either_store, "Bina", "approve")
    wait(either_store, given=proof(either_store, "Ali"))
    decide(either_store, "Bina", proof(either_store, "Bina"))
    row = dict(decisions(either_store)[-1])
    row.pop("id")
    assert row == {
        "at_ms": NOW + 7, "act": "approved", "person": "Bina", "is_proven": True, "subject": "", "center": "LHR-1",
        "device": DEVICE, "key_hash": HASH, "reason": "well known",
    }  # fmt: skip


def test_a_decision_that_fails_leaves_no_row(sqlite_store: Store) -> None:
    add(sqlite_store, "Bina")
    with pytest.raises(PersonError):
        decide(sqlite_store, "Bina", proof(sqlite_store, "Bina"))
    assert [row["act"] for row in decisions(sqlite_store)] == ["person_added"]


def test_from_the_first_person_on_a_name_without_a_proof_decides_nothing(sqlite_store: Store) -> None:
    wait(sqlite_store)
    add(sqlite_store, "Bina")
    for name, given in (("Bina", ""), ("Zed", ""), ("Bina", "scrypt$4$8$3$$"), ("Ali", proof(sqlite_store, "Bina"))):
        for decision in ("approved", "refused"):
            with pytest.raises(PersonError) as why:
                decide(sqlite_store, name, given, decision)
            assert reason_of(why) == "not_proven"
    with pytest.raises(PersonError):
        wait(sqlite_store, "Ali")
    with sqlite_store.write() as conn:
        users.remove(conn, "Bina", "root", NOW)
    with pytest.raises(PersonError):
        decide(sqlite_store, "Bina")


def test_a_proof_does_not_outlive_the_passphrase_or_the_person(sqlite_store: Store) -> None:
    wait(sqlite_store)
    add(sqlite_store, "Bina")
    given = proof(sqlite_store, "Bina")
    with sqlite_store.write() as conn:
        users.renew(conn, "Bina", passwords.hash_password("another one, quite long", QUICK), "root", NOW)
    with pytest.raises(PersonError) as why:
        decide(sqlite_store, "Bina", given, "refused")
    assert reason_of(why) == "not_proven"


@pytest.mark.parametrize("same", ["Ali", "ALI", "\uff21li"])
def test_whoever_issued_the_token_does_not_approve_it_with_a_passphrase_either(sqlite_store: Store, same: str) -> None:
    add(sqlite_store, "Ali")
    wait(sqlite_store, given=proof(sqlite_store, "Ali"))
    with pytest.raises(PersonError) as why:
        decide(sqlite_store, same, proof(sqlite_store, "Ali"))
    assert reason_of(why) == "own_token"


def test_a_token_whose_maker_is_not_proven_lets_nobody_in_but_can_be_refused(sqlite_store: Store) -> None:
    wait(sqlite_store, "Zed")  # before there were persons: Bina could have given any name
    add(sqlite_store, "Bina")
    with pytest.raises(PersonError) as why:
        decide(sqlite_store, "Bina", proof(sqlite_store, "Bina"))
    assert reason_of(why) == "maker_not_proven"
    decide(sqlite_store, "Bina", proof(sqlite_store, "Bina"), "refused")


def test_each_does_only_what_they_may(sqlite_store: Store) -> None:
    add(sqlite_store, "Ali", "issue")
    add(sqlite_store, "Bina", "approve")
    with pytest.raises(PersonError) as why:
        wait(sqlite_store, "Bina", proof(sqlite_store, "Bina"))
    assert reason_of(why) == "may_not"
    wait(sqlite_store, given=proof(sqlite_store, "Ali"))
    with pytest.raises(PersonError) as why:
        decide(sqlite_store, "Ali", proof(sqlite_store, "Ali"), "refused")
    assert reason_of(why) == "may_not"


def test_a_gateway_that_waits_for_two_centers_is_let_into_the_one_that_was_meant(sqlite_store: Store) -> None:
    wait(sqlite_store, "Ali", center="LHR-1")
    wait(sqlite_store, "Zed", center="LHR-2")
    with pytest.raises(PersonError, match="LHR-1, LHR-2; add `--center") as why:
        decide(sqlite_store, "Bina")
    assert reason_of(why) == "which_center"
    decide(sqlite_store, "Bina", center="LHR-2")
    with sqlite_store.read() as conn:
        assert [row["center"] for row in approvals.waiting(conn)] == ["LHR-1"]


# ---------------------------------------------------------------- the commands


def test_the_commands_ask_for_passphrases_and_show_them_once(tmp_path: Path) -> None:
    settings = tmp_path / "collector.toml"
    settings.write_text(f'[collector]\ndata_dir = "{tmp_path}"\n[enrolment]\napproval = "second_person"\n')

    def ask(*words: str, given: str = "", code: int = 0) -> str:
        argv = [sys.executable, "-m", "collector", *words, "--config", str(settings)]
        done = subprocess.run(argv, input=given, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    store = empty_store(tmp_path / "nabz.db")
    ali = json.loads(ask("person", "add", "Ali", "--json"))["password"]
    assert "differs" in ask("person", "add", "Bina", "--ask", given="one long passphrase\nanother one here\n", code=1)
    bina = "one long passphrase"
    assert bina not in ask("person", "add", "Bina", "--ask", "--may", "approve", given=f"{bina}\n{bina}\n")
    wait_for = ("enrolment", "approve", DEVICE, "--by")
    with store.write() as conn:
        centers.add(conn, {"center": "LHR-1", **ROW}, NOW)
    assert "do not fit" in ask("token", "LHR-1", "--by", "Ali", given="wrong\n", code=1)
    facts = json.loads(ask("token", "LHR-1", "--by", "Ali", "--json", given=f"{ali}\n"))
    secret = hashlib.sha256(facts["token"].partition(".")[0].encode()).hexdigest()
    with store.write() as conn:
        approvals.request_approval(conn, secret, DEVICE, HASH, "box", NOW)
    assert "another person" in ask(*wait_for, "Ali", given=f"{ali}\n", code=1)
    assert "do not fit" in ask(*wait_for, "Bina", given="", code=1)
    assert "approved by Bina" in ask(*wait_for, "Bina", given=f"{bina}\n")
    assert "Ali" in ask("person", "list")
    assert [row["is_proven"] for row in decisions(store)][-2:] == [True, True]
    store.close()
