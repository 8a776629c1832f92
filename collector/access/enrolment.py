"""How a gateway joins and stays: a one-time token for a center, proof of a key, a second person's approval, a
certificate.

The exchange is described in docs/developer/identity.md, "Enrolment over HTTP".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature

from agent import wire
from agent.common.errors import describe
from agent.common.keys import is_sound, verifier
from agent.common.reasons import Param, Reason
from agent.common.words import CodedError
from collector.access import approvals, devices
from collector.access.ca import MAX_CSR_BYTES, CsrRefused, Issuer, checked_csr
from collector.register import centers
from collector.store import nonces, schema
from collector.store.journal import journaled

MAX_REQUEST_BYTES = 4096
DAY_S = 86_400
FINGERPRINT_DIGITS = 32  # of SHA-256: 128 bits
Approval = Literal["none", "second_person"]
Csr = Annotated[str, msgspec.Meta(max_length=MAX_CSR_BYTES)]


class EnrolmentRefused(CodedError):
    """Why not, and the HTTP status."""

    def __init__(self, status: int, code: str, **params: Param) -> None:
        super().__init__(Reason(code, params))
        self.status = status

    @property
    def body(self) -> dict[str, object]:
        """The answer to a program: a sentence in English, and the code with its parameters."""
        return {"error": str(self), "code": self.reason.code, "params": self.reason.params}


@dataclass(frozen=True, kw_only=True)
class EnrolmentFacts:
    """What each gateway learns of the collector, and the rules of enrolment.

    `brokers` are all broker endpoints ({host, port, tls, transport}), the best first. Without an authority nobody is
    given a certificate.
    """

    collector_key: bytes
    broker_host: str
    broker_port: int
    measure_url: str
    brokers: Sequence[Mapping[str, object]] = ()
    authority: Issuer | None = None
    approval: Approval = "none"


class EnrolmentRequest(msgspec.Struct, frozen=True, kw_only=True):
    token: Annotated[str, msgspec.Meta(max_length=100)]  # the fingerprint after its full stop counts for nothing here
    public_key: Annotated[str, msgspec.Meta(max_length=64)]
    proof: Annotated[str, msgspec.Meta(max_length=128)]
    hostname: Annotated[str, msgspec.Meta(max_length=200)] = ""
    version: Annotated[str, msgspec.Meta(max_length=64)] = ""
    csr: Csr = ""


class RenewalRequest(msgspec.Struct, frozen=True, kw_only=True):
    device: Annotated[str, msgspec.Meta(max_length=64)]
    csr: Csr
    proof: Annotated[str, msgspec.Meta(max_length=128)]


def issue_token(
    conn: sa.Connection,
    center: str,
    now_ms: int,
    ttl_s: int = DAY_S,
    made_by: str = "",
    *,
    proof: str = "",
    replaces: bool = False,
) -> str:
    """A token with which one gateway may join `center` once, within `ttl_s`. Only its hash is kept, and who made it.
    With `replaces` the center's gateways so far are revoked when that one has joined.

    `proof` is of `users.prove`. Raises centers.CenterError when there is no such center, or it is closed, and
    users.PersonError when its maker must be proven and is not, or may not issue any.
    """
    if centers.get(conn, center).lifecycle == "closed":
        raise centers.CenterError(f"center {center!r}: is closed; move it to applied before a gateway joins")
    token = secrets.token_hex(16)
    row = {"token_hash": _hash(token), "center": center, "issued_ms": now_ms, "expires_ms": now_ms + ttl_s * 1000}
    conn.execute(sa.insert(schema.tokens).values(row | {"replaces": replaces}))
    approvals.note_token(conn, _hash(token), center, made_by, now_ms, proof=proof)
    return token


def page_name(token: str) -> str:
    """What names the installer's page of a token: its hash, from which nobody gets the token back."""
    return _hash(token)


def format_token(secret: str, authority: Issuer) -> str:
    """As a person carries it to the gateway: with the fingerprint of our root, so that first contact is not blind."""
    return f"{secret}.{authority.fingerprint[:FINGERPRINT_DIGITS]}"


def enrolling(conn: sa.Connection, body: bytes) -> tuple[str, ...]:
    """Who wants to enrol, proven: names of its token and of its key. Reads alone. Raises EnrolmentRefused."""
    request = _decoded(body, EnrolmentRequest)
    device, held = device_name(_proven(request)), schema.tokens.c.token_hash
    if conn.execute(sa.select(held).where(held == _hash(request.token))).first() is None:
        raise EnrolmentRefused(403, "enrol.token_unknown")
    return f"token {_hash(request.token)}", f"key {device}"


def renewing(conn: sa.Connection, body: bytes) -> tuple[str, ...]:
    """Who wants a certificate, proven: the name of its key. Reads alone. Raises EnrolmentRefused."""
    return (f"key {_known(conn, _decoded(body, RenewalRequest)).device}",)


