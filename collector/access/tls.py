"""TLS 1.3 with certificates on both sides, and one authority that is believed: ours, not the web's."""

from __future__ import annotations

import ssl
from pathlib import Path

from collector.access.ca import Files
from collector.config import ConfigError


class TlsError(ConfigError):
    """A file of ours cannot be used; one sentence with the thing, the rule and the fix."""


def server_context(files: Files) -> ssl.SSLContext:
    """For a listener: every client must show a certificate of our authority. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    fill(context, files.ca, files.cert, files.key)
    return context


def client_context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """For a session with a server that holds a certificate for its name, of this authority (None: of the system's).
    Raises TlsError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    fill(context, ca, cert, key)
    return context


def fill(context: ssl.SSLContext, ca: Path | None, cert: Path | None, key: Path | None) -> None:
    """What the files hold now, for every handshake from here on. Raises TlsError."""
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_default_certs() if ca is None else context.load_verify_locations(ca)
    except OSError as error:
        raise TlsError(f"{ca}: is no readable CA certificate ({error}); name the CA's PEM file") from None
    if cert is None:
        return
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:
        raise TlsError(
            f"{cert}, {key}: are no readable certificate and its key ({error}); name both PEM files"
        ) from None


def common_name(certificate: object) -> str:
    """The one common name of a verified certificate (as `ssl` decodes it); empty when it has none, or several."""
    subject = certificate.get("subject", ()) if isinstance(certificate, dict) else ()
    names = [value for part in subject for key, value in part if key == "commonName"]
    return str(names[0]) if len(names) == 1 else ""
