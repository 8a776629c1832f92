"""A file is moved or deleted under the collector: it is noticed, no receipt is given after that, and the next start
refuses to begin anew beside the old keys. The gateway's own file: tests/agent/spool/test_queue.py."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.rig import House, account, newest, wait_for

pytestmark = pytest.mark.row(51)
NOTICED_S = 10.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def settled(house: House) -> None:
    """Readings are taken."""
    house.open()
    wait_for(lambda: newest(house, "link") is not None, "the first reading")


def ends(house: House) -> float:
    """Seconds until the collector has ended, by itself and in words."""
    begun_s = time.monotonic()
    assert house.processes["collector"].wait(120) == 1
    took_s = time.monotonic() - begun_s
    assert "file_gone" in log(house) or "moved or deleted under the collector" in log(house)
    del house.processes["collector"]
    return took_s


def log(house: House) -> str:
    return (house.folder / "collector.log").read_text()


def refused(house: House) -> str:
    done = subprocess.run(house.argv["collector"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.slow
def test_a_database_that_is_moved_away_ends_receipts_and_is_missed_at_the_next_start(house: House) -> None:
    settled(house)
    data = house.folder / "data"
    (data / "nabz.db").rename(house.folder / "kept.db")
    assert ends(house) < NOTICED_S
    assert "is empty, but" in refused(house)
    assert not (data / "nabz.db").exists()
    for suffix in ("-wal", "-shm"):
        (data / f"nabz.db{suffix}").unlink(missing_ok=True)
    (house.folder / "kept.db").rename(data / "nabz.db")
    house.start("collector")
    house.wait_healthy()
    assert account(house, house.deliver(60)).clean


@pytest.mark.slow
def test_a_database_that_is_deleted_is_rescued_from_its_open_file(house: House) -> None:
    settled(house)
    data = house.folder / "data"
    for path in data.glob("nabz.db*"):
        path.unlink()
    ends(house)
    assert "is empty, but" in refused(house)
    (rescued,) = data.glob("nabz.db.rescued-*")
    rescued.rename(data / "nabz.db")
    house.start("collector")
    house.wait_healthy()
    assert account(house, house.deliver(60)).clean


@pytest.mark.slow
def test_a_log_that_is_deleted_costs_nothing(house: House) -> None:
    settled(house)
    (house.folder / "data" / "nabz.db-wal").unlink()
    assert ends(house) < NOTICED_S
    house.start("collector")
    house.wait_healthy()
    assert account(house, house.deliver(60)).clean


@pytest.mark.slow
@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_data_folder_that_is_taken_away_ends_receipts(how: str, house: House) -> None:
    settled(house)
    data = house.folder / "data"
    if how == "moved":
        data.rename(house.folder / "elsewhere")
    else:
        shutil.rmtree(data)
    assert ends(house) < NOTICED_S


@pytest.mark.row(52)
def test_a_second_collector_on_the_folder_is_refused_and_the_first_goes_on(house: House) -> None:
    house.start("broker")
    house.start("collector")
    house.wait_healthy()
    assert f"in use by the collector with process id {house.processes['collector'].pid}" in refused(house)
    house.wait_healthy()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["decisions.journal", "collector.lock", "nabz.db"])
def test_what_is_cut_or_lets_a_second_collector_in_ends_receipts(name: str, house: House) -> None:
    settled(house)
    path = house.folder / "data" / name
    if name == "collector.lock":
        path.unlink()
    else:
        with path.open("r+b") as file:
            file.truncate(10)
    assert ends(house) < NOTICED_S
