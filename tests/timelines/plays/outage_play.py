"""Outages of hours to days, and what people are told meanwhile and afterwards, held against what was true.

Centers measure each minute (in long outages less often) and have troubles of their own; some or all of them cannot be
heard for a while. Then each sends its newest readings ahead of a backlog, oldest first and at some pace; or a broker
has kept all that was sent and gives it away in order. The outbox looks after every transaction.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.access.enrolment import device_name
from collector.common.config import Settings
from collector.common.messages import Message
from collector.desk.alerts import queue as outbox
from collector.desk.alerts.channel import Channel
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.judging.flags import machine
from collector.judging.outages import gaps
from collector.judging.silence import sweep
from collector.register import centers
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless_standards

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
BEGIN = 1_793_473_200_000 + 9 * DAY + 9 * HOUR  # 2026-11-10 09:00 in Pakistan
STANDARDS = timeless_standards()
NOTICES = STANDARDS.versions[0].notices
ROW = {"tier": "three", "seats_promised": "3", "opening": "always", "lifecycle": "declared"}
LIVE_MS = 150_000
SETTLES_MS = 15 * MINUTE  # what a flag's windows take to follow the truth, at most, of readings of each minute
KINDS = {"internet.loss": "loss", "power.protected": "bypass", "power.battery_low": "low", "internet.download": "slow"}

Mode = Literal["site", "all", "queued"]


@dataclass
class Trouble:
    """Something that is wrong at a center from one time to another (milliseconds)."""

    kind: str
    from_ms: int
    to_ms: int


@dataclass
class Round:
    """The readings of one moment, numbered and chained."""

    at_ms: int
    first_seq: int
    prev: bytes
    raws: list[bytes]


@dataclass
class OutageSite:
    """A center's gateway: what it measured and could not send yet, oldest first."""

    code: str
    key: Ed25519PrivateKey
    spool: str
    troubles: list[Trouble] = field(default_factory=list)
    waiting: list[Round] = field(default_factory=list)
    seq: int = 1
    chain: bytes = wire.GENESIS
    tests: int = 0

    @property
    def device(self) -> str:
        return device_name(self.key.public_key().public_bytes_raw())

    def has(self, kind: str, from_ms: int, to_ms: int) -> bool:
        return any(one.kind == kind and one.from_ms <= to_ms and one.to_ms > from_ms for one in self.troubles)

    def measure(self, at_ms: int) -> str:
        """Returns the id of a speed test, if one was made."""
        low, bypass = (self.has(kind, at_ms, at_ms) for kind in ("low", "bypass"))
        state = "battery" if low else "bypass" if bypass else "online"
        readings: list[wire.Reading] = [
            wire.LinkReading(
                rtt_median_ms=40.0, jitter_ms=3.0, loss_pct=40.0 * self.has("loss", at_ms, at_ms), subject="wan"
            ),
            wire.UpsReading(
                output_state=state, battery_status="low" if low else "normal", runtime_s=100.0 if low else 9000.0,
                battery_charge_pct=5.0 if low else 100.0, subject="ups",
            ),
        ]  # fmt: skip
        test = ""
        if at_ms // MINUTE % 15 == 0:
            self.tests += 1
            test, rate = f"{self.code}-{self.tests}", 0.5 if self.has("slow", at_ms, at_ms) else 900.0
            readings.append(
                wire.SpeedReading(
                    download_mbps=rate, upload_mbps=90.0, server="s", engine="librespeed", test_id=test, subject="wan"
                )
            )
        at = wire.Stamp(wall_ms=at_ms, mono_ms=at_ms - BEGIN + DAY, boot="b", clock="synced")
        raws = [wire.encode_reading(msgspec.structs.replace(reading, at=at)) for reading in readings]
        self.waiting.append(Round(at_ms, self.seq, self.chain, raws))
        self.seq, self.chain = self.seq + len(raws), wire.chain(self.chain, raws)
        return test

    def live(self) -> Message | None:
        """The newest rounds, as they go ahead of a backlog."""
        since_ms = self.waiting[-1].at_ms - LIVE_MS if self.waiting else 0
        return self._message([one for one in self.waiting if one.at_ms >= since_ms], live=True)

    def backlog(self) -> Message | None:
        return self._message(self.waiting[:30], live=False)

    def oldest(self) -> Message | None:
        """As a broker kept it: each round was sent as live in its time."""
        return self._message(self.waiting[:1], live=True)

    def _message(self, rounds: list[Round], *, live: bool) -> Message | None:
        if not rounds:
            return None
        whole = [rounds[0]]
        for one in rounds[1:]:
            if one.first_seq != whole[-1].first_seq + len(whole[-1].raws):
                break
            whole.append(one)
        first = self.waiting.index(whole[0])
        del self.waiting[first : first + len(whole)]
        named = {"device": self.device, "spool": self.spool, "first_seq": whole[0].first_seq}
        batch = wire.Batch(
            v=1, **named, prev=whole[0].prev.hex(), live=live,
            readings=[msgspec.Raw(raw) for one in whole for raw in one.raws],
        )  # fmt: skip
        return Message(wire.batch_topic(self.device), wire.seal(wire.encode(batch), self.key.sign))


