"""Turns as rows: what gateways, the desk and missed figures ask for, and how a result ends it."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.__main__ import main
from collector.common.messages import Message
from collector.ingest.transaction import Ingest, Taken
from collector.judging.evaluate import FreshReading
from collector.register import centers
from collector.register.centers import CenterError
from collector.speedtests import requests
from collector.speedtests.measure import token
from collector.speedtests.policy import ASKS_A_DAY, DAY_MS, DESK_A_DAY, HOLD_MS, MOST_WAIT_MS, RETESTS_A_DAY, START_MS
from collector.speedtests.scheduler import AGAIN_MS, TestScheduler
from collector.standard import Standards, read
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless_file, timeless_standards
from tests.helpers.waiting import wait_until

NOW = 1_795_000_000_000  # a Wednesday, 16:06 in Karachi: open
KEY = Ed25519PrivateKey.generate()
STANDARDS = timeless_standards()


def note(conn: sa.Connection, group: Any, now_ms: int) -> None:
    requests.record_group(conn, group, STANDARDS, now_ms)


class Desk:
    """A collector without its broker: messages in, tasks out, at times of the test's choosing."""

    def __init__(self, store: Store, servers: tuple[str, ...] = ("collector",)) -> None:
        self.store, self.now_ms, self.online = store, NOW, True
        self.tasks: list[wire.Task] = []
        self.ingest = Ingest(store, KEY, note)
        self.pacer = TestScheduler(store, KEY, self._publish, lambda codes: None, lambda: self.now_ms)
        with store.write() as conn:
            rows = [
                {"name": name, "url": f"http://{name}.example", "tests_at_once": 1, "joined_ms": NOW}
                for name in servers
            ]
            conn.execute(sa.insert(schema.measure_servers), rows)

    def _publish(self, messages: Any) -> bool:
        for message in messages if self.online else ():
            body, signature = wire.unseal(message.payload, wire.MAX_SMALL_BYTES)
            KEY.public_key().verify(signature, body)
            self.tasks.append(wire.decode_task(body))
            assert message.topic == wire.task_topic(self.tasks[-1].device)
        return self.online

    def take(self, *messages: Message) -> Taken:
        return self.ingest.take(messages, self.now_ms)

    def look(self, later_ms: int = 0) -> dict[str, int]:
        self.now_ms += later_ms
        return dict(self.pacer.look())

    def rows(self) -> list[Any]:
        with self.store.read() as conn:
            return list(
                conn.execute(sa.select(schema.grants).order_by(schema.grants.c.asked_ms, schema.grants.c.test_id))
            )

    def states(self) -> dict[str, tuple[str, str]]:
        return {row.test_id: (row.state, row.reason) for row in self.rows()}

    def findings(self) -> list[str]:
        with self.store.read() as conn:
            return list(conn.scalars(sa.select(schema.integrity.c.finding)))


@pytest.fixture
def desk(either_store: Store) -> Desk:
    return Desk(either_store)


def ask(gateway: Any, name: str = "t1", sign: Any = None, **facts: Any) -> Message:
    given = {"id": name, "purpose": "routine", "expires_ms": NOW + 600_000, **facts}
    wish = wire.Ask(**({"v": 1, "device": gateway.device, "want": "speed"} | given))
    return Message(wire.ask_topic(gateway.device), wire.seal(wire.encode(wish), sign or gateway.key.sign))


def result(gateway: Any, at_ms: int = NOW, **values: Any) -> Message:
    at = wire.Stamp(wall_ms=at_ms, mono_ms=at_ms - NOW + DAY_MS, boot="b", clock="synced")
    figures = {"download_mbps": 100.0, "upload_mbps": 100.0, "purpose": "routine"} | values
    return gateway.batch([wire.encode_reading(wire.SpeedReading(at=at, **figures))])


# ---------------------------------------------------------------- asking


