"""What the doctor once called ok: keepalive, certificates, receipts, interfaces, resolvers."""

from __future__ import annotations

import dataclasses
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from agent import config, identity
from agent.common import tls
from agent.diagnostics import doctor, resolver, uplink
from agent.diagnostics.diagnosis import Installation
from agent.identity import BrokerEndpoint, Identity
from tests.helpers.authority import TestAuthority
from tests.helpers.peers import gone, peer, silent
from tests.helpers.strict_listener import strict_listener

NOW = 1_795_000_000_000
MINUTE = 60_000


def settings_at(folder: Path, **sections: object) -> config.AgentSettings:
    return config.AgentSettings(agent=config.AgentTable(state_dir=str(folder), status_listen="127.0.0.1:1"), **sections)  # type: ignore[arg-type]


def found(settings: config.AgentSettings, what: str) -> list[doctor.Diagnosis]:
    return [finding for finding in doctor.diagnose(settings) if finding.what == what]


def tried(mine: Identity, port: int, **more: object) -> doctor.Diagnosis:
    at_port = dataclasses.replace(mine, brokers=(BrokerEndpoint("127.0.0.1", port, **more),))  # type: ignore[arg-type]
    (finding,) = uplink.session(Installation(settings_at(Path("/nowhere")), at_port))
    return finding


# ---------------------------------------------------------------- a real session


def test_a_session_is_tried_for_real(tmp_path: Path, enrolled: Identity) -> None:
    (finding,) = found(settings_at(tmp_path / "state"), "session")
    assert finding.ok
    assert finding.detail.endswith("lets this gateway in and hear its receipts")


def test_a_brokers_smaller_keepalive_is_told(enrolled: Identity) -> None:
    with strict_listener(enrolled.broker_port, 60) as (port, wanted):
        finding = tried(enrolled, port)
    assert finding.ok
    assert "it allows a keepalive of 60 s, which is obeyed" in finding.detail
    assert wanted == [300, 60]


def test_a_broker_that_rejects_every_keepalive_rejects_the_gateway(enrolled: Identity) -> None:
    with strict_listener(enrolled.broker_port, 5) as (port, wanted):
        finding = tried(enrolled, port)
    assert (finding.ok, wanted) == (False, [300, 60, 30, 10])
    assert "refused this gateway" in finding.detail


@pytest.mark.parametrize(("code", "text"), [(5, "ot authorized"), (4, "user name or password")])
def test_a_broker_that_refuses_is_not_ok_though_its_port_answers(enrolled: Identity, code: int, text: str) -> None:
    def refuse(made: socket.socket) -> None:
        made.recv(1000)
        made.sendall(bytes([0x20, 2, 0, code]))

    with peer(refuse) as broker:
        finding = tried(enrolled, broker.port)
    assert not finding.ok
    assert text in finding.detail
    assert "revoked" in finding.fix


def test_a_broker_that_welcomes_and_ends_it_is_not_ok(enrolled: Identity) -> None:
    with peer(gone) as broker:
        assert not tried(enrolled, broker.port).ok


def test_a_port_that_never_answers_is_not_ok(enrolled: Identity) -> None:
    from agent.uplink.check import try_session

    with peer(silent) as broker, pytest.raises(TimeoutError, match="did not answer `connected` within 1 s"):
        try_session(enrolled, BrokerEndpoint("127.0.0.1", broker.port), 1.0)


# ---------------------------------------------------------------- certificates


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    place = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                made, _ = place.accept()
            except OSError:
                return
            with made:
                try:
                    context.wrap_socket(made, server_side=True).close()
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield place.getsockname()[1]
    finally:
        place.shutdown(socket.SHUT_RDWR)
        place.close()
        thread.join(5)


def test_a_certificate_that_is_refused_is_named(tmp_path: Path) -> None:
    ours, strangers = TestAuthority(tmp_path / "ours"), TestAuthority(tmp_path / "strangers")
    files = strangers.server()
    with tls_server(tls.server_context(files.cert, files.key)) as port:
        url = f"https://127.0.0.1:{port}"
        refused = uplink.handshake("test server", url, tls.client_context(ours.ca_file))
        well = uplink.handshake("test server", url, tls.client_context(strangers.ca_file))
    assert (refused.ok, well.ok) == (False, True)
    assert "refused" in refused.detail
    assert "somebody else answers there" in refused.fix


def test_a_broker_that_refuses_our_certificate_is_not_ok(tmp_path: Path, enrolled: Identity) -> None:
    """In TLS 1.3 the handshake is over by then: the port answers and shows the right certificate."""
    ours, others = TestAuthority(tmp_path / "ours"), TestAuthority(tmp_path / "others")
    server, client = ours.server(), others.client(enrolled.device)
    mine = dataclasses.replace(enrolled, tls=identity.TlsFiles(ca=ours.ca_file, cert=client.cert, key=client.key))
    with tls_server(tls.server_context(server.cert, server.key, ours.ca_file)) as port:
        finding = tried(mine, port, tls=True)
    assert not finding.ok
    assert "certificate" in finding.detail
    assert "revoked" in finding.fix


# ---------------------------------------------------------------- receipts, by the page of the running agent

PAGE = {"uplink": "connected", "started_ms": NOW - 60 * MINUTE, "last_receipt_ms": NOW - MINUTE, "spool_readings": 4}


