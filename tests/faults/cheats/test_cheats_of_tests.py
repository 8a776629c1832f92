"""Speed tests, files and questions: each cheat through a real broker and ingest, and what finds it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent import wire
from collector.judging import server_samples
from collector.judging.server_check import told_by, witnesses
from collector.speedtests import challenges, fetches
from collector.store import Store, schema
from tests.collector.conftest import Gateway
from tests.faults.cheats.cheats import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    PTCL,
    Cheat,
    Collector,
    cases,
    collector,
    enrolled,
    find,
)


def throw_away(here: Collector, mine: Gateway) -> None:
    """The test showed 2.1 Mbit/s, so the gateway says that it failed."""
    test = here.grant(mine)
    here.see(test, mine, down=2.1)
    here.live(mine, wire.SpeedReading(subject="wan", test_id=test, failure=wire.Failure("timeout", "no answer")))


def exaggerate(here: Collector, mine: Gateway) -> None:
    test = here.grant(mine)
    here.see(test, mine, down=2.1)
    here.live(mine, here.result(mine, test, 90.0))


def stay_in_the_building(here: Collector, mine: Gateway) -> None:
    here.live(mine, here.result(mine, here.grant(mine), 900.0, server="http://192.168.1.5:8080"))


def replay(here: Collector, mine: Gateway) -> None:
    test = here.grant(mine)
    here.see(test, mine)
    here.live(mine, here.result(mine, test))
    here.now_ms += MINUTE
    here.live(mine, here.result(mine, test))


def borrow(here: Collector, mine: Gateway) -> None:
    """The result of another center's better line."""
    other = enrolled(here.store, "KHI-1")
    test = here.grant(other)
    here.see(test, other)
    here.live(mine, here.result(mine, test))


def week_of_tests(here: Collector, mine: Gateway, *, file_mbps: float, line_mbps: float) -> None:
    """Each day a test of 60 Mbit/s, a file that comes at `file_mbps`, and people who use `line_mbps` of the line."""
    counted = 0
    for day in range(5):
        here.now_ms = NOON + day * DAY
        here.see(here.grant(mine), mine, asn=PTCL, network="AS17557 PTCL")
        raws = []
        for minute in range(20, 30):
            counted += round(line_mbps * 1e6 / 8 * 60)
            at_ms = here.now_ms - minute * MINUTE
            reading = wire.GatewayReading(wan_rx_bytes=10**12 - counted, hardware="physical")
            raws.insert(0, wire.encode_reading(here.stamped(reading, at_ms)))
        here.send(mine.batch(raws, live=False, nonce=here.nonce()))
        row = {"id": f"f{day}", "center": mine.center, "device": mine.device, "due_ms": here.now_ms, "parts": 16}
        with here.store.write() as conn:
            row |= {"expires_ms": here.now_ms + HOUR, "part_bytes": 500_000, "state": "open"}
            conn.execute(sa.insert(schema.fetches).values(row))
            fetches.record(conn, f"f{day}", "203.0.113.7", 8e6 * 8 / 1e6 / file_mbps, here.now_ms)
        counted = 0


def give_tests_the_better_way(here: Collector, mine: Gateway) -> None:
    """The router lets packets of the measurement server pass first; people and files share 8 Mbit/s."""
    week_of_tests(here, mine, file_mbps=7.0, line_mbps=7.5)


def answer_no_question(here: Collector, mine: Gateway) -> None:
    """A script sends what is expected each minute, and knows nothing of questions."""
    row = {"center": mine.center, "device": mine.device, "due_ms": here.now_ms, "state": "open", "id": "ask-1"}
    with here.store.write() as conn:
        conn.execute(sa.insert(schema.challenges).values(**row, expires_ms=here.now_ms + challenges.ANSWER_MS))
    for _ in range(20):
        here.now_ms += MINUTE
        here.live(mine, wire.GatewayReading(machine="ab" * 8, hardware="physical"))


def fetch_no_file(here: Collector, mine: Gateway) -> None:
    """A fetch would show the line as it is."""
    for day in range(14):
        here.now_ms = NOON + day * DAY
        here.live(mine)
        row = {"id": f"f{day}", "center": mine.center, "device": mine.device, "due_ms": here.now_ms, "parts": 16}
        times = {"expires_ms": here.now_ms + HOUR, "part_bytes": 500_000, "state": "missed"}
        with here.store.write() as conn:
            conn.execute(sa.insert(schema.fetches).values(**row, **times))


CHEATS: dict[str, Cheat] = {
    "a bad result is thrown away": (throw_away, "unreported", server_samples.GRACE_MS + MINUTE),
    "a result is exaggerated": (exaggerate, "disagrees", 0),
    "a test in the building": (stay_in_the_building, "lan_server", 0),
    "a good result again": (replay, "replayed", 0),
    "another center's result": (borrow, "not_granted_to_this_device", 0),
    "tests have a lane of their own": (give_tests_the_better_way, "fast_lane", MINUTE),
    "no question is answered": (answer_no_question, "challenge_missed", MINUTE),
    "no file is fetched": (fetch_no_file, "fetch_missed", MINUTE),
}


@pytest.mark.row(61)
@pytest.mark.parametrize("name", cases(CHEATS, "a bad result is thrown away", "a good result again"))
def test_a_cheat_is_found_in_its_time(tmp_path: Path, name: str) -> None:
    find(tmp_path, name, CHEATS[name])


@pytest.mark.row(61)
@pytest.mark.slow
@pytest.mark.parametrize(("file_mbps", "line_mbps"), [(48.0, 2.0), (7.0, 52.0)], ids=["idle line", "busy line"])
def test_an_honest_line_is_no_fast_lane(tmp_path: Path, file_mbps: float, line_mbps: float) -> None:
    with closing(Store.open(f"sqlite:///{tmp_path}/nabz.db")) as store, collector(store) as here:
        week_of_tests(here, enrolled(store, "LHR-1"), file_mbps=file_mbps, line_mbps=line_mbps)
        with pytest.raises(AssertionError):
            here.wait_for("fast_lane", 2 * MINUTE)


@pytest.mark.row(61)
@pytest.mark.slow
def test_a_result_that_a_proxy_gives_from_a_cache_counts_for_nothing(tmp_path: Path) -> None:
    """No server saw a test, so it has no record: nothing is found, and the test that was granted falls short."""
    with closing(Store.open(f"sqlite:///{tmp_path}/nabz.db")) as store, collector(store) as here:
        mine = enrolled(store, "LHR-1")
        test = here.grant(mine)
        here.live(mine, here.result(mine, test, 95.0))
        with store.read() as conn:
            (claim,) = (told_by(row) for row in conn.execute(sa.select(schema.readings["speed"])))
            witnessed = [witnesses(conn, [claim], here.now_ms + later_ms) for later_ms in (0, HOUR)]
    assert [words[claim.claim.id].word for words in witnessed] == ["waiting", "no_record"]


@pytest.mark.row(61)
@pytest.mark.slow
def test_an_honest_gateway_makes_no_finding(tmp_path: Path) -> None:
    with closing(Store.open(f"sqlite:///{tmp_path}/nabz.db")) as store, collector(store) as here:
        mine = enrolled(store, "LHR-1")
        for hour in range(8):
            here.now_ms = NOON + hour * HOUR
            test = here.grant(mine)
            here.see(test, mine, asn=PTCL, network="AS17557 PTCL")
            here.live(mine, here.result(mine, test), wire.GatewayReading(machine="ab" * 8, hardware="physical"))
        here.now_ms += 2 * HOUR
        with pytest.raises(AssertionError):
            here.wait_for("anything", HOUR)
        assert here.findings() == set()