def test_an_ask_becomes_a_turn_with_a_token_that_admits_that_test_there(desk: Desk, gateway) -> None:
    mine = gateway(desk.store)
    assert desk.take(ask(mine, slot="09:00-11:00", expected_bytes=9)).counts["ask"] == 1
    (row,) = desk.rows()
    assert (row.center, row.device, row.slot, row.expected_bytes) == ("LHR-1", mine.device, "09:00-11:00", 9)
    assert desk.look() == {"your_turn": 1}
    (task,) = desk.tasks
    assert (task.id, task.do, task.purpose, task.server) == ("t1", "speed", "routine", "http://collector.example")
    claims = token.read(task.token, KEY.public_key(), test="t1", server="collector", now_ms=NOW + START_MS - 1)
    assert (claims.device, claims.purpose, claims.expires_ms) == (mine.device, "routine", task.expires_ms)


def test_an_ask_said_again_changes_nothing(desk: Desk, gateway) -> None:
    mine, other = gateway(desk.store), gateway(desk.store, "KHI-1")
    desk.take(ask(mine))
    before = desk.rows()
    desk.now_ms += 60_000
    assert desk.take(ask(mine), ask(other, "t2"), ask(mine, purpose="manual")).counts["ask_again"] == 2
    assert desk.rows()[:1] == before
    assert desk.look() == {"your_turn": 1}
    assert desk.tasks[0].device == mine.device  # who asked first keeps its place


def test_a_task_is_said_again_while_the_test_may_still_begin(desk: Desk, gateway) -> None:
    desk.take(ask(gateway(desk.store)))
    desk.online = False
    desk.look()
    assert desk.tasks == []
    desk.online = True
    desk.look(1_000)
    desk.look(AGAIN_MS - 1)
    assert len(desk.tasks) == 1
    desk.look(1)
    assert desk.tasks[0] == desk.tasks[1]
    desk.look(START_MS)
    assert len(desk.tasks) == 2


def test_a_collector_that_was_restarted_says_its_tasks_again(desk: Desk, gateway) -> None:
    desk.take(ask(gateway(desk.store)))
    desk.look()
    desk.pacer = TestScheduler(desk.store, KEY, desk._publish, lambda codes: None, lambda: desk.now_ms)
    desk.look()
    assert len(desk.tasks) == 2


@pytest.mark.parametrize(
    ("facts", "word", "is_finding"),
    [
        ({"expires_ms": NOW}, "ask_late", False),
        ({"expected_bytes": 2**40}, "ask_too_big", True),
        ({"purpose": "desk"}, "ask_not_yours", True),
        ({"name": "a/b"}, "ask_bad_id", True),
        ({"device": "g0"}, "wrong_topic", True),
        ({"v": 2}, "unframed", True),
        ({"sign": Ed25519PrivateKey.generate().sign}, "bad_signature", True),
        ({"slot": "s" * 5000}, "unframed", True),
    ],
)
def test_what_is_refused_is_counted_and_no_row(
    desk: Desk, gateway, facts: dict[str, Any], word: str, is_finding: bool
) -> None:
    assert desk.take(ask(gateway(desk.store), **facts)).counts[word] == 1
    assert desk.rows() == []
    assert desk.findings() == ([word] if is_finding else [])


def test_strangers_and_the_revoked_have_no_turns(desk: Desk, gateway) -> None:
    mine, stranger = gateway(desk.store), gateway(desk.store, "KHI-1")
    with desk.store.write() as conn:
        devices = schema.devices
        conn.execute(sa.update(devices).where(devices.c.device == mine.device).values(revoked_ms=NOW))
        conn.execute(sa.delete(devices).where(devices.c.device == stranger.device))
    counts = desk.take(ask(mine), ask(stranger, "t2")).counts
    assert (counts["revoked_device"], counts["unknown_device"]) == (1, 1)
    assert desk.rows() == []


