"""What a beacon says, as one text of 121 characters: ``NABZ1 DEVICE SECONDS SIGNATURE``. Pure.

It fits a text message of the GSM alphabet (160 characters, 3GPP TS 23.038) as well as a short HTTP request, and says
nothing but that this gateway is alive at a time: no reading travels this way. The time is its number, too: the
collector takes only a later one than before, so none counts twice. Ed25519 (RFC 8032) signs a label with it, so that
no beacon passes for another kind of message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from agent.common import base64url

MAX_BODY_BYTES = 2048  # of whatever a gateway of text messages wraps around it
LABEL = "nabz-beacon-1\n"
_BEACON = re.compile(r"\bNABZ1 (g[0-9a-f]{16}) (\d{10}) ([A-Za-z0-9_-]{86})(?![A-Za-z0-9_-])")


@dataclass(frozen=True, kw_only=True)
class Beacon:
    """As it was received: `signature` is to be verified over `signed`. `at_s` is the gateway's wall clock."""

    device: str
    at_s: int
    signature: bytes

    @property
    def signed(self) -> bytes:
        return signed_bytes(self.device, self.at_s)


def signed_bytes(device: str, at_s: int) -> bytes:
    return f"{LABEL}{device} {at_s}".encode()


def make(device: str, at_s: int, sign: Callable[[bytes], bytes]) -> str:
    signature = base64url.encode(sign(signed_bytes(device, at_s)))
    return f"NABZ1 {device} {at_s:010d} {signature}"


def parse(text: str) -> Beacon | None:
    """The beacon in a text, whatever stands around it; None where there is none."""
    match = _BEACON.search(text)
    if match is None:
        return None
    return Beacon(device=match[1], at_s=int(match[2]), signature=base64url.decode(match[3]))
