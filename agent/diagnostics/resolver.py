"""Whether the name servers of this machine answer, and whether they tell the truth about a name that cannot exist."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from agent.common.errors import describe
from agent.diagnostics.diagnosis import Diagnosis, Installation
from agent.probes.link import names

CHECK_ADDRESS = (
    "set the name servers of this machine (resolvectl dns, or /etc/resolv.conf) to the router's or a public one"
)


def check(here: Installation) -> Iterator[Diagnosis]:
    """A finding for each name server that does not answer or lies, and for each name of ours that has no address."""
    servers = names.of_system().addresses
    wrong = [finding for server in servers for finding in [server_finding(server)] if finding is not None]
    yield from wrong
    for host in names_of(here):
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            wrong.append(Diagnosis(what="resolver", detail=f"{host}: {describe(error)}", fix=CHECK_ADDRESS))
            yield wrong[-1]
    if not wrong:
        yield Diagnosis(what="resolver", detail=f"{', '.join(servers)} answers")


def server_finding(server: str, port: int = names.PORT) -> Diagnosis | None:
    """What is wrong with one name server; None when it answers truly."""
    name = f"nabz-{secrets.token_hex(6)}.invalid"  # RFC 6761: no such name exists
    (lookup,) = asyncio.run(names.look_up(name, names.NameServers(addresses=(server,)), port))
    details = {
        "silent": f"name server {server} does not answer",
        "failed": f"name server {server} refuses to answer",
        "resolved": f"name server {server} gives addresses for names that do not exist: it sends people elsewhere",
    }
    detail = details.get(lookup.outcome)
    return Diagnosis(what="resolver", detail=detail, fix=CHECK_ADDRESS) if detail else None


def names_of(here: Installation) -> list[str]:
    """The hosts that this gateway needs, but for addresses."""
    mine, settings = here.mine, here.settings
    urls = [f"//{settings.link.target}", settings.speed.server]
    if mine is not None:
        urls += [mine.url, mine.measure_url]
    hosts = [urlsplit(url).hostname or "" for url in urls]
    hosts += [endpoint.host for endpoint in mine.brokers] if mine is not None else []
    return sorted({host for host in hosts if host and host != "localhost" and not _is_address(host)})


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return False
