"""A center's month as a collector has it: simulated minute by minute, taken by the real ingest, logged, its days made
into sheets, its readings archived, its report closed."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent import wire
from bench.ground.whole import Ground
from collector.access.signing_key import load_or_make
from collector.commands.archive import worked
from collector.commands.console import Bar
from collector.commands.simulation.run import Play
from collector.commands.simulation.trouble import Stage
from collector.commands.simulation.truth import Truth
from collector.common.messages import Message
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.judging import reopening
from collector.reports import day_store, schedule
from collector.run.settings import read_standards
from collector.run.transparency_log import TransparencyLog
from collector.store import Store, rollups, schema, upsert

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
MONTH_END_MS = 1_793_473_200_000  # 2026-11-01 00:00 in Pakistan
MONTH = "2026-10"


class MonthPlay:
    """The last `days` of the month, of every center of the ground."""

    def __init__(self, made: Ground, store: Store, days: float) -> None:
        self.now_ms = MONTH_END_MS - int(days * DAY_MS)
        self._made, self._store, self._from_ms = made, store, self.now_ms
        self._standards, key = read_standards(made.settings), load_or_make(made.settings.data_dir)
        fleet = {member.gateway.device: member.gateway for member in made.members}
        stage = Stage([gateway.center for gateway in fleet.values()], 1, self.now_ms)
        public = Ed25519PublicKey.from_public_bytes(made.collector_key)
        self._play = Play(fleet=fleet, stage=stage, truth=Truth(StringIO()), collector_key=public)
        self._ingest = Ingest(store, key, judge_with(made.settings, self._standards))
        self._log = TransparencyLog(store, made.settings, key, self._standards, lambda: self.now_ms)

    def measured(self) -> int:
        """Plays it; returns how many batches were taken."""
        self._play.begin(self.now_ms)
        self._log.tick()
        with Bar("of the days") as bar:
            while self.now_ms < MONTH_END_MS:
                self.now_ms += MINUTE_MS
                self._play.measure(self.now_ms)
                self._send()
                if not self.now_ms % HOUR_MS:
                    self._log.tick()
                    bar.share((self.now_ms - self._from_ms) / (MONTH_END_MS - self._from_ms))
        self.now_ms += HOUR_MS
        self._log.tick()
        return self._play.counts.batches

    def _send(self) -> None:
        while messages := list(self._waiting()):
            self._play.counts.batches += len(messages)
            for receipt in self._ingest.take(messages, self.now_ms).receipts:
                device = receipt.topic.rpartition("/")[2]
                self._play.receive(device, receipt.payload, self.now_ms, self.now_ms / 1000)

    def _waiting(self) -> Iterator[Message]:
        for device, gateway in self._play.fleet.items():
            center = gateway.center
            if self._play.stage.dark(center, self.now_ms) or self._play.stage.offline(center, self.now_ms):
                continue
            if (payload := gateway.next_batch(self.now_ms, self.now_ms / 1000)) is not None:
                yield Message(wire.batch_topic(device), payload)

    def sheets_made(self) -> int:
        """Of the days that are over; returns how many."""
        with self._store.write() as conn:
            upsert(conn, schema.about, [{"name": day_store.SHEETS_UNTIL, "value": str(self._from_ms)}])
        self.now_ms = MONTH_END_MS + reopening.CLOSE_MS + HOUR_MS
        day_store.begin_days(self._store, self.now_ms)
        count = 0
        while made := day_store.make(self._store, self._standards, self.now_ms):
            count += made
        return count

    def closed(self) -> None:
        """The day sheets are made, then the report."""
        self.sheets_made()
        schedule.begin(self._store, self._standards, self.now_ms)
        self.now_ms += reopening.SETTLE_MS
        while schedule.finish(self._store, self._standards, self.now_ms):
            pass
        self._log.tick()

    def archived(self) -> None:
        """All days, as the collector's job does, once the sums of hours are made."""
        while rollups.roll(self._store, self.now_ms):
            pass
        with Bar("archived") as bar:
            worked(self._store, self._made.settings, self.now_ms, bar)
