"""Text messages: how many segments a text costs (3GPP TS 23.038, 23.040), and the short form that fits one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# The default alphabet of TS 23.038 §6.2.1, and what takes two septets (§6.2.1.1).
GSM7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENDED = frozenset("^{}\\[~]|€\f")
SEPTETS, PART_SEPTETS = 160, 153  # of one message, of each part of a longer one
UNITS, PART_UNITS = 70, 67  # the same of UCS-2, in 16-bit units
PLAIN = str.maketrans({"–": "-", "—": "-", "…": "...", "’": "'", "“": '"', "”": '"', "·": ".", "\t": " "})

CUT, LEAST = "...", 40  # of a title that gives way so much is left


class SmsSize(NamedTuple):
    """`alphabet` is gsm7 or ucs2."""

    alphabet: str
    length: int
    segments: int


def size_of(text: str) -> SmsSize:
    """What sending this text costs."""
    if all(letter in GSM7 or letter in EXTENDED for letter in text):
        widths = [2 if letter in EXTENDED else 1 for letter in text]
        return SmsSize("gsm7", sum(widths), _segments(widths, SEPTETS, PART_SEPTETS))
    widths = [len(letter.encode("utf-16-be")) // 2 for letter in text]
    return SmsSize("ucs2", sum(widths), _segments(widths, UNITS, PART_UNITS))


def _segments(widths: Sequence[int], whole: int, part: int) -> int:
    """A letter of two is never parted (TS 23.038 §6.2.1.1)."""
    if sum(widths) <= whole:
        return 1
    segments, filled = 1, 0
    for width in widths:
        if filled + width > part:
            segments, filled = segments + 1, 0
        filled += width
    return segments


def short(title: str, link: str) -> str:
    """The title and the link in one segment if that leaves room for enough of the title, else in two: what is cut so
    that nobody can tell what it is about has been sent for nothing."""
    text = title.translate(PLAIN)
    is_plain = size_of(text).alphabet == "gsm7"
    for limit in (SEPTETS, 2 * PART_SEPTETS) if is_plain else (UNITS, 2 * PART_UNITS):
        room = limit - size_of(link).length - 1
        if size_of(text).length <= room:
            break
        if room - len(CUT) >= LEAST:
            while size_of(text).length > room - len(CUT):
                text = text[:-1]
            text = text.rstrip() + CUT
            break
    return f"{text} {link}"
