"""The word of a collector that one test may run at one server: small, signed, good once and not for long.

Whoever knows the collector's public key can tell a true one offline; a measurement server needs no line to its
collector to do so. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.common import base64url
from agent.wire import Purpose

MAX_CHARS = 512  # as the wire carries it
CONTEXT = b"nabz test token 1\n"  # what the same key signs elsewhere is never a token


class Claims(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a token says. `expires_ms` is the latest begin of the test, `max_bytes` what it may move, both ways."""

    test: str
    device: str
    server: str
    expires_ms: int
    max_bytes: int
    purpose: Purpose


class TokenRefused(Exception):
    """Why a token does not admit: `reason` is a short fixed word, the text a sentence."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def make(claims: Claims, sign: Callable[[bytes], bytes]) -> str:
    """At most MAX_CHARS characters that need no quoting in an address."""
    body = msgspec.json.encode(claims)
    return f"{base64url.encode(body)}.{base64url.encode(sign(CONTEXT + body))}"


def read(token: str, key: Ed25519PublicKey, *, test: str, server: str, now_ms: int) -> Claims:
    """What a token says that admits `test` at `server` now. Raises TokenRefused.

    The signature comes first: what is not the collector's word is not read at all.
    """
    if not token:
        raise TokenRefused("no_token", "this server tests only with a token; ask the collector for a turn")
    claims = _signed(token, key)
    if claims.server != server:
        raise TokenRefused("other_server", f"this token is for server {claims.server!r}, this is {server!r}")
    if claims.test != test:
        raise TokenRefused("other_test", f"this token is for test {claims.test!r}, not {test[:64]!r}")
    if claims.expires_ms <= now_ms:
        raise TokenRefused("expired", f"this token expired {now_ms - claims.expires_ms} ms ago; ask for a new turn")
    return claims


def _signed(token: str, key: Ed25519PublicKey) -> Claims:
    false = TokenRefused("bad_signature", "this token is not signed by the collector of this server")
    head, _, tail = token.partition(".")
    if len(token) > MAX_CHARS:
        raise false
    try:
        body = base64url.decode(head)
        key.verify(base64url.decode(tail), CONTEXT + body)
        return msgspec.json.decode(body, type=Claims)
    except (InvalidSignature, ValueError):  # msgspec's errors are ValueErrors
        raise false from None
