"""paho's MQTT client, mended where threads meet: it can be ended at any moment, and it closes what it opened."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode

from agent.common.tcp import DEAD_MS, watch_peer

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

LEAVE_S = 3.0  # for the good-bye to go out
READABLE = select.POLLIN | select.POLLERR | select.POLLHUP


class Client(paho.Client):
    """For one session, or for one and those that follow it, until `leave`; then it is of no further use."""

    handshake_s: float | None = None  # for TLS; None: as `connect_timeout`
    place: Callable[[], tuple[str, int]] | None = None  # chooses host and port of each session; None: as in `connect`
    dead_ms: int = DEAD_MS  # after which a peer that is silent is taken for gone
    line: socket.socket | None = None  # a second handle, as TLS and WebSocket take the socket itself over
    _made: socket.socket | None = None  # what is to be closed when a connection fails on its way
    _unwanted = False

    def leave(self, patience_s: float = LEAVE_S) -> None:
        """Ends the session or the making of one, with a good-bye where that is possible, and paho's thread.

        Any thread but paho's; again is harmless. Blocks for little more than ``patience_s``.
        """
        self._unwanted = True
        self._stop_connecting(patience_s)
        self.disconnect()
        # paho's own loop_stop waits for ever, and fails when the thread ends between its look and its waiting.
        thread, self._thread_terminate = self._thread, True
        if thread is not None:
            thread.join(patience_s)
            self._cut()
            thread.join(patience_s)
        self._sock_close()
        if thread is None or not thread.is_alive():
            self._reset_sockets()  # paho leaves the pair that wakes its thread open

    def _stop_connecting(self, patience_s: float) -> None:
        """Whoever connects gives up: sooner than it is noticed here where nothing is left to be cut."""
        until_s = time.monotonic() + patience_s
        if not self.is_connected():
            self._cut()
        while self._made is not None and time.monotonic() < until_s:
            time.sleep(0.02)
            self._cut()  # again, as it may only have begun

    def _cut(self) -> None:
        """Wakes whoever connects, shakes hands, reads or writes."""
        line = self.line
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    # ------------------------------------------------------------ connecting

    def reconnect(self) -> MQTTErrorCode:
        """Raises OSError."""
        if self.place is not None:
            self._host, self._port = self.place()
        code = super().reconnect()
        if self._unwanted:  # since the socket was looked at last
            self._sock_close()
            raise ConnectionAbortedError("nobody waits for this connection any more")
        if self.line is not None:
            watch_peer(self.line, self.dead_ms)
        return code

    def _create_socket(self) -> SocketLike:
        try:
            return super()._create_socket()
        except BaseException:
            self._close_made()
            raise
        finally:
            self._made = None

    def _create_socket_connection(self) -> socket.socket:
        """As `socket.create_connection`, but one under way can be cut off."""
        failed: OSError = ConnectionError(f"{self.host} has no address")
        for family, kind, protocol, _name, place in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            try:
                return self._connected(socket.socket(family, kind, protocol), place)
            except OSError as error:
                self._close_made()
                failed = error
        try:
            raise failed
        finally:
            del failed  # whose traceback holds this frame, and so us

    def _connected(self, made: socket.socket, place: Any) -> socket.socket:
        self._made, self.line = made, made.dup()
        made.settimeout(self.connect_timeout)
        if not self._unwanted:
            made.connect(place)
        if self._unwanted:
            raise ConnectionAbortedError("nobody waits for this connection any more")
        return made

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        assert self._ssl_context is not None
        made = self._ssl_context.wrap_socket(tcp_sock, server_hostname=self.host, do_handshake_on_connect=False)
        self._made = made
        made.settimeout(self.handshake_s or self.connect_timeout)
        made.do_handshake()
        self.verify(made)
        return made

    def verify(self, connected: ssl.SSLSocket) -> None:
        """To look at the server once more before anything is sent. Raises OSError."""

    def _close_made(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            made.close()
        self._close_line()

    def _close_line(self) -> None:
        line, self.line = self.line, None
        if line is not None:
            line.close()

    def _sock_close(self) -> None:
        super()._sock_close()
        self._close_line()

    # ------------------------------------------------------------ paho's thread

    def _loop(self, timeout: float = 1.0) -> MQTTErrorCode:
        """As paho's, but by poll(2): select(2) knows no descriptor above 1023, and a broker in this process may have
        thousands of lower ones."""
        sock = self._sock
        if sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        pending = hasattr(sock, "pending") and sock.pending() > 0  # in TLS, where the kernel knows nothing of it
        try:
            events, woken = self._events(sock, 0.0 if pending else timeout)
        except (OSError, ValueError):  # closed by another thread
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        if pending or events & READABLE:
            code = self.loop_read()
        if code == MQTTErrorCode.MQTT_ERR_SUCCESS and self._sock is not None and (woken or events & select.POLLOUT):
            code = self.loop_write()
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or self._sock is None:
            return code
        return self.loop_misc()

    def _events(self, sock: SocketLike, timeout_s: float) -> tuple[int, bool]:
        """What the socket is ready for, and whether another thread has something to send."""
        watch = select.poll()
        number, bell = sock.fileno(), self._sockpairR
        watch.register(number, select.POLLIN | (select.POLLOUT if self.want_write() else 0))
        if bell is not None:
            watch.register(bell, select.POLLIN)
        ready = dict(watch.poll(timeout_s * 1000))
        if ready.get(number, 0) & select.POLLNVAL:
            raise OSError("the socket is closed")
        if bell is None or bell.fileno() not in ready:
            return ready.get(number, 0), False
        with contextlib.suppress(BlockingIOError):
            bell.recv(10_000)
        return ready.get(number, 0), True