def test_another_gateway_cannot_ask_under_ones_id(desk: Desk, gateway) -> None:
    mine, other = gateway(desk.store), gateway(desk.store, "KHI-1")
    assert desk.take(ask(mine), ask(other)).counts["ask_clone"] == 1
    assert [row.device for row in desk.rows()] == [mine.device]
    assert desk.findings() == ["ask_clone"]


def test_a_day_has_so_many_wishes_also_within_one_transaction(desk: Desk, gateway) -> None:
    mine, most = gateway(desk.store), ASKS_A_DAY["routine"]
    taken = desk.take(*(ask(mine, f"t{n}") for n in range(most + 3)))
    assert (taken.counts["ask"], taken.counts["ask_too_many"]) == (most, 3)
    assert desk.take(ask(mine, "u")).counts["ask_too_many"] == 1
    assert desk.take(ask(mine, "m", purpose="manual")).counts["ask"] == 1
    desk.now_ms += DAY_MS
    assert desk.take(ask(mine, "v", expires_ms=desk.now_ms + 1)).counts["ask"] == 1


def test_asks_and_readings_travel_together(desk: Desk, gateway) -> None:
    mine = gateway(desk.store)
    taken = desk.take(mine.batch([mine.ups()]), ask(mine), Message("nabz/v1/ask/" + "x" * 99, b"junk"))
    assert (taken.counts["readings"], taken.counts["ask"], taken.counts["wrong_topic"]) == (1, 1, 1)
    assert len(taken.receipts) == 1


def test_without_a_server_there_is_no_turn_to_ask_for(either_store: Store, gateway) -> None:
    desk = Desk(either_store)
    with either_store.write() as conn:
        requests.record_own_server(conn, "http://x", b"k", 1, NOW, runs=False)
    assert desk.take(ask(gateway(either_store))).counts["ask_no_server"] == 1
    assert desk.rows() == []


# ---------------------------------------------------------------- ending


def test_a_result_ends_its_turn_and_anothers_does_not(desk: Desk, gateway) -> None:
    mine, other = gateway(desk.store), gateway(desk.store, "KHI-1")
    desk.take(ask(mine))
    desk.look()
    desk.take(result(other, test_id="t1"))
    assert desk.states() == {"t1": ("granted", "")}
    desk.take(result(mine, test_id="t1"))
    assert desk.states() == {"t1": ("done", "result")}


def test_a_test_that_was_not_made_ends_its_turn_too(desk: Desk, gateway) -> None:
    mine = gateway(desk.store)
    desk.take(ask(mine))
    desk.look()
    desk.take(result(mine, test_id="t1", download_mbps=None, failure=wire.Failure("skipped_on_battery")))
    assert desk.states() == {"t1": ("done", "no_figure")}


def test_what_nobody_hears_of_is_closed_as_a_row_and_its_place_given_on(desk: Desk, gateway) -> None:
    one, two, three = gateway(desk.store), gateway(desk.store, "KHI-1"), gateway(desk.store, "ISB-1")
    desk.take(ask(one, "t1", expires_ms=NOW + 10**9), ask(two, "t2", expires_ms=NOW + HOLD_MS))
    desk.now_ms += 1
    desk.take(ask(three, "t3", expires_ms=NOW + 10**9))
    assert desk.look() == {"your_turn": 1}
    assert desk.rows()[1].expires_ms == NOW + HOLD_MS
    assert desk.look(HOLD_MS) == {"no_result": 1, "too_late": 1, "your_turn": 1}
    assert desk.states() == {"t1": ("expired", "no_result"), "t2": ("expired", "too_late"), "t3": ("granted", "")}
    assert all(row.closed_ms == desk.now_ms for row in desk.rows() if row.state == "expired")


def test_a_result_that_comes_late_still_ends_its_turn(desk: Desk, gateway) -> None:
    mine = gateway(desk.store)
    desk.take(ask(mine))
    desk.look()
    desk.look(HOLD_MS)
    desk.take(result(mine, test_id="t1"))
    assert desk.states() == {"t1": ("done", "result")}


