"""`/metrics` of an ingest worker for Prometheus, on this machine alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.common.errors import describe
from collector.common.config import ConfigError

HERE = "127.0.0.1"


class WorkerFigures(Protocol):
    """What a worker knows of itself."""

    @property
    def readings(self) -> int: ...
    def age_s(self) -> float: ...
    def is_connected(self) -> bool: ...


class WorkerCollector(Collector):
    """The figures as they are when they are asked for."""

    def __init__(self, worker: WorkerFigures) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("nabz_ingest_readings", "Readings taken since the start", self._worker.readings)
        yield GaugeMetricFamily("nabz_ingest_wait_seconds", "Oldest message without a commit", self._worker.age_s())
        yield GaugeMetricFamily("nabz_ingest_connected", "1: all brokers give messages", self._worker.is_connected())


@contextmanager
def served(worker: WorkerFigures, port: int) -> Iterator[int]:
    """At this port while the block runs; its number. Raises ConfigError for one that is taken."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(WorkerCollector(worker))
    try:
        server, thread = start_http_server(port, addr=HERE, registry=registry)
    except OSError as error:
        raise ConfigError(
            f"[ingest] metrics_port: {port} cannot be used ({describe(error)}); name a free one"
        ) from None
    try:
        yield int(server.server_port)
    finally:
        stop: Callable[[], None] = server.shutdown
        stop()
        server.server_close()
        thread.join()
