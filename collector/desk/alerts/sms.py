"""Text messages: how many segments a text costs (3GPP TS 23.038, 23.040), and the short form that fits one. Pure."""

from __future__ import annotations

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


class SmsSize(NamedTuple):
    """`alphabet` is gsm7 or ucs2."""

    alphabet: str
    length: int
    segments: int


def size_of(text: str) -> SmsSize:
    """What sending this text costs."""
    if all(letter in GSM7 or letter in EXTENDED for letter in text):
        length = sum(2 if letter in EXTENDED else 1 for letter in text)
        return SmsSize("gsm7", length, _segments(length, SEPTETS, PART_SEPTETS))
    length = len(text.encode("utf-16-be")) // 2
    return SmsSize("ucs2", length, _segments(length, UNITS, PART_UNITS))


def _segments(length: int, whole: int, part: int) -> int:
    return 1 if length <= whole else -(-length // part)


def short(title: str, link: str) -> str:
    """The title and the link in one segment if the alphabet allows: the title gives way."""
    text = title.translate(PLAIN)
    whole = f"{text} {link}"
    if size_of(whole).segments == 1:
        return whole
    room = (SEPTETS if size_of(text).alphabet == "gsm7" else UNITS) - size_of(link).length - 4
    while text and size_of(text).length > max(room, 20):
        text = text[:-1]
    return f"{text.rstrip()}... {link}"
