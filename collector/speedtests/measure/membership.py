"""How a measurement server belongs to a collector: it joins once with a one-time token and proves its own key.

All it keeps lies in one folder: its key (0600), what the collector said at joining, the tokens used so far, and the
records that the collector has not acknowledged yet.
"""

from __future__ import annotations

import base64
import binascii
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.common.errors import describe
from agent.common.keys import is_sound
from collector.access.atomic_files import put

KEY, JOINED, USED, RECORDS = "measure.key", "joined.json", "used-tokens", "records"
CONTEXT = b"nabz-join\n"  # what is signed to join, with the token after it
ANSWER_BYTES = 4096
TIMEOUT_S = 30.0


class JoinError(Exception):
    """This server cannot belong to its collector; one sentence with the thing, the rule and the fix."""


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """The collector's answer. `key_file` is set when the server signs with another key than its folder's own."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    collector: str
    collector_key: str  # base64 of 32 bytes, Ed25519
    key_file: str = ""


@dataclass(frozen=True)
class Membership:
    """A joined server: its name, the address of its collector, that one's public key, and its own key."""

    folder: Path
    name: str
    collector: str
    collector_key: bytes
    key: Ed25519PrivateKey


def held(folder: Path) -> Membership | None:
    """The membership kept in `folder`; None when this server has not joined. Raises JoinError."""
    path = folder / JOINED
    if not path.exists():
        return None
    try:
        joined = msgspec.json.decode(path.read_bytes(), type=Joined)
        collector_key = base64.b64decode(joined.collector_key, validate=True)
        key = _key(Path(joined.key_file) if joined.key_file else folder / KEY)
    except (OSError, msgspec.DecodeError, binascii.Error) as error:
        raise JoinError(
            f"{path}: cannot be read ({describe(error)}); remove it and join again with a new token"
        ) from None
    if not is_sound(collector_key):
        raise JoinError(f"{path}: collector_key is no sound Ed25519 key of 32 bytes; join again")
    return Membership(folder, joined.name, joined.collector, collector_key, key)


def join(folder: Path, collector: str, token: str) -> Membership:
    """Joins the collector at that address. A server that has joined it already stays as it is. Raises JoinError."""
    member = held(folder)
    if member is not None and member.collector == collector:
        return member
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = _make_key(folder / KEY)
    except OSError as error:
        raise JoinError(f"{folder}: cannot be used ({describe(error)}); name a folder of ours with --state") from None
    answer = _ask(
        collector,
        {
            "token": token,
            "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
            "proof": base64.b64encode(key.sign(CONTEXT + token.encode())).decode(),
        },
    )
    note(folder, Joined(name=answer["name"], collector=collector, collector_key=answer["collector_key"]))
    member = held(folder)
    assert member is not None
    return member


def note(folder: Path, joined: Joined) -> None:
    """Old or new, never half. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    put(folder / JOINED, msgspec.json.encode(joined))


def _make_key(path: Path) -> Ed25519PrivateKey:
    """The folder's key, made when there is none."""
    if not path.exists():
        put(path, Ed25519PrivateKey.generate().private_bytes_raw())
    return _key(path)


def _key(path: Path) -> Ed25519PrivateKey:
    raw = path.read_bytes()
    if len(raw) != 32:
        raise JoinError(f"{path}: holds {len(raw)} bytes, an Ed25519 key has 32; restore it, or join again without it")
    return Ed25519PrivateKey.from_private_bytes(raw)


def _ask(collector: str, question: dict[str, str]) -> dict[str, str]:
    url = f"{collector.rstrip('/')}/api/v1/servers/join"
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked by the command
        url, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            reply = json.loads(answer.read(ANSWER_BYTES))
        return {name: str(reply[name]) for name in ("name", "collector_key")}
    except urllib.error.HTTPError as error:
        raise JoinError(f"{collector}: joining refused: {_sentence(error)}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JoinError(
            f"{collector}: no answer to joining ({describe(error)}); is `nabz-collector serve` there?"
        ) from None


def _sentence(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(ANSWER_BYTES))["error"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"status {error.code}"
