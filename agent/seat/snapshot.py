"""THE LAN CONTRACT, seat PC to gateway: the snapshot's shape, encode, decode, sign, verify. No I/O, no clock.

A snapshot travels as ``body LF hex(HMAC-SHA256)`` under the center's seat key; the MAC covers a label and the exact
body bytes. Time and a random nonce stand inside, so that an old one cannot be replayed. The gateway's answer is
sealed the same way under another label and quotes the nonce.

A snapshot is about a machine. It holds no user name, host name, window title, file name, mount point or content;
the name is the label the center gave the seat.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import Literal, cast

from agent.common.errors import describe
from agent.common.files import clean

VERSION = 1
MAX_BYTES = 8 * 1024
MAX_DISKS = 16
MAX_FACTS = 32
MAX_HAND = 512  # hex digits of a public value, see agent.seat.keys
MIN_KEY_BYTES = 16
MAX_PARTS = 256  # lists and objects, several times what a snapshot has: built, each takes fifty times its room
# Labels: one kind of message never passes for another.
SNAPSHOT, ANSWER, WISH = b"nabz-seat-1\n", b"nabz-gateway-1\n", b"nabz-release-1\n"
HEX = frozenset("0123456789abcdef")
NAME_SIGNS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")

State = Literal["running", "stopping"]
Health = Literal["good", "failing"]


class SnapshotError(ValueError):
    """Bytes that are not a snapshot of this contract; names the rule they break."""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """One fixed disk's file system. `role` is ``system`` or ``data``: a mount point can hold a person's name."""

    role: Literal["system", "data"]
    total_gb: float
    used_pct: float


@dataclass(frozen=True, kw_only=True)
class Drive:
    """One built-in disk as a part of the machine. `id` is the hash of its serial number."""

    id: str
    size_gb: float
    health: Health | None = None
    temperature_c: float | None = None


@dataclass(frozen=True, kw_only=True)
class SeatCondition:
    """Told only where the gateway asks for it. `in_use`: a session is present; `system` such as debian-13;
    `updated_days` since the last update; `antivirus` on or off. None and empty: not told."""

    in_use: bool | None = None
    system: str = ""
    updated_days: float | None = None
    antivirus: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One machine at one moment; None is unknown, never zero.

    `id` is made from hardware facts (see agent.seat.identity), `facts` are hashes of them, `at_ms` is this machine's
    wall time. `stopping` is the last message before an orderly shutdown. `slept_s` is the time asleep since boot and
    `running_s` the age of this program: with `uptime_s` they show afterwards what a silence was. `hand` is the seat's
    half of a key of its own (see agent.seat.keys). `is_virtual`: a virtual machine; None from seats before 0.3.
    """

    id: str
    name: str
    at_ms: int
    nonce: str
    state: State = "running"
    interval_s: float = 60.0
    facts: tuple[str, ...] = ()
    cpu_pct: float | None = None
    memory_pct: float | None = None
    memory_mb: float | None = None
    disks: tuple[Disk, ...] = ()
    temperature_c: float | None = None
    battery_pct: float | None = None
    on_mains: bool | None = None
    uptime_s: float | None = None
    net_errors: int | None = None
    version: str = ""
    drives: tuple[Drive, ...] | None = None
    slept_s: float | None = None
    running_s: float | None = None
    hand: str = ""
    is_virtual: bool | None = None
    condition: SeatCondition | None = None

    @property
    def disk_pct(self) -> float | None:
        """How full the fullest disk is."""
        return max((disk.used_pct for disk in self.disks), default=None)


@dataclass(frozen=True, kw_only=True)
class GatewayReply:
    """The gateway's answer: taken or not, why not, and its own time, so that a seat with a wrong clock can go by it.

    `hand` is the gateway's half of the seat's own key, when the snapshot offered one and the seat is approved.
    `release` is the program that it has proven and hands on, as VERSION DIGEST, to a seat under its own key.
    `conditions`: whether it asks for the seat's condition.
    """

    nonce: str
    ok: bool
    now_ms: int
    error: str = ""
    hand: str = ""
    release: str = ""
    conditions: bool = False


# ---------------------------------------------------------------- bytes


def encode(snapshot: Snapshot) -> bytes:
    return _dump({"v": VERSION, **dataclasses.asdict(snapshot)})


