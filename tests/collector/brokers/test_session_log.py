"""Sessions as Mosquitto's log tells them: addresses and takeovers of gateways, and nothing of what strangers write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.access.acl import FLAPS, Book
from collector.brokers.session_log import SessionLog

A, B = "g" + "a" * 16, "g" + "b" * 16
ENDS = f"Client {A} already connected, closing old connection."


def began(name: str = A, address: str = "198.51.100.7", user: str = "") -> str:
    return f"New client connected from {address}:44072 as {name} (p2, c1, k60, u'{user or name}')."


@pytest.fixture
def book() -> Book:
    return Book(lambda: 100.0)


def test_a_session_of_a_gateway_is_booked_with_its_address(book: Book) -> None:
    log = SessionLog(book)
    assert all(log.read(line) for line in (began(), began(B, "2001:db8::1"), f"Client {A} disconnected."))
    assert book.sessions() == [(A, "198.51.100.7"), (B, "2001:db8::1")]
    assert book.sessions() == []


def test_two_machines_with_one_key_that_put_each_other_out_are_a_clone(book: Book) -> None:
    log = SessionLog(book)
    log.read(began())
    for n in range(FLAPS):
        log.read(ENDS)
        log.read(began(address=f"198.51.100.{n % 2 + 8}"))
    (found,) = book.findings()
    assert (found.device, found.finding, book.counts["takeover"]) == (A, "clone", FLAPS)


def test_sessions_that_the_collector_ends_by_its_own_accuse_nobody(book: Book) -> None:
    log = SessionLog(book)
    log.read(began())
    book.sessions()
    book.put_out = {A}
    for _ in range(FLAPS):
        log.read(ENDS)
        log.read(began(address="127.0.0.1"))
    assert (book.findings(), book.sessions()) == ([], [])


@pytest.mark.parametrize(
    "line",
    [
        began("collector"), began("x" * 64), began(A, user="other"), began() + " more", "New client connected from ",
        f"New client connected from 198.51.100.7:1 as {A} (p2, c1, k60).", began(A + "a"), began(A, "1" * 500),
    ],
)  # fmt: skip
def test_what_no_listener_with_tls_let_in_is_no_session(book: Book, line: str) -> None:
    assert SessionLog(book).read(line)
    assert book.sessions() == []


def test_what_the_broker_says_of_itself_is_left_to_our_log(book: Book) -> None:
    log = SessionLog(book)
    assert not log.read("Error: Unable to load server key file")
    assert not log.read(f"Warning: {began()}")
    assert book.sessions() == []


PARTS = st.sampled_from(
    [A, B, "New client connected from ", " as ", ENDS, "1.2.3.4:5", " (p2, c1, k60, u'", "').", "\n"]
)


@given(st.lists(st.lists(PARTS | st.text(max_size=9), max_size=9).map("".join), max_size=9))
def test_no_line_breaks_it_and_only_gateways_are_booked(lines: list[str]) -> None:
    book = Book(lambda: 100.0)
    log = SessionLog(book)
    for line in lines:
        log.read(line)
    assert {name for name, _ in book.sessions()} <= {A, B}
