"""TLS 1.3 with certificates on both sides, and one authority that is believed: ours, not the web's."""

from __future__ import annotations

import contextlib
import ssl
from asyncio import sslproto
from collections.abc import Iterator
from pathlib import Path

from agent.common import tls
from collector.access.ca import Files
from collector.common.config import ConfigError

BUFFER_BYTES = 16 * 1024  # as long as a record of TLS (RFC 8446, 5.1)


class TlsError(ConfigError):
    """A file of ours cannot be used; one sentence with the thing, the rule and the fix."""


def shrink_buffers() -> None:
    """asyncio gives each connection over TLS a buffer of 256 KiB for its life: 10,000 sessions would hold 2.6 GB of
    zeros. Ours receive batches."""
    sslproto.SSLProtocol.max_size = BUFFER_BYTES


def server_context(files: Files) -> ssl.SSLContext:
    """For a listener: every client must show a certificate of our authority. Raises TlsError."""
    with _settings():
        return tls.server_context(files.cert, files.key, clients=files.ca)


def client_context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """For a session with a server that holds a certificate for its name, of this authority (None: of the system's).
    Raises TlsError.
    """
    with _settings():
        return tls.client_context(ca, cert, key)


def refill(context: ssl.SSLContext, ca: Path | None, cert: Path | None, key: Path | None) -> None:
    """What the files hold now, for every handshake from here on. Raises TlsError."""
    with _settings():
        tls.fill(context, ca, cert, key)


@contextlib.contextmanager
def _settings() -> Iterator[None]:
    """The files are named in the settings: what is wrong with them is a mistake there."""
    try:
        yield
    except tls.TlsFileError as error:
        raise TlsError(str(error)) from None


def common_name(certificate: object) -> str:
    """The one common name of a verified certificate (as `ssl` decodes it); empty when it has none, or several."""
    subject = certificate.get("subject", ()) if isinstance(certificate, dict) else ()
    names = [value for part in subject for key, value in part if key == "commonName"]
    return str(names[0]) if len(names) == 1 else ""
