"""The evidence taken in once more, in memory: each batch as it was received, in its order, by the code of ingest.

What a batch gives depends on the batch, on when it was received, on what had been held of its spool, and on what was
known of its boots' clocks; nothing else. So the rows of a month follow from the evidence alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agent import wire
from collector.access.enrolment import is_signed
from collector.common.messages import Device, Message, MessageRefused
from collector.common.sequence_ranges import forks, missing
from collector.ingest.rows import BatchWriter
from collector.ingest.spools import SpoolState, taken_after_ms
from collector.ingest.times.boot_clocks import BootClocks
from collector.ingest.times.event_time import Ahead, dated
from collector.ingest.verify import VerifiedBatch, Verify, addressed, open_message
from collector.log.days import DayDigest, begins_ms
from collector.reports.audit.mismatch import Mismatch
from collector.store.cold.batches import StoredBatch
from collector.store.quotas import SUBJECTS_MS, Quotas, Tallies, Tally

ReadingKey = tuple[str, str, str, int]  # kind, device, spool, number
SpoolName = tuple[str, str]  # device, spool
BootName = tuple[str, str]  # device, boot

# Columns of a reading's table that are no key and no field of the wire.
PLACED = ("subject", "received_ms")


@dataclass(slots=True)
class DerivedReading:
    """A reading as the evidence gives it: when it was taken, which batch brought it, and a digest of its columns."""

    wall_ms: int
    batch: int
    digest: bytes


def digest_of(values: list[object]) -> bytes:
    """Of a row's columns: subject, time of receipt, and the reading's own in the order of its table."""
    return hashlib.blake2b(msgspec.json.encode(values), digest_size=16).digest()


class ReplayedTallies(Tallies):
    """What counts of a gateway, as ingest counted it, without a database."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._held: dict[tuple[str, str, int], Tally] = {}
        self._heard: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)

    def begin(self, now_ms: int) -> ReplayedTallies:
        self._now_ms, self._today_ms = now_ms, now_ms // 86_400_000 * 86_400_000
        return self

    def over(self, center: str, device: str, kind: str, subject: str, wall_ms: int) -> Any:
        why = super().over(center, device, kind, subject, wall_ms)
        if why is None:
            self._heard[center, kind][subject] = self._now_ms
        return why

    def _of_day(self, center: str, device: str, day_ms: int) -> Tally:
        return self._held.setdefault((center, device, day_ms), Tally())

    def _is_known(self, center: str, kind: str, subject: str) -> bool:
        lately = {name for name, at_ms in self._heard[center, kind].items() if at_ms > self._now_ms - SUBJECTS_MS}
        return subject in lately or len(lately) < self._quotas.subjects