@dataclass
class OutagePlay:
    """One outage at a collector of its own."""

    store: Store
    draw: random.Random
    mode: Mode
    sites: list[OutageSite]
    from_ms: int
    to_ms: int
    pace_ms: int

    def __post_init__(self) -> None:
        key = Ed25519PrivateKey.from_private_bytes(bytes(32))
        self.ingest = Ingest(self.store, key, judge_with(Settings(), STANDARDS))
        self.channel = Channel("box", lambda _message: None, ("raised", "cleared"), ("en",))

    def away(self, site: OutageSite, at_ms: int) -> bool:
        return self.from_ms <= at_ms < self.to_ms and (self.mode != "site" or site is self.sites[0])

    def run(self) -> Counter[str]:
        for now_ms in self._moments():
            for site in self.sites:
                self._grant(site, site.measure(now_ms), now_ms)
            self._deliver(now_ms)
            if self.mode != "queued" or not self.from_ms <= now_ms < self.to_ms:
                self._minute(now_ms + 50 * SECOND)
        return self._figures()

    def _moments(self) -> Iterator[int]:
        """Each minute; deep in a long outage fewer."""
        at_ms, end_ms = self.from_ms - 30 * MINUTE, self.to_ms + 70 * MINUTE
        step_ms = max(1, (self.to_ms - self.from_ms) // (5 * HOUR)) * MINUTE
        while at_ms < end_ms:
            yield at_ms
            is_deep = self.from_ms + 30 * MINUTE <= at_ms < self.to_ms - HOUR
            at_ms += step_ms if is_deep else MINUTE

    def _grant(self, site: OutageSite, test: str, at_ms: int) -> None:
        """The measurement server saw the same."""
        if not test:
            return
        rate = 0.5 if site.has("slow", at_ms, at_ms) else 900.0
        turn = {"test_id": test, "center": site.code, "device": site.device, "server": "s", "purpose": "routine"}
        times = {"asked_ms": at_ms, "granted_ms": at_ms, "expires_ms": at_ms + 10**12}
        saw = {"test_id": test, "server": "s", "device": site.device, "address": "203.0.113.7", "started_ms": at_ms}
        size = {"down_bytes": 10**7, "up_bytes": 10**6, "down_s": 4.0, "up_s": 4.0, "body": b"", "signature": b""}
        with self.store.write() as conn:
            conn.execute(sa.insert(schema.grants).values(**turn, **times, state="done"))
            rates = {"down_mbps": rate, "up_mbps": 90.0, "witnessed": True, "min_rtt_ms": 20.0}
            conn.execute(sa.insert(schema.records).values(**saw, **size, **rates, received_ms=at_ms))

    def _deliver(self, minute_ms: int) -> None:
        """Live readings within seconds, and what a minute's pace allows of each backlog."""
        due: list[tuple[int, int, OutageSite]] = []
        for number, site in enumerate(one for one in self.sites if not self.away(one, minute_ms)):
            begins_ms = minute_ms + self.draw.randrange(500, 5_000)
            due.append((begins_ms, -1, site))
            first = -(-(minute_ms - self.to_ms) // self.pace_ms) * self.pace_ms + self.to_ms
            due += [(at_ms + 6_000, number, site) for at_ms in range(max(first, 0), minute_ms + MINUTE, self.pace_ms)]
        for at_ms, place, site in sorted(due, key=lambda item: item[:2]):
            queued = self.mode == "queued" and site.waiting and site.waiting[0].at_ms < minute_ms
            message = site.oldest() if queued else site.live() if place < 0 else site.backlog()
            if message is not None:
                self.ingest.take([message], at_ms)
                self._look(at_ms)

    def _look(self, now_ms: int) -> None:
        with self.store.write() as conn:
            outbox.queue(conn, [self.channel], STANDARDS, "http://x", now_ms)

    def _minute(self, now_ms: int) -> None:
        with self.store.write() as conn:
            sweep(conn, STANDARDS, now_ms)
            gaps.reconsider(conn, now_ms, gaps.GAP_S)
        self._look(now_ms)

    def _figures(self) -> Counter[str]:
        """Messages; those of them that were stale or, of live readings, late; flags that stand and nobody was told."""
        figures: Counter[str] = Counter(messages=0, stale=0, late=0, untold=0)
        by_code = {site.code: site for site in self.sites}
        told: dict[tuple[str, str, str], str] = {}
        with self.store.read() as conn:
            rows = conn.execute(sa.select(schema.changes).order_by(schema.changes.c.id)).all()
        loud = [row for row in rows if machine.alerts(row.was, row.now) and row.criterion not in NOTICES]
        for row in loud:
            if row.queued_ms == 0 or row.queued_ms is None:
                told.setdefault((row.center, row.criterion, row.subject), "")
                figures["late"] += row.recorded_ms - row.at_ms <= 120_000 and row.now == "raised"
                continue
            figures["messages"] += 1
            told[row.center, row.criterion, row.subject] = row.now
            figures["late"] += row.recorded_ms - row.at_ms <= 120_000 and row.queued_ms - row.recorded_ms > MINUTE
            if (site := by_code.get(row.center)) and row.criterion in KINDS:
                figures["stale"] += self._is_stale(site, KINDS[row.criterion], row)
        with self.store.read() as conn:
            f = schema.flags.c
            standing = conn.execute(sa.select(f.center, f.criterion, f.subject).where(f.state == "raised")).all()
        figures["untold"] = sum(told.get(tuple(key), "") != "raised" for key in standing if key[1] not in NOTICES)
        return figures

    def _is_stale(self, site: OutageSite, kind: str, row: sa.Row) -> bool:
        """Of a thing that had not been so for longer than its windows take."""
        slack_ms = 4 * SETTLES_MS if kind == "slow" else SETTLES_MS
        was_so = site.has(kind, row.queued_ms - slack_ms, row.queued_ms)
        return not was_so if row.now == "raised" else site.has(kind, row.queued_ms - slack_ms, row.queued_ms) and all(
            one.to_ms > row.queued_ms and one.from_ms < row.queued_ms - slack_ms
            for one in site.troubles
            if one.kind == kind and one.from_ms <= row.queued_ms < one.to_ms
        )  # fmt: skip


def make_outage(folder: Path, seed: int, *, sites: int = 0) -> OutagePlay:
    """A random outage of 2 hours to 7 days; most troubles begin and end in it, some go on or are of other times."""
    draw = random.Random(seed)
    mode: Mode = "all" if sites else draw.choice(["site", "all", "queued"])
    lasts_ms = int(2 * HOUR * (84 ** draw.random()))
    from_ms = BEGIN + draw.randrange(MINUTE)
    from_ms -= from_ms % MINUTE
    to_ms = from_ms + lasts_ms // MINUTE * MINUTE
    store = Store.open(f"sqlite:///{folder}/{seed}.db")
    made = []
    for number in range(sites or 3):
        site = OutageSite(
            f"C-{number}", Ed25519PrivateKey.from_private_bytes(draw.randbytes(32)), draw.randbytes(16).hex()
        )
        other = draw.choice(["low", "bypass"])  # a UPS is in one state only
        kinds = [kind for kind in KINDS.values() if kind != other]
        kept = mode != "site" or number == 0  # others are heard, and looked at each minute only at the end
        for kind in kinds if not sites else draw.sample(kinds, 2):
            for _ in range(draw.randrange(1, 3) * kept):
                begins_ms = draw.randrange(from_ms - 20 * MINUTE, to_ms - 30 * MINUTE)
                longest_ms = max(20 * MINUTE, to_ms - 20 * MINUTE - begins_ms)
                site.troubles.append(Trouble(kind, begins_ms, begins_ms + draw.randrange(20 * MINUTE, longest_ms + 1)))
            if draw.random() < 0.3 and not sites:
                site.troubles.append(Trouble(kind, to_ms - draw.randrange(MINUTE, 100 * MINUTE), to_ms + DAY))
        made.append(site)
        with store.write() as conn:
            centers.add(conn, {"center": site.code, "name": site.code, **ROW}, BEGIN - DAY)
            public = site.key.public_key().public_bytes_raw()
            row = {"device": site.device, "center": site.code, "public_key": public, "enrolled_ms": BEGIN - DAY}
            conn.execute(sa.insert(schema.devices).values(**row))
    pace_ms = 500 if mode == "queued" else draw.choice([500, 5_000, 40_000, 90_000, 240_000])
    return OutagePlay(store, draw, mode, made, from_ms, to_ms, pace_ms)
