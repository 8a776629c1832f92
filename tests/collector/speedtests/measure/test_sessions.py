"""Who may test at a measurement server, and what is recorded of it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.common.tcp import address_group
from agent.common.tcp.http_server import HttpRefused
from collector.speedtests.measure.limits import Limits
from collector.speedtests.measure.record import encode
from collector.speedtests.measure.sessions import Count, Session, Sessions
from collector.speedtests.measure.tcpinfo import crossed
from collector.speedtests.measure.token import Claims

HERE, THERE = "192.0.2.1", "192.0.2.2"


def start(sessions: Sessions, name: str = "t1", address: str = HERE, now: float = 0.0) -> Session:
    return sessions.enter(name, "", address, now, 1_795_000_000_000)


def refusal(sessions: Sessions, name: str = "t1", address: str = HERE, now: float = 0.0) -> HttpRefused:
    with pytest.raises(HttpRefused) as caught:
        start(sessions, name, address, now)
    return caught.value


def finish(sessions: Sessions, now: float) -> None:
    sessions.tick(now + sessions.limits.test_idle_s + 1)


def test_requests_of_one_name_are_one_test() -> None:
    sessions = Sessions(Limits(), None)
    assert start(sessions) is start(sessions)
    assert start(sessions, "t2") is not start(sessions)


def test_unnamed_requests_of_one_address_are_one_test() -> None:
    sessions = Sessions(Limits(), None)
    assert start(sessions, "") is start(sessions, "")
    assert start(sessions, "", THERE) is not start(sessions, "")


def test_a_full_server_says_when_to_come_again() -> None:
    sessions = Sessions(Limits(tests_at_once=1, retry_after_s=7), None)
    start(sessions)
    refused = refusal(sessions, "t2", THERE)
    assert (refused.status, refused.retry_after_s) == (503, 7)
    finish(sessions, 0)
    start(sessions, "t2", THERE, 10)


def test_an_address_starts_so_many_tests_an_hour() -> None:
    sessions = Sessions(Limits(tests_per_address=2), None)
    for number in range(2):
        start(sessions, f"t{number}")
        finish(sessions, 0)
    assert refusal(sessions, "t3", now=100).status == 429
    assert refusal(sessions, "t3", now=100).retry_after_s == 3501
    start(sessions, "t3", THERE, 100)
    start(sessions, "t4", now=3601)


def test_a_tests_name_is_used_once() -> None:
    sessions = Sessions(Limits(), None)
    start(sessions)
    finish(sessions, 0)
    assert "used once" in refusal(sessions, now=60).why


def test_a_tests_name_belongs_to_the_address_that_began_it() -> None:
    sessions = Sessions(Limits(), None)
    start(sessions)
    assert refusal(sessions, address=THERE).status == 403


def test_a_test_has_so_many_bytes() -> None:
    sessions = Sessions(Limits(bytes_per_test=1000), None)
    start(sessions).moved = 1000
    assert refusal(sessions).status == 429
    (record,) = sessions.tick(10)
    assert record.end == "bytes"


class Book:
    """Admits those with a token, each for so many bytes; notes whose token was taken."""

    def __init__(self, max_bytes: int = 2**40) -> None:
        self.max_bytes = max_bytes
        self.used: list[str] = []

    def check(self, test: str, token: str, address: str, now_ms: int) -> Claims | None:
        if token == "bad":
            raise HttpRefused(403, "bad_signature: no")
        if not token:
            return None
        return Claims(
            test=test, device="g1", server="s", expires_ms=now_ms + 1, max_bytes=self.max_bytes, purpose="desk"
        )

    def use(self, claims: Claims, now_ms: int) -> None:
        self.used.append(claims.test)


def test_who_admits_gives_the_reason() -> None:
    sessions = Sessions(Limits(), Book())
    with pytest.raises(HttpRefused) as caught:
        sessions.enter("t1", "bad", HERE, 0, 0)
    assert (caught.value.status, caught.value.why) == (403, "bad_signature: no")
    assert not sessions.running


def test_only_a_test_with_a_token_is_witnessed() -> None:
    assert start(Sessions(Limits(), None)).record(0, None).witnessed is False
    assert start(Sessions(Limits(), Book())).record(0, None).witnessed is False
    assert Sessions(Limits(), Book()).enter("t1", "token", HERE, 0, 0).record(0, None).witnessed is True


def test_a_token_is_taken_once_for_all_requests_of_its_test_and_no_other_joins_it() -> None:
    book = Book()
    sessions = Sessions(Limits(), book)
    for _ in range(3):
        sessions.enter("t1", "token", HERE, 0, 0)
    assert book.used == ["t1"]
    with pytest.raises(HttpRefused, match="other_token"):
        sessions.enter("t1", "", HERE, 0, 0)


def test_a_token_bounds_what_its_test_may_move() -> None:
    test = Sessions(Limits(bytes_per_test=100), Book(max_bytes=10)).enter("t1", "token", HERE, 0, 0)
    test.moved = 9
    assert not test.spent
    test.moved = 10
    assert test.spent
    assert Sessions(Limits(bytes_per_test=5), Book(max_bytes=10)).enter("t1", "token", HERE, 0, 0).most_bytes == 5


def test_a_token_is_not_taken_by_a_test_that_has_to_wait() -> None:
    book = Book()
    sessions = Sessions(Limits(tests_at_once=1), book)
    sessions.enter("t1", "token", HERE, 0, 0)
    with pytest.raises(HttpRefused, match="queued"):
        sessions.enter("t2", "token", HERE, 0, 0)
    assert book.used == ["t1"]


# ---------------------------------------------------------------- the queue


def test_a_full_server_queues_and_tells_each_its_place() -> None:
    sessions = Sessions(Limits(tests_at_once=1), None)
    start(sessions)
    assert [refusal(sessions, f"w{n}").position for n in range(3)] == [1, 2, 3]
    assert refusal(sessions, "w1").position == 2


def test_a_place_that_comes_free_is_kept_for_the_first_in_the_queue() -> None:
    sessions = Sessions(Limits(tests_at_once=1), None)
    start(sessions)
    refusal(sessions, "first")
    finish(sessions, 0)
    assert refusal(sessions, "late", now=7).position == 2
    start(sessions, "first", now=8)
    assert refusal(sessions, "late", now=9).position == 1


def test_whoever_does_not_ask_again_in_time_has_left_the_queue() -> None:
    sessions = Sessions(Limits(tests_at_once=1, waiting_s=15), None)
    start(sessions)
    refusal(sessions, "gone")
    finish(sessions, 0)
    assert refusal(sessions, "late", now=14).position == 2
    start(sessions, "late", now=16)


def test_the_queue_is_bounded_for_all_and_for_one_address() -> None:
    sessions = Sessions(Limits(tests_at_once=1, waiting=3, waiting_per_address=2), None)
    start(sessions)
    refusal(sessions, "a"), refusal(sessions, "b")
    crowded = refusal(sessions, "c")
    assert (crowded.position, crowded.why.partition(":")[0]) == (None, "queue_full")
    assert refusal(sessions, "d", THERE).position == 3
    assert refusal(sessions, "e", THERE).position is None


def test_a_test_ends_when_it_has_been_idle_but_not_while_it_is_connected() -> None:
    sessions = Sessions(Limits(test_idle_s=5), None)
    session = start(sessions)
    number = session.join(lambda: Count(down=5))
    assert sessions.tick(20) == []
    session.leave(number)
    assert sessions.tick(24) == []
    (record,) = sessions.tick(26)
    assert (record.end, record.down.bytes) == ("idle", 5)


def test_a_test_that_never_ends_is_ended() -> None:
    sessions = Sessions(Limits(test_s=120), None)
    session = start(sessions)
    session.join(Count)
    (record,) = sessions.tick(121)
    assert record.end == "time"
    assert session.over


def test_the_record_draws_what_moved_each_way_over_time() -> None:
    sessions = Sessions(Limits(), None)
    session = start(sessions, now=100)
    down = {"total": 0}
    number = session.join(lambda: Count(down=down["total"], min_rtt_us=900))
    for tick in range(1, 6):
        down["total"] = 1000 * tick if tick > 1 else 0
        sessions.tick(100 + tick / 10)
    session.leave(number)
    session.join(lambda: Count(up=70, min_rtt_us=700))
    record = session.record(101, None)
    # The curve begins where it still stood.
    assert record.down.at_ms == [100, 200, 300, 400, 500]
    assert record.down.total == [0, 2000, 3000, 4000, 5000]
    assert (record.up.bytes, record.up.total[-1], record.connections, record.min_rtt_ms) == (70, 70, 2, 0.7)
    assert all(a < b for a, b in pairwise(record.down.at_ms))


def test_the_oldest_records_make_room() -> None:
    sessions = Sessions(Limits(records_kept=2), None)
    for name in ("t1", "t2", "t3"):
        start(sessions, name)
        finish(sessions, 0)
    assert [sessions.record(name, 0) is None for name in ("t1", "t2", "t3")] == [True, False, False]


def test_a_record_is_sealed_with_the_servers_key() -> None:
    key = Ed25519PrivateKey.generate()
    record = start(Sessions(Limits(), None)).record(1, None)
    assert json.loads(encode(record, None))["test"] == "t1"
    body, signature = wire.unseal(encode(record, key.sign))
    key.public_key().verify(signature, body)
    assert body == encode(record, None)


@pytest.mark.parametrize(
    ("address", "whole"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_an_address_of_ipv6_stands_for_its_subscriber(address: str, whole: str) -> None:
    assert address_group(address) == whole


@pytest.mark.parametrize(
    ("in_order", "segments", "holes", "counted"),
    [
        (14480, 12, 0, 14480),  # two duplicates
        (10136, 10, 3, 14480),  # three wait for a hole to be filled
        (400_000, 1000, 3, 400_000),  # segments that were not full
        (2_000_000, 1000, 3, 2_000_000),  # the kernel's guess of a segment was too small: these are here
    ],
)
def test_bytes_that_wait_for_a_hole_have_crossed_the_line(
    in_order: int, segments: int, holes: int, counted: int
) -> None:
    assert crossed(in_order, segments, 1448, holes) == counted
