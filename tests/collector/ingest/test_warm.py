"""What ingest remembers between transactions is what the tables hold, whoever has changed them meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.access import devices
from collector.common.config import Settings
from collector.common.messages import Message
from collector.common.sequence_ranges import parse
from collector.ingest import spools
from collector.ingest.times.boot_clocks import ahead_of
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.judging import evaluate, silence
from collector.judging.outages import gaps, mains_cuts
from collector.register import centers
from collector.store import Store, quotas, schema, sqlite3, warm
from tests.collector.standard.timeless import timeless_standards

NOW = 1_795_000_000_000
MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
KEY = Ed25519PrivateKey.generate()
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

Make = Callable[[Store], Ingest]


class Believing(warm.Warm):
    """Planted: it never looks at a mark."""

    def begin(self, everybody: object, marks: Mapping[str, warm.Marks], now_ms: int) -> None:
        for code in marks:
            self._held.setdefault(code, warm.HeldCenter((None, None), now_ms))


class Stubborn(warm.Warm):
    """Planted: a rollback changes nothing for it."""

    def forget(self) -> None:
        return None


def judging(store: Store, memory: warm.Warm | None = None) -> Ingest:
    return Ingest(store, KEY, judge_with(Settings(), timeless_standards()), memory=memory)


def believing(store: Store) -> Ingest:
    return judging(store, Believing())


def receipt_of(message: Message) -> wire.Receipt:
    return wire.decode_receipt(wire.unseal(message.payload, wire.MAX_SMALL_BYTES)[0])


def flag(store: Store, criterion: str) -> str:
    with store.read() as conn:
        return str(conn.scalar(sa.select(schema.flags.c.state).where(schema.flags.c.criterion == criterion)))


# ---------------------------------------------------------------- what is in memory is what the tables hold

READ: dict[str, Callable[[sa.Connection, str], Any]] = {
    "register": lambda conn, code: centers.some_centers(conn, [code])[code],
    "flags": lambda conn, code: {
        key: (one.flag, one.word)
        for key, one in evaluate.load(conn, [evaluate.EveryCenter(code=code)])[0].flags.items()
    },
    "newest": lambda conn, code: evaluate.newest(conn, [code])[code],
    "spools": lambda conn, code: spools.of_centers(conn, [code])[code],
    "tallies": lambda conn, code: {
        (row.device, row.day_ms): (quotas.Tally.of(row).counts, quotas.Tally.of(row).size)
        for row in conn.execute(sa.select(schema.tallies).where(schema.tallies.c.center == code))
    },
    "boots": lambda conn, code: {
        (row.device, row.boot): ahead_of(row)
        for row in conn.execute(sa.select(schema.boots).where(schema.boots.c.center == code))
    },
    "cuts": lambda conn, code: mains_cuts.unsettled(conn, [code])[code],
    "gaps": lambda conn, code: gaps.ended(conn, [code])[code],
}


def differs(part: str, held: Any, found: Any) -> bool:
    """Of boots and tallies only what was asked for is in memory, and that there is none is remembered too."""
    if part == "tallies":
        own = {
            (device, day_ms): (one.counts, one.size)
            for day_ms, by_device in held.days.items()
            for device, one in by_device.items()
            if one.counts
        }
        return any(found.get(key) != value for key, value in own.items())
    if part == "boots":
        return any(found.get(key) != value for key, value in held.items())
    if part == "cuts":
        return [tuple(row) for row in held] != [tuple(row) for row in found]
    return bool(held != found)


def assert_true_memory(ingest: Ingest, store: Store, codes: Collection[str]) -> int:
    """Returns how many parts were held."""
    count = 0
    with store.read() as conn:
        for code in codes:
            parts = ingest.memory.parts(code) or {}
            for part, held in parts.items():
                assert not differs(part, held, found := READ[part](conn, code)), (part, code, held, found)
            count += len(parts)
    return count


def others(dice: random.Random, store: Store, now_ms: int) -> None:
    """What other parts of the collector, and people, do beside ingest."""
    deed = dice.randrange(6)
    if deed == 0:
        with store.write() as conn:
            silence.sweep(conn, timeless_standards(), now_ms)
    elif deed == 1:
        with store.keep() as conn:
            spools.report_holes(conn, now_ms)
    elif deed == 2:
        with store.write() as conn:
            conn.execute(sa.update(schema.centers).values(changed_ms=now_ms))
    elif deed == 3:
        with store.write() as conn:
            gaps.reconsider(conn, now_ms, 180.0)
    elif deed == 4:
        with store.keep() as conn:
            conn.execute(sa.delete(schema.boots).where(schema.boots.c.noted_ms < now_ms - 20 * MINUTE_MS))


def some_batch(dice: random.Random, item: Any, now_ms: int) -> Message:
    """Live or kept, on mains or battery, by a boot whose clock is right, late or never right."""
    boot = f"b{now_ms // (13 * MINUTE_MS)}"
    clock = "synced" if dice.random() < 0.8 else "unsynced"
    live = dice.random() < 0.8
    at_ms = now_ms - (0 if live else dice.randrange(60) * MINUTE_MS)
    state = "battery" if dice.random() < 0.3 else "online"
    raws = [
        item.ups(
            wall_ms=at_ms, boot=boot, clock=clock, output_state=state, battery_charge_pct=float(dice.choice([15, 90]))
        )
        for _ in range(dice.randint(1, 3))
    ]
    return item.batch(raws, live=live)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_after_each_transaction_memory_is_what_the_tables_hold(sqlite_store: Store, gateway, seed: int) -> None:
    dice, now_ms = random.Random(seed), NOW
    items = [gateway(sqlite_store, code) for code in ("LHR-1", "LHR-1", "KHI-2")]
    workers = [judging(sqlite_store), judging(sqlite_store)]  # on SQLite one after the other
    sent: list[Message] = []
    count = 0
    for _ in range(25):
        now_ms += dice.choice([2_000, MINUTE_MS, MINUTE_MS, 9 * MINUTE_MS])
        if dice.random() < 0.4:
            others(dice, sqlite_store, now_ms)
        group = {item.center: some_batch(dice, item, now_ms) for item in items if dice.random() < 0.8}
        if group and dice.random() < 0.2:
            group.popitem()  # lost on its way: a hole
        again = dice.sample(sent, min(len(sent), dice.randrange(2)))
        worker = dice.choice(workers)
        worker.take([*group.values(), *again], now_ms)
        sent += group.values()
        count += assert_true_memory(worker, sqlite_store, group)  # of others it will look at the marks first
    assert count > 60, "nothing was held"
    assert sum(one.memory.recalled for one in workers) > 25
    assert not any(one.memory.forgotten for one in workers), "all centers are read anew after that"


# ---------------------------------------------------------------- nothing stale is used


def revoked_while_warm(store: Store, gateway, ingest: Make) -> None:
    item, worker = gateway(store), ingest(store)
    worker.take([item.batch([item.ups()])], NOW)
    with store.write() as conn:
        devices.revoke(conn, item.device, NOW + 1, "desk", "stolen")
    taken = worker.take([item.batch([item.ups(NOW + 2)])], NOW + 2)
    assert not taken.receipts
    assert taken.counts["revoked_device"] == 1


def center_moved(store: Store, gateway, ingest: Make) -> None:
    item, other, worker = gateway(store, "LHR-1"), gateway(store, "KHI-2"), ingest(store)
    worker.take([item.batch([item.ups()]), other.batch([other.ups()])], NOW)
    with store.write() as conn:
        conn.execute(sa.update(schema.devices).where(schema.devices.c.device == item.device).values(center="KHI-2"))
    worker.take([item.batch([item.ups(NOW + 2)])], NOW + 2)
    with store.read() as conn:
        p = schema.spools.c
        found = conn.execute(sa.select(p.center, p.ranges).where(p.device == item.device).order_by(p.center)).all()
    assert [(row.center, [part.first for part in parse(row.ranges)]) for row in found] == [
        ("KHI-2", [2]),
        ("LHR-1", [1]),
    ]


def silence_found_by_another(store: Store, gateway, ingest: Make) -> None:
    """The sweep raises it, beside us; who is heard again is not silent."""
    item, worker = gateway(store, lifecycle="declared"), ingest(store)
    for turn in range(3):
        worker.take([item.batch([item.ups(NOW + turn * MINUTE_MS)])], NOW + turn * MINUTE_MS)
    for turn in range(5, 60, 10):
        with store.write() as conn:
            silence.sweep(conn, timeless_standards(), NOW + turn * MINUTE_MS)
    criterion = next(one.id for one in timeless_standards().versions[-1].by_reading["silence"])
    assert flag(store, criterion) == "raised"
    for turn in range(60, 90, 6):
        worker.take([item.batch([item.ups(NOW + turn * MINUTE_MS)])], NOW + turn * MINUTE_MS)
    assert flag(store, criterion) == "clear"


def an_older_database_beneath(store: Store, gateway, ingest: Make) -> None:
    """All rows go back to what they were, as when a dump is played in by hand: what it lacks is asked for."""
    item, worker = gateway(store), ingest(store)
    worker.take([item.batch([item.ups()])], NOW)
    path = str(store.url.database)
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(f"{path}.old")) as copy:
        old.backup(copy)
    for turn in range(1, 4):
        worker.take([item.batch([item.ups(NOW + turn)])], NOW + turn)
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("ATTACH ? AS old", (f"{path}.old",))
        conn.execute("BEGIN IMMEDIATE")
        for (name,) in conn.execute("SELECT name FROM old.sqlite_master WHERE type = 'table'").fetchall():
            conn.execute(f"DELETE FROM main.{name}")
            conn.execute(f"INSERT INTO main.{name} SELECT * FROM old.{name}")
        conn.execute("COMMIT")
    (sealed,) = worker.take([item.batch([item.ups(NOW + 9)])], NOW + 9).receipts
    assert receipt_of(sealed).lacks == [(2, 4)]


def another_worker(store: Store, gateway, ingest: Make) -> None:
    item, first, second = gateway(store), ingest(store), ingest(store)
    batches = [item.batch([item.ups(NOW + turn)]) for turn in range(4)]
    for turn, worker in enumerate((first, second, first, second)):
        (sealed,) = worker.take([batches[turn]], NOW + turn).receipts
        assert not receipt_of(sealed).lacks
    first.take([batches[1], batches[3]], NOW + 9)
    with store.read() as conn:
        (row,) = conn.execute(sa.select(schema.spools))
        assert [(part.first, part.last) for part in parse(row.ranges)] == [(1, 4)]
        assert row.duplicates == 2
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.evidence)) == 4


STALE = [silence_found_by_another, an_older_database_beneath, another_worker]


@pytest.mark.parametrize("scenario", [revoked_while_warm, center_moved, *STALE], ids=lambda one: one.__name__)
def test_nothing_stale_is_used(sqlite_store: Store, gateway, scenario: Callable[..., None]) -> None:
    scenario(sqlite_store, gateway, judging)


@pytest.mark.parametrize("scenario", STALE, ids=lambda one: one.__name__)
def test_a_memory_that_looks_at_no_mark_is_found_out(sqlite_store: Store, gateway, scenario) -> None:
    with pytest.raises(AssertionError):
        scenario(sqlite_store, gateway, believing)


@on_postgresql
@pytest.mark.parametrize(
    "scenario",
    [another_worker, pytest.param(silence_found_by_another, marks=pytest.mark.slow)],
    ids=lambda one: one.__name__,
)
def test_nothing_stale_is_used_on_postgresql(either_store: Store, gateway, scenario: Callable[..., None]) -> None:
    scenario(either_store, gateway, judging)


# ---------------------------------------------------------------- a backlog


def test_of_the_days_of_a_backlog_the_tallies_are_read_once(sqlite_store: Store, gateway) -> None:
    """Not in each transaction again, nor whether a UPS was there before."""
    item, worker, statements = gateway(sqlite_store), judging(sqlite_store), []
    sa.event.listen(sqlite_store._writer, "before_cursor_execute", lambda *words: statements.append(words[2]))
    for number in range(6):
        at_ms = NOW - DAY_MS + number * MINUTE_MS
        worker.take([item.batch([item.ups(), item.ups(wall_ms=at_ms)], live=False)], NOW + number * 1_000)
    reads = [one for one in statements if one.startswith("SELECT") and "FROM tallies" in one]
    assert len(reads) == 2, "today's and yesterday's"
    assert sum("latest.subject" in one and "LIMIT" in one for one in statements) == 1


# ---------------------------------------------------------------- rollback


def rolled_back(store: Store, gateway, memory: warm.Warm) -> None:
    """The judge fails after it has written flags; nothing of that transaction may be remembered."""
    item, fails = gateway(store), [False]
    judge = judge_with(Settings(), timeless_standards())

    def judge_or_fail(conn: sa.Connection, group: Any, now_ms: int) -> int:
        count = judge(conn, group, now_ms)
        if fails[0]:
            raise sa.exc.OperationalError("", None, RuntimeError("the disk is full"))
        return count

    worker = Ingest(store, KEY, judge_or_fail, memory=memory)
    low = {"output_state": "battery", "battery_charge_pct": 5.0}
    worker.take([item.batch([item.ups()])], NOW)
    message = item.batch([item.ups(NOW + MINUTE_MS, **low)])
    fails[0] = True
    with pytest.raises(sa.exc.OperationalError):
        worker.take([message], NOW + MINUTE_MS)
    fails[0] = False
    assert_true_memory(worker, store, ["LHR-1"])
    (sealed,) = worker.take([message], NOW + 2 * MINUTE_MS).receipts
    assert receipt_of(sealed).last_seq == 2
    assert_true_memory(worker, store, ["LHR-1"])


def test_a_rollback_leaves_nothing_in_memory(sqlite_store: Store, gateway) -> None:
    rolled_back(sqlite_store, gateway, warm.Warm())


def test_a_memory_that_survives_a_rollback_is_found_out(sqlite_store: Store, gateway) -> None:
    with pytest.raises(AssertionError):
        rolled_back(sqlite_store, gateway, Stubborn())


# ---------------------------------------------------------------- how a change is noticed


@pytest.fixture
def changes(sqlite_store: Store) -> Iterator[tuple[sa.Connection, warm.Changes]]:
    with sqlite_store.write() as conn:
        yield conn, conn.info[warm.CHANGES]


def row_of_gap(code: str) -> dict[str, object]:
    texts = dict.fromkeys(("cause", "grade", "evidence", "facts", "witness"), "x")
    return {"center": code, "from_ms": 1, "to_ms": 2, "revision": 1, "recorded_ms": 1, **texts}


def test_rows_that_are_inserted_say_of_whom_they_are(changes) -> None:
    conn, noted = changes
    conn.execute(sa.insert(schema.gaps), [row_of_gap("A"), row_of_gap("B")])
    assert (noted.centers, noted.everybody) == ({"A", "B"}, False)
    assert noted.hides("gaps", "A")
    assert not noted.hides("flags", "A")


def test_a_statement_that_does_not_say_of_whom_is_of_everybody(changes) -> None:
    conn, noted = changes
    conn.execute(sa.update(schema.gaps).values(to_ms=3))
    assert not noted.everybody, "it changed nothing"
    conn.execute(sa.insert(schema.gaps), [row_of_gap("A")])
    conn.execute(
        sa.update(schema.gaps).where(schema.gaps.c.center == "A").values(to_ms=3),
        execution_options={warm.CENTERS: ["A"]},
    )
    assert not noted.everybody
    conn.execute(sa.text("UPDATE gaps SET to_ms = 4"))
    assert noted.everybody


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("INSERT INTO flags (center) VALUES (?)", "flags"),
        ("UPDATE latest SET wall_ms = 1", "latest"),
        ("DELETE FROM spools WHERE 1", "spools"),
        ('DELETE FROM "spools"', "spools"),
        ("WITH gone AS (DELETE FROM cuts RETURNING *) SELECT 1", "cuts"),
        ("INSERT INTO evidence (center) VALUES (?)", None),
        ("UPDATE pulse SET due_ms = 1", None),
        ("BEGIN IMMEDIATE", None),
        ("", None),
    ],
)
def test_which_table_a_statement_changes(statement: str, table: str | None) -> None:
    assert warm.written(statement) == table


def test_memory_is_bounded_and_forgets_who_was_longest_unheard() -> None:
    memory = warm.Warm()
    for number in range(warm.MOST_HELD + 10):
        memory.begin("epoch", {f"C-{number}": (1, None)}, NOW)
    assert memory.parts("C-0") is None
    assert memory.parts(f"C-{warm.MOST_HELD + 9}") is not None


def test_after_a_while_everything_is_read_again() -> None:
    memory = warm.Warm()
    memory.begin("epoch", {"A": (1, None)}, NOW)
    parts = memory.parts("A")
    assert parts is not None
    parts["flags"] = {}
    memory.begin("epoch", {"A": (1, None)}, NOW + warm.KEPT_MS)
    assert memory.parts("A") == {"flags": {}}
    memory.begin("epoch", {"A": (1, None)}, NOW + warm.KEPT_MS + 1)
    assert memory.parts("A") == {}


def test_without_a_mark_nothing_is_believed() -> None:
    memory = warm.Warm()
    for _ in range(2):
        memory.begin("epoch", {"A": (None, None)}, NOW)
        parts = memory.parts("A")
        assert parts == {}
        parts["flags"] = {}
