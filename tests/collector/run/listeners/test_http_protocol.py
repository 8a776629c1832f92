"""The web listener's bounds: deadlines for handshake, head and body, and an honest request through a flood."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from collector.access.ca import Authority
from collector.access.server_certs import server_certificates
from collector.common.config import CollectorTable, EnrolmentSection, HttpSection, Settings
from collector.run.listeners.sockets import bound
from collector.run.listeners.web_server import WebServer
from collector.speedtests.measure.record import MAX_BYTES
from collector.web.limits import BodyLimit
from collector.web.machines.measure_servers import SEAL_BYTES
from tests.helpers.waiting import wait_until

SHORT = HttpSection(connections=40, connections_per_address=16, handshake_s=1, head_s=1, body_s=1)
PATIENT = HttpSection(connections=40, connections_per_address=16, handshake_s=60, head_s=60, body_s=60)
BODY_BYTES = 4096
MIDDLING_BYTES = 50_000
HEAD = b"POST /echo HTTP/1.1\r\nHost: nabz\r\nContent-Length: 10\r\n"


def application() -> FastAPI:
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.get("/address")
    def address(request: Request) -> str:
        return request.client.host if request.client else ""

    @app.get("/slow")
    async def slow() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"begun"
            await asyncio.sleep(0.5)
            yield b"end"

        return StreamingResponse(pieces())

    @app.post("/slow-echo")
    async def slow_echo(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"begun"
            yield await request.body()

        return StreamingResponse(pieces())

    @app.get("/middling")
    def middling() -> Response:
        return Response(bytes(MIDDLING_BYTES))

    @app.get("/long")
    def long() -> Response:
        return Response(bytes(16 << 20))

    app.add_middleware(BodyLimit, limit_bytes=BODY_BYTES)
    return app


@contextlib.contextmanager
def served(
    tls_folder: Path | None = None,
    proxies: tuple[str, ...] = (),
    send_buffer_bytes: int | None = None,
    limits: HttpSection = SHORT,
) -> Iterator[tuple[str, int]]:
    files = None
    if tls_folder is not None:
        settings = Settings(
            collector=CollectorTable(data_dir=tls_folder), enrolment=EnrolmentSection(listen="127.0.0.1:1")
        )
        now_ms = time.time_ns() // 1_000_000
        own, _ = server_certificates(Authority(tls_folder, now_ms, 30), settings, now_ms)
        files = (own.server.cert, own.server.key)
    with bound("127.0.0.1:0", "[web] listen", limits, proxies) as place:
        address = place.getsockname()
        if send_buffer_bytes:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        server = WebServer(application(), place, lambda: None, files, limits, proxies)
        server.start()
        try:
            yield address
        finally:
            server.stop()


@pytest.fixture
def place() -> Iterator[tuple[str, int]]:
    with served() as address:
        yield address


@pytest.fixture
def patient_place() -> Iterator[tuple[str, int]]:
    """It waits for slow clients so long that who needs their places cannot have waited for that."""
    with served(limits=PATIENT) as address:
        yield address


def client_of(place: tuple[str, int], stack: ExitStack, address: str = "127.0.0.1") -> socket.socket:
    return stack.enter_context(socket.create_connection(place, timeout=20, source_address=(address, 0)))


def seconds_until_closed(client: socket.socket) -> float:
    start_s = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        while client.recv(4096):
            pass
    return time.monotonic() - start_s


def read_all(client: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(4096):
            received += piece
    return received


def is_reset(client: socket.socket) -> bool:
    try:
        client.send(b"G")
    except OSError:
        return True
    return False


def is_established(port: int) -> bool:
    """Whether the server holds a connection; a client that neither sends nor reads does not learn of its end."""
    rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\nHost: na", HEAD + b"\r\n123"],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_request_that_does_not_come_in_time_is_closed(place: tuple[str, int], sent: bytes) -> None:
    with ExitStack() as stack:
        client = client_of(place, stack)
        client.sendall(sent)
        assert seconds_until_closed(client) < 10


def test_bytes_that_drip_buy_no_time(place: tuple[str, int]) -> None:
    with ExitStack() as stack:
        client = client_of(place, stack)
        client.sendall(HEAD)
        start_s = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - start_s < 15:
                client.sendall(b"X: y\r\n")
                time.sleep(0.2)
        assert time.monotonic() - start_s < 10


def test_a_head_that_breaks_off_in_a_kept_connection_is_closed(place: tuple[str, int]) -> None:
    with ExitStack() as stack:
        client = client_of(place, stack)
        client.sendall(HEAD + b"\r\n0123456789")
        assert b"200 OK" in client.recv(4096)
        client.sendall(b"POST /echo HT")
        assert seconds_until_closed(client) < 10


def test_a_handshake_that_does_not_come_in_time_is_closed(tmp_path: Path) -> None:
    with served(tmp_path) as place, ExitStack() as stack:
        client = client_of(place, stack)
        assert seconds_until_closed(client) < 10
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with httpx.Client(base_url=f"https://127.0.0.1:{place[1]}", verify=context) as honest:
            assert honest.post("/echo", content=b"12").text == "2"


def test_a_body_over_the_limit_is_refused_by_its_length_unread(place: tuple[str, int]) -> None:
    with ExitStack() as stack:
        client = client_of(place, stack)
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: nabz\r\nContent-Length: 309329920\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_over_the_limit_is_refused_by_count_where_it_has_no_length(place: tuple[str, int]) -> None:
    with ExitStack() as stack:
        client = client_of(place, stack)
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: nabz\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            client.sendall(b"800\r\n" + bytes(2048) + b"\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_the_least_limit_that_may_be_set_takes_the_longest_record() -> None:
    assert HttpSection().body_bytes >= MAX_BYTES + SEAL_BYTES
    with pytest.raises(ValidationError):
        HttpSection(body_bytes=MAX_BYTES)


def test_a_body_of_the_limit_is_taken(place: tuple[str, int]) -> None:
    for body in (bytes(BODY_BYTES), iter([bytes(BODY_BYTES)])):
        answer = httpx.post(f"http://127.0.0.1:{place[1]}/echo", content=body)
        assert answer.text == str(BODY_BYTES)


@pytest.mark.row(55)
def test_an_honest_request_is_answered_through_a_flood_of_half_sent_heads(patient_place: tuple[str, int]) -> None:
    with ExitStack() as stack:
        for number in range(200):  # from 20 addresses: each within its limit, all five times over that of all
            flooding = client_of(patient_place, stack, f"127.0.1.{number % 20 + 1}")
            with contextlib.suppress(OSError):
                flooding.sendall(b"GET / HTTP/1.1\r\n")
        start_s = time.monotonic()
        answer = httpx.post(f"http://127.0.0.1:{patient_place[1]}/echo", content=b"123", timeout=60)
        assert (answer.status_code, answer.text) == (200, "3")
        assert time.monotonic() - start_s < PATIENT.head_s / 2


@pytest.mark.row(55)
def test_half_open_connections_keep_no_neighbour_of_their_address_out(patient_place: tuple[str, int]) -> None:
    with ExitStack() as stack:
        for _ in range(3 * SHORT.connections_per_address):
            client_of(patient_place, stack)
        start_s = time.monotonic()
        assert httpx.post(f"http://127.0.0.1:{patient_place[1]}/echo", content=b"123", timeout=60).text == "3"
        assert time.monotonic() - start_s < PATIENT.head_s / 2


def test_one_that_is_answered_is_not_closed_for_others(place: tuple[str, int]) -> None:
    with ExitStack() as stack:
        kept = client_of(place, stack)
        kept.sendall(b"GET /slow HTTP/1.1\r\nHost: nabz\r\n\r\n")
        assert kept.recv(4096).startswith(b"HTTP/1.1 200")
        for _ in range(3 * SHORT.connections_per_address):
            client_of(place, stack)
        assert httpx.post(f"http://127.0.0.1:{place[1]}/echo", content=b"123", timeout=20).text == "3"
        rest = b""
        while b"end" not in rest:
            rest += kept.recv(4096)


def test_who_does_not_read_the_answer_is_closed(place: tuple[str, int]) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(place)
        client.sendall(b"GET /long HTTP/1.1\r\nHost: nabz\r\n\r\n")

        wait_until(lambda: is_reset(client), "the end of a connection whose client reads nothing")


GET, POST = b"GET /address HTTP/1.1\r\nHost: nabz\r\n", b"POST /echo HTTP/1.1\r\nHost: nabz\r\n"
LENGTH, CODING = b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n"
TWO_WAYS = {
    "a length and a coding": POST + LENGTH + CODING + b"\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: nabz\r\n\r\n",
    "two lengths": POST + LENGTH * 2 + b"\r\nab",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\nab",
    "a coding in HTTP/1.0": POST.replace(b"1.1", b"1.0") + CODING + b"\r\n0\r\n\r\n",
    "bare line ends": GET.replace(b"\r\n", b"\n") + b"\n",
    "one bare line end": GET + b"A: b\n\r\n",
    "a folded line": GET + b"A: b\r\n c\r\n\r\n",
    "a folded length": POST + b"A: b\r\n Content-Length: 5\r\n" + LENGTH + b"\r\nab",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "a version to come": GET.replace(b"1.1", b"1.2") + b"\r\n",
    "3,000 fields": GET + b"a:\r\n" * 3000 + b"\r\n",
}


@pytest.mark.row(55)
@pytest.mark.parametrize("sent", TWO_WAYS.values(), ids=list(TWO_WAYS))
def test_what_a_proxy_in_front_could_read_otherwise_is_refused_once(place: tuple[str, int], sent: bytes) -> None:
    with ExitStack() as stack:
        client = client_of(place, stack)
        client.sendall(GET + b"\r\n" + sent)  # also behind one that is good
        assert re.findall(rb"HTTP/1.1 (\d+)", read_all(client)) == [b"200", b"400"]


def test_a_head_in_two_pieces_is_one(place: tuple[str, int]) -> None:
    whole = POST + LENGTH + b"\r\nab"
    for cut in range(1, len(whole)):
        with ExitStack() as stack:
            client = client_of(place, stack)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(whole[:cut])
            client.sendall(whole[cut:])
            assert client.recv(4096).startswith(b"HTTP/1.1 200")


BROKEN = {"before the answer": (b"/address", [b"400"]), "inside the answer": (b"/slow-echo", [])}


@pytest.mark.row(55)
@pytest.mark.parametrize(("path", "answers"), BROKEN.values(), ids=list(BROKEN))
def test_a_body_that_breaks_off_costs_no_line_of_the_log(
    place: tuple[str, int], path: bytes, answers: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        client = client_of(place, stack)
        begun = POST.replace(b"/echo", path) + CODING + b"\r\n2\r\nab\r\n"
        if not answers:
            client.sendall(begun)
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
            begun = b""
        client.sendall(begun + b"no number\r\n")
        assert re.findall(rb"HTTP/1.1 (\d+)", read_all(client)) == answers
    assert httpx.post(f"http://127.0.0.1:{place[1]}/echo", content=b"1").text == "1"
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_who_reads_nothing_of_an_answer_that_ends_the_connection_is_closed() -> None:
    """What is left of it is too little for the transport to say that its client is slow."""
    with served(send_buffer_bytes=4096) as place, ExitStack() as stack:
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(place)
        client.sendall(b"GET /middling HTTP/1.1\r\nHost: nabz\r\nConnection: close\r\n\r\n")
        wait_until(lambda: not is_established(place[1]), "the end of a connection whose client reads nothing")


def test_the_places_of_a_flood_that_ended_are_free(place: tuple[str, int]) -> None:
    with ExitStack() as stack:
        for _ in range(60):
            client_of(place, stack)

    def is_answered() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.post(f"http://127.0.0.1:{place[1]}/echo", content=b"1").status_code == 200
        return False

    wait_until(is_answered, "an answer")


def test_a_client_s_address_is_believed_of_a_named_proxy_alone() -> None:
    for proxies, address in (((), "127.0.0.1"), (("192.0.2.5",), "127.0.0.1"), (("127.0.0.1",), "192.0.2.77")):
        with served(proxies=proxies) as place:
            headers = {"X-Forwarded-For": "192.0.2.77"}
            answer = httpx.get(f"http://127.0.0.1:{place[1]}/address", headers=headers)
            assert answer.json() == address


def test_a_proxy_holds_more_connections_than_an_address_may() -> None:
    with served(proxies=("127.0.0.1",)) as place, ExitStack() as stack:
        for _ in range(SHORT.connections_per_address + 4):
            client_of(place, stack)
        assert httpx.post(f"http://127.0.0.1:{place[1]}/echo", content=b"1", timeout=20).text == "1"
