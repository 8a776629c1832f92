"""Contexts made of files: what they ask for, and what is said of a file that cannot be used."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from agent.common import tls
from tests.helpers.authority import TestAuthority


async def said(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """The TLS version of a session in which a byte went each way. Raises OSError where there is none."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await reader.read(1))
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server) as listener:
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        try:
            writer.write(b"x")
            if await reader.read(1) != b"x":
                raise ConnectionResetError
            return str(writer.get_extra_info("ssl_object").version())
        finally:
            writer.transport.abort()


def test_a_session_is_of_the_newest_version_and_the_name_is_checked(tmp_path: Path) -> None:
    files = TestAuthority(tmp_path).server("127.0.0.1")
    server = tls.server_context(files.cert, files.key)
    for ca in (files.ca, files.ca.read_text()):
        assert asyncio.run(said(server, tls.client_context(ca))) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(said(server, tls.client_context(None)))
    other = TestAuthority(tmp_path / "named").server("another.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        asyncio.run(said(tls.server_context(other.cert, other.key), tls.client_context(other.ca)))


def test_an_older_version_is_spoken_only_where_that_was_allowed(tmp_path: Path) -> None:
    files = TestAuthority(tmp_path).server("127.0.0.1")
    old = tls.client_context(files.ca, least=tls.BROWSERS)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        asyncio.run(said(tls.server_context(files.cert, files.key), old))
    assert asyncio.run(said(tls.server_context(files.cert, files.key, least=tls.BROWSERS), old)) == "TLSv1.2"


def test_a_client_without_a_certificate_gets_no_word_where_one_is_asked_for(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    files, client = authority.server("127.0.0.1"), authority.client("gateway")
    server = tls.server_context(files.cert, files.key, clients=files.ca)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        asyncio.run(said(server, tls.client_context(files.ca)))
    mine = tls.client_context(files.ca, client.cert, client.key)
    assert asyncio.run(said(server, mine)) == "TLSv1.3"


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    files, none = TestAuthority(tmp_path).server("127.0.0.1"), tmp_path / "none.pem"
    with pytest.raises(tls.TlsFileError, match=r"none\.pem: is no readable CA .*No such file.*name the CA's PEM file"):
        tls.client_context(none)
    with pytest.raises(tls.TlsFileError, match="the PEM text: is no readable CA"):
        tls.client_context("no certificate")
    with pytest.raises(tls.TlsFileError, match=r"none\.pem, .*: are no readable certificate .*name both PEM files"):
        tls.server_context(none, files.key)
    with pytest.raises(tls.TlsFileError, match=r"ca\.crt|are no readable certificate"):
        tls.show(tls.client_context(files.ca), files.key, files.cert)
