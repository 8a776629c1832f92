"""TLS contexts, one maker for clients and one for servers: which versions, whom to believe, who to be."""

from __future__ import annotations

import ssl
from pathlib import Path

from agent.common.errors import describe

NEWEST, BROWSERS = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2  # at least: among ourselves, and with the world's


class TlsFileError(OSError):
    """A file cannot be used; one sentence with the thing, the rule and the fix."""


def client_context(
    ca: Path | str | None, cert: Path | None = None, key: Path | None = None, *, least: ssl.TLSVersion = NEWEST
) -> ssl.SSLContext:
    """For a session with a server that holds a certificate for its name, of an authority of `ca`: a file, PEM text, or
    None for the system's. With `cert` we show who we are. Raises TlsFileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = least
    fill(context, ca, cert, key)
    return context


def server_context(
    cert: Path, key: Path, clients: Path | None = None, *, least: ssl.TLSVersion = NEWEST
) -> ssl.SSLContext:
    """For a listener. With `clients` each of them must show a certificate of that authority. Raises TlsFileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = least
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        believe(context, clients)
    show(context, cert, key)
    return context


def fill(context: ssl.SSLContext, ca: Path | str | None, cert: Path | None, key: Path | None) -> None:
    """What the files hold now, for every handshake from here on. Raises TlsFileError."""
    believe(context, ca)
    if cert is not None:
        show(context, cert, key)


def believe(context: ssl.SSLContext, ca: Path | str | None) -> None:
    """Adds the authorities of `ca`. Raises TlsFileError."""
    try:
        if ca is None:
            context.load_default_certs()
        elif isinstance(ca, Path):
            context.load_verify_locations(cafile=ca)
        else:
            context.load_verify_locations(cadata=ca)
    except OSError as error:  # ssl.SSLError among them
        what = ca if isinstance(ca, Path) else "the PEM text"
        raise TlsFileError(
            f"{what}: is no readable CA certificate ({describe(error)}); name the CA's PEM file"
        ) from None


def show(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    """Who we are from now on. Raises TlsFileError."""
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:
        where = f"{cert}, {key}" if key else f"{cert}"
        raise TlsFileError(
            f"{where}: are no readable certificate and its key ({describe(error)}); name both PEM files"
        ) from None
