"""What was found, as a code with parameters; `agent.common.words` makes words of it where people read. No I/O.

    Reason("verdict.at_least", {"value": 12.4, "bound": 40, "unit": "Mbit/s"})

A code is a key of the language files. A parameter's name says what it is: `…_s` seconds, `…_min` minutes, `…_pct` per
cent, `…_mbps` Mbit/s, `…_ms` milliseconds, `n` the count that chooses the plural form, `value` and `bound` figures in
`unit`, `field` a field of the wire and `word` one of its words, `cause` a failure's cause, `text` a sentence that is
shown as it stands. All others are numbers, names, or further reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import msgspec

Code = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Sentence = Annotated[str, msgspec.Meta(max_length=500)]
Whole = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
Scalar = Sentence | Whole | float | bool | None

MAX_TEXT = 500  # characters of a sentence that is kept as it came
MAX_BYTES = 16 * 1024  # of one encoded reason, or of a list of them
MAX_DEPTH = 8  # reasons within reasons
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)  # what decoding JSON of strangers may raise


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """A code and its parameters, equal to another of the same."""

    code: Code
    params: Annotated[
        Mapping[str, Scalar | Reason | Annotated[Sequence[Scalar | Reason], msgspec.Meta(max_length=64)]],
        msgspec.Meta(max_length=32),
    ] = {}

    def __hash__(self) -> int:
        """Equal reasons have equal codes and as many parameters; more of a hash is not needed."""
        return hash((self.code, len(self.params)))

    @classmethod
    def of(cls, code: str, /, **params: Param) -> Reason:
        """The same with the parameters as keywords."""
        return cls(code, params)

    @classmethod
    def text(cls, sentence: str) -> Reason:
        """A sentence that somebody else wrote: shown as it stands, at most MAX_TEXT characters of it."""
        return cls("text", {"text": sentence[:MAX_TEXT]})


Param = Scalar | Reason | Sequence[Scalar | Reason]


def encode(reason: Reason) -> str:
    """As compact JSON, parameters in the order they were given."""
    return _encoder.encode(reason).decode()


def encode_all(reasons: Iterable[Reason]) -> str:
    """A list of them."""
    return _encoder.encode(list(reasons)).decode()


def decode(text: str | bytes) -> Reason:
    """From JSON, whoever wrote it. What is no reason becomes one of the code `text`, so that it can still be shown."""
    try:
        if len(text) > MAX_BYTES:
            return Reason.text(_plain(text))
        reason = _one.decode(text)
    except UNREADABLE:
        return Reason.text(_plain(text))
    return reason if _depth(reason) <= MAX_DEPTH else Reason.text(_plain(text))


def decode_all(text: str | bytes) -> tuple[Reason, ...]:
    """From a JSON list of reasons, of sentences, or of both; anything else is one sentence."""
    try:
        if len(text) > MAX_BYTES:
            return (Reason.text(_plain(text)),)
        entries = _many.decode(text)
    except UNREADABLE:
        return (Reason.text(_plain(text)),)
    reasons = tuple(item if isinstance(item, Reason) else Reason.text(item) for item in entries)
    return reasons if all(_depth(item) <= MAX_DEPTH for item in reasons) else (Reason.text(_plain(text)),)


def _depth(reason: Reason) -> int:
    """How many reasons stand within each other, without recursion: it is asked of strangers' bytes."""
    depth, layer = 0, [reason]
    while layer:
        depth += 1
        values = [value for item in layer for value in item.params.values()]
        inner = [
            part for value in values if not isinstance(value, str) and isinstance(value, Sequence) for part in value
        ]
        layer = [part for part in (*values, *inner) if isinstance(part, Reason)]
    return depth


def _plain(text: str | bytes) -> str:
    return text[:MAX_TEXT] if isinstance(text, str) else text[:MAX_TEXT].decode(errors="replace")


_encoder = msgspec.json.Encoder()
_one = msgspec.json.Decoder(Reason)
_many: msgspec.json.Decoder[list[Reason | str]] = msgspec.json.Decoder(
    Annotated[list[Reason | str], msgspec.Meta(max_length=64)]
)