def test_a_wish_that_never_got_a_turn_is_not_ended_by_a_result(desk: Desk, gateway) -> None:
    mine = gateway(desk.store)
    desk.take(ask(mine), result(mine, test_id="t1"))
    assert desk.states() == {"t1": ("asked", "")}


def test_no_wish_is_kept_for_ever(desk: Desk, gateway) -> None:
    desk.take(ask(gateway(desk.store), expires_ms=2**52))
    assert desk.rows()[0].expires_ms == NOW + MOST_WAIT_MS


def test_a_server_that_is_gone_gives_back_its_turns(desk: Desk, gateway) -> None:
    desk.take(ask(gateway(desk.store)))
    with desk.store.write() as conn:
        requests.record_own_server(conn, "http://x", b"k", 1, NOW, runs=False)
    assert desk.look() == {"server_gone": 1}
    assert desk.states() == {"t1": ("refused", "server_gone")}


# ---------------------------------------------------------------- the desk


def wish(desk: Desk, center: str = "LHR-1") -> str:
    with desk.store.write() as conn:
        return requests.ask_for(conn, center, desk.now_ms)


def test_the_desk_goes_ahead_of_those_who_wait(desk: Desk, gateway) -> None:
    mine, other = gateway(desk.store), gateway(desk.store, "KHI-1")
    desk.take(ask(other, "t2"))
    desk.now_ms += 1
    test_id = wish(desk)
    desk.look()
    assert [(task.id, task.purpose, task.device) for task in desk.tasks] == [(test_id, "desk", mine.device)]


def test_a_second_wish_of_the_desk_is_the_first_until_it_has_ended(desk: Desk, gateway) -> None:
    mine = gateway(desk.store)
    test_id = wish(desk)
    assert wish(desk) == test_id
    desk.look()
    assert wish(desk) == test_id
    desk.take(result(mine, test_id=test_id, purpose="desk", download_mbps=31.5))
    with desk.store.read() as conn:
        newest = requests.newest(conn, "LHR-1")
    assert newest is not None
    assert (newest["state"], newest["download_mbps"], newest["server"]) == ("done", 31.5, "collector")
    assert wish(desk) != test_id


def test_the_desk_asks_a_bounded_number_of_times_and_only_where_there_is_a_gateway(desk: Desk, gateway) -> None:
    gateway(desk.store)
    for _ in range(DESK_A_DAY):
        wish(desk)
        desk.look(700_000)
    with pytest.raises(requests.TestRequestRefused, match="as often as a day allows"):
        wish(desk)
    with pytest.raises(CenterError, match="not registered"):
        wish(desk, "NO-1")
    with desk.store.write() as conn:
        conn.execute(sa.update(schema.devices).values(revoked_ms=NOW))
    desk.now_ms += DAY_MS
    with pytest.raises(requests.TestRequestRefused, match="has no gateway"):
        wish(desk)


def test_of_several_gateways_the_one_heard_last_is_asked(desk: Desk, gateway) -> None:
    first, second = gateway(desk.store), gateway(desk.store)
    for mine in (second, first):
        desk.take(mine.batch([mine.ups()]))
        desk.look(10**6)
        wish(desk)
        desk.look()
        assert desk.tasks[-1].device == mine.device


# ---------------------------------------------------------------- a second opinion


def miss(gateway: Any, desk: Desk, **values: Any) -> Message:
    return result(gateway, desk.now_ms, **({"download_mbps": 0.5, "upload_mbps": 0.5} | values))


def trusting() -> Standards:
    """The example, were a miss one at once: its speed criteria wait for a witness otherwise."""
    text = timeless_file().replace(b'evidence = "witnessed"', b'evidence = "signed"')
    return Standards.of([read(re.sub(rb"\nunused = .*", b"", text), "trusting")])


