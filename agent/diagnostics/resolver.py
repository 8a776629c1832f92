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
from agent.probes.link.names import Outcome, outcome_of, query

TIMEOUT_S = 3.0
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
        outcome = ask(server, port, name)
    except OSError as error:
        detail = f"name server {server} does not answer ({describe(error)})"
        return Diagnosis(what="resolver", detail=detail, fix=CHECK_ADDRESS)
    if outcome == "resolved":
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


def ask(server: str, port: int, name: str) -> Outcome:
    """What a name server says of a name. Raises OSError where it is silent."""
    message = query(secrets.randbits(16), name)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.connect((server, port))
        for _ in range(2):  # one datagram may be lost
            sock.send(message)
            with contextlib.suppress(TimeoutError):
                outcome = outcome_of(message, sock.recv(4096))
                if outcome is not None:
                    return outcome
    raise TimeoutError(f"no answer within {2 * TIMEOUT_S:g} s")


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
