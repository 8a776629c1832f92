"""Causes through the database: simulated fleets whose script knows the truth, and revisions by late readings."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.common.reasons import Reason
from agent.common.words import plain
from collector.commands.simulation import identities
from collector.commands.simulation.fleet import make_fleet
from collector.commands.simulation.gateway import Gateway
from collector.commands.simulation.run import Play
from collector.commands.simulation.trouble import ENDS, Stage, Trouble
from collector.commands.simulation.truth import Truth
from collector.common.messages import Message
from collector.desk.alerts.message import Announcement, message
from collector.ingest.transaction import Ingest
from collector.judging.flags import cause
from collector.judging.outages import gaps, mains_cuts
from collector.register import centers
from collector.store import Store, schema

START_MS = 1_780_000_000_000
MINUTE_MS = 60_000
STEP_MS = 30_000
GAP_S = 180.0
KEY = Ed25519PrivateKey.generate()


@dataclass
class Post:
    """Stands for every line to the broker: what is published waits here for the collector."""

    waiting: list[Message] = field(default_factory=list)
    up: bool = True

    def publish(self, topic: str, payload: bytes) -> None:
        self.waiting.append(Message(topic, payload))


@dataclass
class Run:
    play: Play
    store: Store

    def go(self, minutes: int) -> int:
        """Measures, sends, receives and looks again, step by step; returns the time at the end."""
        ingest = Ingest(self.store, KEY, lambda conn, group, now_ms: gaps.record_group(conn, group, now_ms, GAP_S))
        post = Post()
        lines = dict.fromkeys(self.play.fleet, post)
        for now_ms in range(START_MS, START_MS + minutes * MINUTE_MS, STEP_MS):
            self.play.measure(now_ms)
            for again in range(3):
                self.play.send(now_ms, now_ms / 1000 + again, lines)
                if post.waiting:
                    for receipt in ingest.take(post.waiting, now_ms).receipts:
                        self.play.receive(wire.device_of(receipt.topic), receipt.payload, now_ms, now_ms / 1000)
                    post.waiting.clear()
            with self.store.write() as conn:
                gaps.reconsider(conn, now_ms, GAP_S)
        return now_ms


def a_run(store: Store, count: int, seed: int) -> Run:
    fleet = make_fleet(count, seed)
    keys = [Ed25519PrivateKey.generate() for _ in fleet]
    gateways = [
        Gateway(center=center, key=key, device=identities.device_of(key), spool=f"{center.index:032x}")
        for center, key in zip(fleet, keys, strict=True)
    ]
    with store.write() as conn:
        for gateway in gateways:
            centers.add(conn, gateway.center.row(), START_MS - 10**9)
            public = gateway.key.public_key().public_bytes_raw()
            row = {"device": gateway.device, "center": gateway.center.code, "public_key": public}
            conn.execute(sa.insert(schema.devices).values(**row, enrolled_ms=START_MS - 10**9))
    play = Play(
        fleet={gateway.device: gateway for gateway in gateways},
        stage=Stage(fleet, seed, START_MS),
        truth=Truth(io.StringIO()),
        collector_key=KEY.public_key(),
    )
    play.begin(START_MS)
    return Run(play, store)


CAUSES = {
    "carrier_outage": "isp_down", "cable_out": "lan_fault", "switched_off": "switched_off",
    "agent_killed": "agent_stopped", "silent_gateway": "unknown",
}  # fmt: skip


def true_cause(run: Run, trouble: Trouble, code: str) -> str | None:
    """What the script says happened to this center; None when it was heard all the time."""
    if trouble.what != "feeder_cut":
        return CAUSES.get(trouble.what)
    center = next(item.center for item in run.play.fleet.values() if item.center.code == code)
    if trouble.from_ms + center.autonomy_s * 1000 < trouble.to_ms:
        return "ups_exhausted"
    return "mains_carried" if center.index % 3 == 0 else None


def truths(run: Run, code: str, from_ms: int, to_ms: int) -> set[str]:
    """The causes of the troubles that cover a good part of a gap. Two may overlap; each of them is then right."""
    shares: Counter[str] = Counter()
    for trouble in run.play.stage.troubles:
        name = true_cause(run, trouble, code) if code in trouble.centers else None
        if name is not None:
            shares[name] += max(0, min(to_ms, trouble.to_ms) - max(from_ms, trouble.from_ms))
    return {name for name, share in shares.items() if 3 * share >= to_ms - from_ms}


def matrix_of(rows: Sequence[tuple[str, str]]) -> str:
    """Rows are what was true, columns what was named."""
    counts = Counter(rows)
    lines = [f"{'true, named':>15}" + "".join(f"{name:>15}" for name in cause.NAMES)]
    for true in sorted({true for true, _ in rows}, key=cause.NAMES.index):
        lines.append(f"{true:>15}" + "".join(f"{counts[true, name]:>15}" for name in cause.NAMES))
    return "\n".join(lines)


def staged(folder: Path, seed: int, count: int) -> tuple[list[tuple[str, str]], list[str]]:
    """((true, named) of every gap and every carried cut of a fleet's hour, what was named wrong)."""
    store = Store.open(f"sqlite:///{folder / f'{seed}.db'}")
    run = a_run(store, count, seed)
    end_ms = run.go(minutes=75)
    with store.read() as conn:
        newest = {(row.center, row.from_ms): row for row in conn.execute(GAPS)}
        noted = {item.center.code: mains_cuts.cuts_of(conn, item.center.code) for item in run.play.fleet.values()}
    store.close()
    found: list[tuple[str, str]] = []
    wrong: list[str] = []
    for row in newest.values():
        true = truths(run, row.center, row.from_ms, row.to_ms)
        found.append((row.cause if row.cause in true else min(true, default="none"), row.cause))
        if row.cause not in true:
            minutes = (row.to_ms - row.from_ms) // MINUTE_MS
            wrong.append(f"{row.center} {minutes} min {true}: {row.cause} {row.grade} {row.evidence}")
    for code, from_ms in carried_cuts(run, end_ms):
        near = [cut for cut in noted[code].get("ups", ()) if abs(cut.from_ms - from_ms) <= 2 * MINUTE_MS]
        found.append(("mains_carried", "mains_carried" if near and near[0].carried else "unknown"))
        if found[-1][1] == "unknown":
            wrong.append(f"{code} was cut at {(from_ms - START_MS) // MINUTE_MS} min: {noted[code]}")
    return found, wrong


@pytest.mark.slow
def test_the_causes_named_are_those_of_the_script(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found: list[tuple[str, str]] = []
    wrong: list[str] = []
    for seed in (3, 11, 12, 13, 14, 15) if request.config.getoption("--torture") else (3,):
        pairs, mistakes = staged(tmp_path, seed, 120)
        found, wrong = found + pairs, wrong + mistakes
    print(f"\n{matrix_of(found)}", *wrong, sep="\n")
    assert {true for true, _ in found} == set(cause.NAMES) - {"collector", *cause.STAND_IN_THE_WAY}
    for name in {true for true, _ in found}:
        mine = [named for true, named in found if true == name]
        assert sum(named == name for named in mine) >= 0.95 * len(mine), (name, wrong)


GAPS = (
    sa.select(schema.gaps)
    .where(schema.gaps.c.center != "*")
    .order_by(schema.gaps.c.center, schema.gaps.c.from_ms, schema.gaps.c.revision)
)


def carried_cuts(run: Run, end_ms: int) -> list[tuple[str, int]]:
    """(center, begin) of each staged cut that is over, that the UPS carried, and that a running agent could see."""
    by_code = {item.center.code: item.center for item in run.play.fleet.values()}
    ends = [trouble for trouble in run.play.stage.troubles if trouble.what in ENDS]
    return [
        (code, cut.from_ms)
        for cut in run.play.stage.troubles
        if cut.what == "feeder_cut" and cut.to_ms < end_ms - 5 * MINUTE_MS
        for code in cut.centers
        if cut.from_ms + by_code[code].autonomy_s * 1000 >= cut.to_ms
        and not any(code in end.centers and end.from_ms < cut.to_ms and cut.from_ms < end.to_ms for end in ends)
    ]


# ---------------------------------------------------------------- one center, on each database


Story = Callable[..., Any]
NOON = 1_795_000_000_000


@dataclass
class Teller:
    """A gateway whose readings reach the collector when told."""

    store: Store
    gateway: Any

    def tells(self, received: float, *readings: tuple[float, wire.Reading], live: bool = True) -> None:
        """Readings, each with the minute it was taken in, received in one batch at a minute."""
        raws = []
        for minute, reading in readings:
            wall_ms = NOON + round(minute * MINUTE_MS)
            at = wire.Stamp(wall_ms=wall_ms, mono_ms=wall_ms - NOON + 10**8, boot="b", clock="synced")
            raws.append(wire.encode_reading(msgspec.structs.replace(reading, at=at)))
        take(self.store, [self.gateway.batch(raws, live=live)], received)


def take(store: Store, messages: list[Message], minute: float) -> None:
    ingest = Ingest(store, KEY, lambda conn, group, now_ms: gaps.record_group(conn, group, now_ms, GAP_S))
    ingest.take(messages, NOON + round(minute * MINUTE_MS))


def look_again(store: Store, minute: float) -> set[str]:
    with store.write() as conn:
        return {code for code, _ in gaps.reconsider(conn, NOON + round(minute * MINUTE_MS), GAP_S)}


def revisions(store: Store, center: str = "LHR-1") -> list[tuple[int, str, str]]:
    with store.read() as conn:
        return [(row.revision, row.cause, row.grade) for row in conn.execute(GAPS) if row.center == center]


MAINS = wire.UpsReading(output_state="online", battery_status="normal", battery_charge_pct=100.0, load_pct=40.0)
LOW = wire.UpsReading(output_state="battery", battery_status="low", battery_charge_pct=5.0, load_pct=40.0)
LOST = wire.LinkReading(loss_pct=100.0, fault_place="isp")
WELL = wire.LinkReading(loss_pct=0.0, fault_place="none")
POWER = wire.BootReading(previous_end="power", dark_s=29.0 * 60)


def test_late_readings_revise_a_cause_and_leave_what_was_said_before(either_store: Store, gateway: Story) -> None:
    center = Teller(either_store, gateway(either_store))
    center.tells(0, (0, MAINS), (0, WELL))
    center.tells(30, (30, WELL))
    assert revisions(either_store) == [(1, "unknown", "none")]
    center.tells(30.1, *((minute, LOST) for minute in range(1, 29)), live=False)
    assert revisions(either_store) == [(1, "unknown", "none"), (2, "isp_down", "shown")]
    with either_store.read() as conn:
        (outage,) = gaps.gaps_of(conn, "LHR-1")
    assert (outage.revision, outage.cause.name) == (2, "isp_down")
    assert outage.cause.evidence[0].params["reading"] == f"{center.gateway.device} {center.gateway.spool} 31"


def test_more_of_the_same_evidence_is_no_new_revision(either_store: Store, gateway: Story) -> None:
    center = Teller(either_store, gateway(either_store))
    center.tells(0, (0, MAINS))
    center.tells(30, (30, WELL))
    center.tells(30.1, *((minute, LOST) for minute in range(1, 15)), live=False)
    center.tells(30.2, *((minute, LOST) for minute in range(15, 29)), live=False)
    assert [revision for revision, *_ in revisions(either_store)] == [1, 2]
    with either_store.read() as conn:
        (outage,) = gaps.gaps_of(conn, "LHR-1")
    assert (outage.cause.evidence[0].code, outage.cause.evidence[0].params["n"]) == ("evidence.fault_seen", 28)


def test_a_center_that_is_heard_every_minute_has_no_gap(either_store: Store, gateway: Story) -> None:
    center = Teller(either_store, gateway(either_store))
    for minute in range(10):
        center.tells(minute, (minute, MAINS), (minute, WELL))
    assert revisions(either_store) == []


def test_neighbours_with_mains_make_a_claim_of_a_cut_unsupported(either_store: Store, gateway: Story) -> None:
    outage = Teller(either_store, gateway(either_store, "LHR-1", feeder="F1"))
    others = [Teller(either_store, gateway(either_store, f"LHR-{n}", feeder="F1")) for n in range(2, 14)]
    outage.tells(0, (0, LOW))
    for minute in (*range(0, 30, 2), 31):
        if minute == 31:
            outage.tells(30, (30, POWER), (30, MAINS))
            assert revisions(either_store) == [(1, "ups_exhausted", "unsupported")]
        for number, other in enumerate(others):
            other.tells(minute, (minute, LOW if number == 0 else MAINS))
    with either_store.read() as conn:
        (gap,) = gaps.gaps_of(conn, "LHR-1")
    assert "11 of 12 others on feeder F1 had mains" in plain().reason(gap.cause.evidence[-1])


def test_neighbours_that_come_back_later_are_asked_once_more(either_store: Store, gateway: Story) -> None:
    first = Teller(either_store, gateway(either_store, "LHR-1", feeder="F1"))
    others = [Teller(either_store, gateway(either_store, f"LHR-{n}", feeder="F1")) for n in range(2, 5)]
    first.tells(0, (0, LOW))
    for other in others:
        other.tells(0, (0, MAINS))
    first.tells(30, (30, POWER), (30, MAINS))
    assert revisions(either_store)[-1] == (1, "ups_exhausted", "shown")
    for other in others:
        other.tells(32, (31, MAINS))
        other.tells(33, (20, LOW), live=False)
    assert "LHR-1" in look_again(either_store, 36)
    assert revisions(either_store)[-1] == (2, "ups_exhausted", "confirmed")
    assert look_again(either_store, 37) == set()


def test_a_line_is_asked_of_its_exchange_before_its_provider(sqlite_store: Store, gateway: Story) -> None:
    """Four of a provider's lines in a city hang on an exchange that fails, eight on another."""
    line = {"isp": "PTCL", "city": "Lahore"}
    near = [Teller(sqlite_store, gateway(sqlite_store, f"N-{n}", exchange="Gulberg", **line)) for n in range(4)]
    far = [Teller(sqlite_store, gateway(sqlite_store, f"F-{n}", exchange="Cantt", **line)) for n in range(8)]
    for minute in range(0, 30, 2):
        for teller in (*far, *(near if minute == 0 else ())):
            teller.tells(minute, (minute, WELL))
    for teller in near:
        teller.tells(30, (30, WELL))
        look_again(sqlite_store, 30)
    near[0].tells(31, (15, LOST), live=False)
    look_again(sqlite_store, 36)
    with sqlite_store.read() as conn:
        (gap,) = gaps.gaps_of(conn, "N-0")
    assert (gap.cause.name, gap.cause.grade) == ("isp_down", "confirmed")
    assert "3 of 3 others on exchange Gulberg were silent too" in plain().reason(gap.cause.evidence[-1])


def roll(state: Any, uptime_s: float | None) -> wire.SeatsReading:
    """Three seats that are all alike; of those that are off, the last words are a minute old."""
    quiet_s = [60.0] * 3 if uptime_s is None else []
    columns = wire.SeatColumns(
        id=list("abc"), state=[state] * 3, why=[""] * 3, uptime_s=[uptime_s] * 3, quiet_s=quiet_s
    )
    return wire.SeatsReading(known=3, seats=columns)


def test_seats_shut_down_before_the_gateway_tell_that_people_were_closing(either_store: Store, gateway: Story) -> None:
    center = Teller(either_store, gateway(either_store))
    center.tells(0, (-0.2, roll("off", None)), (0, WELL))
    center.tells(30, (30, POWER))
    assert revisions(either_store) == [(1, "switched_off", "likely")]


def test_seats_that_come_back_after_the_gap_put_its_cause_right(either_store: Store, gateway: Story) -> None:
    center = Teller(either_store, gateway(either_store))
    center.tells(0, (0, roll("healthy", 7200.0)), (0, WELL))
    center.tells(30, (30, POWER))
    assert revisions(either_store) == [(1, "ups_exhausted", "likely")]
    center.tells(32, (32, roll("healthy", 9120.0)))
    assert revisions(either_store)[-1] == (2, "unknown", "none")
    with either_store.read() as conn:
        (outage,) = gaps.gaps_of(conn, "LHR-1")
    assert "3 of 3 seats ran on through it" in plain().reason(outage.cause.evidence[1])


def test_when_nobody_was_heard_it_was_the_collector(either_store: Store, gateway: Story) -> None:
    centers_ = [Teller(either_store, gateway(either_store, f"LHR-{n}")) for n in range(1, 7)]
    for item in centers_:
        item.tells(0, (0, MAINS), (0, WELL))
    for item in centers_:
        item.tells(30, (30, WELL))
    for n in range(1, 7):
        assert revisions(either_store, f"LHR-{n}") == [(1, "collector", "shown")]


def test_a_cut_is_timed_and_a_boot_that_comes_late_makes_it_not_carried(either_store: Store, gateway: Story) -> None:
    center = Teller(either_store, gateway(either_store))
    center.tells(0, (0, MAINS))
    center.tells(1, (1, LOW))
    center.tells(2, (2, LOW))
    center.tells(31.5, (31.5, MAINS))
    with either_store.read() as conn:
        ((cut,),) = mains_cuts.cuts_of(conn, "LHR-1").values()
    assert cut.carried is True
    center.tells(32, (31.4, POWER))
    with either_store.read() as conn:
        ((cut,),) = mains_cuts.cuts_of(conn, "LHR-1").values()
        kept = conn.scalar(sa.select(sa.func.count()).select_from(schema.cuts))
    assert cut.carried is False
    assert cut.backup_s == pytest.approx(84, abs=1)
    assert kept == 2, "what was said before stays"


def test_a_silent_center_s_likely_cause_is_told_and_the_found_one_when_it_is_back(
    either_store: Store, gateway: Story
) -> None:
    center = Teller(either_store, gateway(either_store))
    center.tells(0, (0, LOW))
    with either_store.read() as conn:
        guess = gaps.likely(conn, "LHR-1", NOON + 20 * MINUTE_MS)
    assert guess is not None
    assert (guess.name, guess.grade) == ("ups_exhausted", "likely")
    center.tells(30, (30, POWER), (30, MAINS))
    with either_store.read() as conn:
        found = gaps.last(conn, "LHR-1")
    assert found is not None
    assert (found.name, found.grade) == ("ups_exhausted", "shown")
    facts = {"id": 1, "center": "LHR-1", "criterion": "presence.silent", "subject": "", "at_ms": NOON}
    outage = Announcement(
        **facts, was="pending", now="raised", value=None, bound=None, reason=Reason("verdict.no_reading"), cause=found
    )
    text = message(outage, None, "http://x", [plain("en"), plain("ur")]).text
    assert "Cause: Mains cut; the UPS gave out (shown by its own readings)" in text
    assert "وجہ: بجلی گئی" in text
    assert "Evidence: Boot reading" in text
    assert "ثبوت: دوبارہ چلنے کی پیمائش" in text