def enrol(conn: sa.Connection, body: bytes, now_ms: int, facts: EnrolmentFacts) -> dict[str, object]:
    """The reply to an enrolment request (its JSON bytes); `{"waiting": why}` until a second person has decided.

    1. The request is decoded and its proof verified: the requester holds the private key, and named this TLS key.
    2. The token is claimed by one conditional update, so that of two gateways with one token one joins.
    3. Where the policy requires it, another person than the token's maker approves the gateway.
    4. The device is written. The same gateway asking again with the same token gets the same answer: the first may
       have been lost in transit.

    Raises EnrolmentRefused.
    """
    request = _decoded(body, EnrolmentRequest)
    public_key = _proven(request)
    device = device_name(public_key)
    if request.csr:
        _checked_csr(request.csr, device)
    center = _claimed(conn, request.token, device, now_ms)
    held = _held(conn, device, center)
    if held is None and facts.approval == "second_person" and (why := _waits(conn, request, public_key, now_ms)):
        return {"waiting": why, "device": device}
    _write_device(conn, device, center, public_key, request, now_ms, is_new=held is None)
    if held is None:
        _replace(conn, _hash(request.token), device, center, now_ms)
    return {
        "device": device,
        "center": center,
        "name": centers.get(conn, center).name,
        "collector_key": base64.b64encode(facts.collector_key).decode(),
        "broker": {"host": facts.broker_host, "port": facts.broker_port},
        "measure_url": facts.measure_url,
        "nonce": nonces.current(conn, now_ms),
        **_certified(conn, device, request.csr, now_ms, facts),
    }


def renew(conn: sa.Connection, body: bytes, now_ms: int, facts: EnrolmentFacts) -> dict[str, object]:
    """A certificate for a gateway that is known and not revoked, also when its last one ran out long ago.

    Before half of a certificate's life it gives the same one again. Raises EnrolmentRefused.
    """
    request = _decoded(body, RenewalRequest)
    held = _known(conn, request)
    if held.revoked_ms is not None:
        raise EnrolmentRefused(403, "enrol.revoked", device=held.device)
    if facts.authority is None:
        raise EnrolmentRefused(404, "enrol.no_certificates")
    return _certified(conn, held.device, request.csr, now_ms, facts)


def _known(conn: sa.Connection, request: RenewalRequest) -> Any:
    """The row of the gateway that has signed this. Raises EnrolmentRefused."""
    table = schema.devices
    held = conn.execute(sa.select(table).where(table.c.device == request.device)).one_or_none()
    if held is None:
        raise EnrolmentRefused(404, "enrol.unknown_gateway", device=_printable(request.device))
    signed = f"nabz-renew\n{request.device}\n{request.csr}".encode(errors="replace")
    if not is_signed(bytes(held.public_key), signed, _from_base64(request.proof, "proof")):
        raise EnrolmentRefused(401, "enrol.other_key", device=held.device)
    return held


def _certified(conn: sa.Connection, device: str, csr: str, now_ms: int, facts: EnrolmentFacts) -> dict[str, object]:
    """What comes with a certificate: roots to trust and brokers that will know it."""
    if not csr or facts.authority is None:
        return {}
    try:
        certificate = devices.certificate(conn, facts.authority, device, csr, now_ms)
    except CsrRefused as refused:
        raise EnrolmentRefused(400, "enrol.csr", text=str(refused)) from None
    except devices.DeviceError as refused:
        raise EnrolmentRefused(429, "enrol.too_many_certificates", text=str(refused)) from None
    trusted = facts.authority.root_pem.decode()
    return {"certificate": certificate, "ca": trusted, "brokers": list(facts.brokers), "at_ms": now_ms}


def _waits(conn: sa.Connection, request: EnrolmentRequest, public_key: bytes, now_ms: int) -> str:
    """Why this gateway is not enrolled yet; empty once approved. Raises EnrolmentRefused when it was refused."""
    device, key_hash = device_name(public_key), hashlib.sha256(public_key).hexdigest()
    approval = approvals.request_approval(
        conn, _hash(request.token), device, key_hash, _printable(request.hostname), now_ms
    )
    if approval is None or not approval.made_by:
        raise EnrolmentRefused(403, "enrol.no_maker")
    if approval.state == "refused":
        code = "enrol.refused_because" if approval.reason else "enrol.refused"
        why = {"because": approval.reason} if approval.reason else {}
        raise EnrolmentRefused(403, code, device=device, person=approval.decided_by, **why)
    if approval.state == "approved":
        return ""
    return f"gateway {device} waits for approval by another person than {approval.made_by}"


