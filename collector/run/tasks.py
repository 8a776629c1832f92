"""What the running collector does again and again: each function makes one tick, for a `PeriodicTask`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import sqlalchemy as sa

from agent.common.logs import Event
from collector.common.messages import MessageRefused
from collector.desk import follow, settle
from collector.ingest import server_results
from collector.judging import clock, reopening
from collector.judging.clock import ClockWatch
from collector.judging.current import ranks_of
from collector.judging.outages import gaps
from collector.judging.silence import sweep
from collector.register import dated
from collector.reports.disputes import witnessed
from collector.speedtests.measure.delivery import Outgoing
from collector.standard import Standards
from collector.store import Store, center_states, schema, upsert

RECORD_REFUSED = Event(
    __name__, "error", "server_result_refused", "a result of our own measurement server cannot be taken; it is kept in "
    "the folder `refused`", fields="code error",
)  # fmt: skip

Publish = Callable[[Collection[str]], None]  # gets the centers whose state moved

_NEWEST = sa.select(schema.changes.c.center).order_by(schema.changes.c.id.desc())


def clock_ms() -> int:
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def register_task(store: Store) -> Callable[[], None]:
    """What was recorded for a day holds from its first minute on."""

    def tick() -> None:
        with store.write() as conn:
            dated.apply_due(conn, clock_ms())

    return tick


def sweep_task(
    store: Store,
    standards: Standards,
    publish: Publish,
    gap_s: float,
    now_ms: Callable[[], int] = clock_ms,
    mono_ms: Callable[[], int] = monotonic_ms,
) -> Callable[[], None]:
    watch = ClockWatch(mono_ms)

    def tick() -> None:
        with store.write() as conn:
            watch.follow(conn, now_ms())
            upsert(conn, schema.heartbeats, [{"part": "sweep", "at_ms": now_ms()}])
            center_states.settle(conn, ranks_of(standards.at(now_ms())), now_ms())
            agreement, changed = clock.find(conn, standards, now_ms())
            if agreement != "disagrees":
                changed += sweep(conn, standards, now_ms()).changed
            follow.follow(conn, standards, now_ms())
            settle.settle(conn, standards, now_ms())
            moved = set(conn.scalars(_NEWEST.limit(changed))) if changed else set()
            began = gaps.reconsider(conn, now_ms(), gap_s)
            reopening.record_outages(conn, began, now_ms())
            moved |= {code for code, _ in began}
        if moved:
            publish(moved)

    return tick


def collect_task(store: Store, standards: Standards, publish: Publish, outgoing: Outgoing) -> Callable[[], None]:
    def tick() -> None:
        for path in outgoing.waiting():
            try:
                with store.write() as conn:
                    touched = server_results.take_record(conn, path.read_bytes(), clock_ms(), standards)
                    follow.follow(conn, standards, clock_ms())
            except MessageRefused as refused:
                RECORD_REFUSED.log(code=refused.finding, error=refused)
                outgoing.set_aside(path)
            else:
                outgoing.done(path)
                publish(touched)

    return tick


def witnessed_task(store: Store, secret: bytes) -> Callable[[], None]:
    """Asks for the tests before a witness whose moment has come."""

    def look() -> None:
        with store.read() as conn:
            waits = witnessed.is_waiting(conn, clock_ms())
        if waits:
            with store.write() as conn:
                witnessed.draw(conn, secret, clock_ms())

    return look


def unreported_task(store: Store, standards: Standards, publish: Publish) -> Callable[[], None]:
    """Tests for which no gateway speaks count by what their servers saw."""

    def tick() -> None:
        with store.write() as conn:
            touched = server_results.count_unreported(conn, clock_ms(), standards)
            if touched:
                follow.follow(conn, standards, clock_ms())
        if touched:
            publish(touched)

    return tick


def follow_task(store: Store, publish: Publish) -> Callable[[], None]:
    """Publishes centers whose readings other workers took."""
    seen_ms = clock_ms()

    def tick() -> None:
        nonlocal seen_ms
        pulse = schema.pulse.c
        with store.read() as conn:
            rows = conn.execute(sa.select(pulse.center, pulse.heard_ms).where(pulse.heard_ms >= seen_ms)).all()
        if rows:
            seen_ms = max(row.heard_ms for row in rows)
            publish({row.center for row in rows})

    return tick
