"""Joins a center: makes the keys here, proves them with a one-time token, keeps what the collector answers."""

from __future__ import annotations

import hashlib
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from agent import __version__, identity
from agent.common.errors import printable
from agent.common.files import sync_folder
from agent.common.keys import is_sound
from agent.uplink.collector_client import (
    CollectorClient,
    CollectorRefused,
    CollectorUnreachable,
    pinned_root,
    root_of,
    split_token,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

SPOOL_FILE = "spool.db"
APPROVAL_S = 3600.0
POLL_MIN_S, POLL_MAX_S = 2.0, 60.0
ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Pem = Annotated[str, msgspec.Meta(max_length=32_768)]


class EnrolFailed(Exception):
    """Enrolment did not happen; the text names the thing, the rule and the fix, ``code`` is the collector's code where
    it was the collector that refused."""

    def __init__(self, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code


class Certified(msgspec.Struct, frozen=True, kw_only=True):
    """What comes with a certificate: the chain, roots to trust, broker endpoints, the collector's time."""

    certificate: Pem = ""
    ca: Pem = ""
    brokers: Annotated[list[identity.BrokerEndpoint], msgspec.Meta(max_length=16)] = []
    at_ms: int = 0


class EnrolmentAnswer(Certified, frozen=True, kw_only=True):
    device: ShortText
    waiting: Annotated[str, msgspec.Meta(max_length=500)] = ""
    center: Annotated[str, msgspec.Meta(max_length=200)] = ""
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    collector_key: bytes = b""
    broker: identity.BrokerEndpoint | None = None
    measure_url: Annotated[str, msgspec.Meta(max_length=200)] = ""
    nonce: Annotated[str, msgspec.Meta(max_length=64)] = ""


@dataclass(frozen=True, kw_only=True)
class ApprovalWait:
    """How long to wait for a second person, and how."""

    timeout_s: float = APPROVAL_S
    notify: Callable[[str], None] = lambda _line: None
    sleep: Callable[[float], None] = time.sleep
    now_s: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random


def enrol(
    state_dir: Path,
    url: str,
    token: str,
    now_ms: int,
    *,
    force: bool = False,
    plain: bool = False,
    waiting: ApprovalWait | None = None,
) -> identity.Identity:
    """The identity that ``token`` gave. Raises EnrolFailed, identity.IdentityError or OSError.

    With ``force`` the identity and keys so far are renamed (``*.old-TIME``) and new ones are made; so is the spool,
    whose readings belong to the old name. The agent must be stopped. ``plain`` allows http to other machines.
    """
    try:
        secret, fingerprint = split_token(token)
        client = CollectorClient(url, plain=plain)
        with identity.sole_user(state_dir):
            if force:
                archive_identity(state_dir, now_ms)
            elif (state_dir / identity.IDENTITY_FILE).exists():
                raise EnrolFailed(
                    f"{state_dir}: this gateway is enrolled already, nothing was changed; --force replaces its identity"
                )
            if client.is_tls and fingerprint:
                client.ca = pinned_root(client.url, fingerprint)
            key, tls_key = identity.make_key(state_dir), identity.make_tls_key(state_dir)
            request = enrolment_request(secret, key, tls_key)
            answer = request_until_approved(client, request, waiting or ApprovalWait(), fingerprint_of(key))
            save_enrolment(state_dir, answer, client.url, key, tls_key, fingerprint, now_ms)
            identity.seat_key(state_dir)
            return identity.load(state_dir)
    except CollectorRefused as refusal:
        raise EnrolFailed(str(refusal), refusal.code) from None
    except CollectorUnreachable as error:
        raise EnrolFailed(str(error)) from None


def enrolment_request(token: str, key: identity.Signer, tls_key: ec.EllipticCurvePrivateKey) -> dict[str, object]:
    """An enrolment request: the signing key's proof covers the token and the request for a certificate."""
    public_key = key.public_key().public_bytes_raw()
    csr = csr_of(tls_key, identity.device_name(public_key))
    return {
        "token": token,
        "public_key": public_key,
        "proof": key.sign(f"nabz-enrol\n{token}\n{csr}".encode()),
        "csr": csr,
        "hostname": printable(socket.gethostname(), 200),  # bytes of any kind
        "version": __version__,
    }


def csr_of(tls_key: ec.EllipticCurvePrivateKey, device: str) -> str:
    """A certificate request (PKCS #10, RFC 2986) as PEM that names this gateway."""
    from cryptography import x509  # 8 MB, which a run without a renewal does not need
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(tls_key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def fingerprint_of(key: identity.Signer) -> str:
    """SHA-256 of the public key in hex, in fours, as the desk's page shows it: to be compared by voice."""
    digits = hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()
    return " ".join(digits[place : place + 4] for place in range(0, len(digits), 4))


def request_until_approved(
    client: CollectorClient, request: dict[str, object], waiting: ApprovalWait, fingerprint: str
) -> EnrolmentAnswer:
    """The collector's answer, once a second person has decided where one must. Raises EnrolFailed or
    CollectorUnreachable."""
    until_s, pause_s, notified = waiting.now_s() + waiting.timeout_s, POLL_MIN_S, ""
    while True:
        status, answer = client.post("/api/v1/enrol", request, EnrolmentAnswer)
        if status != HTTPStatus.ACCEPTED:
            return answer
        why = "".join(letter if letter.isprintable() else "?" for letter in answer.waiting)
        if waiting.now_s() >= until_s:
            raise EnrolFailed(f"{why}, for {waiting.timeout_s:g} s by now; run this again once it is given")
        if why != notified:
            waiting.notify(f"{why}; waiting up to {waiting.timeout_s:g} s\nfingerprint of its key: {fingerprint}")
            notified = why
        waiting.sleep(pause_s * (0.5 + waiting.chance() / 2))
        pause_s = min(POLL_MAX_S, pause_s * 1.5)


def save_enrolment(
    state_dir: Path,
    answer: EnrolmentAnswer,
    url: str,
    key: identity.Signer,
    tls_key: ec.EllipticCurvePrivateKey,
    fingerprint: str,
    now_ms: int,
) -> None:
    """Writes what enrolment gave; the identity last, as nothing counts before it. Raises EnrolFailed or OSError."""
    known = checked(answer, url, key, now_ms)
    if answer.certificate:
        if fingerprint and not root_of(answer.ca.encode(), fingerprint):
            raise EnrolFailed("the collector's roots are not those of the token; somebody stands in between")
        identity.save_certificate(state_dir, checked_certificate(answer, known.device, tls_key), answer.ca)
    identity.save(state_dir, known)


def checked(answer: EnrolmentAnswer, url: str, key: identity.Signer, now_ms: int) -> identity.Enrolled:
    """What is kept of the answer. Raises EnrolFailed when it does not fit our key or cannot be trusted later."""
    mine = identity.device_name(key.public_key().public_bytes_raw())
    if answer.device != mine:
        raise EnrolFailed(f"the collector answered for {answer.device[:40]!r}, this gateway is {mine}; enrol again")
    if not is_sound(answer.collector_key):
        raise EnrolFailed(
            "the collector's key is not a sound Ed25519 key (32 bytes, not of small order); tell its operator"
        )
    broker = answer.brokers[0] if answer.brokers else answer.broker
    if broker is None or not answer.center:
        raise EnrolFailed("the answer is not a collector's (no broker or no center); check the address")
    return identity.Enrolled(
        device=answer.device,
        center=answer.center,
        name=answer.name,
        collector_key=answer.collector_key,
        broker_host=broker.host,
        broker_port=broker.port,
        measure_url=answer.measure_url,
        enrolled_ms=now_ms,
        nonce=answer.nonce,
        url=url,
        brokers=answer.brokers,
    )


def checked_certificate(certified: Certified, device: str, tls_key: ec.EllipticCurvePrivateKey) -> str:
    """The chain that was given, when it is for this name and this key. Raises EnrolFailed."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        leaf = x509.load_pem_x509_certificates(certified.certificate.encode())[0]
        x509.load_pem_x509_certificates(certified.ca.encode())
        named = [item.value for item in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        is_match = named == [device] and leaf.public_key() == tls_key.public_key()
    except ValueError:
        is_match = False
    if not is_match:
        raise EnrolFailed(f"the collector's certificate is not for the TLS key of {device}; tell its operator")
    return certified.certificate


def archive_identity(state_dir: Path, now_ms: int) -> None:
    """The old identity, keys and unsent readings stay on disk under names that nothing reads."""
    tls = (identity.TLS_CERT_FILE, identity.CA_FILE, identity.TLS_KEY_FILE)
    for name in (identity.IDENTITY_FILE, identity.KEY_FILE, *tls, f"{SPOOL_FILE}-wal", SPOOL_FILE):
        old = state_dir / name
        if old.exists():
            old.rename(state_dir / f"{name}.old-{now_ms}")
    sync_folder(state_dir)
