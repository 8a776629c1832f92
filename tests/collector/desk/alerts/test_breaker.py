"""A channel that fails again and again is left alone, and one that hangs costs one message and nobody else's time."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from collector.desk import follow
from collector.desk.alerts import breaker
from collector.desk.alerts.breaker import FAILURES, LONGEST_REST_S, REST_S, Breaker
from collector.desk.alerts.channel import AlertMessage, Channel, SendFailed
from collector.desk.alerts.outbox import Outbox
from collector.desk.alerts.queue import BACKOFF_S
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless_standards
from tests.helpers.waiting import wait_until

NOON = 1_770_000_000_000


def failed(times: int) -> Breaker:
    found = Breaker()
    for _ in range(times):
        found = breaker.after_failure(found, "down", NOON)
    return found


@pytest.mark.parametrize(
    ("failures", "rest_s"),
    [(1, 0), (FAILURES - 1, 0), (FAILURES, REST_S), (FAILURES + 2, 4 * REST_S), (40, LONGEST_REST_S)],
)
def test_it_rests_longer_the_more_often_it_fails(failures: int, rest_s: int) -> None:
    found = failed(failures)
    assert breaker.admits(found, NOON) is (rest_s == 0)
    assert breaker.admits(found, NOON + rest_s * 1000)
    assert breaker.state_of(found, NOON + rest_s * 1000) == ("half_open" if rest_s else "closed")


def test_one_message_that_goes_out_closes_it() -> None:
    assert breaker.state_of(breaker.after_sending(NOON), NOON) == "closed"
    assert breaker.after_failure(breaker.after_sending(NOON), "down", NOON).failures == 1


def change(store: Store, center: str) -> None:
    row = {
        "center": center, "criterion": "internet.loss", "subject": "", "was": "pending", "now": "raised", "at_ms": NOON,
        "recorded_ms": NOON, "value": 30.0, "bound": 2.0, "standard": "s",
        "reason": encode(Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%")),
    }  # fmt: skip
    with store.write() as conn:
        conn.execute(sa.insert(schema.changes), [row])


def states(store: Store) -> list[str]:
    with store.read() as conn:
        return list(conn.scalars(sa.select(schema.alerts.c.state).order_by(schema.alerts.c.id)))


def test_a_channel_that_rests_is_not_called(sqlite_store: Store) -> None:
    calls: list[str] = []

    def send(message: AlertMessage) -> None:
        calls.append(message.title)
        raise SendFailed("down")

    now_ms = [NOON]
    box = Outbox(sqlite_store, [Channel("desk", send)], timeless_standards(), "http://x", lambda: now_ms[0])
    for number in range(FAILURES + 3):
        change(sqlite_store, f"X-{number}")
        box.look()
    assert len(calls) == FAILURES
    assert states(sqlite_store) == ["waiting"] * (FAILURES + 3)
    now_ms[0] += max(REST_S, BACKOFF_S[0]) * 1000
    box.look()
    assert len(calls) == FAILURES + 1  # one message tries it
    box.stop()


def test_a_message_without_an_answer_is_unsure_and_the_next_has_its_turn(sqlite_store: Store) -> None:
    """A channel that takes the message and never answers."""
    release, got = threading.Event(), []

    def send(message: AlertMessage) -> None:
        got.append(message.title)
        if len(got) == 1:
            release.wait(60)

    box = Outbox(sqlite_store, [Channel("desk", send)], timeless_standards(), "http://x", lambda: NOON, deadline_s=0.05)
    change(sqlite_store, "X-1")
    change(sqlite_store, "X-2")
    box.tick()
    wait_until(lambda: states(sqlite_store) == ["unsure", "sent"], 30)
    release.set()
    box.stop()
    assert len(got) == 2


def test_a_commit_that_people_are_to_be_told_of_wakes_whoever_waits(sqlite_store: Store) -> None:
    woken: list[int] = []
    sqlite_store.on_news = lambda: woken.append(len(states(sqlite_store)))
    change(sqlite_store, "X-1")
    assert woken == []
    with sqlite_store.write() as conn:
        follow.follow(conn, timeless_standards(), NOON)
        assert woken == []  # not before the commit
    assert len(woken) == 1


def test_a_transaction_that_is_rolled_back_wakes_nobody(sqlite_store: Store) -> None:
    woken: list[int] = []
    sqlite_store.on_news = lambda: woken.append(1)
    change(sqlite_store, "X-1")

    def fails() -> None:
        with sqlite_store.write() as conn:
            follow.follow(conn, timeless_standards(), NOON)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with sqlite_store.write() as conn:
        conn.execute(sa.select(schema.incidents))
    assert woken == []


def test_urgent_words_of_what_is_over_are_not_sent_hours_later(sqlite_store: Store) -> None:
    """A channel was down while a battery ran empty and was charged again: only the end is news."""
    now_ms, got, down = [NOON], [], [True]

    def send(message: AlertMessage) -> None:
        if down[0]:
            raise SendFailed("down")
        got.append(message.title)

    box = Outbox(sqlite_store, [Channel("desk", send)], timeless_standards(), "http://x", lambda: now_ms[0])
    change(sqlite_store, "X-1")
    box.look()
    now_ms[0] += 2 * 3_600_000
    with sqlite_store.write() as conn:
        conn.execute(sa.insert(schema.changes).from_select(
            ["center", "criterion", "subject", "was", "now", "at_ms", "recorded_ms", "reason", "standard"],
            sa.select(schema.changes.c.center, schema.changes.c.criterion, sa.literal(""), sa.literal("raised"),
                      sa.literal("clear"), sa.literal(now_ms[0]), sa.literal(now_ms[0]), schema.changes.c.reason,
                      schema.changes.c.standard),
        ))  # fmt: skip
    down[0] = False
    box.look()
    box.stop()
    assert states(sqlite_store) == ["failed", "sent"]
    assert got == ["X-1: Packet loss is well again"]
