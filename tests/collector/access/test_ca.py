"""The authority inside: what it names, what it refuses, and that a rollover locks nobody out."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.uplink.enrol import csr_of
from collector.access.ca import Authority, CsrRefused, Files
from collector.store import StoreError

DEVICE = "g0123456789abcdef"
NOW = time.time_ns() // 1_000_000
DAY = 86_400_000


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, NOW)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def client(authority: Authority, folder: Path, name: str = DEVICE, now_ms: int = NOW) -> Files:
    """A gateway's files, as it would keep them."""
    key = new_key()
    issued = authority.issue_gateway(csr_of(key, name), name, now_ms)
    none = serialization.NoEncryption()
    files = Files(ca=folder / "c.ca", cert=folder / "c.crt", key=folder / "c.key")
    files.ca.write_bytes(authority.root_pem)
    files.cert.write_bytes(issued.cert_pem)
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none))
    return files


def handshake(server: Files, mine: Files, trusted: bytes) -> str:
    """What a handshake of both sides ends in: "" when it comes about, else why each side refused."""
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.load_cert_chain(server.cert, server.key)
    listening.load_verify_locations(server.ca)
    listening.verify_mode = ssl.CERT_REQUIRED
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as place:

        def serve() -> None:
            line, _ = place.accept()
            line.settimeout(5)
            try:
                with listening.wrap_socket(line, server_side=True) as wrapped:
                    wrapped.sendall(b"hello")
            except OSError as error:
                lines.append(f"server: {error}")
                line.close()

        thread = threading.Thread(target=serve)
        thread.start()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=trusted.decode())
        context.load_cert_chain(mine.cert, mine.key)
        try:
            with (
                socket.create_connection(place.getsockname(), timeout=60) as line,
                context.wrap_socket(line, server_hostname="127.0.0.1") as wrapped,
            ):
                assert wrapped.recv(5) == b"hello"
        except OSError as error:
            lines.append(f"client: {error}")
        thread.join()
    return "; ".join(lines)


# ---------------------------------------------------------------- naming


def test_a_gateways_certificate_names_it_and_lasts_a_month(authority: Authority) -> None:
    issued = authority.issue_gateway(csr_of(new_key(), DEVICE), DEVICE, NOW)
    leaf = x509.load_pem_x509_certificates(issued.cert_pem)[0]
    assert [item.value for item in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [DEVICE]
    uris = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert uris.get_values_for_type(x509.UniformResourceIdentifier) == [f"nabz:device:{DEVICE}"]
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert issued.not_after_ms - NOW == 30 * DAY
    assert issued.key_pem is None


def test_secrets_are_their_owners_alone(authority: Authority, tmp_path: Path) -> None:
    authority.keep("server", authority.issue_server(["127.0.0.1"], NOW))
    folder = tmp_path / "ca"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    keys = sorted(folder.glob("*.key"))
    assert [key.name for key in keys] == ["root-1.key", "server.key"]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_of_many_starts_at_once_all_have_one_root(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(Authority(tmp_path, NOW).fingerprint)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_service_cannot_take_the_name_of_a_gateway(authority: Authority) -> None:
    with pytest.raises(ValueError, match="choose another"):
        authority.issue_service(DEVICE, NOW)


def signed(key: object, *names: str) -> str:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes)).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def tampered() -> str:
    """A request whose signature no longer fits: one bit of it is turned."""
    raw = bytearray(ssl.PEM_cert_to_DER_cert(_as_certificate(csr_of(new_key(), DEVICE))))
    raw[-3] ^= 1
    return _as_request(ssl.DER_cert_to_PEM_cert(bytes(raw)))


def _as_certificate(pem: str) -> str:
    return pem.replace("CERTIFICATE REQUEST", "CERTIFICATE")


def _as_request(pem: str) -> str:
    return pem.replace("CERTIFICATE", "CERTIFICATE REQUEST")