def decode(body: bytes) -> Snapshot:
    """Takes nothing on trust: size, shape, every type, every range. Raises SnapshotError."""
    fields = _load(body, "snapshot")
    if fields.get("v") != VERSION:
        raise SnapshotError(f"snapshot: version {str(fields.get('v'))[:20]} is not spoken here, only {VERSION}")
    return Snapshot(
        id=_hex(fields, "id", 17, prefix="s"),
        name=_label(fields, "name"),
        at_ms=int(_number(fields, "at_ms", 0, 2**53)),
        nonce=_hex(fields, "nonce", 32),
        state=cast(State, _word(fields, "state", ("running", "stopping"))),
        interval_s=_number(fields, "interval_s", 1, 86400),
        facts=tuple(_fact(fact) for fact in _list(fields, "facts", MAX_FACTS)),
        cpu_pct=_maybe(fields, "cpu_pct", 0, 100),
        memory_pct=_maybe(fields, "memory_pct", 0, 100),
        memory_mb=_maybe(fields, "memory_mb", 0, 1e9),
        disks=tuple(_disk(disk) for disk in _list(fields, "disks", MAX_DISKS)),
        temperature_c=_maybe(fields, "temperature_c", -50, 200),
        battery_pct=_maybe(fields, "battery_pct", 0, 100),
        on_mains=_flag(fields, "on_mains"),
        uptime_s=_maybe(fields, "uptime_s", 0, 1e10),
        net_errors=_whole(fields, "net_errors"),
        version=_label(fields, "version"),
        drives=_drives(fields),
        slept_s=_maybe(fields, "slept_s", 0, 1e10),
        running_s=_maybe(fields, "running_s", 0, 1e10),
        hand=_hand(fields),
        is_virtual=_flag(fields, "is_virtual"),
        condition=_condition(fields),
    )


def encode_answer(answer: GatewayReply) -> bytes:
    return _dump({"v": VERSION, **dataclasses.asdict(answer)})


def decode_answer(body: bytes) -> GatewayReply:
    fields = _load(body, "answer")
    ok, error = fields.get("ok"), fields.get("error", "")
    if not isinstance(ok, bool) or not isinstance(error, str):
        raise SnapshotError("answer: `ok` must be true or false and `error` a text")
    now_ms = int(_number(fields, "now_ms", 0, 2**53))
    release = fields.get("release", "")
    if not isinstance(release, str) or (release and not _RELEASE.fullmatch(release)):
        raise SnapshotError("answer: `release` must be a version and 64 hex digits")
    return GatewayReply(
        nonce=_hex(fields, "nonce", 32), ok=ok, now_ms=now_ms, error=error[:200], hand=_hand(fields), release=release,
        conditions=fields.get("conditions") is True,
    )  # fmt: skip


def encode_wish(seat_id: str, digest: str) -> bytes:
    """A seat's request for the file of a release."""
    return _dump({"v": VERSION, "id": seat_id, "digest": digest})


def decode_wish(body: bytes) -> str:
    """The digest that is wanted. Raises SnapshotError."""
    return _hex(_load(body, "release"), "digest", 64)


def seal(body: bytes, key: bytes, label: bytes) -> bytes:
    """``body LF hex(HMAC-SHA256(key, label + body))`` (RFC 2104)."""
    return body + b"\n" + _mac(body, key, label)


def unseal(payload: bytes, key: bytes, label: bytes) -> bytes:
    """The body, when the MAC is right. Raises SnapshotError."""
    body, newline, mac = payload.rpartition(b"\n")
    if not newline or not hmac.compare_digest(mac, _mac(body, key, label)):
        raise SnapshotError("the signature is not made with this center's seat key")
    return body


def claimed_id(payload: bytes) -> str:
    """The id that a sealed snapshot claims, unverified: enough to find the key that must prove it; or nothing."""
    match = _CLAIM.match(payload)
    return match[1].decode() if match else ""


_RELEASE = re.compile(r"\d{1,5}(\.\d{1,5}){1,3} [0-9a-f]{64}")
_CLAIM = re.compile(rb'\{"v":1,"id":"(s[0-9a-f]{16})"')


def parse_key(text: str) -> bytes:
    """A seat key as written in a file: hexadecimal, at least 16 bytes. Raises SnapshotError."""
    try:
        key = bytes.fromhex("".join(clean(text).split()))
    except ValueError:
        raise SnapshotError("the seat key is not hexadecimal: copy what `nabz-agent seat-key` prints") from None
    if len(key) < MIN_KEY_BYTES:
        raise SnapshotError(f"the seat key has {len(key)} bytes, at least {MIN_KEY_BYTES} are needed")
    return key


def _mac(body: bytes, key: bytes, label: bytes) -> bytes:
    return hmac.new(key, label + body, hashlib.sha256).hexdigest().encode()


# ---------------------------------------------------------------- one field at a time

