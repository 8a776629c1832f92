"""`/metrics` of the gateway's own page for Prometheus (text format 0.0.4): how the agent does, and each newest figure.

Labels are bounded: kinds, subjects and figures of this gateway. What is not known has no line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agent.local.board import StatusView, figures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """One family of figures: each value with its labels."""

    name: str
    help: str
    kind: str  # gauge | counter
    values: list[tuple[dict[str, str], float | None]]


def text_of(view: StatusView) -> str:
    return "".join(line + "\n" for metric in metrics_of(view) for line in _lines(metric))


def metrics_of(view: StatusView) -> Iterator[Metric]:
    yield Metric("nabz_agent_info", "The version that runs", "gauge", [({"version": view.version}, 1)])
    yield _gauge("nabz_agent_started_seconds", "When it started, in seconds since 1970", view.started_ms / 1000)
    yield _gauge("nabz_agent_connected", "1 while a broker takes batches", float(view.uplink == "connected"))
    age_s = _age_s(view, view.last_receipt_ms)
    yield _gauge("nabz_agent_receipt_age_seconds", "Since the collector last confirmed a batch", age_s)
    yield _gauge("nabz_agent_spool_readings", "Readings that wait for their receipt", view.spool_readings)
    yield _gauge("nabz_agent_spool_bytes", "Size of the spool", view.spool_bytes)
    yield _gauge("nabz_agent_spool_limit_bytes", "What the spool may use", view.spool_max_bytes)
    yield _gauge("nabz_agent_clock_synced", "1 while the clock is synchronised", float(view.clock == "synced"))
    yield Metric(
        "nabz_agent_messages_refused_total", "Messages that no collector of ours sealed", "counter",
        [({}, view.messages_refused)],
    )  # fmt: skip
    times_ms = {key: reading.at.wall_ms if reading.at else None for key, reading in view.last.items()}
    ages = [(_labels(key), _age_s(view, at_ms)) for key, at_ms in times_ms.items()]
    yield Metric("nabz_agent_reading_age_seconds", "Age of the newest good reading", "gauge", ages)
    newest = [
        ({**_labels(key), "figure": name}, value)
        for key, reading in view.last.items()
        for name, value in figures(reading).items()
    ]
    yield Metric("nabz_agent_reading", "The newest figures, in the units of docs/wire.md", "gauge", newest)


def _gauge(name: str, help: str, value: float | None) -> Metric:
    return Metric(name, help, "gauge", [({}, value)])


def _labels(key: str) -> dict[str, str]:
    kind, _, subject = key.partition(" ")
    return {"kind": kind, "subject": subject}


def _age_s(view: StatusView, at_ms: int | None) -> float | None:
    return None if at_ms is None else max(0, view.now_ms - at_ms) / 1000


def _lines(metric: Metric) -> Iterator[str]:
    known = [(labels, value) for labels, value in metric.values if value is not None]
    if not known:
        return
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for labels, value in known:
        inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield f"{metric.name}{{{inside}}} {float(value)!r}" if inside else f"{metric.name} {float(value)!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
