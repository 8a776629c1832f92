"""Messages in, receipts out: one transaction for a group of messages, and no receipt before its COMMIT.

In the transaction: evidence as received, readings in their tables, flags judged, the newest state, requests for a test
at a measurement server, findings about honesty. A reading's id is (device, spool, seq): what is held already is
compared byte by byte and counted, not stored.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.common.logs import Event
from agent.common.reasons import Reason
from collector.access.enrolment import is_signed
from collector.common.messages import Device, DeviceFinding, Message, MessageRefused, SpeedRequestReceived
from collector.ingest import epochs, spools
from collector.ingest.flush import flush
from collector.ingest.pulse import Standings
from collector.ingest.rows import BatchWriter
from collector.ingest.spools import KnownSpools, SpoolState, last_spool, stored_raws, taken_after_ms
from collector.ingest.times import boot_clocks
from collector.ingest.verify import AddressedMessage, VerifiedBatch, Verify, addressed, open_ask, open_message
from collector.judging.clock import ClockWatch
from collector.judging.evaluate import FreshReading
from collector.register import centers, dated
from collector.register.centers import Center
from collector.remote import questions
from collector.speedtests import requests
from collector.store import UNAVAILABLE, Store, claim, nonces, schema, warm
from collector.store.archive import thaw
from collector.store.quotas import Quotas, Tallies

GROUP_FAILED = Event(
    __name__, "error", "ingest_group_failed", "a group of messages cannot be taken together; each is taken alone",
    fields="messages error", has_trace=True,
)  # fmt: skip
UNREADABLE = Event(
    __name__, "error", "message_unreadable", "a message broke the transaction; it is held unread", key="topic",
    fields="error",
)  # fmt: skip
UNHELD = Event(
    __name__, "error", "message_quarantined", "a message cannot even be held unread; it is quarantined", key="topic",
    fields="error",
)  # fmt: skip

Judge = Callable[[sa.Connection, Sequence[tuple[Center, Sequence[FreshReading]]], int], object]
"""Judges what a transaction brings: (conn, [(center, fresh readings), …], now_ms); see collector.judging.evaluate."""


@dataclass(frozen=True)
class Taken:
    """What a committed group leaves to send: sealed receipts by topic, and whose state has moved."""

    receipts: list[Message]
    touched: set[str]
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[DeviceFinding] = field(default_factory=list)


@dataclass(frozen=True)
class TransactionFacts:
    """What holds for a whole transaction: who may send, and what every receipt carries."""

    devices: Mapping[str, Device]
    nonce: str
    now_ms: int
    pace_ms: int
    epoch: str
    decisions: int

    def writer(self) -> BatchWriter:
        return BatchWriter(self.now_ms, self.nonce, self.pace_ms, self.epoch, self.decisions)


class Ingest:
    """`silent_after_s` is how long a center may then be silent before the sweep judges it; `watch` sees that our own
    clock was set before a gap is drawn of it; `quotas` are how much of one gateway counts; `memory` is its own."""

    def __init__(
        self,
        store: Store,
        key: Ed25519PrivateKey,
        judge: Judge,
        silent_after_s: float = 300.0,
        verify: Verify = is_signed,
        watch: ClockWatch | None = None,
        quotas: Quotas | None = None,
        memory: warm.Warm | None = None,
    ) -> None:
        self._store, self._watch = store, watch
        self._key, self._quotas = key, quotas or Quotas()
        self._judge = judge
        self._standings = Standings()
        self._silent_after_ms = int(silent_after_s * 1000)
        self.memory = memory or warm.Warm()
        self._open_batch = partial(open_message, verify=verify)
        self._is_ours = partial(verify, key.public_key().public_bytes_raw())

    def take(self, messages: Sequence[Message], now_ms: int, pace_ms: int = 0) -> Taken:
        """Returns when all of it is committed. Raises one of `store.UNAVAILABLE` when nothing is, to be tried again.

        A message that breaks the transaction in a way nobody foresaw is found by taking each alone; it is held unread
        or quarantined, so that it blocks no other.
        """
        with _no_collection():
            return self._take([addressed(message) for message in messages], now_ms, pace_ms)

    def _take(self, group: Sequence[AddressedMessage], now_ms: int, pace_ms: int) -> Taken:
        try:
            with self._store.write(beside=True, memory=self.memory) as conn:
                filed = self._file(conn, group, self._begin(conn, group, now_ms, pace_ms))
        except UNAVAILABLE:
            raise
        except Exception as error:
            GROUP_FAILED.log(messages=len(group), error=error)
            with self._store.write(beside=True) as conn:
                filed = self._each_alone(conn, group, self._begin(conn, group, now_ms, pace_ms))
        self._standings.mark_sent(filed.standings, now_ms)
        receipts = [self._sealed(receipt) for receipt in filed.receipts]
        return Taken(receipts, set(filed.heard), filed.counts, filed.findings)

    def _begin(
        self, conn: sa.Connection, messages: Sequence[AddressedMessage], now_ms: int, pace_ms: int
    ) -> TransactionFacts:
        """Keeps the centers of these messages from other workers until the commit; only then reads who is revoked."""
        names = {message.device for message in messages}
        claim(conn, names)
        if self._watch is not None:
            self._watch.follow(conn, now_ms)
        nonce, (epoch, mark, decisions) = nonces.current(conn, now_ms), epochs.current_and_mark(conn)
        devices, marks = _devices(conn, names)
        self.memory.begin((epoch, mark), marks, now_ms)
        return TransactionFacts(devices, nonce, now_ms, pace_ms, epoch, decisions)

    def _sealed(self, receipt: wire.Receipt) -> Message:
        return Message(wire.receipt_topic(receipt.device), wire.seal(wire.encode(receipt), self._key.sign))

    def _each_alone(
        self, conn: sa.Connection, messages: Sequence[AddressedMessage], facts: TransactionFacts
    ) -> BatchWriter:
        whole = facts.writer()
        for message in messages:
            whole.add_outcome(self._alone(conn, message, facts))
        return whole

    def _alone(self, conn: sa.Connection, sent: AddressedMessage, facts: TransactionFacts) -> BatchWriter:
        for readable in (True, False):
            try:
                with conn.begin_nested():
                    return self._file(conn, [sent], facts, readable=readable)
            except UNAVAILABLE:
                raise
            except Exception as error:
                (UNREADABLE if readable else UNHELD).log(topic=sent.message.topic, error=error)
        writer = facts.writer()
        writer.refuse(sent.message, MessageRefused("broken", Reason("refused.broken")))
        flush(conn, writer)
        return writer

    def _file(
        self,
        conn: sa.Connection,
        messages: Sequence[AddressedMessage],
        facts: TransactionFacts,
        *,
        readable: bool = True,
    ) -> BatchWriter:
        writer = facts.writer()
        batches = [message for message in messages if not message.is_ask]
        verified_batches = _opened(self._open_batch, batches, facts.devices, writer)
        codes = sorted({verified.device.center for verified in verified_batches})
        known_spools = spools.of_centers(conn, codes)
        held = _spools(known_spools, verified_batches)
        writer.tallies = Tallies(conn, self._quotas, facts.now_ms, codes)
        writer.boots = boot_clocks.load(
            conn, [verified for verified in verified_batches if readable and verified.readable]
        )
        issued = nonces.issued_ms(conn, (verified.batch.nonce for verified in verified_batches))
        for verified in verified_batches:
            if _spool_key(verified) not in held:
                writer.note_new_spool(verified, last_spool(conn, *_spool_key(verified)))
            spool = held.setdefault(_spool_key(verified), SpoolState())
            self._look_at_proof(conn, writer, verified, spool)
            known = stored_raws(conn, writer.evidence, verified, spool)
            after_ms = taken_after_ms(known_spools[verified.device.center], verified, spool)
            writer.add(verified, spool, known, issued.get(verified.batch.nonce), after_ms, readable=readable)
        thaw.around(conn, writer.spans(), facts.now_ms)
        self._judge_fresh(conn, writer, facts.now_ms)
        _take_requests(conn, [message for message in messages if message.is_ask], facts.devices, writer)
        flush(conn, writer, self._silent_after_ms)
        self._add_standings(conn, writer, verified_batches)
        return writer

    def _look_at_proof(
        self, conn: sa.Connection, writer: BatchWriter, verified: VerifiedBatch, spool: SpoolState
    ) -> None:
        """A gateway may show that the database, or the journal, is an older one."""
        center, device = verified.device.center, verified.device.device
        if receipt := epochs.went_back(verified, spool, writer.epoch, self._is_ours):
            writer.findings += filter(None, [epochs.begin(conn, receipt, center, writer.now_ms)])
            writer.epoch = epochs.current(conn)
        receipt = epochs.shown(verified, self._is_ours)
        if receipt is not None and receipt.decisions > writer.decisions:
            heard, known = receipt.decisions, writer.decisions
            writer.findings.append(epochs.note_journal(conn, heard, known, device, center, writer.now_ms))
            writer.decisions = heard

    def _add_standings(self, conn: sa.Connection, writer: BatchWriter, batches: Sequence[VerifiedBatch]) -> None:
        """What the receipts say of the senders' centers, after they were judged."""
        centers_of = {verified.device.device: verified.device.center for verified in batches}
        writer.standings = self._standings.due(conn, writer.heard, writer.now_ms)
        writer.receipts = [
            msgspec.structs.replace(receipt, standing=writer.standings.get(centers_of.get(receipt.device, "")))
            for receipt in writer.receipts
        ]

    def _judge_fresh(self, conn: sa.Connection, writer: BatchWriter, now_ms: int) -> None:
        """Before `latest` is written: it shows the judge what newer readings have judged already."""
        if writer.fresh:
            earliest_ms = {code: min(one.at_ms for one in fresh) for code, fresh in writer.fresh.items()}
            known = warm.recall(conn, "register", writer.fresh, partial(centers.some_centers, conn))
            registered = dated.judged(conn, known, earliest_ms)
            group = [(registered[code], fresh) for code, fresh in writer.fresh.items() if code in registered]
            self._judge(conn, group, now_ms)


