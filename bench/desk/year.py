"""Plays a scripted truth through the collector's own judging, gaps, sweeps, grouping and messages, time compressed.

Only centers in trouble measure, from three minutes before it until it has long been over; the others are dated as
heard. Minutes around what begins and ends are played one by one, the time between in steps, and quiet time not at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.common.center_time import TZ
from bench.desk.truth import MINUTE_MS, TrueCause, has_weak_line
from collector.commands.simulation.fleet import SimulatedCenter
from collector.desk import settle
from collector.desk.alerts import queue
from collector.desk.alerts.channel import Channel
from collector.judging import evaluate, silence
from collector.judging.evaluate import FreshReading
from collector.judging.outages import gaps
from collector.register import opening_hours
from collector.register.centers import Center
from collector.standard import Standards
from collector.store import Store, schema, upsert
from collector.store.columns import own_columns

LEAD, BEGINS, ENDS, BACK, TAIL, STEP = 3, 22, 2, 12, 25, 5  # minutes
BOOTS = 2  # minutes from the mains to the first reading of a gateway that had died
KEPT = 3  # minutes between the readings of a backlog: more say nothing new
LOW_PCT = 15.0
WELL, ILL = "well", "ill"  # devices, by whether their center measures in the play

LINE = wire.LinkReading(rtt_median_ms=40.0, jitter_ms=3.0, loss_pct=0.0, fault_place="none")
LOSSY = wire.LinkReading(rtt_median_ms=40.0, jitter_ms=3.0, loss_pct=40.0, fault_place="isp")
DEAD_LINE = wire.LinkReading(loss_pct=100.0, fault_place="isp")
DEAD_LAN = wire.LinkReading(loss_pct=100.0, fault_place="lan")
MAINS = wire.UpsReading(
    output_state="online", battery_status="normal", battery_replace=False, battery_charge_pct=100.0, runtime_s=3600.0
)
WORN = wire.UpsReading(
    output_state="online", battery_status="normal", battery_replace=False, battery_charge_pct=100.0, runtime_s=1200.0
)
LINES = {"loss": LOSSY, "lan": DEAD_LAN, "provider": DEAD_LINE, "exchange": DEAD_LINE, "line": DEAD_LINE}
CUTS = ("feeder", "blackout")


class Moment(NamedTuple):
    """What a center measures in a minute, and whether it reaches the collector; nothing measured: it is off."""

    readings: tuple[wire.Reading, ...]
    talks: bool


def moment(center: SimulatedCenter, cause: TrueCause, now_ms: int) -> Moment:
    """Of a center in trouble, or just before or after it."""
    if now_ms < cause.from_ms:
        return Moment((LINE, MAINS), talks=True)
    if cause.kind in CUTS:
        return _in_a_cut(center, cause, now_ms)
    if now_ms >= cause.to_ms:
        first = now_ms < cause.to_ms + MINUTE_MS and cause.kind in ("agent", "pulled")
        return Moment((*((_boot(cause, now_ms),) if first else ()), LINE, MAINS), talks=True)
    if cause.kind in ("agent", "pulled"):
        return Moment((), talks=False)
    ups = WORN if cause.kind == "battery" else MAINS
    return Moment((LINES.get(cause.kind, LINE), ups), talks=cause.kind in ("loss", "battery"))


def _in_a_cut(center: SimulatedCenter, cause: TrueCause, now_ms: int) -> Moment:
    died_ms = cause.from_ms + round(center.autonomy_s * 1000)
    is_weak, has_died = has_weak_line(center), died_ms < cause.to_ms
    if now_ms < min(died_ms, cause.to_ms):
        left_pct = 100.0 * (died_ms - now_ms) / (died_ms - cause.from_ms)
        ups = wire.UpsReading(
            output_state="battery", battery_status="low" if left_pct < LOW_PCT else "normal", battery_replace=False,
            battery_charge_pct=left_pct, runtime_s=(died_ms - now_ms) / 1000,
        )  # fmt: skip
        return Moment((DEAD_LINE if is_weak else LINE, ups), talks=not is_weak)
    back_ms = cause.to_ms + BOOTS * MINUTE_MS * (has_died or is_weak)
    if now_ms < back_ms:
        return Moment(() if has_died else (DEAD_LINE, MAINS), talks=False)
    if has_died and now_ms < back_ms + MINUTE_MS:
        return Moment((wire.BootReading(previous_end="power", dark_s=(now_ms - died_ms) / 1000), LINE, MAINS), True)
    return Moment((LINE, MAINS), talks=True)


def _boot(cause: TrueCause, now_ms: int) -> wire.Reading:
    end = "killed" if cause.kind == "agent" else "power"
    return wire.BootReading(previous_end=end, dark_s=(now_ms - cause.from_ms) / 1000)  # type: ignore[arg-type]


def minutes_of(causes: Sequence[TrueCause]) -> list[int]:
    """The minutes that are played, oldest first."""
    found: set[int] = set()
    for cause in causes:
        for end in {ended_ms(center, cause) // MINUTE_MS for center in cause.centers}:
            found |= {minute for minute in range(end - TAIL, end + STEP) if minute % STEP == 0}
        first, last = cause.from_ms // MINUTE_MS, cause.to_ms // MINUTE_MS
        found |= set(range(first - LEAD, min(first + BEGINS, last)))
        found |= set(range(last - ENDS, last + BACK + 1))
        found |= {minute for minute in range(first, last + TAIL + STEP) if minute % STEP == 0}
    return [minute * MINUTE_MS for minute in sorted(found)]


def ended_ms(center: SimulatedCenter, cause: TrueCause) -> int:
    """When it has been open for TAIL minutes since: flags that speak of open hours are cleared in them."""
    hours = opening_hours.parse(center.opening, TZ)
    return opening_hours.after_open(hours, cause.to_ms, TAIL * MINUTE_MS) or cause.to_ms


@dataclass
class Year:
    """The collector's database and what has been played into it. `messages` counts those of one shared channel."""

    store: Store
    standards: Standards
    fleet: Sequence[SimulatedCenter]
    messages: int = 0
    played: int = 0
    _seq: int = 0
    _before_ms: int = 0
    _talking: set[str] = field(default_factory=set)
    _since_ms: dict[str, int] = field(default_factory=dict)  # of centers that keep their readings

    def __post_init__(self) -> None:
        self.centers = {center.code: registered(center) for center in self.fleet}
        self.channel = Channel("box", lambda _message: None, ("raised", "cleared"), ("en",))
        pulse = {"device": WELL, "first_ms": 0, "heard_ms": 0, "due_ms": 0}
        with self.store.write() as conn:
            upsert(conn, schema.centers, [center.row() for center in self.centers.values()])
            upsert(conn, schema.pulse, [{"center": code, **pulse} for code in self.centers])
            upsert(conn, schema.latest, [_latest(code, WELL, _fresh(one, 0, 0, "")) for code in self.centers
                                         for one in (LINE, MAINS)])  # fmt: skip

    def plays(self, causes: Sequence[TrueCause]) -> Iterator[int]:
        """Minute by minute; gives each that was played."""
        waiting, ill = list(causes), dict[str, tuple[SimulatedCenter, TrueCause]]()
        for now_ms in minutes_of(causes):
            while waiting and waiting[0].from_ms - LEAD * MINUTE_MS <= now_ms:
                cause = waiting.pop(0)
                ill |= {center.code: (center, cause) for center in cause.centers}
            over = [code for code, (center, cause) in ill.items() if now_ms > ended_ms(center, cause)]
            for code in over:
                del ill[code]
            with self.store.write() as conn:
                self._minute(conn, ill, over, now_ms)
            self.played += 1
            yield now_ms

    def _minute(
        self, conn: sa.Connection, ill: dict[str, tuple[SimulatedCenter, TrueCause]], over: Sequence[str], now_ms: int
    ) -> None:
        self._date_the_well(conn, over, now_ms)
        group = [(self.centers[code], some) for code, some in self._arrived(ill, now_ms).items()]
        self._talking = {center.code for center, _ in group}
        gaps.record_group(conn, group, now_ms, gaps.GAP_S)
        evaluate.judge_group(conn, group, self.standards, now_ms)
        _write(conn, [(center.code, one) for center, some in group for one in some])
        pulse = {"device": ILL, "first_ms": 0, "heard_ms": now_ms, "due_ms": now_ms + STEP * MINUTE_MS}
        upsert(conn, schema.pulse, [{"center": center.code, **pulse} for center, _ in group])
        silence.sweep(conn, self.standards, now_ms)
        gaps.reconsider(conn, now_ms, gaps.GAP_S)
        for look in (queue.queue, None, queue.queue):
            if look is None:
                settle.settle(conn, self.standards, now_ms)
            else:
                self.messages += look(conn, [self.channel], self.standards, "http://x", now_ms)
        self._before_ms = now_ms

    def _date_the_well(self, conn: sa.Connection, over: Sequence[str], now_ms: int) -> None:
        """Also those in trouble that talk, where minutes were left out."""
        p, la = schema.pulse.c, schema.latest.c
        if over:
            conn.execute(sa.update(schema.pulse).where(p.center.in_(over)).values(device=WELL))
            conn.execute(sa.update(schema.latest).where(la.center.in_(over)).values(device=WELL))
        heard = {"heard_ms": now_ms, "due_ms": now_ms + STEP * MINUTE_MS}
        conn.execute(sa.update(schema.pulse).where(p.device == WELL).values(heard))
        conn.execute(sa.update(schema.latest).where(la.device == WELL).values(wall_ms=now_ms, received_ms=now_ms))
        if now_ms - self._before_ms > MINUTE_MS and self._talking:
            mine = p.center.in_(sorted(self._talking)) & (p.device == ILL)
            conn.execute(sa.update(schema.pulse).where(mine).values(heard_ms=now_ms - MINUTE_MS))

    def _arrived(self, ill: dict[str, tuple[SimulatedCenter, TrueCause]], now_ms: int) -> dict[str, list[FreshReading]]:
        found: dict[str, list[FreshReading]] = {}
        for code, (center, cause) in ill.items():
            now = moment(center, cause, now_ms)
            if not now.talks:
                self._since_ms.setdefault(code, now_ms)
                continue
            taken = [(one, now_ms) for one in now.readings]
            if (since_ms := self._since_ms.pop(code, None)) is not None:
                for at_ms in range(since_ms, now_ms, KEPT * MINUTE_MS):
                    taken += [(one, at_ms) for one in moment(center, cause, at_ms).readings]
            found[code] = [_fresh(one, at_ms, now_ms, self._number()) for one, at_ms in taken]
        return found

    def _number(self) -> str:
        self._seq += 1
        return f"{ILL} s {self._seq}"


