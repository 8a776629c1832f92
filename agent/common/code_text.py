"""Codes with parameters as short text, for fields of the wire that hold text. Pure.

    disk_gone:size_gb=256;silent:silent_s=300

One code, its parameters behind a colon, the next code behind a semicolon; no blanks anywhere. So a sentence of a
gateway before 0.2 is told from a code by its first blank, and is kept as the sentence that it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent.common.reasons import Param, Reason

_NAME = r"[a-z][a-z0-9_]{0,47}"
_VALUE = r"[A-Za-z0-9_.+-]{1,48}"
_CODE = re.compile(rf"({_NAME})(?::({_NAME}={_VALUE}(?:,{_NAME}={_VALUE}){{0,15}}))?")
_NUMBER = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,15})?(?:e[+-]?\d{1,2})?")
_ODD = re.compile(r"[^A-Za-z0-9_.+-]")


def encode(reasons: Iterable[Reason]) -> str:
    """Without the room that the codes begin with (``seat_fault.``): the field says which that is."""
    return ";".join(map(_encode_one, reasons))


def decode(text: str, room: str) -> tuple[Reason, ...]:
    """The codes of a room, those of later versions too; whatever else it is, a sentence that is shown as it stands."""
    matches = [_CODE.fullmatch(part) for part in text.split(";")] if text else []
    if not all(matches):
        return (Reason.text(text),)
    return tuple(Reason(f"{room}.{match[1]}", _params(match[2] or "")) for match in matches if match)


def _encode_one(reason: Reason) -> str:
    code = reason.code.rpartition(".")[2]
    params = ",".join(f"{name}={_shown(value)}" for name, value in reason.params.items())
    return f"{code}:{params}" if params else code


def _shown(value: Param) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else _ODD.sub("_", str(value))[:48] or "_"


def _params(text: str) -> dict[str, Param]:
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {name: float(value) if _NUMBER.fullmatch(value) else value for name, _, value in pairs}
