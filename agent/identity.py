"""Who this gateway is: its signing key, its name, and the collector it trusts. Keys never leave the machine."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.common.errors import describe
from agent.common.files import sync_folder, write_atomically
from agent.common.keys import is_sound, verifier

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

IDENTITY_FILE = "identity.json"
KEY_FILE = "signing.key"
SEAT_KEY_FILE = "seat.key"
TLS_KEY_FILE = "tls.key"
TLS_CERT_FILE = "tls.crt"
CA_FILE = "ca.pem"
LOCK_FILE = "lock"
ENROL_AGAIN = "enrol again with `nabz-agent enrol URL --force`"


class IdentityError(Exception):
    """The identity cannot be used: `what` is the reason, `fix` what to do."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}; {fix}")
        self.what, self.fix = what, fix


class NotEnrolled(IdentityError):
    """There is no identity here yet."""


class StateBusy(IdentityError):
    """Another process works in this state folder."""


class BrokerEndpoint(msgspec.Struct, frozen=True):
    """One broker endpoint. Endpoints are tried in their order."""

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    tls: bool = False
    transport: Literal["tcp", "websockets"] = "tcp"


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """What TLS needs, as paths: the roots this gateway trusts, its certificate (chain), its key (0600)."""

    ca: Path
    cert: Path
    key: Path


class Signer(Protocol):
    """What signs for this gateway: a key on disk today; a TPM's key would answer the same."""

    def sign(self, data: bytes, /) -> bytes: ...

    def public_key(self) -> Ed25519PublicKey: ...


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """The identity file: nothing in it is secret. ``url`` is where this gateway enrolled and renews."""

    device: str
    center: str
    name: str
    collector_key: bytes
    broker_host: str
    broker_port: int
    measure_url: str
    enrolled_ms: int
    nonce: str = ""
    url: str = ""
    brokers: list[BrokerEndpoint] = []


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What enrolment gave, with the key that proves it. ``nonce`` is the collector's at enrolment.

    ``brokers`` is never empty: an identity from before certificates has its one broker in it. ``tls`` is None for such.
    """

    device: str
    center: str
    name: str
    broker_host: str
    broker_port: int
    collector_key: bytes
    measure_url: str
    enrolled_ms: int
    nonce: str = ""
    url: str = ""
    brokers: Sequence[BrokerEndpoint] = ()
    tls: TlsFiles | None = None
    key: Signer = field(repr=False)

    def __post_init__(self) -> None:
        if not self.brokers:
            object.__setattr__(self, "brokers", (BrokerEndpoint(self.broker_host, self.broker_port),))

    @property
    def tls_port(self) -> int:
        """Where `broker_host` shows a certificate of the collector's root; 0: nowhere."""
        ports = (entry.port for entry in self.brokers if entry.tls and entry.host == self.broker_host)
        return next(ports, 0) if self.tls else 0

    def sign(self, body: bytes) -> bytes:
        return self.key.sign(body)

    def is_collectors(self, body: bytes, signature: bytes) -> bool:
        return verify(self.collector_key, body, signature)


def verify(public_key: bytes, body: bytes, signature: bytes) -> bool:
    """Whether the holder of ``public_key`` (32 bytes, Ed25519, RFC 8032) signed exactly ``body``. A key of small
    order has no holder: a signature that fits anything can be made for it."""
    try:
        verifier(public_key).verify(signature, body)
    except (InvalidSignature, ValueError):
        return False
    return True


def device_name(public_key: bytes) -> str:
    """A name bound to the key, so that no other key can claim it."""
    return "g" + hashlib.sha256(public_key).hexdigest()[:16]


def load(state_dir: Path) -> Identity:
    """Raises NotEnrolled, or IdentityError when what is there cannot be used."""
    path = state_dir / IDENTITY_FILE
    try:
        known = msgspec.json.decode(path.read_bytes(), type=Enrolled)
    except FileNotFoundError:
        raise NotEnrolled(f"{state_dir}: this gateway is not enrolled", "run `nabz-agent enrol URL`") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IdentityError(f"{path}: cannot be read ({describe(error)})", ENROL_AGAIN) from None
    if not is_sound(known.collector_key):
        raise IdentityError(f"{path}: collector_key is no sound Ed25519 key, so that anybody could be it", ENROL_AGAIN)
    key = load_key(state_dir)
    if key is None or device_name(key.public_key().public_bytes_raw()) != known.device:
        raise IdentityError(
            f"{state_dir}: the signing key is {'missing' if key is None else 'not the one'} of {known.device}",
            f"put it back or {ENROL_AGAIN}",
        )
    return Identity(key=key, tls=tls_files(state_dir), **msgspec.structs.asdict(known))