def device_name(public_key: bytes) -> str:
    """A name bound to the key, so that no other key can claim it."""
    return "g" + hashlib.sha256(public_key).hexdigest()[:16]


def is_signed(public_key: bytes, body: bytes, signature: bytes) -> bool:
    """Whether the holder of `public_key` (32 bytes, Ed25519, RFC 8032) signed exactly `body`."""
    try:
        verifier(public_key).verify(signature, body)
    except (InvalidSignature, ValueError):
        return False
    return True


def _hash(token: str) -> str:
    return hashlib.sha256(token.partition(".")[0].encode(errors="replace")).hexdigest()


Kind = TypeVar("Kind", EnrolmentRequest, RenewalRequest)


def _decoded(body: bytes, kind: type[Kind]) -> Kind:
    if len(body) > MAX_REQUEST_BYTES:
        raise EnrolmentRefused(413, "enrol.over_limit", limit=MAX_REQUEST_BYTES)
    try:
        return msgspec.json.decode(body, type=kind)
    except wire.UNREADABLE as error:
        raise EnrolmentRefused(400, "enrol.unframed", text=_printable(describe(error)[:300])) from None


def _proven(request: EnrolmentRequest) -> bytes:
    public_key, proof = _from_base64(request.public_key, "public_key"), _from_base64(request.proof, "proof")
    if len(public_key) != 32:
        raise EnrolmentRefused(400, "enrol.key_length", length=len(public_key))
    if not is_sound(public_key):
        raise EnrolmentRefused(400, "enrol.weak_key")
    signed = "\n".join(filter(None, ("nabz-enrol", request.token, request.csr)))
    if not is_signed(public_key, signed.encode(errors="replace"), proof):
        raise EnrolmentRefused(401, "enrol.proof")
    return public_key


def _from_base64(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise EnrolmentRefused(400, "enrol.not_base64", part=name) from None


def _checked_csr(csr: str, device: str) -> None:
    """Before the token is touched: a bad request does not use it up."""
    try:
        checked_csr(csr, device)
    except CsrRefused as refused:
        raise EnrolmentRefused(400, "enrol.csr", text=str(refused)) from None


def _claimed(conn: sa.Connection, token: str, device: str, now_ms: int) -> str:
    """The center this token opens for this device."""
    tokens = schema.tokens
    mine = tokens.c.token_hash == _hash(token)
    free = sa.and_(mine, tokens.c.used_ms.is_(None), tokens.c.expires_ms > now_ms)
    claimed = conn.execute(sa.update(tokens).where(free).values(used_ms=now_ms, device=device)).rowcount
    if claimed:
        journaled(conn, tokens, _hash(token))
    row = conn.execute(sa.select(tokens).where(mine)).one_or_none()
    if row is None:
        raise EnrolmentRefused(403, "enrol.token_unknown")
    if not claimed and row.used_ms is None:
        raise EnrolmentRefused(403, "enrol.token_expired")
    if row.device != device:
        raise EnrolmentRefused(403, "enrol.token_used")
    return str(row.center)


def _held(conn: sa.Connection, device: str, center: str) -> sa.Row[tuple[object, ...]] | None:
    """This gateway, if it is known already and may come again. Raises EnrolmentRefused."""
    held = conn.execute(sa.select(schema.devices).where(schema.devices.c.device == device)).one_or_none()
    if held is not None and held.revoked_ms is not None:
        raise EnrolmentRefused(403, "enrol.revoked", device=device)
    if held is not None and held.center != center:
        raise EnrolmentRefused(409, "enrol.other_center", device=device, center=held.center, asked=center)
    return held


def _write_device(
    conn: sa.Connection,
    device: str,
    center: str,
    public_key: bytes,
    request: EnrolmentRequest,
    now_ms: int,
    *,
    is_new: bool,
) -> None:
    table = schema.devices
    about = {"hostname": _printable(request.hostname), "version": _printable(request.version)}
    if is_new:
        row = {"device": device, "center": center, "public_key": public_key, "enrolled_ms": now_ms}
        conn.execute(sa.insert(table).values(row | about))
        journaled(conn, table, device)
    else:
        conn.execute(sa.update(table).where(table.c.device == device).values(about))


def _replace(conn: sa.Connection, token_hash: str, device: str, center: str, now_ms: int) -> None:
    """Revokes the center's other gateways, where the token says that this one replaces them. What they sent stays."""
    tokens, table = schema.tokens.c, schema.devices.c
    if not conn.scalar(sa.select(tokens.replaces).where(tokens.token_hash == token_hash)):
        return
    by = approvals.maker_of(conn, token_hash)
    others = sa.select(table.device).where(table.center == center, table.device != device, table.revoked_ms.is_(None))
    for other in conn.scalars(others).all():
        devices.revoke(conn, other, by, f"replaced by {device}", now_ms)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