Fields = dict[str, object]


def _dump(fields: Fields) -> bytes:
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()


def _load(body: bytes, what: str) -> Fields:
    if len(body) > MAX_BYTES:
        raise SnapshotError(f"{what} of {len(body)} bytes is over the limit of {MAX_BYTES}")
    if body.count(b"[") + body.count(b"{") > MAX_PARTS:
        raise SnapshotError(f"{what}: has more than {MAX_PARTS} lists and objects")
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise SnapshotError(f"{what}: not JSON: {describe(error)}") from None
    if not isinstance(fields, dict):
        raise SnapshotError(f"{what}: must be a JSON object")
    return fields


def _number(fields: Fields, name: str, low: float, high: float) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SnapshotError(f"snapshot: `{name}` must be a number")
    if not low <= value <= high:  # neither NaN nor an integer too long for a float gets through
        raise SnapshotError(f"snapshot: `{name}` must lie between {low:g} and {high:g}")
    return value


def _maybe(fields: Fields, name: str, low: float, high: float) -> float | None:
    return None if fields.get(name) is None else _number(fields, name, low, high)


def _whole(fields: Fields, name: str) -> int | None:
    value = _maybe(fields, name, 0, 2**53)
    return None if value is None else int(value)


def _flag(fields: Fields, name: str) -> bool | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise SnapshotError(f"snapshot: `{name}` must be true, false or null")
    return value


def _label(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > 32 or not NAME_SIGNS.issuperset(value):
        raise SnapshotError(f"snapshot: `{name}` must be at most 32 letters, digits or - _ .")
    return value


def _word(fields: Fields, name: str, words: tuple[str, ...]) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or value not in words:
        raise SnapshotError(f"snapshot: `{name}` must be one of {', '.join(words)}")
    return value


def _hex(fields: Fields, name: str, length: int, prefix: str = "") -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) != length or not value.startswith(prefix):
        raise SnapshotError(f"snapshot: `{name}` must be {prefix!r} and {length - len(prefix)} hex digits")
    if not HEX.issuperset(value[len(prefix) :]):
        raise SnapshotError(f"snapshot: `{name}` must be lower-case hex digits")
    return value


def _hand(fields: Fields) -> str:
    value = fields.get("hand", "")
    if not isinstance(value, str) or len(value) > MAX_HAND or not HEX.issuperset(value):
        raise SnapshotError(f"snapshot: `hand` must be at most {MAX_HAND} hex digits")
    return value


def _fact(value: object) -> str:
    if not isinstance(value, str) or len(value) > 32:
        raise SnapshotError("snapshot: `facts` must be texts like `mac:0123456789abcdef`")
    kind, _, digest = value.partition(":")
    if not kind.isascii() or not kind.isalpha() or len(digest) != 16 or not HEX.issuperset(digest):
        raise SnapshotError("snapshot: `facts` must be texts like `mac:0123456789abcdef`")
    return value


def _list(fields: Fields, name: str, longest: int) -> list[object]:
    value = fields.get(name)
    if not isinstance(value, list) or len(value) > longest:
        raise SnapshotError(f"snapshot: `{name}` must be a list of at most {longest}")
    return value


def _disk(value: object) -> Disk:
    if not isinstance(value, dict):
        raise SnapshotError("snapshot: `disks` must hold objects")
    return Disk(
        role=cast(Literal["system", "data"], _word(value, "role", ("system", "data"))),
        total_gb=_number(value, "total_gb", 0, 1e7),
        used_pct=_number(value, "used_pct", 0, 100),
    )


def _condition(fields: Fields) -> SeatCondition | None:
    value = fields.get("condition")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise SnapshotError("snapshot: `condition` must be an object")
    return SeatCondition(
        in_use=_flag(value, "in_use"),
        system=_label(value, "system"),
        updated_days=_maybe(value, "updated_days", 0, 36_500),
        antivirus=_flag(value, "antivirus"),
    )


def _drives(fields: Fields) -> tuple[Drive, ...] | None:
    if fields.get("drives") is None:
        return None
    return tuple(_drive(drive) for drive in _list(fields, "drives", MAX_DISKS))


def _drive(value: object) -> Drive:
    if not isinstance(value, dict):
        raise SnapshotError("snapshot: `drives` must hold objects")
    health = None if value.get("health") is None else _word(value, "health", ("good", "failing"))
    return Drive(
        id=_hex(value, "id", 16),
        size_gb=_number(value, "size_gb", 0, 1e7),
        health=cast(Health | None, health),
        temperature_c=_maybe(value, "temperature_c", -50, 200),
    )
