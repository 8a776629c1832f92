"""The collector's own certificates: one for what gateways connect to, one for its own sessions at brokers."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from collector.access.ca import Authority, Files
from collector.common.config import EVERYWHERE, Settings, split_broker, split_listen


@dataclass(frozen=True)
class ServerCertificates:
    """`server` is for every listener of ours, `service` identifies us at a broker."""

    server: Files
    service: Files


def server_names(settings: Settings) -> list[str]:
    """Every host name and address by which gateways reach us, and loopback."""
    broker, enrolment = settings.broker, settings.enrolment
    listens = (broker.public, broker.public_websocket, broker.tls_listen, broker.websocket_listen, enrolment.listen)
    hosts = [split_listen(listen)[0] for listen in listens if listen]
    public = urlsplit(enrolment.public_url).hostname
    hosts.append(settings.broker_address[0])
    hosts += [split_broker(url)[1][0] for url in broker.also]
    hosts += [split_listen(item)[0] for item in broker.public_also]
    wanted = [*hosts, *([public] if public else []), "localhost", "127.0.0.1", "::1"]
    here = [socket.gethostname()] if any(host in EVERYWHERE for host in hosts) else []
    names = [*map(_in_ascii, (host for host in wanted if host not in EVERYWHERE)), *map(_in_ascii, here)]
    return list(dict.fromkeys(filter(None, names)))


def _in_ascii(host: str) -> str:
    """As certificates and clients have it: a name in Urdu by its A-labels (RFC 5890). Empty for what is no name at all,
    as a machine's own may be."""
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return ""


def server_certificates(authority: Authority, settings: Settings, now_ms: int) -> tuple[ServerCertificates, bool]:
    """Both certificates, made anew after half of their life, for other names, or by another root; and whether any was.

    Raises store.StoreError.
    """
    names, name = server_names(settings), settings.broker.services[0]
    server, service = authority.files("server"), authority.files("service")
    stale = False
    if _is_stale(server, authority, names, now_ms):
        authority.keep("server", authority.issue_server(names, now_ms))
        stale = True
    if _is_stale(service, authority, [name], now_ms):
        authority.keep("service", authority.issue_service(name, now_ms))
        stale = True
    return ServerCertificates(server, service), stale


def worker_certificate(authority: Authority, settings: Settings, number: int, now_ms: int) -> Files:
    """An ingest worker's own: brokers end the older of two sessions with one certificate. Raises store.StoreError."""
    if number < 2:
        return server_certificates(authority, settings, now_ms)[0].service
    name, files = settings.worker_service(number), authority.files(f"service-{number}")
    if _is_stale(files, authority, [name], now_ms):
        authority.keep(f"service-{number}", authority.issue_service(name, now_ms))
    return files


def _is_stale(files: Files, authority: Authority, names: Sequence[str], now_ms: int) -> bool:
    try:
        held = x509.load_pem_x509_certificate(files.cert.read_bytes())
    except (OSError, ValueError):
        return True
    start_ms, end_ms = (round(at.timestamp() * 1000) for at in (held.not_valid_before_utc, held.not_valid_after_utc))
    young = start_ms <= now_ms < (start_ms + end_ms) // 2
    trusted = files.ca.exists() and files.ca.read_bytes() == authority.root_pem
    return not (young and trusted and files.key.exists() and _names(held) == sorted(names))


def _names(held: x509.Certificate) -> list[str]:
    """The names a server is reached by; a service has one, its common name."""
    names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    reached = [str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]
    common = [str(item.value) for item in held.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return sorted(reached or common)
