"""An ingest worker takes the certificate of its own number: brokers end the older of two sessions with one. And each
has heartbeats of its own, by which `serve` knows of one that hangs."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.access.ca import Authority
from collector.common.config import ConfigError, Settings
from collector.ingest.workers import WorkerBeats, work
from collector.standard import Standards
from collector.store import Store
from collector.store.jobs.workers import WorkerRow, forget, name_of, record, rows


@pytest.fixture
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [2, 3])
def test_a_worker_has_the_certificate_of_its_number(tmp_path: Path, number: int) -> None:
    settings = Settings.model_validate(
        {
            "collector": {"data_dir": tmp_path},
            "ingest": {"workers": 4},
            "broker": {"url": "mqtts://127.0.0.1:1", "kind": "embedded"},
        }
    )
    with pytest.raises(ConfigError, match="SQLite has one writer"):
        work(settings, Standards.of([]), lambda: 1_800_000_000_000, number)
    authority = Authority(tmp_path, 1_800_000_000_000)
    assert [other for other in (2, 3, 4) if authority.files(f"service-{other}").cert.exists()] == [number]


HERE = socket.gethostname()[:64]
TWO, THREE, OTHER = (name_of(2, HERE), name_of(3, HERE), name_of(1, "second"))


def beaten(store: Store, machine: str, number: int, at_ms: int, waits: str = "", wait_s: float = 0.0) -> None:
    with store.write() as conn:
        record(conn, WorkerRow(machine, number, at_ms, None, waits, wait_s))


def test_a_worker_is_as_old_as_its_last_new_heartbeat_whatever_its_clock(either_store: Store) -> None:
    now_s = [100.0]
    beats = WorkerBeats(either_store, [2, 3], lambda: now_s[0])
    ages: list[tuple[float, float]] = []
    for after_s, at_ms in ((5, 9_000), (5, 9_000), (5, 1_000), (5, None)):
        now_s[0] += after_s
        if at_ms is not None:
            beaten(either_store, HERE, 2, at_ms)
        assert beats.look() == [TWO, THREE]
        ages.append((beats.age_s(TWO), beats.age_s(THREE)))
    assert ages == [(0, 5), (5, 10), (0, 15), (5, 20)]


def test_a_worker_of_another_machine_is_watched_from_its_first_word_on(either_store: Store) -> None:
    now_s = [100.0]
    beats = WorkerBeats(either_store, [], lambda: now_s[0])
    assert beats.look() == []
    beaten(either_store, "second", 1, 1)
    assert beats.look() == [OTHER]
    now_s[0] += 41  # it hangs, or its machine went
    assert beats.look() == [OTHER]
    assert beats.age_s(OTHER) == 41
    beaten(either_store, "second", 1, 2, "broker", 70.0)
    assert beats.look() == [OTHER]
    assert beats.age_s(OTHER) == 70, "it says that it works, and that nothing comes by its broker"


def test_a_worker_that_went_is_named_for_an_hour_and_one_that_was_stopped_not_at_all(either_store: Store) -> None:
    now_s = [100.0]
    beats = WorkerBeats(either_store, [2], lambda: now_s[0])
    beaten(either_store, "second", 1, 1)
    beaten(either_store, "third", 1, 1)
    beats.look()
    with either_store.write() as conn:
        forget(conn, "third", 1)
    now_s[0] += 3_601
    assert beats.look() == [OTHER, TWO]
    assert beats.look() == [TWO], "the one that must be there is never forgotten"
    with either_store.read() as conn:
        assert rows(conn) == []
