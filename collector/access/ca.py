"""The certificate authority inside: an ECDSA P-256 root in the data folder that names gateways, servers and services.

Gateways trust this root alone, never the web's. A rollover adds a new root and has the old one vouch for it (a cross
certificate, sent with every certificate from then on), so that a gateway which was away for months still finds a path
from the root it knows to the server it connects to. No official lifetime exists: the days here are ours.
"""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.common.errors import describe
from agent.common.files import sync_folder
from collector.access.atomic_files import put
from collector.store import StoreError
from collector.store.database import AUTHORITY

GATEWAY_DAYS = 30
ROOT_DAYS = 20 * 365
SIGNER_DAYS = 10 * 365
BACKDATE_MS = 3_600_000  # a verifier whose clock is a little behind need not wait
DAY_MS = 86_400_000
STAND_IN_MS = 300_000
MAX_CSR_BYTES = 2048
DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")  # RFC 9336
DEVICE_URI = "nabz:device:"
SERVICE_URI = "nabz:service:"


class CsrRefused(Exception):
    """A certificate request cannot be granted; one sentence with the thing, the rule and the fix."""


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A certificate with its chain, leaf first. `key_pem` is None when the key never left its gateway."""

    cert_pem: bytes
    key_pem: bytes | None
    serial: str
    not_before_ms: int
    not_after_ms: int


@dataclass(frozen=True, kw_only=True)
class Files:
    """Where a server or a service of ours finds its trust, its certificate and its key (0600)."""

    ca: Path
    cert: Path
    key: Path


class Issuer(Protocol):
    """The issuer of gateways' certificates: our own authority today. An external one, such as step-ca, would do the
    same by its own API, and bring its own list of the revoked; how the brokers' certificates come is a matter apart."""

    @property
    def root_pem(self) -> bytes:
        """All trusted roots, the newest first."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the newest root's DER, in hex: what a token carries."""
        ...

    def is_of_newest(self, chain_pem: str) -> bool:
        """Whether the newest root stands behind this certificate: if not, a renewal gives another."""
        ...

    def issue_gateway(self, csr_pem: str, device: str, now_ms: int) -> Issued:
        """Raises CsrRefused."""
        ...


