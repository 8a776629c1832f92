"""`/metrics` for Prometheus (text format 0.0.4): how the collector does and how many centers are in which state.

Labels are bounded: states, severities, criteria of the standard, channels and parts. No center, person or address is
one, so ten thousand centers cost no more series than ten.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa
from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from starlette.responses import Response

from collector.desk.alerts import breaker, queue
from collector.desk.incident import OPEN
from collector.store import center_states, queries, schema
from collector.store.jobs import rows as job_rows
from collector.store.jobs import workers
from collector.web.site import Site

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_f, _i, _al, _x, _k = (
    schema.flags.c, schema.incidents.c, schema.alerts.c, schema.escalations.c, schema.channels.c,
)  # fmt: skip

Fill = Callable[[CollectorRegistry, sa.Connection, Site, int], None]


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/metrics")
    def metrics() -> Response:
        return Response(text_of(site), media_type=CONTENT_TYPE)

    return routes


def text_of(site: Site) -> bytes:
    """All figures as they are now. Raises UNAVAILABLE."""
    registry, began_s = CollectorRegistry(), time.perf_counter()
    ProcessCollector(registry=registry)
    with site.store.read() as conn:
        for fill in FIGURES:
            fill(registry, conn, site, site.now())
    Gauge("nabz_build_info", "The version that runs", ["version"], registry=registry).labels(site.version).set(1)
    took = Gauge("nabz_metrics_seconds", "How long these figures took to collect", registry=registry)
    took.set(time.perf_counter() - began_s)
    return generate_latest(registry)


def _centers(registry: CollectorRegistry, conn: sa.Connection, site: Site, now_ms: int) -> None:
    gauge = Gauge("nabz_centers", "Centers by state", ["state"], registry=registry)
    for state, count in center_states.counts(conn, site.ranks(conn), queries.Filter()).items():
        gauge.labels(state).set(count)
    newest_ms = conn.scalar(sa.select(sa.func.max(schema.pulse.c.heard_ms)))
    if newest_ms is not None:
        age = Gauge("nabz_newest_batch_age_seconds", "Since any center was last heard", registry=registry)
        age.set(max(0, now_ms - newest_ms) / 1000)


def _incidents(registry: CollectorRegistry, conn: sa.Connection, _site: Site, now_ms: int) -> None:
    gauge = Gauge("nabz_incidents_open", "Open incidents", ["state", "severity"], registry=registry)
    query = sa.select(_i.state, _i.severity, sa.func.count(), sa.func.min(_i.opened_ms)).where(_i.state.in_(OPEN))
    oldest_ms = now_ms
    for state, severity, count, opened_ms in conn.execute(query.group_by(_i.state, _i.severity)):
        gauge.labels(state, severity).set(count)
        oldest_ms = min(oldest_ms, opened_ms) if state == "new" else oldest_ms
    age = Gauge("nabz_incident_oldest_new_seconds", "Age of the oldest incident nobody looks after", registry=registry)
    age.set((now_ms - oldest_ms) / 1000)
    waiting = sa.select(sa.func.count()).select_from(schema.escalations).where(_x.done_ms.is_(None))
    steps = Gauge("nabz_escalation_steps_pending", "Steps of escalation plans that are to come", registry=registry)
    steps.set(conn.scalar(waiting) or 0)


def _flags(registry: CollectorRegistry, conn: sa.Connection, site: Site, now_ms: int) -> None:
    gauge = Gauge("nabz_flags_raised", "Raised flags by criterion", ["criterion"], registry=registry)
    standard = site.standards.at(now_ms)
    for criterion in standard.by_id if standard else ():
        gauge.labels(criterion).set(0)
    query = sa.select(_f.criterion, sa.func.count()).where(_f.state.in_(queries.OPEN)).group_by(_f.criterion)
    for criterion, count in conn.execute(query):
        gauge.labels(criterion).set(count)


def _alerts(registry: CollectorRegistry, conn: sa.Connection, _site: Site, now_ms: int) -> None:
    gauge = Gauge("nabz_alerts", "Messages by channel and state", ["channel", "state"], registry=registry)
    for channel, state, count in conn.execute(
        sa.select(_al.channel, _al.state, sa.func.count()).group_by(_al.channel, _al.state)
    ):
        gauge.labels(channel, state).set(count)
    rests = Gauge(
        "nabz_channel_resting", "1 while a channel is left alone after failures", ["channel"], registry=registry
    )
    for channel in conn.scalars(sa.select(_k.channel)):
        rests.labels(channel).set(breaker.state_of(queue.breaker_of(conn, channel), now_ms) == "open")


def _parts(registry: CollectorRegistry, conn: sa.Connection, site: Site, now_ms: int) -> None:
    gauge = Gauge("nabz_part_age_seconds", "Since a part last did its work", ["part"], registry=registry)
    late = Gauge("nabz_part_late", "1 for a part that has not done its work in time", ["part"], registry=registry)
    for part in site.health.parts:
        gauge.labels(part.part).set(part.age_s())
        late.labels(part.part).set(part.is_late)
    commit = Gauge(
        "nabz_ingest_worker_commit_seconds", "Since a worker last committed messages", ["worker"], registry=registry
    )
    waits = Gauge(
        "nabz_ingest_worker_waits_seconds", "How long a worker waits for it", ["worker", "waits"], registry=registry
    )
    for row in workers.rows(conn):
        if row.committed_ms is not None:
            commit.labels(row.name).set(max(0, now_ms - row.committed_ms) / 1000)
        if row.waits:
            waits.labels(row.name, row.waits).set(row.wait_s)


def _jobs(registry: CollectorRegistry, conn: sa.Connection, _site: Site, now_ms: int) -> None:
    """What is not known of a job has no sample."""
    label = ["job"]
    age = Gauge("nabz_job_age_seconds", "Since a job last succeeded, of shards the last", label, registry=registry)
    failures = Gauge("nabz_job_failures", "Failures of a job since it last succeeded", label, registry=registry)
    held = Gauge("nabz_job_held", "1 while a process does a job, or all shards of it", label, registry=registry)
    backlog = Gauge("nabz_job_backlog", "What waits for a job", label, registry=registry)
    oldest = Gauge("nabz_job_oldest_seconds", "How long the first of it waits", label, registry=registry)
    for row in job_rows.rows(conn, now_ms):
        failures.labels(row.name).set(row.failures)
        held.labels(row.name).set(bool(row.holder))
        for gauge, value in ((age, row.age_ms), (oldest, row.oldest_ms)):
            if value is not None:
                gauge.labels(row.name).set(value / 1000)
        if row.backlog is not None:
            backlog.labels(row.name).set(row.backlog)


FIGURES: tuple[Fill, ...] = (_centers, _incidents, _flags, _alerts, _parts, _jobs)
