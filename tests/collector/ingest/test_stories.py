"""A second story under a gateway's name is held, counts for nothing, and waits for a person's word."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.common.words import plain
from collector.acts import stories as acts
from collector.acts.person import ActingPerson
from collector.acts.stories import StoryError
from collector.common.config import Settings
from collector.ingest import stories, taking
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.register import centers
from collector.reports import monthly, render
from collector.run.upkeep.housekeeping import Housekeeping
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless_standards

NOW = 1_795_000_000_000
MINUTE_MS = 60_000
STANDARDS = timeless_standards()
KEY = Ed25519PrivateKey.generate()
ASMA = ActingPerson(name="Asma", now_ms=NOW)


class Twins:
    """A gateway, and an image of it that goes on from its third reading by itself."""

    def __init__(self, store: Store, mine) -> None:
        self.store, self.mine = store, mine
        self.ingest = Ingest(store, KEY, judge_with(Settings(), STANDARDS))
        self.minute = 0
        self.take(*(self.batch(1.0) for _ in range(3)))
        self.copied = mine.next_seq, mine.chain

    def batch(self, load_pct: float):
        self.minute += 1
        return self.mine.batch([self.mine.ups(wall_ms=NOW + self.minute * MINUTE_MS, load_pct=load_pct)])

    def take(self, *messages) -> list[wire.Receipt]:
        taken = self.ingest.take(messages, NOW + self.minute * MINUTE_MS)
        return [wire.decode_receipt(wire.unseal(message.payload)[0]) for message in taken.receipts]

    def second_story(self, count: int) -> list:
        kept = self.mine.next_seq, self.mine.chain
        self.mine.next_seq, self.mine.chain = self.copied
        found = [self.batch(2.0) for _ in range(count)]
        self.mine.next_seq, self.mine.chain = kept
        return found

    def loads(self) -> list[tuple[int, float]]:
        u = schema.readings["ups"].c
        with self.store.read() as conn:
            return [tuple(row) for row in conn.execute(sa.select(u.seq, u.load_pct).order_by(u.seq))]

    def decide(self, decision: acts.Decision) -> int:
        with self.store.write() as conn:
            acts.decide(conn, self.mine.device, self.mine.spool, decision, "seen on site", ASMA)
            return taking.file(conn, self.mine.device, self.mine.spool, NOW) if decision == "taken" else 0

    def report(self) -> dict:
        with self.store.read() as conn:
            (center,) = centers.some_centers(conn, [self.mine.center]).values()
            return monthly.build(conn, center, "2026-11", STANDARDS, NOW + 10**8)


@pytest.fixture
def twins(either_store: Store, gateway) -> Twins:
    return Twins(either_store, gateway(either_store))


def test_nothing_of_a_second_story_counts_and_the_first_goes_on(twins: Twins) -> None:
    twins.take(twins.batch(1.0))
    other = twins.second_story(4)
    assert {receipt.code for receipt in twins.take(*other)} == {"other_history"}
    assert twins.take(twins.batch(1.0))[0].outcome == "stored"
    assert twins.loads() == [(seq, 1.0) for seq in range(1, 6)]
    with twins.store.read() as conn:
        (story,) = stories.held(conn)
    assert (story["state"], story["batches"]) == ("held", 4)
    twins.take(*other)  # again
    with twins.store.read() as conn:
        assert stories.held(conn)[0]["batches"] == 4
        assert len(stories.batches(conn, twins.mine.device, twins.mine.spool)) == 4


def test_what_is_taken_fills_the_numbers_that_nobody_else_has(twins: Twins) -> None:
    twins.take(twins.batch(1.0))
    twins.take(*twins.second_story(4))
    assert twins.decide("taken") == 3
    assert twins.loads() == [*((seq, 1.0) for seq in range(1, 5)), *((seq, 2.0) for seq in range(5, 8))]
    with pytest.raises(StoryError, match="was taken already"):
        twins.decide("refused")


def test_what_is_refused_stays_out_with_all_that_follows(twins: Twins) -> None:
    twins.take(twins.batch(1.0))
    first, *later = twins.second_story(3)
    twins.take(first)
    assert twins.decide("refused") == 0
    twins.take(*later)
    assert twins.loads() == [(seq, 1.0) for seq in range(1, 5)]
    with twins.store.read() as conn:
        (story,) = stories.held(conn)
        (decision,) = conn.execute(sa.select(schema.decisions))
    assert (story["state"], story["batches"]) == ("refused", 3)
    assert (decision.act, decision.person, decision.reason) == ("story_refused", "Asma", "seen on site")


def test_a_decision_needs_a_story_and_a_reason(twins: Twins) -> None:
    with twins.store.write() as conn, pytest.raises(StoryError, match="is not known"):
        acts.decide(conn, twins.mine.device, twins.mine.spool, "taken", "why", ASMA)
    twins.take(twins.batch(1.0), *twins.second_story(1))
    with twins.store.write() as conn, pytest.raises(StoryError, match="needs a reason"):
        acts.decide(conn, twins.mine.device, twins.mine.spool, "taken", " ", ASMA)


def test_the_months_report_tells_of_it_in_every_language(twins: Twins) -> None:
    assert "integrity" not in twins.report()
    twins.take(twins.batch(1.0), *twins.second_story(2))
    with twins.store.write() as conn:
        conn.execute(sa.insert(schema.clock_jumps).values(from_ms=NOW, to_ms=NOW + 3_600_000))
    twins.decide("refused")
    report = twins.report()
    assert [row["code"] for row in report["integrity"]] == [
        "finding.equivocation", "finding.fork", "finding.second_story", "finding.clock_jump"
    ]  # fmt: skip
    page = render.as_html({**report, "revision": {"number": 0, "closed_ms": None, "history": [], "changed": {}}})
    for lang in ("en", "ur"):
        for row in report["integrity"]:
            assert plain(lang)(row["code"]) in page
    assert "seen on site" in page


def test_what_a_page_takes_is_filed_by_housekeeping_once(twins: Twins) -> None:
    twins.take(twins.batch(1.0))
    twins.take(*twins.second_story(4))
    with twins.store.write() as conn:
        acts.decide(conn, twins.mine.device, twins.mine.spool, "taken", "seen on site", ASMA)
    keeper = Housekeeping(twins.store, Settings(), STANDARDS, lambda: NOW + 10 * MINUTE_MS)
    assert len(twins.loads()) == 4
    keeper.keep()
    assert twins.loads()[4:] == [(seq, 2.0) for seq in range(5, 8)]
    with twins.store.read() as conn:
        assert taking.due(conn) == []
        assert stories.held(conn)[0]["filed_ms"] == NOW + 10 * MINUTE_MS
