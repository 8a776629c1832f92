"""Storms as persons feel them: a province or the country goes dark, and each telephone rings a few times, soon."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.access.accounts import contacts, directory
from collector.access.accounts.policy import Account
from collector.common.scope import EVERYWHERE, Scope
from collector.desk import follow, settle, tables
from collector.desk.alerts import personal, queue
from collector.desk.alerts.channel import Channel
from collector.desk.routing import tables as routing
from collector.desk.routing.rota import Rota
from collector.desk.routing.routes import AlertRoute
from collector.register.centers import Center
from collector.store import Store, schema, upsert
from tests.collector.desk.conftest import MINUTE, STANDARDS, Room
from tests.collector.empty_stores import empty_store

ROOT = Account("Root", "admin", key="root")
OWNERS, DISTRICTS = 40, 20


@dataclass
class Country(Room):
    """Centers of many owners in districts and provinces; operators, officers, routes, a rota, a shared channel."""

    def __post_init__(self) -> None:
        self.channels = [
            Channel("sms", lambda _message: None, languages=("en",), address="telephone"),
            Channel("box", lambda _message: None, languages=("en",)),
        ]

    def peopled(self, count: int) -> list[str]:
        rows = [
            Center(
                code=f"C-{n:04}", name=f"Center {n}", owner=f"Owner {n % OWNERS}", tier="three", seats_promised=10,
                opening="always", lifecycle="declared", district=f"District {n % DISTRICTS}",
                province=f"Province {n % 4}", feeder=f"F-{n % 200}", isp=("PTCL", "Nayatel")[n % 2],
                city=f"City {n % 50}",
            ).row()
            for n in range(count)
        ]  # fmt: skip
        officers = {f"Officer {n}": Scope(district=frozenset({f"District {n}"})) for n in range(DISTRICTS)}
        with self.store.write() as conn:
            upsert(conn, schema.centers, rows)
            for name, scope in {**officers, "Chief": EVERYWHERE}.items():
                directory.add(conn, name, "-", "desk", scope, "Root", 1)
                self._contact(conn, "person", name)
            for n in range(OWNERS):
                self._contact(conn, "owner", f"Owner {n}")
            routing.add_route(conn, AlertRoute(), "Root", 1)
            routing.add_rota(conn, Rota("desk", ("chief",), 0), "Root", 1)
        codes = [str(row["center"]) for row in rows]
        self.heard(codes)
        return codes

    def _contact(self, conn: sa.Connection, kind: str, name: str) -> None:
        given = {"kind": kind, "name": name, "telephone": "+923001234567"}
        contacts.keep(conn, contacts.parse(given, EVERYWHERE), ROOT, 1)

    def look(self) -> None:
        with self.store.write() as conn:
            settle.settle(conn, STANDARDS, self.now_ms)
            queue.queue(conn, self.channels, STANDARDS, "http://x", self.now_ms)
            personal.route(conn, self.channels, STANDARDS, "http://x", self.now_ms)

    def minutes(self, count: int) -> None:
        for _ in range(count):
            self.now_ms += MINUTE
            self.look()

    def messages(self) -> Counter[str]:
        al = schema.alerts.c
        with self.store.read() as conn:
            rows = conn.execute(sa.select(al.person).where(al.state.not_in(("held", "summed"))))
            return Counter(row.person for row in rows)

    def first_ms(self) -> int:
        al = schema.alerts.c
        with self.store.read() as conn:
            return int(conn.scalar(sa.select(sa.func.min(al.made_ms)).where(al.person != "")) or 0)


def goes_dark(country: Country, codes: list[str], waves: int) -> None:
    """They are judged silent within `waves` minutes, and hold for half an hour."""
    for wave in range(waves):
        some = codes[wave::waves]
        country.heard(some, 15)
        rows = [country.row(code, "raised", "presence.silent") for code in some]
        with country.store.write() as conn:
            conn.execute(sa.insert(schema.changes), rows)
            follow.follow(conn, STANDARDS, country.now_ms)
        country.look()
        country.minutes(1)


def play(store: Store, count: int, waves: int) -> Country:
    country = Country(store)
    codes = country.peopled(count)
    began_ms = country.now_ms
    goes_dark(country, codes, waves)
    country.minutes(35)  # past the first step of escalation
    found = country.messages()
    assert country.first_ms() - began_ms <= 2 * MINUTE
    assert max(found.values()) <= 10, found.most_common(5)
    assert sum(name.startswith("contact:") for name in found) == OWNERS
    assert found["chief"] >= 1
    back_ms = country.now_ms
    country.heard(codes)
    rows = [country.row(code, "clear", "presence.silent") for code in codes]
    with store.write() as conn:
        conn.execute(sa.insert(schema.changes), rows)
        follow.follow(conn, STANDARDS, country.now_ms)
    country.minutes(12)
    after = country.messages()
    assert max(after.values()) <= 10, after.most_common(5)
    assert all(after[name] > found[name] for name in found if name), "whoever was told hears that it is over"
    assert back_ms > began_ms
    return country


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return empty_store(tmp_path / "nabz.db")


def test_a_region_of_160_in_two_minutes(store: Store) -> None:
    country = play(store, 160, 2)
    with store.read() as conn:
        open_now = tables.open_groups(conn)
    assert open_now == []
    assert country.messages()[""] <= 10
    store.close()


@pytest.mark.slow
def test_the_country_of_two_thousand_in_five_minutes(store: Store) -> None:
    began_s = time.monotonic()
    play(store, 2000, 5)
    assert time.monotonic() - began_s < 600
    store.close()
