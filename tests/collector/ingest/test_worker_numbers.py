"""An ingest worker takes the certificate of its own number: brokers end the older of two sessions with one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.access.ca import Authority
from collector.common.config import ConfigError, Settings
from collector.ingest.workers import work
from collector.standard import Standards


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
