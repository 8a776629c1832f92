"""The master checker sees each thing that it is there for, when it is done to a database on purpose."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agent import wire
from collector.reports import monthly
from collector.store import schema
from tests.faults.hostile.wire_soak import NOW, READINGS, Desk, Gateway, play
from tests.faults.master import Account, check, off_calendar

UPS = schema.readings["ups"]
SHED = wire.ShedReading(
    at=wire.Stamp(wall_ms=NOW, mono_ms=1, boot="b", clock="synced"), first_seq=9, last_seq=12, count=4, why="full"
)


class Scene:
    """A play that is held, all but what an account names, and its promises in both forms."""

    def __init__(self, folder: Path) -> None:
        desk = Desk(folder)
        self.gateway = desk.enrol(Gateway("M-1"))
        raws, _ = play(random.Random(1))
        raws.append(wire.encode_reading(SHED))
        self.chain = wire.GENESIS
        for first in range(0, len(raws), 4):
            if first != 8:  # numbers 9 to 12, which the account is of
                desk.ingest.take([self.gateway.sealed(raws[first : first + 4], first + 1, self.chain)], NOW)
            self.chain = wire.chain(self.chain, raws[first : first + 4])
        self.database, self.store = f"sqlite:///{folder}/nabz.db", desk.store
        self.promises = {self.gateway.spool: (len(raws), self.chain)}
        self.truth = folder / "truth.jsonl"
        kept = [(seq, raw) for seq, raw in enumerate(raws, 1) if not 9 <= seq <= 12]
        self.truth.write_text("".join(self._promise(seq, raw) for seq, raw in kept))

    def _promise(self, seq: int, raw: bytes) -> str:
        its = {"device": self.gateway.device, "spool": self.gateway.spool, "seq": seq}
        digest = hashlib.sha256(raw).hexdigest()
        return json.dumps({"what": "promise", **its, "sha256": digest}, separators=(",", ":")) + "\n"

    def account(self, *ended: str) -> Account:
        return check(self.database, self.promises, ended=ended)

    def fleet(self) -> Account:
        return check(self.database, {}, self.truth)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_what_was_kept_is_clean_and_what_an_account_names_is_no_loss(scene: Scene) -> None:
    assert scene.account() == Account(promised=READINGS + 1, held=READINGS - 3, shed=4)
    assert scene.fleet() == Account(promised=READINGS - 3, held=READINGS - 3)
    assert scene.account().clean


def lose(conn: sa.Connection) -> None:
    conn.execute(sa.delete(schema.evidence).where(schema.evidence.c.first_seq == 5))


def double(conn: sa.Connection) -> None:
    kept = conn.execute(sa.select(schema.evidence).where(schema.evidence.c.first_seq == 5)).mappings().one()
    conn.execute(sa.insert(schema.evidence).values({**kept, "id": 999}))


def alter(conn: sa.Connection, sign: Callable[[bytes], bytes] | None = None, first_seq: int = 5) -> None:
    its = schema.evidence.c.first_seq == first_seq
    body = bytes(conn.execute(sa.select(schema.evidence.c.body).where(its)).scalar_one())
    other = body.replace(b'"load_pct":', b'"load_pct":1', 1)
    conn.execute(
        sa.update(schema.evidence).where(its).values(body=other, **({"signature": sign(other)} if sign else {}))
    )


def unfile(conn: sa.Connection) -> None:
    conn.execute(sa.delete(UPS).where(UPS.c.seq == 6))


def hide_the_account(conn: sa.Connection) -> None:
    conn.execute(sa.delete(schema.readings["shed"]))


@pytest.mark.parametrize(
    ("harm", "seen"),
    [
        (lose, {"lost": 4}),
        (double, {"doubled": 4}),
        (alter, {"altered": 1}),
        (unfile, {"unfiled": 1}),
        (hide_the_account, {"lost": 4, "unfiled": 1}),
    ],
)
def test_each_harm_is_seen(harm: Callable[[sa.Connection], None], seen: dict[str, int], scene: Scene) -> None:
    with scene.store.write() as conn:
        harm(conn)
    found = scene.account()
    assert not found.clean
    assert {name: getattr(found, name) for name in seen} == seen
    if harm is not hide_the_account:  # a fleet's truth file has its own promises alone
        assert not scene.fleet().clean


def test_a_history_that_was_signed_anew_is_seen_by_its_chain(scene: Scene) -> None:
    with scene.store.write() as conn:
        alter(conn, scene.gateway.key.sign, first_seq=13)
    assert scene.account().altered == 1
    assert scene.fleet().altered == 1


def test_a_process_that_ended_by_itself_is_seen(scene: Scene) -> None:
    assert not scene.account("collector: 1").clean


def test_a_minute_that_stands_in_no_bucket_or_in_two_is_seen(scene: Scene) -> None:
    now_ms = time.time_ns() // 1_000_000

    def astray(minutes: int, bucket: str) -> Callable[..., dict[str, Any]]:
        def build(*words: Any) -> dict[str, Any]:
            made = monthly.build(*words)
            return {**made, "ledger": {**made["ledger"], bucket: made["ledger"][bucket] + minutes}}

        return build

    with scene.store.read() as conn:
        assert off_calendar(conn, now_ms) == 0
        assert off_calendar(conn, now_ms, astray(-1, "up")) == 1
        assert off_calendar(conn, now_ms, astray(1, "unknown_unexplained")) == 1
        assert off_calendar(conn, now_ms, astray(1, "open")) == 2
