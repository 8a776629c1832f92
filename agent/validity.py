"""From when until when a certificate is valid, read from its DER (RFC 5280 section 4.1) without `cryptography.x509`:
that costs 8 MB, which a gateway needs once in half a certificate's life."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

SEQUENCE, VERSION = 0x30, 0xA0
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
BEGIN, END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


@dataclass(frozen=True)
class Validity:
    """Milliseconds UTC, both included."""

    start_ms: int
    end_ms: int

    def covers(self, now_ms: int) -> bool:
        return self.start_ms <= now_ms <= self.end_ms


def of_file(path: Path) -> Validity:
    """Of the first certificate of a PEM file. Raises OSError, ValueError."""
    _, begun, rest = path.read_bytes().partition(BEGIN)
    body, ended, _ = rest.partition(END)
    if not (begun and ended):
        raise ValueError(f"{path}: holds no certificate in PEM")
    return of_der(base64.b64decode(b"".join(body.split()), validate=True))


def of_der(certificate: bytes) -> Validity:
    """Raises ValueError for what is no certificate."""
    _, inside, _ = _element(certificate, 0, SEQUENCE)
    _, place, end = _element(certificate, inside, SEQUENCE)
    for _ in range(3):  # serial number, algorithm, issuer; a version may stand before them
        tag, _, place = _element(certificate, place)
        if tag == VERSION:
            _, _, place = _element(certificate, place)
    _, start, after = _element(certificate, place, SEQUENCE)
    if not after <= end <= len(certificate):
        raise ValueError("no certificate: its parts do not fit")
    _, _, second = _element(certificate, start)
    return Validity(_time_ms(certificate, start), _time_ms(certificate, second))


def _time_ms(octets: bytes, place: int) -> int:
    tag, inside, after = _element(octets, place)
    text = octets[inside:after].decode("ascii")  # UnicodeDecodeError is a ValueError
    if tag == UTC_TIME:
        text = ("20" if int(text[:2]) < 50 else "19") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError("no certificate: no time where one belongs")
    at = datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    return int(at.timestamp() * 1000)


def _element(octets: bytes, place: int, wanted: int | None = None) -> tuple[int, int, int]:
    """(tag, where its contents begin, where they end). Raises ValueError."""
    if place + 2 > len(octets):
        raise ValueError("no certificate: it ends too soon")
    tag, length, inside = octets[place], octets[place + 1], place + 2
    if length & 0x80:
        inside += length & 0x7F
        length = int.from_bytes(octets[place + 2 : inside], "big")
    if inside + length > len(octets) or (wanted is not None and tag != wanted):
        raise ValueError("no certificate: its parts do not fit")
    return tag, inside, inside + length
