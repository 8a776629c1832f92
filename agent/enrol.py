"""Joins a center: makes this gateway's key, proves it with a one-time token, keeps what the collector answers.

The exchange is described in docs/developer.md, "Enrolment over HTTP". The key is made before the first try and kept,
so that an answer lost on a bad line is asked for again with the same token and the same key.
"""

from __future__ import annotations

import socket
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import __version__, identity

TIMEOUT_S = 90.0  # connecting takes up to 120 s over the worst lines; half of them answer within 8
MAX_ANSWER_BYTES = 64 * 1024
SPOOL_FILE = "spool.db"
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class EnrolFailed(Exception):
    """Enrolment did not happen; the text names the thing, the rule and the fix."""


class Broker(msgspec.Struct, frozen=True):
    host: Word
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    device: Word
    center: Word
    name: Annotated[str, msgspec.Meta(max_length=200)]
    collector_key: bytes
    broker: Broker
    measure_url: Annotated[str, msgspec.Meta(max_length=200)]
    nonce: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Refusal(msgspec.Struct, frozen=True):
    error: Annotated[str, msgspec.Meta(max_length=1000)]


def enrol(state_dir: Path, url: str, token: str, now_ms: int, *, force: bool = False) -> identity.Identity:
    """The identity that ``token`` gave. Raises EnrolFailed, identity.IdentityError or OSError.

    With ``force`` the identity and key so far are put aside (``*.old-TIME``) and a new key is made; so is the spool,
    whose readings belong to the old name. The agent must be stopped.
    """
    endpoint = enrol_url(url)
    if not token.strip():
        raise EnrolFailed("TOKEN: is empty; ask the desk for `nabz-collector token CENTER`")
    with identity.sole_user(state_dir):
        if force:
            put_aside(state_dir, now_ms)
        elif (state_dir / identity.IDENTITY_FILE).exists():
            raise EnrolFailed(
                f"{state_dir}: this gateway is enrolled already and nothing was changed; --force replaces its identity"
            )
        key = identity.make_key(state_dir)
        answer = ask(endpoint, token.strip(), key)
        known = checked(answer, key, now_ms)
        identity.save(state_dir, known)
        identity.seat_key(state_dir)
        return identity.load(state_dir)


def enrol_url(url: str) -> str:
    """Where to enrol at a collector whose address is ``url``. Raises EnrolFailed."""
    parts = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
    try:
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise EnrolFailed(f"URL: {url!r} is not the address of a collector; give for example https://nabz.example:8443")
    return f"{parts.scheme}://{parts.netloc}/api/v1/enrol"


def ask(endpoint: str, token: str, key: Ed25519PrivateKey) -> Answer:
    """One request. Raises EnrolFailed."""
    body = {
        "token": token,
        "public_key": key.public_key().public_bytes_raw(),
        "proof": key.sign(b"nabz-enrol\n" + token.encode()),
        "hostname": socket.gethostname()[:200],
        "version": __version__,
    }
    request = urllib.request.Request(  # noqa: S310  enrol_url lets only http and https through
        endpoint, data=msgspec.json.encode(body), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
            return decoded(reply.read(MAX_ANSWER_BYTES + 1), Answer, endpoint)
    except urllib.error.HTTPError as error:
        raise EnrolFailed(refusal(error, endpoint)) from None
    except (OSError, HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise EnrolFailed(f"{endpoint}: no answer ({why}); check the address and this machine's network") from None


def refusal(error: urllib.error.HTTPError, endpoint: str) -> str:
    """What the collector said, or that it is no collector."""
    try:
        said = msgspec.json.decode(error.read(MAX_ANSWER_BYTES), type=Refusal).error
    except (OSError, HTTPException, msgspec.DecodeError, UnicodeDecodeError):
        return f"{endpoint}: answered {error.code} and is not a collector's enrolment; check the address"
    return f"the collector refused ({error.code}): {''.join(c if c.isprintable() else '?' for c in said)}"


def decoded(raw: bytes, shape: type[Answer], endpoint: str) -> Answer:
    if len(raw) > MAX_ANSWER_BYTES:
        raise EnrolFailed(f"{endpoint}: the answer is over {MAX_ANSWER_BYTES} bytes; check the address")
    try:
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EnrolFailed(f"{endpoint}: the answer is not a collector's ({error}); check the address") from None


def checked(answer: Answer, key: Ed25519PrivateKey, now_ms: int) -> identity.Enrolled:
    """What is kept of the answer. Raises EnrolFailed when it does not fit our key or cannot be trusted later."""
    mine = identity.device_name(key.public_key().public_bytes_raw())
    if answer.device != mine:
        raise EnrolFailed(f"the collector answered for {answer.device[:40]!r}, this gateway is {mine}; enrol again")
    if len(answer.collector_key) != 32:
        raise EnrolFailed("the collector's key is not an Ed25519 key (32 bytes); tell its operator")
    return identity.Enrolled(
        device=answer.device,
        center=answer.center,
        name=answer.name,
        collector_key=answer.collector_key,
        broker_host=answer.broker.host,
        broker_port=answer.broker.port,
        measure_url=answer.measure_url,
        enrolled_ms=now_ms,
        nonce=answer.nonce,
    )


def put_aside(state_dir: Path, now_ms: int) -> None:
    """The old identity, key and unsent readings stay on disk under names that nothing reads."""
    for name in (identity.IDENTITY_FILE, identity.KEY_FILE, f"{SPOOL_FILE}-wal", SPOOL_FILE):
        old = state_dir / name
        if old.exists():
            old.rename(state_dir / f"{name}.old-{now_ms}")
    identity.sync_folder(state_dir)