def tls_files(state_dir: Path) -> TlsFiles | None:
    """Where TLS finds its files; None for a gateway that was never given a certificate."""
    key = next((folder / TLS_KEY_FILE for folder in _folders(state_dir) if (folder / TLS_KEY_FILE).exists()), None)
    files = TlsFiles(ca=state_dir / CA_FILE, cert=state_dir / TLS_CERT_FILE, key=key or state_dir / TLS_KEY_FILE)
    return files if key and files.ca.exists() and files.cert.exists() else None


def save(state_dir: Path, known: Enrolled) -> None:
    write_atomically(state_dir / IDENTITY_FILE, msgspec.json.format(msgspec.json.encode(known), indent=2))


def save_brokers(state_dir: Path, brokers: list[BrokerEndpoint]) -> None:
    """The identity as it is, with other broker endpoints."""
    known = msgspec.json.decode((state_dir / IDENTITY_FILE).read_bytes(), type=Enrolled)
    first = brokers[0]
    save(state_dir, msgspec.structs.replace(known, brokers=brokers, broker_host=first.host, broker_port=first.port))


def load_key(state_dir: Path) -> Ed25519PrivateKey | None:
    """The signing key from systemd's credentials or the state folder; None when there is none."""
    raw = _secret(state_dir, KEY_FILE)
    if raw is None:
        return None
    if len(raw) != 32:
        raise IdentityError(f"{state_dir / KEY_FILE}: holds {len(raw)} bytes, an Ed25519 key has 32", "restore it")
    return Ed25519PrivateKey.from_private_bytes(raw)


def make_key(state_dir: Path) -> Ed25519PrivateKey:
    """The key of this gateway, made now unless a first try at enrolment already made it."""
    key = load_key(state_dir)
    if key is None:
        key = Ed25519PrivateKey.generate()
        make_folder(state_dir)
        write_atomically(state_dir / KEY_FILE, key.private_bytes_raw())
    return key


def load_tls_key(state_dir: Path) -> ec.EllipticCurvePrivateKey | None:
    """The TLS key (ECDSA P-256, PEM) from systemd's credentials or the state folder; None when there is none."""
    raw = _secret(state_dir, TLS_KEY_FILE)
    if raw is None:
        return None
    from cryptography.hazmat.primitives import serialization  # 3 MB, which a run without a renewal does not need
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(raw, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IdentityError(f"{state_dir / TLS_KEY_FILE}: holds no ECDSA P-256 key in PEM", "restore it")
    return key


def make_tls_key(state_dir: Path) -> ec.EllipticCurvePrivateKey:
    """The TLS key of this gateway, made now if there is none. It stays through renewals; signing has its own."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = load_tls_key(state_dir)
    if key is None:
        key = ec.generate_private_key(ec.SECP256R1())
        none = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none)
        make_folder(state_dir)
        write_atomically(state_dir / TLS_KEY_FILE, pem)
    return key


def save_certificate(state_dir: Path, chain_pem: str, ca_pem: str) -> None:
    """Roots first: a reader of the new certificate finds the roots that belong to it."""
    write_atomically(state_dir / CA_FILE, ca_pem.encode())
    write_atomically(state_dir / TLS_CERT_FILE, chain_pem.encode())


def seat_key(state_dir: Path) -> bytes:
    """The 32 random bytes that seat PCs of this center share with their gateway; made here at first use."""
    raw = _secret(state_dir, SEAT_KEY_FILE)
    if raw is None:
        raw = secrets.token_bytes(32)
        make_folder(state_dir)
        write_atomically(state_dir / SEAT_KEY_FILE, raw)
    if len(raw) != 32:
        raise IdentityError(
            f"{state_dir / SEAT_KEY_FILE}: holds {len(raw)} bytes, not 32", "remove it to make a new one"
        )
    return raw


def _secret(state_dir: Path, name: str) -> bytes | None:
    for folder in _folders(state_dir):
        path = folder / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            why = f"{path}: cannot be read ({describe(error)})"
            raise IdentityError(why, "run as the agent's own user") from None
    return None


def _folders(state_dir: Path) -> list[Path]:
    """Where secrets are looked for: systemd's credentials first."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    return ([Path(credentials)] if credentials else []) + [state_dir]


def make_folder(folder: Path) -> None:
    """The state folder, 0700, durable in its parent. Raises IdentityError."""
    try:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True)
            sync_folder(folder.parent)
    except OSError as error:
        raise IdentityError(f"{folder}: cannot be made ({describe(error)})", "set [agent] state_dir") from None


@contextlib.contextmanager
def sole_user(state_dir: Path) -> Iterator[None]:
    """Holds the state folder for one process. Raises StateBusy when another has it."""
    make_folder(state_dir)
    descriptor = os.open(state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StateBusy(f"{state_dir}: another nabz-agent works here", "stop it first") from None
        yield
    finally:
        os.close(descriptor)
