"""The rows of one transaction: collected in memory batch by batch, then written table by table."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from agent import pack, wire
from agent.common.reasons import Reason, encode
from agent.common.words import plain
from collector.common.messages import DeviceFinding, Finding, Message, MessageRefused, printable
from collector.common.sequence_ranges import Numbers, forks, meets, merge, missing
from collector.ingest import pulse, stories
from collector.ingest.spools import SpoolState, Stored, moment
from collector.ingest.times import boot_clocks
from collector.ingest.times.boot_clocks import BootClocks
from collector.ingest.times.event_time import FIRST_MS, Bracket, bracket, dated, floor_ms
from collector.ingest.verify import VerifiedBatch
from collector.judging.evaluate import FreshReading
from collector.store.columns import own_columns
from collector.store.quotas import Tallies

QUARANTINE_BYTES = 4096  # of a payload; what was receipted stands whole in evidence
MAX_RANGES = 2_000
PROVEN: tuple[Finding, ...] = ("equivocation", "fork")  # doubts that a gateway has signed itself: each is written
# What a gateway reads of a receipt with the outcome `set_aside`: it acts on this code alone.
RECEIPT_CODES = {
    "receipt.equivocation": "other_history",
    "receipt.fork": "other_history",
    "receipt.unread_version": "unread_version",
    "receipt.unreadable": "unreadable",
    "receipt.over_quota": "over_quota",
    "receipt.over_subjects": "over_quota",
}
LISTED = 5  # sequence numbers that a doubt names

Row = dict[str, object]


@dataclass
class BatchWriter:
    """Rows to write and receipts to send, in the order they arose."""

    now_ms: int
    nonce: str = ""  # of the receipts
    pace_ms: int = 0  # of the receipts
    epoch: str = ""  # of the receipts
    decisions: int = 0  # of the receipts
    tallies: Tallies | None = None  # None: a person's word lets it be filed
    boots: BootClocks = field(default_factory=BootClocks)
    receipts: list[wire.Receipt] = field(default_factory=list)
    heard: dict[str, str] = field(default_factory=dict)  # center -> device
    backlogs: set[str] = field(default_factory=set)  # centers of which readings came that had been kept
    clocks: dict[str, int] = field(default_factory=dict)  # center -> its synchronised clock less ours
    fresh: dict[str, list[FreshReading]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    evidence: list[Row] = field(default_factory=list)
    readings: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    latest: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    spools: dict[tuple[str, str, str], SpoolState] = field(default_factory=dict)
    integrity: list[Row] = field(default_factory=list)
    quarantined: list[Row] = field(default_factory=list)
    findings: list[DeviceFinding] = field(default_factory=list)
    stories: list[Row] = field(default_factory=list)
    settings: dict[tuple[str, str], wire.SettingsReport] = field(default_factory=dict)  # by center and device
    lost: dict[tuple[str, str, str], list[Numbers]] = field(default_factory=lambda: defaultdict(list))
    standings: dict[str, wire.CenterStanding] = field(default_factory=dict)  # by center: what its receipts tell

    def add_outcome(self, other: BatchWriter) -> None:
        """The receipts and findings of a part that has been written already."""
        self.receipts += other.receipts
        self.heard |= other.heard
        self.standings |= other.standings
        self.counts += other.counts
        self.findings += other.findings

    def spans(self) -> dict[str, tuple[int, int]]:
        """By center: the times of the first and the last reading that is new."""
        times = {code: [one.at_ms for one in fresh] for code, fresh in self.fresh.items()}
        return {code: (min(some), max(some)) for code, some in times.items()}

    def refuse(self, message: Message, why: MessageRefused) -> None:
        self.counts[why.finding] += 1
        self._quarantine(message.topic, why.reason, message.payload)
        self._record_finding(why.finding, "", why.device, why.reason)

    def add(
        self,
        verified: VerifiedBatch,
        spool: SpoolState,
        stored: Stored,
        issued_ms: int | None,
        after_ms: int | None = None,
        *,
        readable: bool,
    ) -> None:
        """One proven batch.

        1. Numbers held already are compared with what is held; other bytes under the same number are an equivocation,
           other chains at a border a fork. Either way the batch is a second story (of a clone, of a restored image): it
           is kept as evidence, whole, and nothing of it counts until a person decides (collector.ingest.stories).
        2. New readings go to evidence and, as far as they can be read, to their tables.
        3. A receipt says whether all of it was understood.
        """
        run = verified.run
        gaps = missing(spool.ranges, run.first, run.last)
        if len(spool.ranges) + len(gaps) > MAX_RANGES:
            reason = Reason.of("refused.too_many_gaps", spool=verified.batch.spool, limit=MAX_RANGES)
            why = MessageRefused("too_many_gaps", reason, verified.device.device)
            return self.refuse(Message(wire.batch_topic(verified.device.device), verified.body), why)
        if self._is_too_much(verified, stored):
            return None
        if doubts := self._compare(verified, spool, stored):
            spool.is_disputed = True
            self.spools[verified.device.center, verified.device.device, verified.batch.spool] = spool
            if verified.body not in stored.bodies:
                self._keep(verified, [], issued_ms)
                self.stories.append(stories.row(verified, self.now_ms))
            return self._receipt(verified, spool, doubts)
        unread = self.take(verified, spool, issued_ms, after_ms, readable=readable)
        if gaps:  # a repeated batch is no sign of life: anyone may have kept it
            self.heard[verified.device.center] = verified.device.device
            if verified.batch.settings is not None:
                self.settings[verified.device.center, verified.device.device] = verified.batch.settings
        return self._receipt(verified, spool, unread)

    def note_new_spool(self, verified: VerifiedBatch, before: tuple[str, int, int] | None) -> None:
        """A gateway that begins again says nothing of what its spool before it still held: who deletes one, does so."""
        if before is not None:
            name, number, heard_ms = before
            at = {"begin": moment(heard_ms), "end": moment(self.now_ms)}
            detail = Reason.of("finding.spool_begun", spool=verified.batch.spool, other=name, number=str(number), **at)
            self._record_finding("new_spool", verified.device.center, verified.device.device, detail)

    def _is_too_much(self, verified: VerifiedBatch, stored: Stored) -> bool:
        """Whether its gateway has sent all that is kept of one in a day: it keeps this batch, which has no receipt."""
        if self.tallies is None or verified.body in stored.bodies:
            return False
        center, device = verified.device.center, verified.device.device
        why = self.tallies.refusal(center, device, len(verified.body))
        if why is not None:
            self.counts["over_quota"] += 1
            self._record_finding("over_quota", center, device, why)
        return why is not None

    def take(
        self,
        verified: VerifiedBatch,
        spool: SpoolState,
        issued_ms: int | None,
        after_ms: int | None = None,
        *,
        readable: bool = True,
    ) -> list[Reason]:
        """Evidence and rows of the numbers of a batch that are not held, none of which was taken before `after_ms`;
        returns why some cannot be read."""
        gaps = missing(spool.ranges, verified.run.first, verified.run.last)
        if gaps:
            self._keep(verified, gaps, issued_ms)
        when = bracket(
            live=verified.batch.live,
            issued_ms=issued_ms,
            enrolled_ms=verified.device.enrolled_ms,
            received_ms=self.now_ms,
            after_ms=after_ms,
        )
        unread = self._read(verified, gaps, when, readable=readable and verified.readable)
        spool.ranges = merge(spool.ranges, verified.run)
        if (at_ms := floor_ms(live=when.live, issued_ms=issued_ms, received_ms=self.now_ms)) is not None:
            spool.mark(verified.run.last, at_ms)
            if spool.ranges[-1].last > verified.run.last:
                self.boots.floors.append((verified.device.device, verified.batch.spool, verified.run.last, at_ms))
        spool.account(self.lost.pop(_key(verified, verified.batch.spool), []))
        self.spools[verified.device.center, verified.device.device, verified.batch.spool] = spool
        return unread

    def _compare(self, verified: VerifiedBatch, spool: SpoolState, stored: Stored) -> list[Reason]:
        batch = verified.batch
        others = [seq for seq, raw in _numbered(verified) if stored.raws.get(seq, raw) != raw]
        spool.duplicates += (
            same := len(stored.raws.keys() & set(range(batch.first_seq, batch.last_seq + 1))) - len(others)
        )
        self.counts["duplicates"] += same
        doubts: dict[Finding, Reason] = {}
        if others:
            doubts["equivocation"] = Reason.of("receipt.equivocation", numbers=_listed(others), n=len(others))
        borders = forks(spool.ranges, verified.run)
        if spool.is_disputed and not borders and not others and not meets(spool.ranges, verified.run):
            borders = [verified.run.first - 1]  # of which of the two histories, nobody can tell
        if borders:
            doubts["fork"] = Reason.of("receipt.fork", numbers=_listed(borders), n=len(borders))
        if verified.body not in stored.bodies:
            for finding, doubt in doubts.items():
                where = {"spool": batch.spool, "first": str(batch.first_seq), "last": str(batch.last_seq)}
                detail = Reason("finding.batch", {**where, "found": doubt})
                self._record_finding(finding, verified.device.center, verified.device.device, detail)
        return list(doubts.values())

    def _keep(self, verified: VerifiedBatch, gaps: list[tuple[int, int]], issued_ms: int | None) -> None:
        batch, device = verified.batch, verified.device
        self.evidence.append(
            {
                "center": device.center,
                "device": device.device,
                "spool": batch.spool,
                "first_seq": batch.first_seq,
                "last_seq": batch.last_seq,
                "fresh": json.dumps(gaps, separators=(",", ":")),
                "received_ms": self.now_ms,
                "issued_ms": issued_ms,
                "body": verified.body,
                "signature": verified.signature,
            }
        )

    def _read(
        self, verified: VerifiedBatch, gaps: list[tuple[int, int]], when: Bracket, *, readable: bool
    ) -> list[Reason]:
        """Files the readings that are new and can be read; returns why others cannot."""
        raws = dict(_numbered(verified))
        new = [seq for first, last in gaps for seq in range(first, last + 1)]
        self.counts["readings"] += len(new)
        if new and not readable:
            why = Reason.of("receipt.unread_version", version=str(verified.batch.v), known=wire.VERSION)
            self._quarantine(wire.batch_topic(verified.device.device), why, verified.body)
            return [why]
        decoded: list[tuple[int, wire.Reading, wire.Stamp]] = []
        unread: list[Reason] = []
        for seq in new:
            entry = verified.readings[seq - verified.batch.first_seq]
            if isinstance(entry, wire.WireError):
                unread.append(self._unread(verified, seq, raws[seq], entry))
            else:
                decoded.append((seq, *entry))
        self._record_past(verified, [stamp for _, _, stamp in decoded], when)
        if not verified.batch.live:
            self.backlogs.add(verified.device.center)
        elif (clock_ms := pulse.clock_of([stamp for _, _, stamp in decoded], self.now_ms)) is not None:
            self.clocks[verified.device.center] = clock_ms
        figures = self.boots.figures(verified, {seq: stamp for seq, _, stamp in decoded}, when)
        filed: list[boot_clocks.Filed] = []
        last_ms = {stamp.boot: stamp.mono_ms for _, _, stamp in sorted(decoded, key=_mono_ms)}
        for seq, reading, stamp in decoded:
            wall_ms = dated(stamp.mono_ms, figures[stamp.boot], self.now_ms, when.from_ms)
            kind, subject = reading.__struct_config__.tag, printable(reading.subject)
            assert isinstance(kind, str)
            if (over := self._over_quota(verified, kind, subject, wall_ms)) is not None:
                unread += [over] if over not in unread else []
                continue
            filed.append((kind, subject, seq, stamp, wall_ms))
            latest_ms = self.now_ms - (last_ms[stamp.boot] - stamp.mono_ms)
            self._file_reading(verified, believed(reading, latest_ms), filed[-1], raws[seq])
        self.boots.filed(verified, filed, figures, when)
        return unread

    def _record_past(self, verified: VerifiedBatch, stamps: Iterable[wire.Stamp], when: Bracket) -> None:
        """Synchronised clocks that name a time that was over before anything of this batch can have been taken."""
        past = [stamp.wall_ms for stamp in stamps if stamp.clock == "synced" and when.is_closed(stamp)]
        if past:
            facts = {"from_ms": min(past), "to_ms": max(past), "after_ms": when.from_ms}
            detail = Reason.of(
                "finding.closed_past", spool=verified.batch.spool, n=len(past),
                **{name.removesuffix("_ms"): moment(ms) for name, ms in facts.items()},
            )  # fmt: skip
            self._record_finding("past", verified.device.center, verified.device.device, detail)

    def _over_quota(self, verified: VerifiedBatch, kind: str, subject: str, wall_ms: int) -> Reason | None:
        """Why this reading is held in evidence alone."""
        center, device = verified.device.center, verified.device.device
        if self.tallies is None:
            return None
        why = self.tallies.over(center, device, kind, subject, wall_ms)
        if why is not None:
            self.counts["over_quota"] += 1
            self._record_finding("over_quota", center, device, why)
        return why

    def _unread(self, verified: VerifiedBatch, seq: int, raw: bytes, error: wire.WireError) -> Reason:
        """Quarantines a reading; returns why for the receipt, which names it by its number alone."""
        text = printable(str(error))
        where = f"{verified.device.device} {verified.batch.spool} {seq}"
        why = Reason.of("receipt.unreadable", reading=where, text=text)
        self._quarantine(wire.batch_topic(verified.device.device), why, raw)
        return Reason.of("receipt.unreadable", reading=str(seq), text=text)

    def _file_reading(
        self, verified: VerifiedBatch, reading: wire.Reading, named: boot_clocks.Filed, raw: bytes
    ) -> None:
        kind, subject, seq, _, wall_ms = named
        center, device = verified.device.center, verified.device.device
        if isinstance(reading, wire.ShedReading):
            gone = (reading.first_seq, max(reading.first_seq, reading.last_seq))
            self.lost[_key(verified, reading.subject or verified.batch.spool)].append(gone)
            if reading.why == "receipted":
                where = printable(reading.subject or verified.batch.spool, 64)
                names = {"spool": where, "numbers": f"{gone[0]}-{gone[1]}"}
                detail = Reason.of("receipt.lost_by_us", n=gone[1] - gone[0] + 1, **names)
                self._record_finding("lost_by_us", center, device, detail)
        known: Row = {"center": center, "device": device, "subject": subject, "received_ms": self.now_ms}
        filed = {"wall_ms": wall_ms, "spool": verified.batch.spool, "seq": seq, **known}
        self.readings[kind].append({**filed, **own_columns(kind, reading)})
        held = self.latest.get((center, kind, subject))
        if not wire.is_second_opinion(reading) and (held is None or held["wall_ms"] <= wall_ms):  # type: ignore[operator]
            body = raw.decode(errors="replace")
            self.latest[center, kind, subject] = {"kind": kind, "wall_ms": wall_ms, "body": body, **known}
        id = f"{device} {verified.batch.spool} {seq}"
        self.fresh[center].append(FreshReading(kind, reading, wall_ms, self.now_ms, id))

    def _receipt(self, verified: VerifiedBatch, spool: SpoolState, doubts: list[Reason]) -> None:
        batch = verified.batch
        self.receipts.append(
            wire.Receipt(
                v=wire.VERSION,
                device=batch.device,
                spool=batch.spool,
                first_seq=batch.first_seq,
                last_seq=batch.last_seq,
                chain=verified.run.after(batch.last_seq),
                outcome="set_aside" if doubts else "stored",
                code=RECEIPT_CODES[doubts[0].code] if doubts else "",
                reason="; ".join(map(_sentence, doubts))[:200],
                nonce=self.nonce,
                at_ms=self.now_ms,
                pace_ms=self.pace_ms,
                epoch=self.epoch,
                lacks=spool.holes()[: -wire.MAX_LACKS - 1 : -1],
                packing=pack.FORMAT,
                decisions=self.decisions,
            )
        )

    def _quarantine(self, topic: str, reason: Reason, payload: bytes) -> None:
        self.quarantined.append(
            {
                "received_ms": self.now_ms,
                "topic": printable(topic, 200),
                "reason": encode(reason),
                "payload": payload[:QUARANTINE_BYTES],
            }
        )

    def _record_finding(self, finding: Finding, center: str, device: str, detail: Reason) -> None:
        self.counts[finding] += finding in PROVEN
        record = DeviceFinding(device, finding, detail, center)
        if record in self.findings:
            return
        self.findings.append(record)
        row: Row = {"at_ms": self.now_ms, "center": center, "device": device, "finding": finding}
        self.integrity.append({**row, "detail": encode(detail)})


# ---------------------------------------------------------------- small things


def believed(reading: wire.Reading, latest_ms: int) -> wire.Reading:
    """A boot reading has the end of the run before by that run's clock; an impossible time shows nothing. `latest_ms`
    is when the boot can have been at the latest, as its batch shows it: its date may still move."""
    if not isinstance(reading, wire.BootReading) or reading.last_alive_ms is None:
        return reading
    if FIRST_MS <= reading.last_alive_ms <= latest_ms:
        return reading
    return msgspec.structs.replace(reading, last_alive_ms=None, dark_s=None)


def _mono_ms(entry: tuple[int, wire.Reading, wire.Stamp]) -> int:
    return entry[2].mono_ms


def _key(verified: VerifiedBatch, spool: str) -> tuple[str, str, str]:
    return verified.device.center, verified.device.device, spool


def _numbered(verified: VerifiedBatch) -> Iterable[tuple[int, bytes]]:
    return zip(itertools.count(verified.batch.first_seq), verified.raws, strict=False)


def _listed(numbers: list[int]) -> list[str]:
    """The first of them, as names rather than figures."""
    return [str(number) for number in numbers[:LISTED]]


def _sentence(doubt: Reason) -> str:
    """As gateways before 0.2 read it: by its first word they recognise that another history is held here."""
    return f"{doubt.code.rpartition('.')[2]}: {plain().reason(doubt)}"
