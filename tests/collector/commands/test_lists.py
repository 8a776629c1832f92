"""Lists at the command line: flags, messages, incidents and centers as a table, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from collector.__main__ import main
from collector.desk import follow
from collector.register.centers import Center
from collector.standard import Standards, examples
from collector.store import Store, schema, upsert


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    url, now_ms = f"sqlite:///{tmp_path}/nabz.db", time.time_ns() // 1_000_000
    reason = encode(Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%"))
    change = {
        "center": "LHR-1", "criterion": "internet.loss", "subject": "", "was": "pending", "now": "raised",
        "at_ms": now_ms, "recorded_ms": now_ms, "value": 30.0, "bound": 2.0, "reason": reason, "standard": "s",
    }  # fmt: skip
    flag = {
        "center": "LHR-1", "criterion": "internet.loss", "subject": "", "state": "raised", "since_ms": now_ms,
        "judged_until_ms": now_ms, "memory": "[]", "verdict": "below", "value": 30.0, "bound": 2.0, "reason": reason,
        "standard": "s",
    }  # fmt: skip
    alert = {
        "kind": "change", "event": 1, "center": "LHR-1", "channel": "box", "title": "t", "text": "x", "state": "sent",
        "attempts": 1, "next_ms": 1, "made_ms": now_ms,
    }  # fmt: skip
    store = Store.open(url)
    with store.write() as conn:
        for code, province in (("LHR-1", "Punjab"), ("KHI-1", "Sindh")):
            home = Center(
                code=code, name=code, tier="three", seats_promised=10, opening="always", lifecycle="declared",
                province=province,
            )  # fmt: skip
            upsert(conn, schema.centers, [home.row()])
        conn.execute(sa.insert(schema.changes), [change])
        conn.execute(sa.insert(schema.flags), [flag])
        follow.follow(conn, Standards.of(examples()), now_ms)
        conn.execute(sa.insert(schema.alerts), [alert])
    store.close()

    def call(*words: str) -> str:
        assert main([*words, "--database", url, "--data", str(tmp_path)]) == 0
        return capsys.readouterr().out

    return call


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_flags(run: Any) -> None:
    assert json.loads(run("flag", "list", "--json"))[0]["criterion"] == "internet.loss"
    assert rows(run("flag", "list", "--csv"))[0]["province"] == "Punjab"
    assert "LHR-1" in run("flag", "list")
    assert json.loads(run("flag", "list", "--province", "Sindh", "--json")) == []
    assert json.loads(run("flag", "list", "--center", "KHI-1", "--json")) == []


def test_messages(run: Any) -> None:
    assert json.loads(run("alert", "list", "--incident", "1", "--json"))[0]["channel"] == "box"
    assert json.loads(run("alert", "list", "--state", "failed", "--json")) == []
    assert rows(run("alert", "list", "--csv"))[0]["act"] == "opened"
    assert "box" in run("alert", "list", "--channel", "box")


def test_incidents(run: Any) -> None:
    assert rows(run("incident", "list", "--csv"))[0]["place"] == "LHR-1"


def test_centers_by_state_and_province(run: Any) -> None:
    assert [one["center"] for one in json.loads(run("center", "list", "--state", "all", "--json"))] == [
        "LHR-1",
        "KHI-1",
    ]
    assert (
        json.loads(run("center", "list", "--state", "waiting", "--province", "Sindh", "--json"))[0]["center"] == "KHI-1"
    )
    assert json.loads(run("center", "list", "--state", "meets", "--json")) == []
    assert [one["center"] for one in rows(run("center", "list", "--province", "Sindh", "--csv"))] == ["KHI-1"]
