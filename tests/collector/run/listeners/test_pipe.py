"""Notes between `serve` and a listener's process: they arrive whole, and neither end waits for the other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from collector.run.listeners.child import Relay
from collector.run.listeners.news import COLLECTOR, CollectorNews, Forwarding
from collector.run.listeners.pipe import ListenerNote, ListenerPipe, State
from collector.web.health import Health, Needed, Watched
from collector.web.live import Hub
from tests.helpers.waiting import PATIENCE_S, wait_until

CODES = [f"LHR-{number}" for number in range(10_000)]


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def test_a_nation_s_codes_arrive_in_order_and_the_end_is_noticed(line: tuple[socket.socket, socket.socket]) -> None:
    notes: list[ListenerNote] = []
    ended = threading.Event()
    reader, writer = (
        ListenerPipe("reader", line[0], notes.append, ended.set),
        ListenerPipe("writer", line[1], lambda _note: None),
    )
    reader.start()
    writer.start()
    sent = [
        ListenerNote(centers=CODES),
        ListenerNote(is_news=True),
        ListenerNote(watched=[State("sweep", 60.0, 1.5)], missing=["broker"]),
    ]
    for note in sent:
        writer.send(note)
    wait_until(lambda: len(notes) == 3)
    assert notes == sent
    writer.close()
    assert ended.wait(PATIENCE_S)
    writer.send(ListenerNote())  # into the void, without a word


@pytest.mark.parametrize("said", [b"{\n", b'{"centers":[1]}\n', b'{"other":1}\n', b"\xff\n", b"[]\n"])
def test_what_is_no_note_ends_the_pipe(line: tuple[socket.socket, socket.socket], said: bytes) -> None:
    notes: list[ListenerNote] = []
    ended = threading.Event()
    ListenerPipe("reader", line[0], notes.append, ended.set).start()
    line[1].sendall(said)
    assert ended.wait(PATIENCE_S)
    assert notes == []
    assert line[1].recv(1) == b""


def test_a_reader_that_hangs_is_cut_off(line: tuple[socket.socket, socket.socket]) -> None:
    writer = ListenerPipe("writer", line[0], lambda _note: None, send_s=0.05)
    for _ in range(200):  # more than the kernel keeps for it
        writer.send(ListenerNote(centers=CODES))
    line[1].settimeout(PATIENCE_S)
    while line[1].recv(1 << 20):
        pass


def test_every_listener_hears_what_moved_once_and_how_the_collector_is() -> None:
    health = Health([Watched("ingest", 60.0, lambda: 2.04)], [Needed("broker", lambda: False)])
    relay, heard = Relay(health, most=3), []

    class Listener:
        send = staticmethod(heard.append)

    relay.listeners = [Listener(), Listener()]  # type: ignore[list-item]
    relay.publish(["C", "A", "B"])
    relay.publish({"A", "D"})
    relay.tick()
    assert [note.centers for note in heard] == [["A", "B", "C"]] * 2 + [["D"]] * 2
    assert heard[0].watched == [State("ingest", 60.0, 2.0)]
    assert heard[0].missing == ["broker"]
    heard.clear()
    relay.tick()
    assert [note.centers for note in heard] == [[], []]


def test_ages_go_on_after_the_last_note_so_that_a_collector_that_hangs_is_late() -> None:
    clock, health = [100.0], Health()
    news = CollectorNews(Hub(), health, lambda: clock[0])
    news.take(ListenerNote(watched=[State("sweep", 60.0, 50.0)], missing=["broker"]))
    assert health.late() == {}
    assert health.missing() == ["broker"]
    clock[0] += 20
    assert health.late() == {"sweep": 70.0}
    clock[0] += 20
    assert health.late() == {"sweep": 90.0, COLLECTOR: 40.0}
    news.take(ListenerNote(watched=[State("sweep", 60.0, 1.0)]))
    assert health.late() == {}
    assert health.missing() == []


def test_what_came_through_a_listener_without_pages_goes_to_the_collector() -> None:
    sent: list[ListenerNote] = []
    Forwarding(sent.append).publish({"LHR-1"})
    assert sent == [ListenerNote(centers=["LHR-1"])]
