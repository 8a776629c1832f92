"""Bytes as text for URLs, headers and text messages: base64url without padding (RFC 4648 §5, RFC 7515 §2)."""

from __future__ import annotations

import base64
import re

_LETTERS = re.compile(r"[A-Za-z0-9_-]*")


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(text: str) -> bytes:
    """Raises ValueError for any other letter or length."""
    if not _LETTERS.fullmatch(text) or len(text) % 4 == 1:
        raise ValueError("is no base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
