"""Round trips: the figures, the packets, and real echoes on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import sys
import time

import pytest

from agent.probes.link.ping import (
    Echoes,
    checksum,
    echo_reply,
    echo_request,
    first_packets,
    ping,
    resolve,
    summary,
    tcp_ping,
)


def echoes(*rtts_ms: float | None) -> Echoes:
    return Echoes(target="127.0.0.1", method="icmp", rtts_ms=rtts_ms)


def test_the_figures_of_a_run_are_those_of_its_answers() -> None:
    figures = summary(echoes(10.0, 20.0, None, 40.0))
    assert (figures.sent, figures.received, figures.loss_pct) == (4, 3, 25.0)
    assert (figures.min_ms, figures.median_ms) == (10.0, 20.0)


def test_p95_is_the_nearest_rank() -> None:
    # Of twenty answers the nineteenth, so that a single outlier does not become the figure.
    assert summary(echoes(*[float(n) for n in range(1, 21)])).p95_ms == 19.0
    assert summary(echoes(7.0)).p95_ms == 7.0


def test_jitter_is_the_mean_step_between_neighbours_and_a_loss_breaks_the_pair() -> None:
    assert summary(echoes(10.0, 12.0, 9.0)).jitter_ms == 2.5
    # 10 and 30 are not neighbours: the echo between them is lost.
    assert summary(echoes(10.0, None, 30.0)).jitter_ms is None
    assert summary(echoes(10.0, 11.0, None, 30.0)).jitter_ms == 1.0


def test_silence_has_loss_and_no_other_figure() -> None:
    figures = summary(echoes(None, None))
    assert figures.loss_pct == 100.0
    assert [figures.min_ms, figures.median_ms, figures.p95_ms, figures.jitter_ms] == [None] * 4


def test_nothing_sent_is_not_a_loss_of_nothing() -> None:
    assert summary(echoes()).loss_pct is None


def test_the_checksum_is_that_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
    request = echo_request(socket.AF_INET, 0x1234, 7, b"odd")
    # A message with its checksum in place sums to zero.
    assert checksum(request) == 0


def test_only_an_answer_with_our_cookie_counts() -> None:
    cookie = os.urandom(16)
    answer = struct.pack("!BBHHH", 0, 0, 0, 1, 42) + cookie
    assert echo_reply(socket.AF_INET, answer, cookie, raw=False) == 42
    assert echo_reply(socket.AF_INET, answer, os.urandom(16), raw=False) is None
    # Our own request, heard again on the loopback, is no answer.
    assert echo_reply(socket.AF_INET, echo_request(socket.AF_INET, 1, 42, cookie), cookie, raw=False) is None
    # A raw socket shows the IP header first, options included.
    assert echo_reply(socket.AF_INET, b"\x46" + bytes(23) + answer, cookie, raw=True) == 42


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x4f", bytes(8), b"\xff" * 7])
def test_a_broken_packet_is_no_answer(data: bytes) -> None:
    assert echo_reply(socket.AF_INET, data, b"c" * 16, raw=True) is None
    assert echo_reply(socket.AF_INET6, data, b"c" * 16, raw=False) is None


def test_this_machine_answers_every_echo() -> None:
    heard = asyncio.run(ping("127.0.0.1", 5, 0.01, 1.0))
    assert summary(heard).received == 5
    assert all(rtt is not None and 0 < rtt < 1000 for rtt in heard.rtts_ms)


def test_a_busy_program_is_not_read_as_latency() -> None:
    async def busy() -> None:
        for _ in range(30):
            await asyncio.sleep(0)
            time.sleep(0.06)  # noqa: ASYNC251 — this is the trouble: the loop stands still while answers arrive

    async def story() -> Echoes:
        heard, _ = await asyncio.gather(ping("127.0.0.1", 5, 0.01, 3.0), busy())
        return heard

    heard = asyncio.run(story())
    if heard.method != "icmp":
        pytest.skip("this process may not send ICMP: only the kernel's stamps are free of the loop's delay")
    # Most, not all: on a full machine the kernel itself may take us off the processor between stamp and send.
    assert sum(rtt is not None and rtt < 40 for rtt in heard.rtts_ms) >= 3


def test_ipv6_is_asked_the_same_way() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
    assert summary(asyncio.run(ping("::1", 3, 0.01, 1.0))).received == 3


def test_a_refused_connection_is_an_answer_too(free_port: int) -> None:
    heard = asyncio.run(tcp_ping("127.0.0.1", free_port, 3, 0.01, 1.0))
    assert (heard.method, summary(heard).received) == ("tcp", 3)


def test_an_accepted_connection_is_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        heard = asyncio.run(tcp_ping("127.0.0.1", listener.getsockname()[1], 3, 0.01, 1.0))
    assert summary(heard).received == 3


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "x" * 300])
def test_what_is_no_host_name_is_an_os_error(name: str) -> None:
    with pytest.raises(OSError, match="host name"):
        asyncio.run(resolve(name))


IN_A_NAMESPACE = """
import asyncio
from agent.probes.link.ping import ping, summary
heard = asyncio.run(ping("127.0.0.1", 3, 0.01, 1.0))
print(heard.method, summary(heard).received)
silent = asyncio.run(ping("192.0.2.9", 2, 0.01, 0.2))
print(summary(silent).received, summary(silent).sent)
"""


@pytest.mark.root
@pytest.mark.parametrize(("groups", "method"), [("0 2147483647", "icmp"), ("1 0", "tcp")])
def test_without_privileges_echoes_go_by_datagram_sockets_or_else_by_tcp(groups: str, method: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not all(map(shutil.which, ("unshare", "setpriv", "ip"))) and not os.environ.get("CI"):
        pytest.skip("unshare, setpriv or ip is missing: apt install util-linux iproute2")
    script = (
        f"ip link set lo up; echo {groups} > /proc/sys/net/ipv4/ping_group_range; "
        f"exec setpriv --bounding-set=-net_raw {sys.executable} -c '{IN_A_NAMESPACE}'"
    )
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, timeout=120)
    # With no route at all every echo is lost, and that is no error.
    assert done.stdout.split() == [method, "3", "0", "2"], done.stderr


def test_a_handshake_that_a_repeated_packet_brought_about_lost_its_first() -> None:
    assert first_packets([20.0, 1021.0, None, 3040.0, 300.0]) == (20.0, None, None, None, 300.0)
    # On a line that is as long as the pause nothing was lost.
    assert first_packets([1100.0, 1500.0, 1101.0]) == (1100.0, 1500.0, 1101.0)
    assert first_packets([]) == ()
