"""Figures of an ingest worker, as Prometheus reads them."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from collector.common.config import ConfigError
from collector.ingest.metrics import served
from tests.helpers.programs.prometheus import scraping


@dataclass
class Worker:
    readings: int = 7

    def age_s(self) -> float:
        return 1.5

    def is_connected(self) -> bool:
        return True


def test_a_worker_tells_its_figures_as_they_are_now() -> None:
    worker = Worker()
    with served(worker, 0) as port:
        first, worker.readings = _get(port), 9
        second = _get(port)
        with pytest.raises(ConfigError, match=f"metrics_port: {port} cannot be used"), served(worker, port):
            pass
    assert "nabz_ingest_readings_total 7.0" in first
    assert {"nabz_ingest_readings_total 9.0", "nabz_ingest_wait_seconds 1.5", "nabz_ingest_connected 1.0"} <= set(
        second.splitlines()
    )
    assert "process_cpu_seconds_total" in second


@pytest.mark.slow
def test_a_real_prometheus_scrapes_it(tmp_path: Path) -> None:
    with served(Worker(), 0) as port, scraping(tmp_path, f"127.0.0.1:{port}") as prometheus:
        prometheus.wait_for("nabz_ingest_readings_total", "7")
        prometheus.wait_for("up", "1")


def _get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return str(answer.read().decode())
