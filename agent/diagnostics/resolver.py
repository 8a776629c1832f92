"""Whether the name servers of this machine answer, and whether they tell the truth about a name that cannot exist."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from agent.common.errors import describe
from agent.diagnostics.diagnosis import Diagnosis, Installation

TIMEOUT_S = 3.0
FLAGS, QTYPE_A, CLASS_IN = 0x0100, 1, 1  # recursion desired (RFC 1035 section 4.1)
CHECK_ADDRESS = (
    "set the name servers of this machine (resolvectl dns, or /etc/resolv.conf) to the router's or a public one"
)


def check(here: Installation) -> Iterator[Diagnosis]:
    """A finding for each name server that does not answer or lies, and for each name of ours that has no address."""
    servers = servers_of(_text(Path("/etc/resolv.conf")))
    wrong = [finding for server in servers for finding in [server_finding(server)] if finding is not None]
    yield from wrong
    for host in names_of(here):
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            wrong.append(Diagnosis(what="resolver", detail=f"{host}: {describe(error)}", fix=CHECK_ADDRESS))
            yield wrong[-1]
    if not servers:
        yield Diagnosis(what="resolver", detail="no name server is set", fix=CHECK_ADDRESS)
    elif not wrong:
        yield Diagnosis(what="resolver", detail=f"{', '.join(servers)} answers")


def server_finding(server: str, port: int = 53) -> Diagnosis | None:
    """What is wrong with one name server; None when it answers truly."""
    name = f"nabz-{secrets.token_hex(6)}.invalid"  # RFC 6761: no such name exists
    try:
        answers = addresses_given(server, port, name)
    except OSError as error:
        detail = f"name server {server} does not answer ({describe(error)})"
        return Diagnosis(what="resolver", detail=detail, fix=CHECK_ADDRESS)
    if answers:
        detail = f"name server {server} gives addresses for names that do not exist: it sends people elsewhere"
        return Diagnosis(what="resolver", detail=detail, fix=CHECK_ADDRESS)
    return None


def names_of(here: Installation) -> list[str]:
    """The hosts that this gateway needs, but for addresses."""
    mine, settings = here.mine, here.settings
    hosts = [settings.link.target, urlsplit(settings.speed.server).hostname or ""]
    if mine is not None:
        urls = (mine.url, mine.measure_url)
        hosts += [*(endpoint.host for endpoint in mine.brokers), *(urlsplit(url).hostname or "" for url in urls)]
    return sorted({host for host in hosts if host and host != "localhost" and not _is_address(host)})


def servers_of(text: str) -> list[str]:
    """The `nameserver` lines of resolv.conf(5)."""
    words = (line.split() for line in text.splitlines())
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver" and _is_address(line[1])]


def addresses_given(server: str, port: int, name: str) -> int:
    """How many answers a name server gives for a name's IPv4 address. Raises OSError where it is silent."""
    number = secrets.token_bytes(2)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0" + QTYPE_A.to_bytes(2, "big") + CLASS_IN.to_bytes(2, "big")
    query = number + FLAGS.to_bytes(2, "big") + b"\0\1\0\0\0\0\0\0" + question
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.connect((server, port))
        for _ in range(2):  # one datagram may be lost
            sock.send(query)
            with contextlib.suppress(TimeoutError):
                answer = sock.recv(4096)
                if len(answer) >= 12 and answer[:2] == number and answer[2] & 0x80:
                    return int.from_bytes(answer[6:8], "big")
    raise TimeoutError(f"no answer within {2 * TIMEOUT_S:g} s")


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