@pytest.fixture
def two(either_store: Store) -> Desk:
    """A collector with two servers, that takes a gateway's word for a miss."""
    desk, standards = Desk(either_store, ("isb", "khi")), trusting()
    desk.ingest = Ingest(either_store, KEY, lambda conn, group, now: requests.record_group(conn, group, standards, now))
    return desk


def retests(desk: Desk) -> list[Any]:
    return [row for row in desk.rows() if row.purpose == "retest"]


def test_a_miss_is_checked_once_at_another_server(two: Desk, gateway) -> None:
    mine = gateway(two.store)
    two.take(ask(mine))
    two.look()
    usual = two.rows()[0].server
    missed = miss(mine, two, test_id="t1")
    two.take(missed)
    two.take(missed)
    (row,) = retests(two)
    assert row.server == ({"isb", "khi"} - {usual}).pop()
    assert (row.device, row.state, row.reason) == (mine.device, "asked", "retest_elsewhere")
    two.look(10_000)
    assert two.tasks[-1].purpose == "retest"
    two.take(miss(mine, two, test_id=row.test_id, purpose="retest"))
    assert len(retests(two)) == 1  # a second opinion is not asked for a third


def test_a_second_look_at_the_same_reading_asks_for_nothing_more(two: Desk, gateway) -> None:
    mine = gateway(two.store)
    with two.store.write() as conn:
        place = centers.get(conn, "LHR-1")
        at = wire.Stamp(wall_ms=NOW, mono_ms=1, boot="b", clock="synced")
        reading = wire.SpeedReading(at=at, download_mbps=0.5, upload_mbps=0.5)
        fresh = FreshReading("speed", reading, NOW, NOW, f"{mine.device} s 1")
        for _ in range(2):
            requests.record_group(conn, [(place, [fresh])], trusting(), NOW)
    assert len(retests(two)) == 1


def test_with_one_server_the_second_opinion_is_its_own_and_says_so(two: Desk, gateway) -> None:
    with two.store.write() as conn:
        servers = schema.measure_servers
        conn.execute(sa.update(servers).where(servers.c.name == "khi").values(revoked_ms=NOW))
    two.take(miss(gateway(two.store), two))
    assert [(row.server, row.reason) for row in retests(two)] == [("isb", "retest_same_server")]


@pytest.mark.parametrize(
    "values",
    [
        {"download_mbps": 500.0, "upload_mbps": 500.0},
        {"purpose": "self-test"},
        {"purpose": "desk"},
        {"flags": ["not_saturated"]},
        {"download_mbps": None, "upload_mbps": None, "failure": wire.Failure("busy")},
    ],
    ids=str,
)
def test_only_a_routine_result_that_misses_is_checked(two: Desk, gateway, values: dict[str, Any]) -> None:
    two.take(miss(gateway(two.store), two, **values))
    assert retests(two) == []


def test_old_misses_and_misses_outside_opening_hours_are_not_checked(two: Desk, gateway) -> None:
    mine = gateway(two.store)
    two.take(result(mine, NOW - requests.RETEST_FRESH_MS - 1, download_mbps=0.5, upload_mbps=0.5))
    two.now_ms = NOW + 8 * 3_600_000
    two.take(miss(mine, two))
    assert retests(two) == []


def test_a_day_has_so_many_second_opinions(two: Desk, gateway) -> None:
    mine = gateway(two.store)
    for _ in range(RETESTS_A_DAY + 2):
        two.now_ms += 60_000
        two.take(miss(mine, two))
    assert len(retests(two)) == RETESTS_A_DAY


def test_an_unwitnessed_miss_waits_for_its_witness(desk: Desk, gateway) -> None:
    desk.take(miss(gateway(desk.store), desk))
    assert retests(desk) == []


# ---------------------------------------------------------------- the command