@pytest.mark.row(33)
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: signed(new_key(), "gfedcba9876543210"), "does not name"),
        (lambda: signed(new_key(), DEVICE, "gfedcba9876543210"), "does not name"),
        (lambda: signed(new_key()), "does not name"),
        (lambda: signed(rsa.generate_private_key(65537, 2048), DEVICE), "not ECDSA P-256"),
        (lambda: signed(ec.generate_private_key(ec.SECP384R1()), DEVICE), "not ECDSA P-256"),
        (tampered, "not signed by its own key"),
        (lambda: "", "no certificate request"),
        (lambda: _as_request(ssl.DER_cert_to_PEM_cert(b"rubbish")), "no certificate request"),
        (lambda: "\ud800", "no certificate request"),
        (lambda: "x" * 3000, "the limit is 2048"),
    ],
)  # fmt: skip
def test_a_request_that_is_not_this_gateways_is_refused(
    authority: Authority, make: Callable[[], str], why: str
) -> None:
    with pytest.raises(CsrRefused, match=why):
        authority.issue_gateway(make(), DEVICE, NOW)


def test_a_damaged_root_is_never_replaced(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "ca" / "root-1.key").write_bytes(b"rubbish")
    with pytest.raises(StoreError, match=r"root-1\.key: cannot be used .* restore it"):
        Authority(tmp_path, NOW).issue_service("nabz-collector", NOW)


# ---------------------------------------------------------------- believing


def test_both_sides_believe_each_other(authority: Authority, tmp_path: Path) -> None:
    server = authority.keep("server", authority.issue_server(["127.0.0.1"], NOW))
    assert handshake(server, client(authority, tmp_path), authority.root_pem) == ""


@pytest.mark.parametrize("shift_ms", [-31 * DAY, 2 * DAY], ids=["expired", "not-yet-valid"])
def test_a_certificate_out_of_its_time_is_refused(authority: Authority, tmp_path: Path, shift_ms: int) -> None:
    server = authority.keep("server", authority.issue_server(["127.0.0.1"], NOW))
    assert "server: " in handshake(server, client(authority, tmp_path, now_ms=NOW + shift_ms), authority.root_pem)
    theirs = authority.keep("late", authority.issue_server(["127.0.0.1"], NOW + shift_ms))
    assert "client: " in handshake(theirs, client(authority, tmp_path), authority.root_pem)


def test_another_authoritys_certificate_is_refused_on_both_sides(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", NOW)
    server = authority.keep("server", authority.issue_server(["127.0.0.1"], NOW))
    assert "server: " in handshake(server, client(other, tmp_path), authority.root_pem)
    theirs = other.keep("server", other.issue_server(["127.0.0.1"], NOW))
    assert "client: " in handshake(theirs, client(authority, tmp_path), authority.root_pem)


def test_a_gateway_cannot_pass_for_a_server(authority: Authority, tmp_path: Path) -> None:
    mine = client(authority, tmp_path)
    assert "client: " in handshake(mine, mine, authority.root_pem)


def test_over_rollovers_nobody_is_locked_out(authority: Authority, tmp_path: Path) -> None:
    """A gateway that was away for two of them meets the new server, and the new server believes it."""
    away, trusted_then = client(authority, tmp_path), authority.root_pem
    for _ in range(2):
        authority.rollover(NOW)
    server = authority.keep("server", authority.issue_server(["127.0.0.1"], NOW))
    assert handshake(server, away, trusted_then) == ""
    (tmp_path / "new").mkdir()
    assert handshake(server, client(authority, tmp_path / "new"), authority.root_pem) == ""
    assert authority.root_pem.count(b"BEGIN") == 3


def test_a_retired_root_is_no_longer_believed(authority: Authority, tmp_path: Path) -> None:
    away = client(authority, tmp_path)
    authority.rollover(NOW)
    assert authority.retire() == 1
    server = authority.keep("server", authority.issue_server(["127.0.0.1"], NOW))
    assert "server: " in handshake(server, away, authority.root_pem)
    assert authority.root_pem.count(b"BEGIN") == 1


def test_the_list_of_the_revoked_names_their_serials(authority: Authority) -> None:
    issued = authority.issue_gateway(csr_of(new_key(), DEVICE), DEVICE, NOW)
    authority.rollover(NOW)
    path = authority.write_crl([(issued.serial, NOW)], NOW)
    texts = [f"{part}-----END X509 CRL-----\n" for part in path.read_text().split("-----END X509 CRL-----\n") if part]
    lists = [x509.load_pem_x509_crl(text.encode()) for text in texts]
    assert [item.get_revoked_certificate_by_serial_number(int(issued.serial, 16)) is not None for item in lists] == [
        True
    ] * 2
