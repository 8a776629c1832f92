"""Power over time, through the whole chain: what a driver or a card says, the agent's settling and watch, signed
batches, real ingest, cuts, the backup figure of the page and the month's report."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.common.center_time import CENTER_TIME
from agent.config import UpsSection
from agent.probes.ups import UpsProbe, nut, settle
from agent.probes.ups.draft import Gathered, Memory
from agent.scheduling.power import PowerWatch, SelfTestBook
from agent.spool.record import Value
from collector.access.enrolment import device_name
from collector.common.config import Settings
from collector.common.messages import Message
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.judging.outages import mains_cuts, summary
from collector.register import centers
from collector.reports import monthly
from collector.store import Store, schema
from tests.agent.probes.ups.conftest import Card, rows
from tests.agent.probes.ups.test_ups_card import Slow
from tests.collector.empty_stores import empty_store
from tests.collector.standard.timeless import timeless, timeless_standards

START_MS = int(datetime(2026, 2, 2, 22, tzinfo=CENTER_TIME).timestamp() * 1000)  # a Monday evening
FACTS = {"center": "LHR-1", "name": "One", "tier": "three", "seats_promised": "10", "opening": "always"}
STANDARDS = timeless_standards()
ROUND_S = 60
ON_MAINS_EVERY_S, ON_BATTERY_EVERY_S = 10, 2

Say = Mapping[str, str | tuple[float, float]]  # a variable's value, or what it moves between


Rule = Callable[[Gathered, Memory, float, Callable[[str], None]], settle.Settlement]


@dataclass(frozen=True)
class Span:
    """What a driver says for so many seconds."""

    seconds: int
    says: Say = field(default_factory=dict)


@dataclass
class Chain:
    """A gateway and its collector. The agent's clock is `second`; a look at the UPS is `look`."""

    store: Store
    folder: Path
    second: int = 0
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    kept: list[wire.Reading] = field(default_factory=list)
    spool: str = field(default_factory=lambda: uuid.uuid4().hex)
    next_seq: int = 1
    digest: bytes = wire.GENESIS
    gasps: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        public_key = self.key.public_key().public_bytes_raw()
        self.device = device_name(public_key)
        row = {"device": self.device, "center": FACTS["center"], "public_key": public_key, "enrolled_ms": START_MS}
        with self.store.write() as conn:
            self.center = centers.add(conn, FACTS, START_MS - 86_400_000)
            conn.execute(sa.insert(schema.devices).values(**row))
        self.ingest = Ingest(self.store, self.key, judge_with(Settings(), STANDARDS))

    def watch(self, look: Callable[[], Awaitable[wire.UpsReading]]) -> PowerWatch:
        async def poll(_ups: UpsSection) -> Sequence[wire.Reading]:
            at_ms = self.second * 1000
            at = wire.Stamp(wall_ms=START_MS + at_ms, mono_ms=at_ms, boot="b", clock="synced")
            return [msgspec.structs.replace(await look(), at=at)]

        async def keep(readings: Sequence[wire.Reading], _value: Value) -> None:
            self.kept += readings

        async def start_test(_ups: UpsSection) -> None:
            raise AssertionError("no story asks for a self-test")

        ups = UpsSection(name="ups", host="192.0.2.1")
        return PowerWatch(
            [ups], device=self.device, poll=poll, keep=keep, start_test=start_test, book=SelfTestBook(self.folder),
            now_s=lambda: float(self.second),
        )  # fmt: skip

    def look(self, watch: PowerWatch) -> None:
        """One poll; what it keeps, and a round's news each minute, are sent at once."""
        asyncio.run(watch.poll("ups"))
        if self.second % ROUND_S == 0:
            self.kept += watch.news()
        self.gasps += [(self.second, r.last_gasp) for r in self.kept if isinstance(r, wire.UpsReading) and r.last_gasp]
        if self.kept:
            self.send()

    def send(self) -> None:
        raws = [wire.encode_reading(reading) for reading in self.kept]
        batch = wire.Batch(
            v=1, device=self.device, spool=self.spool, first_seq=self.next_seq, prev=self.digest.hex(),
            readings=[msgspec.Raw(raw) for raw in raws],
        )  # fmt: skip
        message = Message(wire.batch_topic(self.device), wire.seal(wire.encode(batch), self.key.sign))
        (receipt,) = self.ingest.take([message], START_MS + self.second * 1000).receipts
        assert b'"outcome":"set_aside"' not in receipt.payload
        self.next_seq += len(raws)
        self.digest = wire.chain(self.digest, raws)
        self.kept = []

    def plays(self, base: Say, *spans: Span, rule: Rule = settle.settle) -> None:
        """What a driver says through `upsd`, span after span, as the agent of a gateway reads it; by another `rule`
        than the agent's own where a wrong one is to be seen."""
        memory, variables = Memory(), dict[str, str]()

        async def look() -> wire.UpsReading:
            nonlocal memory
            gathered = nut.gather(variables, lambda _line: None)
            reading, memory = rule(gathered, memory, float(self.second), lambda _line: None)
            assert reading is not None
            return reading

        watch = self.watch(look)
        for span in spans:
            end = self.second + span.seconds
            start = self.second
            while self.second < end:
                share = (self.second - start) / span.seconds
                variables |= {name: _now(value, share) for name, value in {**base, **span.says}.items()}
                self.look(watch)
                self.second += ON_BATTERY_EVERY_S if watch.supply != "mains" else ON_MAINS_EVERY_S
            self.second = end

    # ------------------------------------------------------------ what came of it

    def cuts(self) -> list[tuple[float, float | None]]:
        """(begins, lasts) of each cut in minutes, as stored."""
        with self.store.read() as conn:
            found = mains_cuts.cuts_of(conn, "LHR-1").get("ups", [])
        return [
            (round((cut.from_ms - START_MS) / 60_000, 1), None if cut.to_ms is None else round(cut.backup_s / 60, 1))
            for cut in found
        ]

    def page(self) -> dict[str, Any]:
        """What the center's page says of the battery."""
        with self.store.read() as conn:
            power = summary.plain(conn, self.center, timeless())["power"]
        return power[0] if power else {"cuts": 0, "observed_min": None}

    def month(self) -> dict[str, Any]:
        with self.store.read() as conn:
            report = monthly.build(conn, self.center, "2026-02", STANDARDS, START_MS + 60 * 86_400_000)
        power = report["outages"]["power"]
        return {"report": report, **(power[0] if power else {"cuts": 0, "observed_min": None})}

    def flags(self) -> set[str]:
        """The criteria whose flag has ever been raised."""
        with self.store.read() as conn:
            rows = conn.execute(sa.select(schema.changes.c.criterion).where(schema.changes.c.now == "raised"))
            return {row.criterion for row in rows if row.criterion.startswith("power.")}

    def raised(self, criterion: str) -> int:
        """How often its flag was raised."""
        with self.store.read() as conn:
            c = schema.changes.c
            query = sa.select(sa.func.count()).where(c.now == "raised", c.criterion == criterion)
            return int(conn.scalar(query) or 0)

    def held(self, from_s: int, to_s: int) -> set[tuple[str | None, str | None]]:
        """(state, source) of the readings held of a time."""
        u = schema.readings["ups"].c
        query = sa.select(u.output_state, u.source).where(
            u.wall_ms >= START_MS + from_s * 1000, u.wall_ms < START_MS + to_s * 1000
        )
        with self.store.read() as conn:
            return {(row.output_state, row.source) for row in conn.execute(query)}

    def is_told(self, *cuts: tuple[float, float]) -> None:
        """These cuts (begins, lasts; minutes, to a fifth of one) and no others: in the store, the page, the month."""
        found = self.cuts()
        assert [pytest.approx(cut, abs=0.2) for cut in cuts] == found, found
        longest = max((lasts for _, lasts in cuts), default=None)
        wanted = None if longest is None else pytest.approx(longest, abs=0.2)
        for variables in (self.page(), self.month()):
            assert (variables["cuts"], variables["observed_min"]) == (len(cuts), wanted), variables