@contextmanager
def _no_collection() -> Iterator[None]:
    """The rows of a group live until its commit and none is part of a cycle; to look through them again and again for
    garbage took a sixth of the processor's time. One collection follows, of what little is left."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


Opened = TypeVar("Opened", VerifiedBatch, SpeedRequestReceived)


def _opened(
    opener: Callable[[AddressedMessage, Mapping[str, Device]], Opened],
    messages: Iterable[AddressedMessage],
    known: Mapping[str, Device],
    writer: BatchWriter,
) -> list[Opened]:
    results = []
    for message in messages:
        try:
            results.append(opener(message, known))
        except MessageRefused as refused:
            writer.refuse(message.message, refused)
    return results


def _take_requests(
    conn: sa.Connection, messages: Sequence[AddressedMessage], known: Mapping[str, Device], writer: BatchWriter
) -> None:
    """Answers to questions, and requests for a test. What is refused is a finding, what is late only counted."""
    opened = _opened(open_ask, messages, known, writer)
    for answer in (one for one in opened if one.ask.want == "answer"):
        writer.counts[questions.take(conn, answer.device.device, answer.ask, writer.now_ms)] += 1
    received = [one for one in opened if one.ask.want == "speed"]
    for request, (word, refused) in zip(received, requests.take(conn, received, writer.now_ms), strict=True):
        if refused is None:
            writer.counts[word] += 1
        else:
            writer.refuse(Message(wire.ask_topic(request.device.device), wire.encode(request.ask)), refused)


def _spool_key(verified: VerifiedBatch) -> tuple[str, str, str]:
    return verified.device.center, verified.device.device, verified.batch.spool


def _devices(conn: sa.Connection, names: set[str]) -> tuple[dict[str, Device], dict[str, warm.Marks]]:
    """The gateways, and the marks of their centers. Never from memory: this is where who is revoked becomes known."""
    devices: dict[str, Device] = {}
    marks: dict[str, warm.Marks] = {}
    for name, center, key, enrolled_ms, revoked_ms, *mark in conn.execute(_DEVICES, {"names": sorted(names)}):
        devices[name] = Device(name, center, bytes(key), enrolled_ms, revoked_ms)
        marks[center] = (mark[0], mark[1])
    return devices, marks


_d, _p, _g = schema.devices.c, schema.pulse.c, schema.generations.c
_DEVICES = (
    sa.select(_d.device, _d.center, _d.public_key, _d.enrolled_ms, _d.revoked_ms, _p.generation, _g.generation)
    .select_from(
        schema.devices.outerjoin(schema.pulse, _p.center == _d.center).outerjoin(
            schema.generations, _g.center == _d.center
        )
    )
    .where(_d.device.in_(sa.bindparam("names", expanding=True)))
)


def _spools(known: KnownSpools, verified_batches: Iterable[VerifiedBatch]) -> dict[tuple[str, str, str], SpoolState]:
    keys = {_spool_key(verified) for verified in verified_batches}
    return {key: known[key[0]][key[1:]].copy() for key in keys if key[1:] in known[key[0]]}
