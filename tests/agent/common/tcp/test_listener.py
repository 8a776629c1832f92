"""The listening socket's bounds, on real sockets: connections of one address and of all, and no descriptor left."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from agent.common.tcp import ConnectionLimits, ListeningSocket
from tests.helpers.waiting import wait_until


@contextlib.contextmanager
def listening(connections: int, per_address: int, exempt: tuple[str, ...] = ()) -> Iterator[ListeningSocket]:
    limits = ConnectionLimits(connections=connections, per_address=per_address, exempt=exempt)
    with ListeningSocket(socket.create_server(("127.0.0.1", 0), backlog=512), limits) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(listener: ListeningSocket, address: str, stack: ExitStack) -> socket.socket:
    client = stack.enter_context(socket.socket())
    client.settimeout(20)
    client.bind((address, 0))
    client.connect(listener.getsockname())
    return client


def admitted(listener: ListeningSocket, stack: ExitStack) -> int:
    """How many of those that wait are taken; they stay open as long as `stack`."""
    count, pauses = 0, 0
    while pauses < 2:  # after one others would be served, and the next looked at
        try:
            stack.enter_context(listener.accept()[0])
            count, pauses = count + 1, 0
        except BlockingIOError:
            pauses += 1
    return count


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_one_address_holds_so_many_and_of_those_that_wait_the_oldest_gives_way(stack: ExitStack) -> None:
    with listening(connections=100, per_address=3) as listener:
        flood = [connect(listener, "127.0.0.2", stack) for _ in range(10)]
        assert admitted(listener, stack) == 10
        assert [is_closed(client) for client in flood] == [True] * 7 + [False] * 3
        other = connect(listener, "127.0.0.3", stack)
        assert admitted(listener, stack) == 1
        assert [is_closed(client) for client in [*flood[7:], other]] == [False] * 4


def test_one_that_is_served_gives_way_to_nobody(stack: ExitStack) -> None:
    with listening(connections=100, per_address=2) as listener:
        clients = [connect(listener, "127.0.0.2", stack) for _ in range(2)]
        for _ in range(2):
            listener.serve(stack.enter_context(listener.accept()[0]).fileno())
        late = connect(listener, "127.0.0.2", stack)
        assert admitted(listener, stack) == 0
        assert [is_closed(client) for client in [*clients, late]] == [False, False, True]


def test_one_that_tls_has_taken_over_is_closed_all_the_same(stack: ExitStack) -> None:
    with listening(connections=100, per_address=1) as listener:
        client = connect(listener, "127.0.0.2", stack)
        accepted = stack.enter_context(listener.accept()[0])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        stack.enter_context(context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False))
        connect(listener, "127.0.0.2", stack)
        assert admitted(listener, stack) == 1
        assert is_closed(client)


def test_when_all_are_taken_the_address_with_most_loses_its_oldest_to_one_that_comes(stack: ExitStack) -> None:
    with listening(connections=20, per_address=15) as listener:
        flood = [connect(listener, f"127.0.0.{2 + number % 2}", stack) for number in range(20)]
        assert admitted(listener, stack) == 20
        honest = connect(listener, "127.0.0.9", stack)
        assert admitted(listener, stack) == 1
        assert not is_closed(honest)
        assert [is_closed(client) for client in flood].count(True) == 1
        assert is_closed(flood[0])


def test_an_address_with_most_gains_nothing_by_more(stack: ExitStack) -> None:
    with listening(connections=4, per_address=100) as listener:
        clients = [connect(listener, "127.0.0.2", stack) for _ in range(9)]
        assert admitted(listener, stack) == 9
        assert [is_closed(client) for client in clients] == [True] * 5 + [False] * 4


def test_a_place_is_free_again_once_its_connection_is_closed(stack: ExitStack) -> None:
    with listening(connections=2, per_address=2) as listener:
        for _ in range(5):
            with ExitStack() as round_stack:
                for _ in range(2):
                    connect(listener, "127.0.0.2", stack)
                assert admitted(listener, round_stack) == 2


def test_one_that_is_accepted_and_forgotten_takes_no_place(stack: ExitStack) -> None:
    """As by a loop that ends between the two."""
    listener = stack.enter_context(listening(1, 1))
    for _ in range(2):
        client = connect(listener, "127.0.0.1", stack)
        listener.accept()
        assert is_closed(client)


def test_one_that_is_about_to_be_closed_accepts_nobody_who_waits(stack: ExitStack) -> None:
    listener = stack.enter_context(listening(9, 9))
    connect(listener, "127.0.0.2", stack)
    listener.accept_no_more()
    with pytest.raises(BlockingIOError, match="about to be closed"):
        listener.accept()


def test_one_that_made_room_is_not_counted_off_twice(stack: ExitStack) -> None:
    with listening(connections=4, per_address=4) as listener:
        with ExitStack() as first:
            for _ in range(4):
                connect(listener, "127.0.0.2", stack)
            assert admitted(listener, first) == 4
            other = connect(listener, "127.0.0.3", stack)
            assert admitted(listener, stack) == 1
        clients = [connect(listener, "127.0.0.4", stack) for _ in range(4)]
        assert admitted(listener, stack) == 4  # three beside the one of 127.0.0.3, and one for the first of them
        assert [is_closed(client) for client in [other, *clients]] == [False, True, False, False, False]


def test_a_proxy_in_front_is_bounded_by_the_whole_alone(stack: ExitStack) -> None:
    with listening(connections=10, per_address=2, exempt=("127.0.0.2",)) as listener:
        clients = [connect(listener, "127.0.0.2", stack) for _ in range(12)]
        assert admitted(listener, stack) == 12
        assert [is_closed(client) for client in clients] == [True] * 2 + [False] * 10


FEW_DESCRIPTORS = """
import asyncio, resource, socket, sys
from agent.common.tcp import ConnectionLimits, ListeningSocket
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

async def serve():
    async def answer(reader, writer):
        if await reader.read(1):
            writer.write(b"!")
        writer.close()
    place = socket.create_server(("127.0.0.1", 0), backlog=512)
    place = ListeningSocket(place, ConnectionLimits(connections=10_000, per_address=10_000))
    async with await asyncio.start_server(answer, sock=place):
        print(place.getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(serve())
"""


@pytest.mark.row(57)
def test_without_descriptors_who_waits_is_closed_and_hardly_a_line_is_written(stack: ExitStack) -> None:
    words = [sys.executable, "-c", FEW_DESCRIPTORS]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as server:
        assert server.stdout is not None
        place = ("127.0.0.1", int(server.stdout.readline()))
        flood = [stack.enter_context(socket.create_connection(place, timeout=20)) for _ in range(200)]
        for client in flood[-50:]:
            client.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        for client in flood:
            client.close()

        def is_answered() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(place, timeout=20) as honest:
                honest.sendall(b"?")
                return honest.recv(1) == b"!"
            return False

        wait_until(is_answered, "an answer")
        _, errors = server.communicate("", timeout=20)
        assert "Traceback" not in errors
        assert len(errors.splitlines()) < 300  # nothing limits repeats here: at most a line for each connection
