"""`nabz-collector settings` as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.__main__ import main
from collector.register import centers
from collector.store import Store, schema
from tests.collector.empty_stores import empty_store

ROW = {
    "center": "KHI-1", "name": "Johar Town", "tier": "two", "seats_promised": "20", "opening": "always",
    "province": "Sindh",
}  # fmt: skip
NOW = 1_790_000_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with closing(empty_store(tmp_path / "nabz.db")) as store, store.write() as conn:
        centers.add(conn, ROW, NOW)
    return tmp_path


def ran(data: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["settings", *words, "--data", str(data)])
    shown = capsys.readouterr()
    return code, shown.out + shown.err


def test_a_layer_from_its_first_key_to_its_history(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("set", "--layer", "province=Sindh", "--by", "Ayesha", "--reason", "paid by the megabyte")
    assert ran(data, capsys, *words, "speed.mode=quick", 'speed.slots=["10:00-12:00"]')[0] == 0
    assert ran(data, capsys, "unset", "--layer", "province=Sindh", "speed.slots", "--reason", "over")[0] == 0
    code, shown = ran(data, capsys, "show", "--center", "KHI-1", "--json")
    assert (code, json.loads(shown).keys()) == (0, {"speed.mode"})
    _, shown = ran(data, capsys, "show")
    assert "province=Sindh" in shown
    assert '"quick"' in shown
    _, shown = ran(data, capsys, "diff", "--layer", "province=Sindh")
    assert 'speed.slots  ["10:00-12:00"]' in shown
    _, shown = ran(data, capsys, "history")
    assert "Ayesha" in shown
    assert "paid by the megabyte" in shown
    with closing(Store.open(f"sqlite:///{data}/nabz.db")) as store, store.read() as conn:
        acts = conn.execute(sa.select(schema.decisions.c.act, schema.decisions.c.subject)).all()
    assert acts == [("settings_changed", "province=Sindh")] * 2


def test_what_no_gateway_would_take_ends_with_the_rule_and_the_fix(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("set", "--layer", "country", "--reason", "test")
    code, shown = ran(data, capsys, *words, "speed.monthly_budget_mb=lots")
    assert (code, "must be a whole number" in shown) == (1, True)
    assert "write TABLE.KEY=VALUE" in ran(data, capsys, *words, "speed.mode")[1]
    assert "did you mean Sindh?" in ran(data, capsys, "show", "--layer", "province=Sinhd")[1]
    assert ran(data, capsys, "diff", "--layer", "country", "--to", "7")[0] == 1


def test_how_far_gateways_are_is_counted_and_a_failure_is_an_exit_code(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(data, capsys, "set", "--layer", "country", "--reason", "test", "speed.mode=quick")
    assert ran(data, capsys, "status")[1].startswith("0 applied, 0 trial, 0 waiting, 0 failed, 0 unable")
    _, shown = ran(data, capsys, "show", "--json")
    with closing(Store.open(f"sqlite:///{data}/nabz.db")) as store, store.write() as conn:
        device = {"center": "KHI-1", "device": "g0", "at_ms": NOW}
        conn.execute(sa.insert(schema.devices).values(center="KHI-1", device="g0", public_key=b"", enrolled_ms=NOW))
        report = {"digest": "", "state": "applied", "failed": "x", "why": "no_receipt: 600 s"}
        conn.execute(sa.insert(schema.device_settings).values(**device, **report))
    assert ran(data, capsys, "status")[1].startswith("0 applied, 0 trial, 1 waiting")
    code, shown = ran(data, capsys, "status", "--json")
    wanted = json.loads(shown)["gateways"][0]["wanted"]
    with closing(Store.open(f"sqlite:///{data}/nabz.db")) as store, store.write() as conn:
        conn.execute(sa.update(schema.device_settings).values(failed=wanted))
    code, shown = ran(data, capsys, "status")
    assert (code, "no_receipt: 600 s" in shown) == (1, True)
    assert ran(data, capsys, "retry", "--layer", "country")[1].startswith("country: 1 gateways")
    assert ran(data, capsys, "status")[0] == 0


def test_commands_that_look_make_no_database(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "collector", "settings", "status", "--data", str(tmp_path / "none")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    assert not (tmp_path / "none").exists()