def registered(center: SimulatedCenter) -> Center:
    row = center.row()
    text = {
        name: row[name]
        for name in ("name", "city", "district", "province", "tier", "isp", "feeder", "exchange", "opening")
    }
    return Center(code=center.code, seats_promised=center.seats, lifecycle="declared", **text)  # type: ignore[arg-type]


def _fresh(reading: wire.Reading, at_ms: int, now_ms: int, id: str) -> FreshReading:
    stamp = wire.Stamp(wall_ms=at_ms, mono_ms=0, boot="b", clock="synced")
    stamped = msgspec.structs.replace(reading, at=stamp)
    return FreshReading(str(type(reading).__struct_config__.tag), stamped, at_ms, now_ms, id)


def _latest(code: str, device: str, one: FreshReading) -> dict[str, object]:
    about = {"center": code, "kind": one.kind, "subject": "", "device": device, "wall_ms": one.wall_ms}
    return {**about, "received_ms": one.received_ms, "body": wire.encode_reading(one.reading).decode()}


def _write(conn: sa.Connection, taken: Sequence[tuple[str, FreshReading]]) -> None:
    rows: dict[str, list[dict[str, object]]] = defaultdict(list)
    newest: dict[tuple[str, str], FreshReading] = {}
    for code, one in taken:
        device, spool, seq = one.id.split(" ")
        about = {"center": code, "device": device, "spool": spool, "seq": int(seq), "subject": ""}
        times = {"wall_ms": one.wall_ms, "received_ms": one.received_ms}
        rows[one.kind].append({**about, **times, **own_columns(one.kind, one.reading)})
        if one.wall_ms >= newest.get((code, one.kind), one).wall_ms:
            newest[code, one.kind] = one
    for kind, some in rows.items():
        conn.execute(sa.insert(schema.readings[kind]), some)
    upsert(conn, schema.latest, [_latest(code, ILL, one) for (code, _), one in newest.items()], newer_by="wall_ms")
