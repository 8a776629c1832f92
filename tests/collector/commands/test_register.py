"""Two persons and a fact of the past: where people are registered, both prove their names."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agent.common.center_time import TZ
from collector.access import passwords, users
from collector.access.passwords import Cost
from collector.access.users import PersonError
from collector.commands.console import TwoPersons
from collector.register import centers
from collector.store import Store
from tests.collector.empty_stores import empty_store

ROW = {"center": "LHR-1", "name": "Johar Town", "tier": "two", "seats_promised": "20", "opening": "always"}
SECRETS = {"Ayesha": "correct horse battery", "Bilal": "staple of the evening"}
NOW = 1_790_000_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with closing(empty_store(tmp_path / "nabz.db")) as store, store.write() as conn:
        centers.add(conn, ROW, NOW)
        for name, may in (("Ayesha", ("issue",)), ("Bilal", ("approve",))):
            users.add(conn, name, passwords.hash_password(SECRETS[name], Cost(64, 1, 1)), may, "root", NOW)  # type: ignore[arg-type]
    return tmp_path


def ran(data: Path, spoken: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    """The command as a person runs it, the passwords typed one after the other."""
    command = [sys.executable, "-m", "collector", "center", "fact", *words, "--data", str(data), "--json"]
    return subprocess.run(command, input="\n".join([*spoken, ""]), capture_output=True, text=True, check=False)


def test_what_holds_from_a_past_day_is_proven_by_two(data: Path) -> None:
    words = ("set", "LHR-1", "isp", "ISP-B", "--from", "2026-01-01", "--reason", "bill", "--by", "Ayesha")
    first, second = SECRETS["Ayesha"], SECRETS["Bilal"]
    invented = ran(data, [second], *words[:-1], "Nobody", "--second", "Bilal")
    assert (invented.returncode, "do not fit" in invented.stderr) == (2, True)
    done = ran(data, [first, second], *words, "--second", "Bilal")
    assert json.loads(done.stdout)["state"] == "holds"


def test_whoever_changes_hours_of_today_that_are_over_proves_who_it_is(data: Path) -> None:
    today = datetime.now(ZoneInfo(TZ)).date().isoformat()
    words = ("set", "LHR-1", "opening", "Mon-Fri 09:00-17:00", "--from", today, "--reason", "asked", "--by")
    for name, secret in (("Nobody", SECRETS["Bilal"]), ("Ayesha", SECRETS["Bilal"])):
        refused = ran(data, [secret], *words, name)
        assert (refused.returncode, "do not fit" in refused.stderr) == (2, True)
    assert json.loads(ran(data, [SECRETS["Ayesha"]], *words, "Ayesha").stdout)["state"] == "waiting"


def test_the_second_person_may_approve_and_is_who_it_is(data: Path) -> None:
    with closing(Store.open(f"sqlite:///{data}/nabz.db")) as store:
        proofs = {name: users.prove(store, name, secret, NOW, counted=False).proof for name, secret in SECRETS.items()}
        with store.write() as conn:
            TwoPersons("Ayesha", "Bilal", proofs["Bilal"]).check(conn)
            with pytest.raises(PersonError, match="may not approve"):
                TwoPersons("Bilal", "Ayesha", proofs["Ayesha"]).check(conn)
            with pytest.raises(PersonError, match="is not proven"):
                TwoPersons("Ayesha", "Bilal", proofs["Ayesha"]).check(conn)
