"""The MQTT client ends at every stage of a session, closes what it opened, and needs no low descriptor."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agent.common.mqtt import Client
from agent.common.tcp import keepalive
from tests.helpers.peers import black_hole, deaf, gone, peer, silent, welcome
from tests.helpers.waiting import PATIENCE_S, wait_until

LEAVES_S = 20.0  # twice three seconds, and a busy machine


def client(**options: object) -> Client:
    return Client(CallbackAPIVersion.VERSION2, client_id="one", **options)


def sockets() -> int:
    """Open ones of this process."""
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    with contextlib.suppress(FileNotFoundError):
        return sum(os.readlink(link).startswith("socket:") for link in links if os.path.islink(link))
    return sockets()


# ---------------------------------------------------------------- leaving at every stage


def leaves(session: Client) -> None:
    """From here on there is neither a thread nor a connection of it."""
    began_s, thread = time.monotonic(), session._thread
    session.leave()
    assert time.monotonic() - began_s < LEAVES_S
    assert thread is None or not thread.is_alive()
    assert session.socket() is None
    session.leave()


def test_a_session_that_never_began_is_left() -> None:
    leaves(client())


@pytest.mark.parametrize("behave", [silent, welcome, gone])
def test_a_session_is_left_at_whatever_stage(behave: Callable[[socket.socket], object]) -> None:
    with peer(behave) as broker:
        before = sockets()
        session = client()
        session.connect_async("127.0.0.1", broker.port)
        session.loop_start()
        assert broker.here.wait(PATIENCE_S)
        leaves(session)
        del session
        wait_until(lambda: sockets() <= before + 1)  # the peer's own end


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_a_handshake_that_hangs_is_left(transport: str) -> None:
    with peer(silent) as broker:
        session = client(transport=transport)
        session.tls_set_context(ssl.create_default_context())
        session.connect_timeout = 2 * PATIENCE_S
        session.connect_async("127.0.0.1", broker.port)
        session.loop_start()
        assert broker.here.wait(PATIENCE_S)
        leaves(session)


@pytest.mark.parametrize("own_thread", [False, True])
def test_a_connection_that_hangs_is_left(own_thread: bool) -> None:
    with black_hole() as port:
        session = client()
        session.connect_timeout = 2 * PATIENCE_S
        errors: list[OSError] = []

        def connect() -> None:
            try:
                session.connect("127.0.0.1", port)
            except OSError as error:
                errors.append(error)

        connecting = threading.Thread(target=connect)
        if own_thread:
            connecting.start()
        else:
            session.connect_async("127.0.0.1", port)
            session.loop_start()
        wait_until(lambda: session.line is not None)
        leaves(session)
        if own_thread:
            connecting.join(LEAVES_S)
            assert len(errors) == 1
            assert not isinstance(errors[0], TimeoutError)
        assert session.line is None


def test_a_connection_that_comes_about_after_all_is_not_kept() -> None:
    with peer(welcome) as broker:
        session = client()
        session.leave()
        with pytest.raises(ConnectionAbortedError):
            session.connect("127.0.0.1", broker.port)
        assert session.socket() is None


def test_a_broker_that_does_not_read_keeps_nobody() -> None:
    with peer(deaf) as broker:
        session = client()
        session.connect_async("127.0.0.1", broker.port)
        session.loop_start()
        wait_until(session.is_connected)
        for _ in range(100):
            session.publish("nabz", b"x" * 200_000, qos=1)
        leaves(session)


# ---------------------------------------------------------------- what it opens


def test_a_connection_that_fails_leaves_nothing_open() -> None:
    """What was left open would be told as a ResourceWarning, which fails this test."""
    with peer(lambda made: made.sendall(b"not TLS at all, but enough of it")) as broker:
        session = client()
        session.tls_set_context(ssl.create_default_context())
        before = sockets()
        with pytest.raises(OSError, match="SSL"):
            session.connect("127.0.0.1", broker.port)
        assert session.line is None
        del session
        wait_until(lambda: sockets() <= before + 1)


def test_the_kernel_watches_whether_the_broker_is_still_there() -> None:
    with peer(welcome) as broker:
        session = client()
        session.connect_async("127.0.0.1", broker.port)
        session.loop_start()
        wait_until(session.is_connected)
        assert session.line is not None
        assert session.line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == keepalive.DEAD_MS
        leaves(session)


def test_a_session_works_by_descriptors_above_those_of_select() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        with peer(welcome) as broker:
            session = client()
            session.connect_async("127.0.0.1", broker.port)
            session.loop_start()
            wait_until(session.is_connected)
            leaves(session)
    finally:
        for number in held:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