def told(capsys: pytest.CaptureFixture[str], store: Store, *words: str) -> tuple[int, str]:
    code = main(["center", "test", *words, "--database", str(store.url)])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def measured_once_asked(desk: Desk, gateway: Any, test_id: str) -> None:
    """The result of a test comes when a third command has asked for it, and waits."""
    act = schema.decisions.c.act

    def times() -> int:
        with desk.store.read() as conn:
            return conn.scalar(sa.select(sa.func.count()).where(act == "test_requested")) or 0

    wait_until(lambda: times() == 3)
    desk.take(result(gateway, test_id=test_id, download_mbps=31.5))


def test_the_command_asks_and_says_what_became_of_it(sqlite_store: Store, gateway, capsys, tmp_path: Path) -> None:
    desk, data = Desk(sqlite_store), ("--data", str(tmp_path))
    assert told(capsys, desk.store, "NO-1", *data)[0] == 1
    mine = gateway(desk.store)
    code, printed = told(capsys, desk.store, "LHR-1", "--json", *data)
    turn = json.loads(printed)
    assert (code, turn["state"], turn["purpose"], turn["center"]) == (0, "asked", "desk", "LHR-1")
    desk.now_ms = turn["asked_ms"]
    desk.look()
    code, printed = told(capsys, desk.store, "LHR-1", "--wait", "0.1", *data)
    assert (code, "runs; its result will be on the center's page" in printed) == (1, True)
    running = threading.Thread(target=measured_once_asked, args=(desk, mine, turn["test_id"]))
    running.start()
    code, printed = told(capsys, desk.store, "LHR-1", "--wait", "20", *data)
    running.join()
    assert (code, printed) == (0, f"LHR-1: test {turn['test_id']} at collector: 31.5 Mbit/s down, 100.0 up\n")


# ---------------------------------------------------------------- tests that the collector draws

SECRET = b"s" * 32
DAY_LONG = ("00:00-24:00",)


def heard(desk: Desk, gateway: Any, at_ms: int) -> None:
    row = {"center": gateway.center, "device": gateway.device, "heard_ms": at_ms}
    with desk.store.write() as conn:
        conn.execute(sa.delete(schema.pulse).where(schema.pulse.c.center == gateway.center))
        conn.execute(sa.insert(schema.pulse).values(row))


def drawn_until(desk: Desk, mine: Any, *, live: bool = True) -> int:
    """Looks every four minutes of most of a day until a test is drawn; returns how many are."""
    for _ in range(20 * 15):
        desk.now_ms += 4 * 60_000
        heard(desk, mine, desk.now_ms if live else desk.now_ms - requests.HEARD_MS)
        if count := desk.pacer.draw(SECRET, DAY_LONG):
            return count
    return 0


def test_a_drawn_test_is_granted_to_a_center_that_is_heard_and_once(sqlite_store: Store, gateway: Any) -> None:
    desk = Desk(sqlite_store)
    mine = gateway(desk.store)
    desk.now_ms = NOW - 16 * 3_600_000
    assert drawn_until(desk, mine) == 1
    assert desk.pacer.draw(SECRET, DAY_LONG) == 0
    desk.look()
    (task,) = desk.tasks
    assert (task.device, task.purpose, task.do) == (mine.device, "routine", "speed")
    assert (task.slot.endswith(DAY_LONG[0]), task.server) == (True, "http://collector.example")
    desk.take(result(mine, desk.now_ms, test_id=task.id))
    assert desk.states()[task.id] == ("done", "result")


def test_nothing_is_drawn_for_a_center_that_is_dark_or_whose_gateway_is_revoked(
    sqlite_store: Store, gateway: Any
) -> None:
    desk = Desk(sqlite_store)
    mine = gateway(desk.store)
    desk.now_ms = NOW - 16 * 3_600_000
    assert drawn_until(desk, mine, live=False) == 0
    with desk.store.write() as conn:
        conn.execute(sa.update(schema.devices).values(revoked_ms=NOW - 10**8))
    assert drawn_until(desk, mine) == 0