@dataclass(frozen=True)
class _Root:
    number: int
    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Authority:
    """Reads its folder at each use, so that every process of a site sees a rollover at once. Raises StoreError."""

    def __init__(self, data_dir: Path, now_ms: int, days: int = GATEWAY_DAYS) -> None:
        """Makes the root when there is none: its folder is 0700, its key 0600."""
        self._folder = data_dir / AUTHORITY
        self._days = days
        with self._alone():
            if not self._numbers():
                self._make_root(1, now_ms)

    # ------------------------------------------------------------ trust

    @property
    def root_pem(self) -> bytes:
        """All trusted roots, the newest first."""
        return b"".join(_pem(self._certificate(number)) for number in reversed(self._numbers()))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the newest root's DER, in hex."""
        return self._certificate(self._numbers()[-1]).fingerprint(hashes.SHA256()).hex()

    def is_of_newest(self, chain_pem: str) -> bool:
        """Whether the newest root issued this certificate (the first, when there are several)."""
        leaf = x509.load_pem_x509_certificate(chain_pem.encode())
        return leaf.issuer == self._certificate(self._numbers()[-1]).subject

    def rollover(self, now_ms: int) -> str:
        """A new root, vouched for by the old one, issues from now on; both are trusted. Returns its fingerprint."""
        with self._alone():
            old = self._newest()
            new = self._make_root(old.number + 1, now_ms, vouching=old)
        return new.cert.fingerprint(hashes.SHA256()).hex()

    def retire(self) -> int:
        """Trusts the newest root alone; returns how many others were retired. Cross certificates stay in use."""
        with self._alone():
            old = self._numbers()[:-1]
            for number in old:
                for name in (f"root-{number}.pem", f"root-{number}.key"):
                    (self._folder / name).rename(self._folder / f"retired-{name}")
            sync_folder(self._folder)
        return len(old)

    # ------------------------------------------------------------ issuing

    def issue_gateway(self, csr_pem: str, device: str, now_ms: int) -> Issued:
        """A short-lived client certificate for the key of this request. Raises CsrRefused."""
        public_key = checked_csr(csr_pem, device)
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(DEVICE_URI + device)]
        return self._issue(public_key, None, device, names, ExtendedKeyUsageOID.CLIENT_AUTH, now_ms)

    def issue_server(self, names: Sequence[str], now_ms: int) -> Issued:
        """For a listener of ours that is reached by these host names and IP addresses."""
        key, wanted = ec.generate_private_key(ec.SECP256R1()), [_general_name(name) for name in dict.fromkeys(names)]
        return self._issue(key.public_key(), key, "nabz server", wanted, ExtendedKeyUsageOID.SERVER_AUTH, now_ms)

    def issue_service(self, name: str, now_ms: int) -> Issued:
        """The collector's own client certificate at an MQTT broker; its CN is `name`, never a gateway's."""
        if re.fullmatch(r"g[0-9a-f]{16}", name):
            raise ValueError(f"service {name!r}: has the name of a gateway; choose another")
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(SERVICE_URI + name)]
        return self._issue(key.public_key(), key, name, names, ExtendedKeyUsageOID.CLIENT_AUTH, now_ms)

    def issue_signer(self, name: str, now_ms: int) -> Issued:
        """For signatures of documents (RFC 9336), which are read for years."""
        key = ec.generate_private_key(ec.SECP256R1())
        names, until_ms = [x509.UniformResourceIdentifier(f"{SERVICE_URI}documents")], now_ms + SIGNER_DAYS * DAY_MS
        return self._issue(key.public_key(), key, name, names, DOCUMENT_SIGNING, now_ms, until_ms)

    def issue_stand_in(self, device: str, now_ms: int) -> Issued:
        """With which the collector comes to a broker in the name of a revoked gateway, to end its session."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(SERVICE_URI + device)]
        until_ms = now_ms + STAND_IN_MS
        return self._issue(key.public_key(), key, device, names, ExtendedKeyUsageOID.CLIENT_AUTH, now_ms, until_ms)

    def keep(self, name: str, issued: Issued) -> Files:
        """What was issued with a key of ours, as the files `ca/NAME.crt`, `ca/NAME.key` and `ca/trusted.pem`."""
        if issued.key_pem is None:
            raise ValueError(f"{name}: its key is not here")
        files = self.files(name)
        with self._alone():
            put(files.ca, self.root_pem)
            put(files.key, issued.key_pem)
            put(files.cert, issued.cert_pem)
        return files

    def files(self, name: str) -> Files:
        """Where `keep` puts what is called `name`."""
        folder = self._folder
        return Files(ca=folder / "trusted.pem", cert=folder / f"{name}.crt", key=folder / f"{name}.key")

    def write_crl(self, revoked: Sequence[tuple[str, int]], now_ms: int) -> Path:
        """`ca/crl.pem` with one list of each trusted root, of (serial, revoked_ms). For brokers of other makes."""
        lists = []
        with self._alone():
            for number in self._numbers():
                root = self._root(number)
                builder = x509.CertificateRevocationListBuilder().issuer_name(root.cert.subject)
                builder = builder.last_update(_time(now_ms - BACKDATE_MS)).next_update(_time(now_ms + 365 * DAY_MS))
                for serial, at_ms in revoked:
                    entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16))
                    builder = builder.add_revoked_certificate(entry.revocation_date(_time(at_ms)).build())
                lists.append(builder.sign(root.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
            put(self.crl, b"".join(lists), 0o644)
        return self.crl

    @property
    def crl(self) -> Path:
        """Where `write_crl` puts what it makes."""
        return self._folder / "crl.pem"

    def _issue(
        self,
        public_key: ec.EllipticCurvePublicKey,
        key: ec.EllipticCurvePrivateKey | None,
        common_name: str,
        names: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        now_ms: int,
        until_ms: int | None = None,
    ) -> Issued:
        root, serial = self._newest(), x509.random_serial_number()
        until_ms = until_ms or now_ms + self._days * DAY_MS
        builder = _builder(common_name, public_key, root, serial, now_ms, until_ms)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs=True, commits=usage == DOCUMENT_SIGNING), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Issued(
            cert_pem=_pem(builder.sign(root.key, hashes.SHA256())) + self._cross(root.number),
            key_pem=None if key is None else _key_pem(key),
            serial=f"{serial:x}",
            not_before_ms=now_ms - BACKDATE_MS,
            not_after_ms=until_ms,
        )

    # ------------------------------------------------------------ the folder

    def _make_root(self, number: int, now_ms: int, vouching: _Root | None = None) -> _Root:
        """The certificate is written last: a root without it does not exist yet."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = f"Nabz root {number} {os.urandom(4).hex()}"
        cert = _authority_builder(subject, key, None, now_ms).sign(key, hashes.SHA256())
        put(self._folder / f"root-{number}.key", _key_pem(key))
        if vouching is not None:
            cross = _authority_builder(subject, key, vouching, now_ms).sign(vouching.key, hashes.SHA256())
            put(self._folder / f"cross-{number}.pem", _pem(cross) + self._cross(vouching.number), 0o644)
        put(self._folder / f"root-{number}.pem", _pem(cert), 0o644)
        return _Root(number, cert, key)

    def _cross(self, number: int) -> bytes:
        path = self._folder / f"cross-{number}.pem"
        return path.read_bytes() if path.exists() else b""

    def _numbers(self) -> list[int]:
        names = (re.fullmatch(r"root-(\d{1,6})\.pem", path.name) for path in self._folder.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def _newest(self) -> _Root:
        return self._root(self._numbers()[-1])

    def _certificate(self, number: int) -> x509.Certificate:
        path = self._folder / f"root-{number}.pem"
        try:
            return x509.load_pem_x509_certificate(path.read_bytes())
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be used ({describe(error)}); restore it from a backup") from None

    def _root(self, number: int) -> _Root:
        path = self._folder / f"root-{number}.key"
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise StoreError(f"{path}: cannot be used ({describe(error)}); restore it from a backup") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise StoreError(f"{path}: holds no ECDSA key; restore it from a backup")
        return _Root(number, self._certificate(number), key)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time changes the folder."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            why = f"cannot be used ({describe(error)}); check its owner and space"
            raise StoreError(f"{self._folder}: {why}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


# ---------------------------------------------------------------- requests


def checked_csr(csr_pem: str, device: str) -> ec.EllipticCurvePublicKey:
    """The key of a PKCS #10 request (RFC 2986) that names `device` and proves its key; the rest of it is ignored.

    Raises CsrRefused.
    """
    if len(csr_pem) > MAX_CSR_BYTES:
        raise CsrRefused(
            f"csr: has {len(csr_pem)} characters, the limit is {MAX_CSR_BYTES}; send only a name and a key"
        )
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        key, signed = csr.public_key(), csr.is_signature_valid
        common_names = [item.value for item in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (ValueError, TypeError, UnsupportedAlgorithm, UnicodeError):
        raise CsrRefused("csr: is no certificate request; send PKCS #10 as PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CsrRefused("csr: its key is not ECDSA P-256; make such a key")
    if not signed:
        raise CsrRefused("csr: is not signed by its own key; sign it with the key that it requests a certificate for")
    if common_names != [device]:
        raise CsrRefused(f"csr: does not name {device}, the gateway whose key signed this request; name that one alone")
    return key


# ---------------------------------------------------------------- certificates


def _builder(
    common_name: str, key: ec.EllipticCurvePublicKey, root: _Root, serial: int, now_ms: int, until_ms: int
) -> x509.CertificateBuilder:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(root.cert.subject)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(_time(now_ms - BACKDATE_MS))
        .not_valid_after(_time(until_ms))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(identifier, critical=False)
    )


def _authority_builder(
    subject: str, key: ec.EllipticCurvePrivateKey, vouching: _Root | None, now_ms: int
) -> x509.CertificateBuilder:
    """A root of its own (`vouching` None), or the certificate by which an older root vouches for it."""
    until_ms = now_ms + ROOT_DAYS * DAY_MS
    issuer_key = (vouching.key if vouching else key).public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(vouching.cert.subject if vouching else _name(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(now_ms - BACKDATE_MS))
        .not_valid_after(vouching.cert.not_valid_after_utc if vouching else _time(until_ms))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.add_extension(_key_usage(signs=False), critical=True)


def _key_usage(*, signs: bool, commits: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=commits,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs,
        crl_sign=not signs,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _time(ms: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(ms // 1000, datetime.UTC)


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    none = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none)
