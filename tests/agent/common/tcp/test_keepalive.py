"""What a connection that is to last asks of the kernel."""

from __future__ import annotations

import socket

from agent.common.tcp import keepalive as tcp


def test_the_kernel_is_asked_to_notice_a_dead_peer() -> None:
    with socket.socket() as line:
        tcp.watch_peer(line)
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == tcp.IDLE_S
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == tcp.EVERY_S
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == tcp.DEAD_MS