@pytest.mark.parametrize(
    ("page", "ok", "text"),
    [
        ({}, True, "come"),
        ({"last_receipt_ms": NOW - 20 * MINUTE}, False, "none for 20 min"),
        ({"last_receipt_ms": NOW - 20 * MINUTE, "messages_refused": 3}, False, "3 messages were refused"),
        ({"last_receipt_ms": None, "messages_refused": 9}, False, "none for 60 min; 9 messages"),
        ({"last_receipt_ms": NOW - 20 * MINUTE, "spool_readings": 0}, True, "come"),
        ({"batches_disputed": 2}, False, "2 batches are disputed"),
        ({"last_receipt_ms": None, "started_ms": NOW - MINUTE}, True, "come"),
    ],
)
def test_receipts_that_are_refused_or_do_not_come_are_found(page: dict[str, object], text: str, *, ok: bool) -> None:
    session, receipts = uplink.running(PAGE | page, NOW)
    assert session.ok
    assert (receipts.what, receipts.ok) == ("receipts", ok)
    assert text in receipts.detail


def test_an_agent_without_a_session_says_why() -> None:
    (finding,) = uplink.running(PAGE | {"uplink": "off", "uplink_cause": "stranger", "uplink_detail": "b:1: x"}, NOW)
    assert (finding.ok, finding.detail) == (False, "none: b:1: x")
    assert "somebody else answers there" in finding.fix


# ---------------------------------------------------------------- interfaces


def test_an_interface_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    link = config.LinkSection(primary_interface="ppp77", failover_interfaces=["l?", "wwan7*"])
    speed = config.SpeedSection(wan_interface="lo")
    findings = found(settings_at(tmp_path, link=link, speed=speed), "interface")
    assert [(finding.ok, finding.detail) for finding in findings] == [
        (False, "ppp77 of [link] primary_interface does not exist"),
        (True, "l? of [link] failover_interfaces is lo"),
        (False, "wwan7* of [link] failover_interfaces does not exist"),
        (True, "lo of [speed] wan_interface is lo"),
    ]
    assert "there are lo" in findings[0].fix


# ---------------------------------------------------------------- resolvers


@contextmanager
def name_server(answer: Callable[[bytes], bytes | None]) -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)

        def serve() -> None:
            while True:
                try:
                    query, caller = sock.recvfrom(4096)
                except OSError:
                    return
                if query == b"end":
                    return
                if (reply := answer(query)) is not None:
                    sock.sendto(reply, caller)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            sock.sendto(b"end", sock.getsockname())
            thread.join(5)


def no_such_name(query: bytes) -> bytes:
    return query[:2] + b"\x81\x83" + query[4:6] + b"\0\0\0\0\0\0" + query[12:]


def everything(query: bytes) -> bytes:
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1"
    return query[:2] + b"\x81\x80" + query[4:6] + b"\0\1\0\0\0\0" + query[12:] + record


def test_a_name_server_that_answers_truly_is_no_finding() -> None:
    with name_server(no_such_name) as port:
        assert resolver.server_finding("127.0.0.1", port) is None


def test_a_name_server_that_knows_names_which_cannot_exist_lies() -> None:
    with name_server(everything) as port:
        finding = resolver.server_finding("127.0.0.1", port)
    assert finding is not None
    assert "gives addresses for names that do not exist" in finding.detail


@pytest.mark.parametrize("answer", [lambda _query: None, lambda _query: b"x", lambda query: b"\0\0" + query[2:]])
def test_a_name_server_that_gives_no_answer_of_its_own_is_named(answer: Callable[[bytes], bytes | None]) -> None:
    with name_server(answer) as port:
        finding = resolver.server_finding("127.0.0.1", port)
    assert finding is not None
    assert "127.0.0.1 does not answer" in finding.detail


@pytest.mark.parametrize(
    ("target", "hosts"),
    [
        ("far.example", ["far.example"]),
        ("far.example:7", ["far.example"]),
        ("192.0.2.1:7", []),
        ("[2001:db8::1]:7", []),
    ],
)
def test_the_names_that_a_gateway_needs_are_looked_up(target: str, hosts: list[str]) -> None:
    settings = config.AgentSettings(
        link=config.LinkSection(target=target), speed=config.SpeedSection(server="http://192.0.2.9:80")
    )
    assert resolver.names_of(Installation(settings, None)) == hosts


def test_a_certificate_that_is_not_of_its_key_cannot_be_used(tmp_path: Path, enrolled: Identity) -> None:
    state, authority = tmp_path / "state", TestAuthority(tmp_path / "authority")
    one, other = authority.client("a"), authority.client("b")
    (state / identity.TLS_CERT_FILE).write_bytes(one.cert.read_bytes())
    (state / identity.TLS_KEY_FILE).write_bytes(other.key.read_bytes())
    (state / identity.CA_FILE).write_bytes(authority.ca_file.read_bytes())
    (finding,) = found(settings_at(state), "certificate")
    assert not finding.ok
    assert "cannot be used" in finding.detail


def test_the_page_tells_the_doctor_what_it_needs() -> None:
    from agent.local.board import StatusView

    view = msgspec.json.decode(msgspec.json.encode(StatusView(now_ms=NOW, started_ms=NOW, version="x")))
    assert {
        "uplink",
        "uplink_cause",
        "messages_refused",
        "batches_disputed",
        "last_receipt_ms",
        "spool_readings",
    } <= set(view)
