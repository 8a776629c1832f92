"""Causes through the database: simulated fleets whose script knows the truth, and revisions by late readings."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector import causes, centers, cuts
from collector.arrivals import Message
from collector.flags import cause
from collector.ingest import Ingest
from collector.simulate import identities
from collector.simulate.fleet import make_fleet
from collector.simulate.gateway import Gateway
from collector.simulate.run import Play
from collector.simulate.trouble import ENDS, Stage, Trouble
from collector.simulate.truth import Truth
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
        ingest = Ingest(self.store, KEY, lambda conn, group, now_ms: causes.note_group(conn, group, now_ms, GAP_S))
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
                causes.look_again(conn, now_ms, GAP_S)
        return now_ms


def a_run(store: Store, count: int, seed: int) -> Run:
    fleet = make_fleet(count, seed)
    keys = [Ed25519PrivateKey.generate() for _ in fleet]
    gateways = [
        Gateway(center=center, key=key, device=identities.device_of(key), spool=f"{center.index:032x}")
        for center, key in zip(fleet, keys, strict=True)
    ]
    with store.write() as conn:
        for each in gateways:
            centers.add(conn, each.center.row(), START_MS - 10**9)
            public = each.key.public_key().public_bytes_raw()
            row = {"device": each.device, "center": each.center.code, "public_key": public}
            conn.execute(sa.insert(schema.devices).values(**row, enrolled_ms=START_MS - 10**9))
    play = Play(
        fleet={each.device: each for each in gateways},
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
    center = next(each.center for each in run.play.fleet.values() if each.center.code == code)
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
        noted = {each.center.code: cuts.cuts_of(conn, each.center.code) for each in run.play.fleet.values()}
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


def test_the_causes_named_are_those_of_the_script(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found: list[tuple[str, str]] = []
    wrong: list[str] = []
    for seed in (3, 11, 12, 13, 14, 15) if request.config.getoption("--torture") else (3,):
        pairs, mistakes = staged(tmp_path, seed, 120)
        found, wrong = found + pairs, wrong + mistakes
    print(f"\n{matrix_of(found)}", *wrong, sep="\n")
    assert {true for true, _ in found} == set(cause.NAMES) - {"collector"}
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
    by_code = {each.center.code: each.center for each in run.play.fleet.values()}
    ends = [trouble for trouble in run.play.stage.troubles if trouble.what in ENDS]
    return [
        (code, cut.from_ms)
        for cut in run.play.stage.troubles
        if cut.what == "feeder_cut" and cut.to_ms < end_ms - 5 * MINUTE_MS
        for code in cut.centers
        if cut.from_ms + by_code[code].autonomy_s * 1000 >= cut.to_ms
        and not any(code in end.centers and end.from_ms < cut.to_ms and cut.from_ms < end.to_ms for end in ends)
    ]