def _now(value: str | tuple[float, float], share: float) -> str:
    return value if isinstance(value, str) else f"{value[0] + (value[1] - value[0]) * share:.1f}"


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    store = empty_store(tmp_path / "nabz.db")
    yield Chain(store, tmp_path)
    store.close()


ONLINE: Say = {
    "device.model": "Field 1500", "ups.status": "OL", "battery.charge": "100", "battery.runtime": "2400",
    "battery.charge.low": "20", "battery.runtime.low": "180", "input.voltage": "231", "output.voltage": "230",
    "input.frequency": "50", "input.transfer.low": "180", "input.transfer.high": "270", "ups.load": "30",
}  # fmt: skip
GONE = {"ups.status": "OB DISCHRG", "input.voltage": "0", "input.frequency": "0"}


def test_a_cut_is_a_cut(chain: Chain) -> None:
    cut = Span(1200, {**GONE, "battery.charge": (99, 60), "battery.runtime": (2300, 1400)})
    chain.plays(ONLINE, Span(600), cut, Span(600, {"ups.status": "OL CHRG", "battery.charge": (60, 70)}))
    chain.is_told((10, 20))
    assert chain.gasps == []
    assert "power.battery_low" not in chain.flags()


def test_a_counter_of_seconds_that_never_resets_dates_no_cut_back(chain: Chain) -> None:
    """It stands at the length of the last cut while on mains, and counts on from there in the next."""
    chain.plays(
        ONLINE,
        Span(600, {"battery.runtime.elapsed": "7200"}),
        Span(240, {**GONE, "battery.runtime.elapsed": (7200, 7440), "battery.charge": (99, 92)}),
        Span(600, {"battery.runtime.elapsed": "7440"}),
        Span(120, {**GONE, "battery.runtime.elapsed": (7440, 7560), "battery.charge": (98, 95)}),
        Span(600, {"battery.runtime.elapsed": "7560"}),
    )
    chain.is_told((10, 4), (24, 2))


