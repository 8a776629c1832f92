"""The kind "room" from its probe to the page: tests of a tree that has it, run by tests/project/test_room.py."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import expect, sync_playwright

from agent import wire
from agent.__main__ import main
from agent.common.center_time import CENTER_TIME
from agent.common.words import languages
from agent.local.board import Board, StatusView
from agent.local.status_page import page as status_page
from agent.probes import PROBES
from agent.probes.probe import Context
from collector.commands.simulation.readings import any_reading
from collector.common.config import Settings
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.register import centers
from collector.reports import monthly
from collector.standard import Standards, read
from collector.store import NeedsMigration, Store, migrate, queries, roles, rollups, schema
from collector.web import auth
from tests.agent.scheduling import test_rounds
from tests.collector.standard.timeless import timeless_file
from tests.helpers.pages import chromium

NOW = 1_795_000_000_000
AT = wire.Stamp(wall_ms=NOW, mono_ms=5, boot="b", clock="synced")
HOT = wire.RoomReading(at=AT, temperature_c=41.5, humidity_pct=40.0)
CRITERION = """
[[criterion]]
id = "room.temperature"
reading = "room"
field = "temperature_c"
at_most = 30
unit = "°C"
window = { m_of_n = [1, 1] }
recover = { m_of_n = [1, 1] }
when = "always"
severity = "warning"
fresh_s = 300
month = { share_pct = 95 }
name = { en = "Temperature of the room", ur = "کمرے کا درجۂ حرارت" }
fix = { en = "Switch the cooling on.", ur = "ٹھنڈک چلائیں۔" }
"""


def standards() -> Standards:
    return Standards.of([read(timeless_file() + CRITERION.encode(), "with rooms")])


async def room(context: Context) -> Sequence[wire.Reading]:
    return [wire.RoomReading(temperature_c=24.5, humidity_pct=41.0)]


# ---------------------------------------------------------------- the gateway


def test_a_round_measures_it_and_an_error_of_its_probe_is_a_reading(tmp_path: Path) -> None:
    async def broken(context: Context) -> Sequence[wire.Reading]:
        raise ZeroDivisionError("by design")

    def kept_of(probe: object) -> tuple[wire.Reading, str]:
        kept: list[tuple[list[wire.Reading], str]] = []
        asyncio.run(test_rounds.made(tmp_path, kept, room=probe).round())
        ((readings, value),) = kept
        (reading,) = (reading for reading in readings if isinstance(reading, wire.RoomReading))
        return reading, value

    at = test_rounds.stamp()
    assert kept_of(room) == (wire.RoomReading(at=at, temperature_c=24.5, humidity_pct=41.0), "low")
    reading, value = kept_of(broken)
    assert (reading.failure.cause, value) == ("broken", "normal")
    assert "room" in PROBES


def test_the_probe_command_measures_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "agent.toml").write_text(f'[agent]\nstate_dir = "{tmp_path}"\n')
    words = ["probe", "room", "--json", "--config", str(tmp_path / "agent.toml")]
    assert main(words) == 2  # no sensor
    (tmp_path / "room").write_text("24.5 41")
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["temperature_c"] == 24.5


@pytest.mark.parametrize(("language", "words"), [("en", ("Room", "Temperature")), ("ur", ("کمرہ", "درجۂ حرارت"))])
def test_the_local_page_shows_its_figures_and_a_curve(language: str, words: tuple[str, ...]) -> None:
    board = Board()
    for celsius in (24.5, 25.5):
        board.note(wire.RoomReading(at=AT, temperature_c=celsius, humidity_pct=41.0))
    view = StatusView(now_ms=NOW, started_ms=0, version="1", last=board.last, series=board.series)
    text = status_page(view, language, languages()).replace("\u00a0", " ")
    assert all(word in text for word in (*words, "25.5 °C", "41 %", "<svg"))


# ---------------------------------------------------------------- the wire, ingest, the database


@pytest.fixture
def upgraded(database_url: str) -> Iterator[Store]:
    """A database of the version before, brought along by the drafted step."""
    before = f"{int(migrate.HEAD) - 1:04}"
    with closing(Store.attach(database_url)) as store:
        with store.write() as conn:
            migrate.upgrade(conn, before)
        with pytest.raises(NeedsMigration):
            Store.open(database_url)
        with store.write() as conn:
            migrate.upgrade(conn)
    with closing(Store.open(database_url)) as store:
        yield store


def test_from_the_wire_to_its_table_to_a_flag_and_to_the_sums(upgraded: Store, gateway) -> None:
    mine = gateway(upgraded)
    assert wire.decode_reading(wire.encode_reading(HOT)) == HOT
    ingest = Ingest(upgraded, Ed25519PrivateKey.generate(), judge_with(Settings(), standards()))
    (receipt,) = ingest.take([mine.batch([wire.encode_reading(HOT)])], NOW).receipts
    assert b'"outcome":"set_aside"' not in receipt.payload
    with upgraded.write() as conn:
        row = conn.execute(sa.select(schema.readings["room"])).one()
        assert (row.temperature_c, row.humidity_pct, row.failure) == (41.5, 40.0, None)
        assert conn.scalar(sa.select(schema.latest.c.kind)) == "room"
        flag = next(item for item in queries.flags_of(conn, "LHR-1") if item["criterion"] == "room.temperature")
        assert (flag["state"], flag["value"], flag["bound"]) == ("raised", 41.5, 30.0)
        rollups.sum_hour(conn, NOW // rollups.HOUR_MS * rollups.HOUR_MS)
        assert conn.scalar(sa.select(schema.hours["room"].c.temperature_c)) == 41.5
        if upgraded.parted:
            assert conn.scalar(sa.text("SELECT count(*) FROM room_readings_rest")) == 1
            roles.make(conn)  # as `nabz-collector migrate --roles` does


# ---------------------------------------------------------------- the month


def test_the_month_has_a_row_of_it(sqlite_store: Store) -> None:
    noon_ms = int(datetime(2026, 2, 2, 12, tzinfo=CENTER_TIME).timestamp() * 1000)
    facts = {"center": "LHR-1", "name": "L", "tier": "one", "seats_promised": "20", "opening": "always"}
    base = {"center": "LHR-1", "device": "g1", "spool": "s", "subject": "", "received_ms": NOW}
    with sqlite_store.write() as conn:
        center = centers.add(conn, facts, 0)
        conn.execute(
            sa.insert(schema.readings["room"]),
            [base | {"wall_ms": noon_ms + n * 60_000, "seq": n, "temperature_c": 20.0 + n} for n in range(1, 21)],
        )
        report = monthly.build(conn, center, "2026-02", standards(), NOW)
    (row,) = (row for row in report["criteria"] if row["criterion"] == "room.temperature")
    assert (row["samples"], row["met"], row["median"], row["unit"]) == (20, 10, 30.0, "°C")
    assert report["minutes"]["measured"] == 21  # a reading speaks for the minute before it, too


# ---------------------------------------------------------------- the pages


@pytest.fixture
def site(store: Store, cast, tmp_path: Path) -> Iterator[object]:
    cast.insert(store, schema.centers, [cast.center_row("KHI-0001")])
    cast.add_full_center(store, "KHI-0001")
    rows = [
        {"wall_ms": cast.NOW_MS - n * 60_000, "temperature_c": 24.5 + n % 3, "humidity_pct": 41.0} for n in range(1440)
    ]
    cast.add_readings(store, "KHI-0001", "room", rows)
    cast.add_latest(store, "KHI-0001", wire.RoomReading(temperature_c=24.5, humidity_pct=41.0), cast.NOW_MS - 20_000)
    with cast.serve(store, standards(), tmp_path) as served:
        yield served


def test_the_api_tells_it(site) -> None:
    with site.client() as client:
        shown = client.get("/api/v1/centers/KHI-0001").json()
        assert shown["latest"]["room"]["temperature_c"] == 24.5
        (verdict,) = (item for item in shown["verdicts"] if item["criterion"] == "room.temperature")
        assert (verdict["verdict"], verdict["value"]) == ("meets", 24.5)
        series = client.get("/api/v1/centers/KHI-0001/series", params={"kind": "room"}).json()
        assert max(value for value in series["temperature_c"] if value) == 26.5
        assert set(series["humidity_pct"]) == {41.0}


@pytest.mark.parametrize(
    ("lang", "name", "temperature", "humidity"),
    [("en", "Room", "temperature", "humidity"), ("ur", "کمرہ", "درجۂ حرارت", "نمی")],
)
def test_the_page_has_a_tile_and_a_chart_of_it(
    site, cast, lang: str, name: str, temperature: str, humidity: str
) -> None:
    chromium.needed()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.CHROMIUM, args=chromium.FLAGS)
        page = browser.new_page(base_url=site.url)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.context.add_cookies([{"name": auth.COOKIE, "value": cast.SESSION, "url": site.url}])
        page.goto(f"/centers/KHI-0001?lang={lang}")
        tile = page.locator('.tile[data-kind="room"]')
        expect(tile.locator("h2")).to_have_text(name)
        expect(tile).to_contain_text("24.5\u00a0°C")
        expect(tile).to_contain_text(f"{humidity} 41\u00a0%")
        chart = page.locator('[data-chart="room"]')
        expect(chart.locator("canvas")).to_have_count(1, timeout=60_000)
        chart.locator(".u-over").hover()
        expect(chart.locator(".keys")).to_contain_text(f"{temperature} 2")
        expect(chart.locator(".plot")).to_have_attribute(
            "aria-label", f"{name}, {temperature} 26.5 °C, {humidity} 41.0 %"
        )
        assert wrong == []
        browser.close()


def test_the_simulated_fleet_measures_it() -> None:
    made = any_reading(wire.KINDS["room"], random.Random(1))
    assert isinstance(made, wire.RoomReading)
    assert made.temperature_c is not None
