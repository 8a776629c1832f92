"""An ingest worker takes the certificate of its own number: brokers end the older of two sessions with one. And each
has heartbeats of its own, by which `serve` knows of one that hangs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.access.ca import Authority
from collector.common.config import ConfigError, Settings
from collector.ingest.workers import WorkerBeats, work
from collector.standard import Standards
from collector.store import schema, upsert
from tests.collector.empty_stores import empty_store


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


def test_a_worker_is_as_old_as_its_last_new_heartbeat_whatever_its_clock(tmp_path: Path) -> None:
    store, now_s = empty_store(tmp_path / "nabz.db"), [100.0]
    beats = WorkerBeats(store, ["ingest worker 2", "ingest worker 3"], lambda: now_s[0])
    ages: list[tuple[float, float]] = []
    for after_s, at_ms in ((5, 9_000), (5, 9_000), (5, 1_000), (5, None)):
        now_s[0] += after_s
        if at_ms is not None:
            with store.write() as conn:
                upsert(conn, schema.heartbeats, [{"part": "ingest worker 2", "at_ms": at_ms}])
        beats.look()
        ages.append((beats.age_s("ingest worker 2"), beats.age_s("ingest worker 3")))
    store.close()
    assert ages == [(0, 5), (5, 10), (0, 15), (5, 20)]