@dataclass
class Replay:
    """`take` each batch of one center in the order of their ids, then `finish`. `devices` are its gateways, `spools`
    what was held before the first batch, `stories` the spools of which a second story is on record."""

    devices: Mapping[str, Device]
    spools: dict[SpoolName, SpoolState] = field(default_factory=dict)
    stories: frozenset[SpoolName] = frozenset()
    boots: BootClocks = field(default_factory=BootClocks)
    verify: Verify = is_signed
    days: dict[int, DayDigest] = field(default_factory=dict)  # of receipt, by when each began
    readings: dict[ReadingKey, DerivedReading] = field(default_factory=dict)
    _tallies: ReplayedTallies = field(default_factory=lambda: ReplayedTallies(Quotas()))
    _guesses: dict[BootName, dict[tuple[str, int], Mapping[str, Any]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    _aside: set[bytes] = field(default_factory=set)  # digests of batches of second stories
    _now_ms: int | None = None

    def take(self, stored: StoredBatch) -> Iterator[Mismatch]:
        """What is wrong with this batch; what it gives is kept."""
        day = self.days.setdefault(begins_ms(stored.received_ms), DayDigest())
        day.add(stored.device, stored.spool, stored.first_seq, stored.last_seq, stored.signature)
        if stored.received_ms != self._now_ms:
            self.finish()
            self._now_ms = stored.received_ms
        try:
            verified = self._opened(stored)
        except MessageRefused as refused:
            if refused.finding == "bad_signature":
                yield Mismatch.of("bad_signature", **stored.names)
            else:
                yield Mismatch.of("batch_unreadable", **stored.names, found=refused.reason)
            return
        wrong = list(_fields(stored, verified))
        yield from wrong
        yield from self._file(stored, verified)

    def finish(self) -> None:
        """The end of a transaction of ingest: readings filed by a worse figure of a boot go to their time."""
        for guess in self.boots.guesses:
            self._note(guess)
        if self.boots.floors:
            for guess in self.boots.closed(one for some in self._guesses.values() for one in some.values()):
                self._note(guess)
        self.boots.settle()
        for key in sorted(self.boots.better):
            self._redate(key, self.boots.known[key])
        self.boots = BootClocks(self.boots.known)

    def _note(self, guess: Mapping[str, Any]) -> None:
        self._guesses[guess["device"], guess["boot"]][guess["spool"], guess["first_seq"]] = guess

    def _opened(self, stored: StoredBatch) -> VerifiedBatch:
        sealed = wire.seal(stored.body, lambda _body: stored.signature)
        return open_message(addressed(Message(wire.batch_topic(stored.device), sealed)), self.devices, self.verify)

    def _file(self, stored: StoredBatch, verified: VerifiedBatch) -> Iterator[Mismatch]:
        name, run = (stored.device, verified.batch.spool), verified.run
        state = self.spools.setdefault(name, SpoolState())
        gaps = [list(gap) for gap in missing(state.ranges, run.first, run.last)]
        fresh, mark = _numbers(stored.fresh), hashlib.sha256(stored.body).digest()
        if name in self.stories and not fresh:
            self._aside.add(mark)
            return
        if fresh != gaps:
            yield Mismatch.of("batch_field", **stored.names, column="fresh", stored=stored.fresh, found=_text(gaps))
        if name not in self.stories and (borders := forks(state.ranges, run)):
            yield Mismatch.of("chain_broken", **stored.names, number=str(borders[0]))
        self._take(stored, verified, state, is_story=mark in self._aside)

    def _take(self, stored: StoredBatch, verified: VerifiedBatch, state: SpoolState, *, is_story: bool) -> None:
        """A story that a person took is filed by what it says of its own clocks (collector.ingest.taking)."""
        writer = BatchWriter(stored.received_ms)
        if is_story:
            writer.take(verified, state, stored.issued_ms)
            self.boots.known |= writer.boots.known
        else:
            writer.tallies, writer.boots = self._tallies.begin(stored.received_ms), self.boots
            writer.take(verified, state, stored.issued_ms, taken_after_ms(self.spools, verified, state))
        for kind, rows in writer.readings.items():
            for row in rows:
                key = (kind, str(row["device"]), str(row["spool"]), int(row["seq"]))  # type: ignore[call-overload]
                values = list(row.values())[VALUES:]
                digest = digest_of([row["subject"], row["received_ms"], *values])
                self.readings[key] = DerivedReading(row["wall_ms"], stored.id, digest)  # type: ignore[arg-type]

    def _redate(self, key: BootName, ahead: Ahead) -> None:
        for guess in self._guesses[key].values():
            for kind, _subject, seq, mono_ms, _wall_ms in json.loads(guess["readings"]):
                reading = self.readings.get((kind, key[0], guess["spool"], seq))
                if reading is not None:
                    reading.wall_ms = dated(mono_ms, ahead, guess["received_ms"], guess["from_ms"])
        if ahead.sure:
            del self._guesses[key]


VALUES = 7  # wall_ms, spool, seq, center, device, subject, received_ms stand before a reading's own columns


def _fields(stored: StoredBatch, verified: VerifiedBatch) -> Iterator[Mismatch]:
    """Columns of the evidence that the signed body contradicts."""
    batch = verified.batch
    pairs = {
        "center": (stored.center, verified.device.center), "spool": (stored.spool, batch.spool),
        "first_seq": (stored.first_seq, batch.first_seq), "last_seq": (stored.last_seq, batch.last_seq),
    }  # fmt: skip
    for name, (held, value) in pairs.items():
        if held != value:
            yield Mismatch.of("batch_field", **stored.names, column=name, stored=str(held), found=str(value))


def _numbers(fresh: str) -> list[Any]:
    try:
        numbers = json.loads(fresh)
    except ValueError:
        return [fresh]
    return numbers if isinstance(numbers, list) else [fresh]


def _text(gaps: list[list[int]]) -> str:
    return json.dumps(gaps, separators=(",", ":"))
