"""`nabz-collector route`, `rota` and `plan`: from nothing to a rehearsal of who would be told."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from collector.__main__ import main
from collector.access.accounts import contacts, directory
from collector.access.accounts.policy import Account
from collector.common.scope import EVERYWHERE
from collector.desk import follow
from collector.register.centers import Center
from collector.standard import Standards, examples
from collector.store import Store, schema, upsert

# Apprise's optional PGP part asks the interpreter for a module that Python 3.13 no longer has.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
CONFIG = '[[alerts.channels]]\nname = "sms"\nurl = "json://127.0.0.1:1/{telephone}"\n'


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command on a database with one incident and one officer; returns (exit code, facts or text)."""
    url, now_ms = f"sqlite:///{tmp_path}/nabz.db", time.time_ns() // 1_000_000
    config = tmp_path / "collector.toml"
    config.write_text(CONFIG)
    row = {
        "center": "LHR-1", "criterion": "internet.loss", "subject": "", "was": "pending", "now": "raised",
        "at_ms": now_ms, "recorded_ms": now_ms, "value": 30.0, "bound": 2.0,
        "reason": encode(Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%")), "standard": "s",
    }  # fmt: skip
    home = Center(
        code="LHR-1", name="Gulberg", tier="three", seats_promised=10, opening="always", lifecycle="declared",
        district="Lahore",
    )  # fmt: skip
    store = Store.open(url)
    with store.write() as conn:
        upsert(conn, schema.centers, [home.row()])
        conn.execute(sa.insert(schema.changes), [row])
        follow.follow(conn, Standards.of(examples()), now_ms)
        directory.add(conn, "Ayesha", "-", "desk", EVERYWHERE, "Root", 1)
        given = {"kind": "person", "name": "Ayesha", "telephone": "+923001234567"}
        contacts.keep(conn, contacts.parse(given, EVERYWHERE), Account("Root", "admin", key="root"), 1)
    store.close()

    def call(*words: str, form: str = "--json") -> tuple[int, Any]:
        by = [] if words[1] in ("list", "who") or words[:2] == ("route", "test") else ["--by", "Ayesha"]
        known = ["--config", str(config), "--database", url, "--data", str(tmp_path)]
        code = main([*words, *by, *known, *([form] if form else [])])
        shown = capsys.readouterr()
        return code, json.loads(shown.out) if form and code == 0 else shown.out + shown.err

    return call


def test_from_nothing_to_a_rehearsal(run: Any) -> None:
    assert run("route", "test", "1") == (0, [])
    assert run("rota", "add", "desk", "--member", "ayesha", "--turn", "1d") == (0, {"id": 1})
    assert run("rota", "who")[1][0]["on_duty"] == "ayesha"
    assert run("plan", "set", "night", "--step", "0m operator", "--step", "10m rota desk") == (0, {"plan": "night"})
    assert run("route", "add", "--plan", "night", "--district", "Lahore") == (0, {"id": 1})
    steps = run("route", "test", "1")[1]
    assert [(one["step"], one["person"], one["is_sent"]) for one in steps] == [(1, "", False), (2, "Ayesha", True)]
    code, text = run("route", "test", "1", form="")
    assert code == 0
    assert "you are on duty (desk)" in text
    assert "nobody is behind operator" in text


def test_an_override_and_what_is_removed(run: Any) -> None:
    run("rota", "add", "desk", "--member", "Ayesha")
    span = ("--from", "2020-01-01", "--to", "2099-01-01")
    assert run("rota", "override", "1", *span, "--reason", "closed")[0] == 0
    assert run("rota", "list")[1][0]["on_duty"] is None
    assert "nobody" in run("rota", "list", form="")[1]
    assert "override 1 of rota 1: nobody" in run("rota", "list", form="")[1]
    assert run("rota", "remove-override", "1") == (0, {"id": 1, "removed": True})
    assert run("rota", "list")[1][0]["on_duty"] == "ayesha"
    run("route", "add")
    assert run("route", "list")[1][0]["plan"] == "example"
    assert run("route", "remove", "1")[1]["removed"]
    assert run("rota", "remove", "1")[1]["removed"]
    assert run("route", "list")[1] == run("rota", "list")[1] == []


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("route", "add", "--plan", "none"), 1, "plan 'none': is not there"),
        (("route", "remove", "9"), 1, "route 9: is not there"),
        (("plan", "set", "p", "--step", "soon operator"), 1, "time 'soon': is none"),
        (("plan", "set", "p", "--step", "1m everybody"), 1, "target 'everybody'"),
        (("plan", "remove", "example"), 1, "is not one of yours"),
        (("rota", "add", "desk", "--member", "Nobody"), 1, "has no account"),
        (("rota", "add", "two words", "--member", "Ayesha"), 1, "must be a word"),
        (("rota", "add", "desk", "--member", "Ayesha", "--hours", "never"), 1, "hours 'never'"),
        (("rota", "who", "--at", "2026-13-01"), 2, "2026-13-01"),
        (("rota", "override", "3", "--from", "2026-01-01", "--to", "2026-01-02", "--reason", "x"), 1, "rota 3"),
        (("rota", "remove-override", "9"), 1, "override 9: is not there"),
        (("route", "test", "77"), 1, "incident 77: there is none"),
    ],
)
def test_what_cannot_be_is_a_sentence(run: Any, words: tuple[str, ...], code: int, problem: str) -> None:
    found = run(*words)
    assert found[0] == code
    assert problem in found[1]


def test_a_plan_that_a_route_goes_by_stays(run: Any) -> None:
    run("plan", "set", "night", "--step", "0m role desk")
    run("route", "add", "--plan", "night")
    assert "a route goes by it" in run("plan", "remove", "night")[1]
    run("route", "remove", "1")
    assert run("plan", "remove", "night")[0] == 0
    assert "night" not in {one["plan"] for one in run("plan", "list")[1]}


def test_a_test_message_goes_to_one_person(run: Any) -> None:
    assert run("alert", "test", "sms", "--person", "ayesha") == (0, {"id": 1, "channel": "sms"})
    (row,) = run("alert", "list")[1]
    assert (row["kind"], row["person"], row["address"], row["state"]) == ("test", "ayesha", "+923001234567", "waiting")
    assert "has no telephone" in run("alert", "test", "sms")[1]
    assert "is not in the settings" in run("alert", "test", "mail")[1]
