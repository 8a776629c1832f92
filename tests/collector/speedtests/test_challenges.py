"""Questions at moments that nobody can know: answered, missed, or excused because the center was dark."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from agent import wire
from collector.speedtests import challenges
from collector.store import Store, schema

MORNING = 1_795_071_600_000 - 4 * 3_600_000  # Thursday 2026-11-19 08:00 in Karachi
MINUTE = 60_000
SECRET = b"s" * 32


class House:
    """A collector, and one gateway of which it hears."""

    def __init__(self, store: Store, mine, *, able: bool = True) -> None:
        self.store, self.mine, self.now_ms = store, mine, MORNING
        body = '{"kind":"gateway","machine":"ab"}' if able else '{"kind":"gateway"}'
        row = {"center": mine.center, "kind": "gateway", "subject": "", "device": mine.device}
        with store.write() as conn:
            conn.execute(sa.insert(schema.latest).values(**row, wall_ms=1, received_ms=1, body=body))
            conn.execute(sa.insert(schema.pulse).values(center=mine.center, device=mine.device, heard_ms=self.now_ms))

    def heard(self, answers: str | None = None, late_ms: int = 1000) -> None:
        keys = {"wall_ms": self.now_ms, "center": self.mine.center, "device": self.mine.device, "spool": "s"}
        row = {**keys, "seq": self.now_ms, "subject": "", "received_ms": self.now_ms + late_ms, "answers": answers}
        with self.store.write() as conn:
            conn.execute(sa.insert(schema.readings["gateway"]).values(row))
            conn.execute(sa.update(schema.pulse).values(heard_ms=self.now_ms))

    def asked(self) -> wire.Task | None:
        """Looks every four minutes until a question is put."""
        for _ in range(12 * 15):
            self.now_ms += 4 * MINUTE
            self.heard()
            with self.store.write() as conn:
                challenges.ask(conn, SECRET, self.now_ms)
                if found := challenges.tasks(conn, "n", self.now_ms):
                    return found[0]
        return None

    def settle(self) -> list[str]:
        with self.store.write() as conn:
            return challenges.settle(conn, self.now_ms)

    def states(self) -> list[str]:
        with self.store.read() as conn:
            return list(conn.scalars(sa.select(schema.challenges.c.state)))

    def findings(self) -> list[str]:
        with self.store.read() as conn:
            return list(conn.scalars(sa.select(schema.integrity.c.finding)))


@pytest.fixture
def house(sqlite_store: Store, gateway: Callable) -> House:
    return House(sqlite_store, gateway(sqlite_store))


def test_an_answer_ends_a_question(house: House) -> None:
    task = house.asked()
    assert task is not None
    assert (task.device, task.do, task.probe) == (house.mine.device, "probe", "gateway")
    house.now_ms += MINUTE
    house.heard(answers=task.id)
    assert house.settle() == []
    assert (house.states(), house.findings()) == (["answered"], [])


def test_a_gateway_that_is_heard_and_does_not_answer_has_missed_it(house: House) -> None:
    assert house.asked() is not None
    for _ in range(10):
        house.now_ms += 2 * MINUTE
        house.heard(answers="another")
    assert house.settle() == [house.mine.center]
    assert (house.states(), house.findings()) == (["missed"], ["challenge_missed"])
    assert house.settle() == []


def test_a_center_that_went_dark_is_excused(house: House) -> None:
    assert house.asked() is not None
    house.now_ms += challenges.ANSWER_MS
    assert house.settle() == []
    assert (house.states(), house.findings()) == (["excused"], [])


def test_a_gateway_that_cannot_answer_is_not_asked(sqlite_store: Store, gateway: Callable) -> None:
    house = House(sqlite_store, gateway(sqlite_store), able=False)
    assert house.asked() is None
