"""`nabz-collector incident`: the whole work of one incident at the command line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from collector.__main__ import main
from collector.desk import follow
from collector.standard import Standards, examples
from collector.store import Store, schema


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a verb on a database with one incident; returns (exit code, facts or text)."""
    url = f"sqlite:///{tmp_path}/nabz.db"
    now_ms = time.time_ns() // 1_000_000
    row = {
        "center": "LHR-1", "criterion": "internet.loss", "subject": "", "was": "pending", "now": "raised",
        "at_ms": now_ms, "recorded_ms": now_ms, "value": 30.0, "bound": 2.0,
        "reason": encode(Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%")), "standard": "s",
    }  # fmt: skip
    store = Store.open(url)
    with store.write() as conn:
        conn.execute(sa.insert(schema.changes), [row])
        follow.follow(conn, Standards.of(examples()), now_ms)
    store.close()

    def call(verb: str, *words: str, form: str = "--json") -> tuple[int, Any]:
        by = [] if verb in ("list", "show", "times", "save") else ["--by", "Ayesha"]
        code = main(
            ["incident", verb, *words, *by, "--database", url, "--data", str(tmp_path), *([form] if form else [])]
        )
        shown = capsys.readouterr()
        return code, json.loads(shown.out) if form and code == 0 else shown.out + shown.err

    return call


def test_the_work_of_an_incident(run: Any) -> None:
    assert run("list")[1][0]["place"] == "LHR-1"
    assert run("ack", "1", "--note", "called", "--for", "4h")[1]["state"] == "acknowledged"
    assert run("assign", "1", "--to", "Bilal")[1]["owner"] == "Bilal"
    assert run("take", "1")[1]["owner"] == "Ayesha"
    assert run("start", "1")[1]["state"] == "in_progress"
    assert run("wait", "1", "--party", "provider")[1]["waiting_for"] == "provider"
    assert run("snooze", "1", "--for", "2h", "--note", "work on the line")[1]["is_snoozed"]
    assert run("cause", "1", "--is", "isp_down", "--note", "they said so")[1]["cause"]["name"] == "isp_down"
    assert run("link", "1", "--to", "https://tickets.example.pk/4711")[1]["links"] == [
        "https://tickets.example.pk/4711"
    ]
    assert run("resolve", "1", "--note", "seen on site")[1]["state"] == "resolved"
    assert run("review", "1", "--note", "done")[1]["state"] == "reviewed"
    (times,) = run("times")[1]
    assert (times["group"], times["incidents"], times["taken"], times["resolved"]) == ("Ayesha", 1, 1, 1)
    code, text = run("times", "--by", "district", "--for", "7d", form="")
    assert (code, text.splitlines()[-1].split()[:2]) == (0, ["all", "1"])
    code, text = run("show", "1", form="")
    assert code == 0
    assert "acknowledged by Ayesha  until" in text
    assert "assigned by Ayesha  to Bilal" in text
    assert run("list", form="")[1] == "none\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("ack", "1"), "ack: needs a note"),
        (("show", "9"), "incident 9: there is none"),
        (("merge", "1", "--into", "9", "--note", "x"), "incident 9: there is none"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(run: Any, words: tuple[str, ...], problem: str) -> None:
    code, text = run(*words)
    assert code == 1
    assert problem in text


def test_files_go_with_an_incident_and_come_back(run: Any, tmp_path: Path) -> None:
    photo = tmp_path / "pole.jpg"
    photo.write_bytes(b"\xff\xd8\xff of a pole")
    (one,) = run("attach", "1", str(photo), "--note", "it fell")[1]["files"]
    assert "pole.jpg" in run("show", "1", form="")[1]
    code, text = run("attach", "1", str(photo), form="")
    assert (code, "has it already" in text) == (1, True)
    assert run("save", "1", "--output", str(tmp_path / "files"))[1] == [one]
    (kept,) = (tmp_path / "files").iterdir()
    assert (kept.name, kept.read_bytes()) == (f"{one['sha256'][:16]}-pole.jpg", photo.read_bytes())
    code, text = run("attach", "1", str(tmp_path / "none.jpg"), form="")
    assert (code, "none.jpg" in text) == (1, True)