def test_a_calibration_is_no_cut_and_nothing_urgent(chain: Chain) -> None:
    low = {"ups.status": "OB CAL DISCHRG LB", "battery.charge": (25, 8), "battery.runtime": (170, 60)}
    chain.plays(
        ONLINE,
        Span(600),
        Span(1800, {"ups.status": "OL CAL DISCHRG", "battery.charge": (100, 25), "battery.runtime": (2400, 200)}),
        Span(600, low),
        Span(600, {"ups.status": "OL CHRG", "battery.charge": (8, 12), "battery.runtime": "200"}),
    )
    chain.is_told()
    assert chain.gasps == []
    assert not chain.flags() & {"power.mains", "power.battery_low"}


def test_mains_that_go_in_a_calibration_are_a_cut_of_what_is_left(chain: Chain) -> None:
    chain.plays(
        ONLINE,
        Span(600),
        Span(600, {"ups.status": "OB CAL DISCHRG", "battery.charge": (100, 70)}),
        Span(300, {**GONE, "ups.status": "OB CAL DISCHRG", "battery.charge": (70, 55)}),
        Span(600, {"ups.status": "OL CHRG", "battery.charge": (55, 60)}),
    )
    chain.is_told((20, 5))


@pytest.mark.slow
@pytest.mark.parametrize("status", ["OB DISCHRG", "OL DISCHRG"])
def test_three_nights_of_an_inverter_by_choice_are_no_cut_and_the_one_that_is_is(chain: Chain, status: str) -> None:
    night = Span(2 * 3600, {"ups.status": status, "input.voltage": (226, 229), "battery.charge": (98, 40)})
    day = Span(3600, {"ups.status": "OL CHRG", "battery.charge": (40, 98)})
    cut = Span(1200, {**GONE, "battery.charge": (98, 80)})
    chain.plays(ONLINE, Span(600), night, day, night, day, cut, day, night, Span(600))
    chain.is_told((10 + 6 * 60, 20))
    assert chain.gasps == []
    # The agent: after the first minutes, in which a stuck meter could not be told from a live one, on mains.
    sources = {"battery"} if status.startswith("OB") else {None}
    assert chain.held(1200, 7800) == {("online", source) for source in sources}
    # Judged live: one notice for the one cut, and none that is urgent or serious.
    assert chain.raised("power.mains") == 1
    assert not chain.flags() & {"power.battery_low", "power.protected", "power.on_ups"}
    # The page and the month: the battery has carried the load once, for 20 minutes.
    report = chain.month()["report"]
    (power,) = report["outages"]["power"]
    (cut_row,) = power["list"]
    begins_ms = START_MS + (10 + 6 * 60) * 60_000
    assert cut_row["from_ms"] == pytest.approx(begins_ms, abs=15_000)
    assert cut_row["to_ms"] == pytest.approx(begins_ms + 20 * 60_000, abs=15_000)
    rows_of_month = {row["criterion"]: row for row in report["criteria"]}
    for criterion in ("power.protected", "power.on_ups", "power.battery_low"):
        assert rows_of_month[criterion]["met"] == rows_of_month[criterion]["samples"] > 500, criterion


