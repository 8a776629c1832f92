"""How a gateway joins: the desk issues a one-time token for a center, the gateway proves its key with it.

The exchange is described in docs/developer.md, "Enrolment over HTTP".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import msgspec
import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from collector import centers, nonces
from collector.store import schema

MAX_REQUEST_BYTES = 4096
DAY_S = 86_400


class EnrolmentRefused(Exception):
    """Why not: an HTTP status and one sentence with the thing, the rule and the fix."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the collector tells each gateway about itself."""

    collector_key: bytes
    broker_host: str
    broker_port: int
    measure_url: str


class Request(msgspec.Struct, frozen=True, kw_only=True):
    token: Annotated[str, msgspec.Meta(max_length=64)]
    public_key: Annotated[str, msgspec.Meta(max_length=64)]
    proof: Annotated[str, msgspec.Meta(max_length=128)]
    hostname: Annotated[str, msgspec.Meta(max_length=200)] = ""
    version: Annotated[str, msgspec.Meta(max_length=64)] = ""


def issue_token(conn: sa.Connection, center: str, now_ms: int, ttl_s: int = DAY_S) -> str:
    """A token with which one gateway may join `center` once, within `ttl_s`. Only its hash is kept.

    Raises centers.CenterError when there is no such center, or it is closed.
    """
    if centers.get(conn, center).lifecycle == "closed":
        raise centers.CenterError(f"center {center!r}: is closed; move it to applied before a gateway joins")
    token = secrets.token_hex(16)
    row = {"token_hash": _hash(token), "center": center, "issued_ms": now_ms, "expires_ms": now_ms + ttl_s * 1000}
    conn.execute(sa.insert(schema.tokens).values(row))
    return token


def enrol(conn: sa.Connection, body: bytes, now_ms: int, facts: Facts) -> dict[str, object]:
    """The reply to an enrolment request (its JSON bytes). Raises EnrolmentRefused.

    1. The request is decoded and its proof verified: whoever asks holds the private key.
    2. The token is claimed by one conditional update, so that of two gateways with one token one joins.
    3. The device is written. The same gateway asking again with the same token gets the same answer: the first may
       have been lost on its way.
    """
    request = _decoded(body)
    public_key = _proven(request)
    device = device_name(public_key)
    center = _claimed(conn, request.token, device, now_ms)
    _write_device(conn, device, center, public_key, request, now_ms)
    return {
        "device": device,
        "center": center,
        "name": centers.get(conn, center).name,
        "collector_key": base64.b64encode(facts.collector_key).decode(),
        "broker": {"host": facts.broker_host, "port": facts.broker_port},
        "measure_url": facts.measure_url,
        "nonce": nonces.current(conn, now_ms),
    }


def device_name(public_key: bytes) -> str:
    """A name bound to the key, so that no other key can claim it."""
    return "g" + hashlib.sha256(public_key).hexdigest()[:16]


def is_signed(public_key: bytes, body: bytes, signature: bytes) -> bool:
    """Whether the holder of `public_key` (32 bytes, Ed25519, RFC 8032) signed exactly `body`."""
    try:
        _verifier(public_key).verify(signature, body)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=16_384)
def _verifier(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _decoded(body: bytes) -> Request:
    if len(body) > MAX_REQUEST_BYTES:
        raise EnrolmentRefused(
            413, f"request of {len(body)} bytes: the limit is {MAX_REQUEST_BYTES}; send only its fields"
        )
    try:
        return msgspec.json.decode(body, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EnrolmentRefused(400, f"request: {error}; send the fields of an enrolment as JSON") from None


def _proven(request: Request) -> bytes:
    try:
        public_key = base64.b64decode(request.public_key, validate=True)
        proof = base64.b64decode(request.proof, validate=True)
    except (binascii.Error, ValueError):
        raise EnrolmentRefused(400, "public_key, proof: must be base64; encode them so") from None
    if len(public_key) != 32:
        raise EnrolmentRefused(400, f"public_key: has {len(public_key)} bytes, Ed25519 has 32; send the raw key")
    if not is_signed(public_key, b"nabz-enrol\n" + request.token.encode(errors="replace"), proof):
        raise EnrolmentRefused(401, "proof: does not fit the key; sign `nabz-enrol`, a line feed and the token")
    return public_key


def _claimed(conn: sa.Connection, token: str, device: str, now_ms: int) -> str:
    """The center this token opens for this device."""
    tokens = schema.tokens
    mine = tokens.c.token_hash == _hash(token)
    free = sa.and_(mine, tokens.c.used_ms.is_(None), tokens.c.expires_ms > now_ms)
    claimed = conn.execute(sa.update(tokens).where(free).values(used_ms=now_ms, device=device)).rowcount
    row = conn.execute(sa.select(tokens).where(mine)).one_or_none()
    if row is None:
        raise EnrolmentRefused(403, "token: is not known here; ask the desk for `nabz-collector token CENTER`")
    if not claimed and row.used_ms is None:
        raise EnrolmentRefused(403, "token: has expired; ask the desk for a new one")
    if row.device != device:
        raise EnrolmentRefused(403, "token: was used by another gateway; ask the desk for a new one")
    return str(row.center)


def _write_device(
    conn: sa.Connection, device: str, center: str, public_key: bytes, request: Request, now_ms: int
) -> None:
    devices = schema.devices
    about = {"hostname": _printable(request.hostname), "version": _printable(request.version)}
    held = conn.execute(sa.select(devices).where(devices.c.device == device)).one_or_none()
    if held is None:
        row = {"device": device, "center": center, "public_key": public_key, "enrolled_ms": now_ms}
        conn.execute(sa.insert(devices).values(row | about))
    elif held.revoked_ms is not None:
        raise EnrolmentRefused(403, f"gateway {device}: was revoked; make a new key and enrol with a new token")
    elif held.center != center:
        raise EnrolmentRefused(409, f"gateway {device}: serves {held.center}; make a new key to serve {center}")
    else:
        conn.execute(sa.update(devices).where(devices.c.device == device).values(about))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
