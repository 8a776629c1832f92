"""The signed batches of a bundle: who signed, what their numbers are, and that the chain of each spool goes on."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.common.errors import describe
from collector.verifier.samples import SpokenTime

GENESIS = bytes(32)
DAY_MS, AHEAD_MS = 86_400_000, 5 * 3_600_000  # a day of Pakistan begins five hours before that of UTC

_decoder = json.JSONDecoder()


class BatchError(ValueError):
    """What is no batch; one sentence."""


def device_name(public_key: bytes) -> str:
    return "g" + hashlib.sha256(public_key).hexdigest()[:16]


def unbased(text: object) -> bytes:
    """Raises BatchError."""
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise BatchError(f"{str(text)[:40]!r}: is not base64") from None


def readings_of(body: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """(the other fields, each reading's exact bytes) of a signed body. Raises BatchError."""
    try:
        text = body.decode()
        fields: dict[str, Any] = {}
        spans: list[bytes] = []
        at = _past(text, 0, "{")
        while True:
            name, at = _decoder.raw_decode(text, at)
            at = _past(text, at, ":")
            if name == "readings":
                spans, at = _spans(text, at)
            else:
                fields[name], at = _decoder.raw_decode(text, at)
            at = _blank(text, at)
            if text[at] == "}":
                return fields, spans
            at = _blank(text, _past(text, at, ","))
    except (ValueError, IndexError, RecursionError, TypeError) as error:
        raise BatchError(f"is no batch ({describe(error)[:60]})") from None


def _spans(text: str, at: int) -> tuple[list[bytes], int]:
    spans = []
    at = _past(text, at, "[")
    while True:
        _, end = _decoder.raw_decode(text, at)
        spans.append(text[at:end].encode())
        at = _blank(text, end)
        if text[at] == "]":
            return spans, at + 1
        at = _blank(text, _past(text, at, ","))


def _blank(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def _past(text: str, at: int, sign: str) -> int:
    at = _blank(text, at)
    if text[at] != sign:
        raise ValueError(f"{sign!r} is missing at {at}")
    return _blank(text, at + 1)


# ---------------------------------------------------------------- one after the other


@dataclass
class SpoolChain:
    """What is held of one spool: parts (first, last, chain before, chain after), ascending."""

    parts: list[tuple[int, int, bytes, bytes]] = field(default_factory=list)

    def missing(self, first: int, last: int) -> list[list[int]]:
        gaps = []
        for part in self.parts[bisect_left(self.parts, first, key=lambda one: one[1]) :]:
            if part[0] > last:
                break
            if first < part[0]:
                gaps.append([first, part[0] - 1])
            first = part[1] + 1
        return [*gaps, [first, last]] if first <= last else gaps

    def breaks_at(self, first: int, chains: list[bytes]) -> int | None:
        """The number after which this run and what is held have other chains."""
        ends = [(0, GENESIS)] + [end for one in self.parts for end in ((one[0] - 1, one[2]), (one[1], one[3]))]
        for number, chain in ends:
            if first - 1 <= number <= first + len(chains) - 2 and chains[number - first + 1] != chain:
                return number
        return None

    def add(self, first: int, chains: list[bytes]) -> None:
        last = first + len(chains) - 2
        new = [(low, high, chains[low - first], chains[high - first + 1]) for low, high in self.missing(first, last)]
        joined: list[tuple[int, int, bytes, bytes]] = []
        for one in sorted([*self.parts, *new]):
            if joined and joined[-1][1] + 1 == one[0] and joined[-1][3] == one[2]:
                before = joined.pop()
                one = (before[0], one[1], before[2], one[3])
            joined.append(one)
        self.parts = joined


@dataclass
class BatchCheck:
    """Takes the batches of a bundle in their order; what is wrong is told. `keys` are the gateways' by name, `before`
    what was held of each spool before the first, as the bundle has it."""

    keys: Mapping[str, bytes]
    stories: frozenset[tuple[str, str]] = frozenset()
    spools: dict[tuple[str, str], SpoolChain] = field(default_factory=dict)
    days: dict[int, Any] = field(default_factory=dict)  # when a day began -> [batches, running digest]
    batches: int = 0
    readings: int = 0
    spoken: SpokenTime = field(default_factory=SpokenTime)

    def take(self, row: Mapping[str, Any]) -> Iterator[str]:
        name = f"batch {row.get('id')}"
        self.batches += 1
        try:
            body, signature = unbased(row.get("body")), unbased(row.get("signature"))
            device, at_ms = str(row["device"]), int(row["received_ms"])
            if device not in self.keys:
                yield f"{name}: gateway {device[:40]!r} has no key in the bundle"
                return
            if not signed(self.keys[device], body, signature):
                yield f"{name}: is not signed by gateway {device}"
                return
            fields, raws = readings_of(body)
            first, prev = int(fields["first_seq"]), bytes.fromhex(fields["prev"])
        except (BatchError, KeyError, ValueError, TypeError) as error:
            yield f"{name}: {describe(error)}"
            return
        self._count(row, device, at_ms, signature)
        wrong = _other_field(row, fields, first, len(raws))
        if wrong is not None:
            yield f"{name}: column {wrong} is not as it was signed"
            return
        for raw in raws:
            self.spoken.take(raw, at_ms)
        yield from self._numbers(name, (device, str(fields["spool"])), first, prev, raws, row.get("fresh"))

    def _count(self, row: Mapping[str, Any], device: str, at_ms: int, signature: bytes) -> None:
        begin = (at_ms + AHEAD_MS) // DAY_MS * DAY_MS - AHEAD_MS
        day = self.days.setdefault(begin, [0, hashlib.sha256()])
        day[0] += 1
        line = f"{device} {row.get('spool')} {row.get('first_seq')} {row.get('last_seq')} {signature.hex()}\n"
        day[1].update(line.encode())

    def _numbers(
        self, name: str, spool: tuple[str, str], first: int, prev: bytes, raws: list[bytes], fresh: object
    ) -> Iterator[str]:
        chains = [prev]
        for raw in raws:
            chains.append(hashlib.sha256(chains[-1] + raw).digest())
        held = self.spools.setdefault(spool, SpoolChain())
        if spool in self.stories and fresh == []:
            return
        if fresh != (gaps := held.missing(first, first + len(raws) - 1)):
            yield f"{name}: says that it was the first to bring {fresh!r:.60}, which were {gaps!r:.60}"
        if spool not in self.stories and (number := held.breaks_at(first, chains)) is not None:
            yield f"{name}: the chain of spool {spool[1]} breaks after reading {number}"
        held.add(first, chains)
        self.readings += sum(high - low + 1 for low, high in gaps)


def _other_field(row: Mapping[str, Any], fields: Mapping[str, Any], first: int, count: int) -> str | None:
    signed_values = {
        "device": fields.get("device"), "spool": fields.get("spool"), "first_seq": first, "last_seq": first + count - 1,
    }  # fmt: skip
    return next((name for name, value in signed_values.items() if row.get(name) != value), None)


def signed(public_key: bytes, body: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, body)
    except (InvalidSignature, ValueError):
        return False
    return True