def by_charge(gathered: Gathered, memory: Memory, now_s: float, say: Callable[[str], None]) -> settle.Settlement:
    """Wrong: whatever discharges is on battery, and its mains are gone."""
    found = settle.settle(gathered, memory, now_s, say)
    if found.reading is None or "discharging" not in gathered.evidence.words:
        return found
    return found._replace(reading=msgspec.structs.replace(found.reading, output_state="battery", source="battery"))


def by_habit(gathered: Gathered, memory: Memory, now_s: float, say: Callable[[str], None]) -> settle.Settlement:
    """Wrong: a device that ever ran by choice does so each time."""
    found = settle.settle(gathered, memory, now_s, say)
    if found.reading is None or found.reading.output_state != "battery":
        return found
    return found._replace(reading=msgspec.structs.replace(found.reading, output_state="online"))


@pytest.mark.parametrize("status", [pytest.param("OB DISCHRG", marks=pytest.mark.slow), "OL DISCHRG"])
@pytest.mark.parametrize(("rule", "is_right"), [(settle.settle, True), (by_charge, False), (by_habit, False)])
def test_two_nights_and_a_cut_are_told_by_the_agents_rule_and_by_no_wrong_one(
    chain: Chain, status: str, rule: Rule, is_right: bool
) -> None:
    night = Span(600, {"ups.status": status, "input.voltage": (226, 229), "battery.charge": (98, 90)})
    day = Span(120, {"ups.status": "OL CHRG", "battery.charge": (90, 98)})
    cut = Span(300, {**GONE, "battery.charge": (98, 94)})
    chain.plays(ONLINE, Span(120), night, day, cut, day, night, Span(120), rule=rule)
    with contextlib.nullcontext() if is_right else pytest.raises(AssertionError):
        chain.is_told((14, 5))


ANSWER_S = 1.1
SECONDS, MINUTES, CHARGE = (f"1.3.6.1.2.1.33.1.2.{n}.0" for n in (2, 3, 4))
INPUT_V, OUTPUT_SOURCE = "1.3.6.1.2.1.33.1.3.3.1.3.1", "1.3.6.1.2.1.33.1.4.1.0"


@pytest.fixture
def slow_card() -> Iterator[Slow]:
    made = Slow(Card(rows("rfc1628")), ANSWER_S)
    yield made
    made.stop()
    made.card.socket.close()


@pytest.mark.slow
def test_a_card_that_needs_more_than_a_second_for_each_answer_tells_the_same_cut(chain: Chain, slow_card: Slow) -> None:
    objects, probe = slow_card.card.objects, UpsProbe(now_s=lambda: float(chain.second))
    mains = {oid: objects[oid] for oid in (SECONDS, MINUTES, CHARGE, INPUT_V, OUTPUT_SOURCE)}

    async def look() -> wire.UpsReading:
        return msgspec.structs.replace(await probe.measure(slow_card.target(), 5.0, lambda _line: None), subject="ups")

    watch = chain.watch(look)
    for minute, since_s in ((0, None), (1, None), (2, 20), (3, 80), (5, 200), (6, None)):
        chain.second = minute * 60
        gone = {SECONDS: since_s, MINUTES: 30, CHARGE: 90, INPUT_V: 0, OUTPUT_SOURCE: 5} if since_s else {}
        objects |= mains | {oid: ("2", str(value)) for oid, value in gone.items()}
        chain.look(watch)
    chain.is_told((100 / 60, 6 - 100 / 60))
    assert chain.gasps == []
    assert "power.on_ups" not in chain.flags()
