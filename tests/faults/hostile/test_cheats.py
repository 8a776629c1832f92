"""An owner who wants the subsidy without the service: each cheat through a real broker and ingest, and what finds it.

Time is the play's own, so that "after how long" is a figure: from the cheat to its row among the findings.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt import client as mqtt

from agent import wire
from agent.common.mqtt import Client as MqttClient
from agent.config import SeatsSection
from agent.probes.seats.registry import Registry
from agent.seat.snapshot import Snapshot
from collector.brokers.embedded import EmbeddedBroker
from collector.brokers.endpoints import Address
from collector.common.messages import Message
from collector.ingest import server_results, spools
from collector.ingest.mqtt.subscriber import Subscriber
from collector.ingest.transaction import Ingest
from collector.judging import fast_lane, patterns, place_facts, server_samples, shared_seats
from collector.judging.evaluate import judge_group
from collector.judging.patterns.limits import RULES
from collector.speedtests import challenges, fetches
from collector.speedtests.measure.record import Record, RecordedDirection, encode
from collector.store import Store, nonces, schema
from tests.collector.conftest import Gateway
from tests.collector.standard.timeless import timeless_standards
from tests.helpers.waiting import wait_until

NOON = 1_795_071_600_000  # Thursday 2026-11-19 12:00 in Karachi
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
KEY = Ed25519PrivateKey.generate()
STANDARDS = timeless_standards()
PTCL, OTHER = 17557, 9541


class Collector:
    """A collector with a broker, ingest and one joined measurement server, at a time of the play's choosing."""

    def __init__(self, store: Store, broker: EmbeddedBroker) -> None:
        self.store, self.now_ms, self.tests = store, NOON, itertools.count()
        self.server_key = Ed25519PrivateKey.generate()
        ingest = Ingest(store, KEY, lambda c, g, n: judge_group(c, server_results.attach(c, g, n), STANDARDS, n))
        self.listener = Subscriber(Address("127.0.0.1", broker.port), ingest, lambda _codes: None, lambda: self.now_ms)
        self.listener.start()
        assert self.listener.connected.wait(60)
        self.client = MqttClient(mqtt.CallbackAPIVersion.VERSION2)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        public = self.server_key.public_key().public_bytes_raw()
        row = {"name": "pie", "url": "https://pie.example", "public_key": public, "tests_at_once": 5}
        with store.write() as conn:
            conn.execute(sa.insert(schema.measure_servers).values(**row, joined_ms=1))

    def close(self) -> None:
        self.client.leave()
        self.listener.stop()

    def count(self, table: sa.Table = schema.evidence) -> int:
        with self.store.read() as conn:
            return conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    def send(self, message: Message, *, filed: bool = True) -> None:
        """Through the broker, until it is held."""
        before = self.count()
        self.client.publish(message.topic, message.payload, qos=1)
        if filed:
            wait_until(lambda: self.count() > before)

    def nonce(self) -> str:
        with self.store.write() as conn:
            return nonces.current(conn, self.now_ms)

    def live(self, mine: Gateway, *readings: wire.Reading) -> None:
        raws = [wire.encode_reading(self.stamped(one)) for one in readings] or [mine.ups(self.now_ms)]
        self.send(mine.batch(raws, nonce=self.nonce()))

    def stamped(self, reading: wire.Reading, at_ms: int | None = None, boot: str = "b") -> wire.Reading:
        at_ms = self.now_ms if at_ms is None else at_ms
        at = wire.Stamp(wall_ms=at_ms, mono_ms=at_ms - NOON + 40 * DAY, boot=boot, clock="synced")
        return msgspec.structs.replace(reading, at=at)

    def grant(self, mine: Gateway) -> str:
        test = f"t{next(self.tests)}"
        who = {"center": mine.center, "device": mine.device, "server": "pie", "purpose": "routine", "state": "granted"}
        times = {"asked_ms": self.now_ms, "granted_ms": self.now_ms, "expires_ms": self.now_ms + 5 * MINUTE}
        with self.store.write() as conn:
            conn.execute(sa.insert(schema.grants).values(test_id=test, **who, **times))
        return test

    def see(self, test: str, mine: Gateway, down: float = 60.0, **facts: object) -> None:
        """The measurement server signs what it saw of a test."""
        at_ms = [100 * n for n in range(41)]
        way = RecordedDirection(bytes=10**7, at_ms=at_ms, total=[round(down * 12_500 * n) for n in range(41)])
        start = {"address": "203.0.113.7", "started_ms": self.now_ms, "witnessed": True, "min_rtt_ms": 18.0}
        record = Record(test=test, server="pie", device=mine.device, seconds=9.0, end="idle", connections=7, down=way,
                        up=way, **(start | facts))  # type: ignore[arg-type]  # fmt: skip
        with self.store.write() as conn:
            server_results.take_record(conn, encode(record, self.server_key.sign), self.now_ms, STANDARDS)

    def result(self, mine: Gateway, test: str, down: float = 60.0, **facts: object) -> wire.SpeedReading:
        figures = {"download_mbps": down, "capacity_down_mbps": down, "upload_mbps": down, "capacity_up_mbps": down}
        start = {"subject": "wan", "server": "https://pie.example", "engine": "librespeed", "test_id": test}
        return wire.SpeedReading(**(start | figures | facts))  # type: ignore[arg-type]

    def findings(self) -> set[str]:
        with self.store.read() as conn:
            return set(conn.scalars(sa.select(schema.integrity.c.finding)))

    def wait_for(self, finding: str, most_ms: int) -> int:
        """How long until the finding is there, with what the collector does by itself meanwhile; in steps of a
        minute at first, of an hour later."""
        began_ms = self.now_ms
        while finding not in self.findings():
            assert self.now_ms - began_ms <= most_ms, (finding, self.findings())
            self.now_ms += MINUTE if self.now_ms - began_ms < HOUR else HOUR
            with self.store.write() as conn:
                server_results.count_unreported(conn, self.now_ms, STANDARDS)
                spools.report_holes(conn, self.now_ms)
                place_facts.look(conn, self.now_ms, {"PTCL": [PTCL]})
                place_facts.record(conn, patterns.findings(conn, self.now_ms), self.now_ms)
                shared_seats.look(conn, self.now_ms)
                fast_lane.look(conn, self.now_ms)
                challenges.settle(conn, self.now_ms)
        return self.now_ms - began_ms


# ---------------------------------------------------------------- the cheats


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


def invent_the_past(here: Collector, mine: Gateway) -> None:
    here.live(mine)
    here.now_ms += 3 * HOUR
    old = [wire.encode_reading(here.stamped(wire.UpsReading(output_state="online"), NOON - HOUR, "x"))]
    here.send(mine.batch(old, live=False, nonce=here.nonce()))


def rewrite(here: Collector, mine: Gateway) -> None:
    """Other bytes under a number that was sent: of a tampered spool, or of a copy of the machine."""
    first, chain = mine.next_seq, mine.chain
    here.live(mine)
    here.send(mine.sealed([mine.ups(here.now_ms, battery_charge_pct=99)], first, chain))


def begin_anew(here: Collector, mine: Gateway) -> None:
    """The spool with the bad hours is deleted."""
    here.live(mine)
    here.now_ms += 2 * HOUR
    mine.spool, mine.next_seq, mine.chain = "f" * 32, 1, wire.GENESIS
    here.live(mine)


def leave_out(here: Collector, mine: Gateway) -> None:
    """Some readings in the middle never come."""
    here.live(mine)
    hidden = mine.batch([mine.ups(here.now_ms)])
    assert hidden.payload
    for _ in range(50):
        here.now_ms += MINUTE
        here.live(mine)


def move_away(here: Collector, mine: Gateway) -> None:
    for day in range(14):
        here.now_ms = NOON + day * DAY
        here.see(here.grant(mine), mine, min_rtt_ms=40.0 if day < 7 else 3.0)


def tunnel(here: Collector, mine: Gateway) -> None:
    for hour in range(8):
        here.now_ms = NOON + hour * HOUR
        here.see(here.grant(mine), mine, asn=16276, network="AS16276 OVH SAS")


def go_by_another_line(here: Collector, mine: Gateway) -> None:
    """Sessions come by the center's own line, only tests by a better one."""
    with here.store.write() as conn:
        row = {"center": mine.center, "device": mine.device, "source": "session", "address": "203.0.113.9"}
        times = {"first_ms": here.now_ms, "last_ms": here.now_ms + DAY}
        conn.execute(sa.insert(schema.sightings).values(**row, asn=PTCL, network="AS17557 PTCL", **times))
    for hour in range(8):
        here.now_ms = NOON + hour * HOUR
        here.see(here.grant(mine), mine, asn=OTHER, network="AS9541 CYBERNET")


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


def one_pc_as_forty_seats(here: Collector, mine: Gateway) -> None:
    dice, seats = random.Random(5), [f"s{n}" for n in range(6)]
    raws = []
    for n in range(RULES.rounds + 2):
        cpu, memory = round(dice.uniform(1, 60), 1), round(dice.uniform(20, 60), 1)
        columns = wire.SeatColumns(id=seats, state=["healthy"] * 6, why=[""] * 6, cpu_pct=[cpu] * 6,
                                   memory_pct=[memory] * 6)  # fmt: skip
        reading = wire.SeatsReading(known=6, healthy=6, seats=columns)
        raws.append(wire.encode_reading(here.stamped(reading, here.now_ms - (60 - n) * MINUTE)))
    here.send(mine.batch(raws, live=False))


def many_seats_of_one_machine(here: Collector, mine: Gateway) -> None:
    """A program poses as six PCs from one address, in virtual machines that share the host's disk."""
    roll = Registry(None)
    for number in range(6):
        facts = (f"mac:{number:016x}", "disk:00000000000000aa")
        seat = Snapshot(id=f"s{number:016x}", name=f"S{number}", at_ms=0, nonce="0" * 32, facts=facts, is_virtual=True)
        roll.take(seat, 0, "192.168.1.7")
    reading = roll.call(1000, SeatsSection())
    assert reading is not None
    here.live(mine, reading)


def seats_of_another_center(here: Collector, mine: Gateway) -> None:
    columns = wire.SeatColumns(id=["s1", "s2"], state=["healthy"] * 2, why=[""] * 2)
    for gateway in (mine, enrolled(here.store, "KHI-1")):
        here.live(gateway, wire.SeatsReading(known=2, healthy=2, seats=columns))


def pretend_a_ups(here: Collector, mine: Gateway) -> None:
    """A script that says the same for ever."""
    values = {"output_state": "online", "input_voltage_v": 228.0, "load_pct": 30.0, "runtime_s": 1800.0}
    now_ms = here.now_ms
    for first in range(0, 620, 100):
        raws = [mine.ups(now_ms - (640 - n) * MINUTE, **values) for n in range(first, first + 100)]
        here.send(mine.batch(raws, live=False))


def play_yesterday_again(here: Collector, mine: Gateway) -> None:
    """A script that sends each reading of the UPS a second time, with the time of today."""
    dice, now_ms = random.Random(5), here.now_ms
    day = [
        (round(dice.gauss(228, 2), 1), round(dice.uniform(20, 40)), 1500.0 + dice.randint(0, 300)) for _ in range(200)
    ]
    for at_ms in (now_ms - 30 * HOUR, now_ms - 5 * HOUR):
        for first in range(0, 200, 100):
            raws = []
            for number, (volts, load, left_s) in enumerate(day[first : first + 100], first):
                values = {"output_state": "online", "input_voltage_v": volts, "load_pct": load, "runtime_s": left_s}
                raws.append(mine.ups(at_ms + number * MINUTE, **values))
            here.send(mine.batch(raws, live=False))


def work_with_an_old_backup(here: Collector, mine: Gateway) -> None:
    """A copy of the machine with its key and spool of an hour ago goes on from there."""
    here.live(mine)
    sequence, chain = mine.next_seq, mine.chain
    here.live(mine)
    here.now_ms += HOUR
    mine.next_seq, mine.chain = sequence, chain
    here.send(mine.batch([mine.ups(here.now_ms, battery_charge_pct=50)], nonce=here.nonce()))


def share_a_line(here: Collector, mine: Gateway) -> None:
    """Two centers run their tests over one good line."""
    other = enrolled(here.store, "KHI-1")
    for hour in range(8):
        here.now_ms = NOON + hour * HOUR
        for gateway in (mine, other):
            here.see(here.grant(gateway), gateway, asn=PTCL, network="AS17557 PTCL", address="203.0.113.77")


def change_the_provider(here: Collector, mine: Gateway) -> None:
    """A cheaper line than the one that is paid for."""
    for hour in range(8):
        here.now_ms = NOON + hour * HOUR
        here.see(here.grant(mine), mine, asn=OTHER, network="AS9541 CYBERNET")


def share_a_telephone(here: Collector, mine: Gateway) -> None:
    for hour in range(8):
        here.now_ms = NOON + hour * HOUR
        here.see(here.grant(mine), mine, asn=45669, network="AS45669 Mobilink")


def play_a_good_hour_again(here: Collector, mine: Gateway) -> None:
    """The link's own good hour stands twice in place of a bad one, with new times."""
    dice = random.Random(5)
    hour = [(round(dice.gauss(18, 2), 2), round(dice.gauss(25, 3), 2), round(dice.uniform(0, 4), 2)) for _ in range(60)]
    for back_h in (20, 9, 5):
        raws = []
        for minute, (median, p95, jitter) in enumerate(hour):
            reading = wire.LinkReading(subject="wan", rtt_median_ms=median, rtt_p95_ms=p95, jitter_ms=jitter)
            raws.append(wire.encode_reading(here.stamped(reading, here.now_ms - back_h * HOUR + minute * MINUTE)))
        here.send(mine.batch(raws, live=False))


def seats_in_containers(here: Collector, mine: Gateway) -> None:
    """Each with load of its own and an address of its own; the kernel beneath them began once."""
    seats, dice = [f"s{n}" for n in range(6)], random.Random(5)
    columns = wire.SeatColumns(
        id=seats, state=["healthy"] * 6, why=[""] * 6, cpu_pct=[round(dice.uniform(1, 60), 1) for _ in seats],
        memory_pct=[round(dice.uniform(20, 60), 1) for _ in seats], uptime_s=[4000.0 + n / 10 for n in range(6)],
    )  # fmt: skip
    here.live(mine, wire.SeatsReading(known=6, healthy=6, seats=columns))


def a_ups_that_carries_nothing(here: Collector, mine: Gateway) -> None:
    """It stands beside the PCs, which are plugged into the wall."""
    now_ms, seats = here.now_ms, wire.SeatColumns(id=["s1"], state=["healthy"], why=[""])
    for first in range(0, 640, 40):
        raws = []
        for minute in range(first, first + 40):
            at_ms = now_ms - (650 - minute) * MINUTE
            empty = wire.UpsReading(output_state="online", input_voltage_v=226.0 + minute % 4, load_pct=0.0)
            work = wire.SeatsReading(known=1, healthy=1, seats=seats)
            raws += [wire.encode_reading(here.stamped(one, at_ms)) for one in (empty, work)]
        here.send(mine.batch(raws, live=False))


def a_ups_that_sees_no_cut(here: Collector, mine: Gateway) -> None:
    """A script, where the neighbours on the feeder lose the mains each day."""
    neighbours = [enrolled(here.store, f"LHR-{n}") for n in range(2, 6)]
    with here.store.write() as conn:
        conn.execute(sa.update(schema.centers).values(feeder="F-1"))
    for gateway in (mine, *neighbours):
        here.live(gateway, wire.UpsReading(output_state="online", input_voltage_v=228.0))
    facts = {"subject": "ups", "revision": 0, "open": False, "facts": "{}"}
    rows = [
        {"center": gateway.center, "noted_ms": at_ms, "recorded_ms": at_ms, "from_ms": at_ms, "last_ms": at_ms, **facts}
        for gateway in neighbours
        for at_ms in range(here.now_ms - 6 * DAY, here.now_ms, DAY)
    ]
    with here.store.write() as conn:
        conn.execute(sa.insert(schema.cuts), rows)


def a_ups_that_promised_more(here: Collector, mine: Gateway) -> None:
    """The gateway dies of a cut, two minutes after half an hour was left."""
    here.live(mine, wire.UpsReading(output_state="battery", runtime_s=1800.0))
    died_ms = here.now_ms + 2 * MINUTE
    here.now_ms += HOUR
    here.live(mine, wire.BootReading(previous_end="power", last_alive_ms=died_ms))


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


def one_router_for_two(here: Collector, mine: Gateway) -> None:
    for number, gateway in enumerate((mine, enrolled(here.store, "KHI-1"))):
        here.live(gateway, wire.GatewayReading(machine=f"a{number}" * 8, router="cd" * 8, hardware="physical"))


def put_the_clock_back(here: Collector, mine: Gateway) -> None:
    """A time server of the owner's own says that it is two hours ago."""
    here.live(mine)
    here.now_ms += MINUTE
    early = here.stamped(wire.UpsReading(output_state="online"), here.now_ms - 2 * HOUR, "x")
    here.send(mine.batch([wire.encode_reading(early)], nonce=here.nonce()))


def one_machine_for_two(here: Collector, mine: Gateway) -> None:
    for gateway in (mine, enrolled(here.store, "KHI-1")):
        here.live(gateway, wire.GatewayReading(machine="ab" * 8, router="cd" * 8, hardware="physical"))


def a_virtual_gateway(here: Collector, mine: Gateway) -> None:
    here.live(mine, wire.GatewayReading(machine="ab" * 8, hardware="virtual"))


# cheat -> (the finding that shows it, how long that takes at most, in milliseconds)
CHEATS: dict[str, tuple[Callable[[Collector, Gateway], None], str, int]] = {
    "a bad result is thrown away": (throw_away, "unreported", server_samples.GRACE_MS + MINUTE),
    "a result is exaggerated": (exaggerate, "disagrees", 0),
    "a test in the building": (stay_in_the_building, "lan_server", 0),
    "a good result again": (replay, "replayed", 0),
    "another center's result": (borrow, "not_granted_to_this_device", 0),
    "the past is invented": (invent_the_past, "past", 0),
    "the spool is rewritten": (rewrite, "equivocation", 0),
    "the spool is deleted": (begin_anew, "new_spool", 0),
    "readings are left out": (leave_out, "hole", HOUR),
    "the gateway moves to a good line": (move_away, "moved", MINUTE),
    "tests go through a tunnel": (tunnel, "vpn", MINUTE),
    "only tests go by a better line": (go_by_another_line, "other_line", MINUTE),
    "tests have a lane of their own": (give_tests_the_better_way, "fast_lane", MINUTE),
    "one PC is forty seats": (one_pc_as_forty_seats, "twin_seats", DAY),
    "a machine poses as seats: its disk": (many_seats_of_one_machine, "one_machine", MINUTE),
    "a machine poses as seats: its address": (many_seats_of_one_machine, "one_address", MINUTE),
    "seats are virtual machines": (many_seats_of_one_machine, "virtual_seats", MINUTE),
    "seats of another center": (seats_of_another_center, "shared_seat", MINUTE),
    "a UPS is a script": (pretend_a_ups, "ups_frozen", DAY),
    "yesterday is played again": (play_yesterday_again, "repeated_values", DAY),
    "an old backup is a second gateway": (work_with_an_old_backup, "equivocation", 0),
    "two centers test over one line": (share_a_line, "shared_address", HOUR),
    "the clock is put back": (put_the_clock_back, "past", 0),
    "one machine is two centers": (one_machine_for_two, "shared_machine", MINUTE),
    "one router is two centers'": (one_router_for_two, "shared_router", MINUTE),
    "another provider's line": (change_the_provider, "other_network", MINUTE),
    "a telephone's line": (share_a_telephone, "hotspot", MINUTE),
    "a good hour is played again": (play_a_good_hour_again, "repeated_values", DAY),
    "seats are containers": (seats_in_containers, "one_boot", MINUTE),
    "a UPS carries nothing": (a_ups_that_carries_nothing, "ups_unloaded", DAY),
    "a UPS sees no cut": (a_ups_that_sees_no_cut, "ups_never_cut", MINUTE),
    "a UPS promised more": (a_ups_that_promised_more, "ups_contradicted", DAY),
    "no question is answered": (answer_no_question, "challenge_missed", MINUTE),
    "no file is fetched": (fetch_no_file, "fetch_missed", MINUTE),
    "the gateway is a virtual machine": (a_virtual_gateway, "virtual", MINUTE),
}
QUICK = ("a bad result is thrown away", "the past is invented", "a good result again")


def enrolled(store: Store, center: str) -> Gateway:
    made = Gateway(center)
    with store.write() as conn:
        row = {"device": made.device, "center": center, "public_key": made.public_key}
        conn.execute(sa.insert(schema.devices).values(**row, enrolled_ms=NOON - 30 * DAY))
        facts = {"name": center, "tier": "one", "seats_promised": 20, "opening": "always", "isp": "PTCL"}
        times = {"lifecycle": "active", "since_ms": 1, "changed_ms": 1}
        conn.execute(sa.insert(schema.centers).values(center=center, **facts, **times))
    return made


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(f"sqlite:///{tmp_path}/nabz.db")) as store:
        yield store


@contextmanager
def collector(store: Store) -> Iterator[Collector]:
    broker = EmbeddedBroker("127.0.0.1", 0)
    broker.start()
    here = Collector(store, broker)
    try:
        yield here
    finally:
        here.close()
        broker.stop()


@pytest.mark.row(61)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CHEATS]
)
def test_a_cheat_is_found_in_its_time(sqlite_store: Store, name: str) -> None:
    play, finding, most_ms = CHEATS[name]
    with collector(sqlite_store) as here:
        mine = enrolled(sqlite_store, "LHR-1")
        play(here, mine)
        after_ms = here.wait_for(finding, most_ms)
    print(f"{name}: {finding} after {after_ms // MINUTE} min")


@pytest.mark.row(61)
@pytest.mark.slow
@pytest.mark.parametrize(("file_mbps", "line_mbps"), [(48.0, 2.0), (7.0, 52.0)], ids=["idle line", "busy line"])
def test_an_honest_line_is_no_fast_lane(sqlite_store: Store, file_mbps: float, line_mbps: float) -> None:
    with collector(sqlite_store) as here:
        week_of_tests(here, enrolled(sqlite_store, "LHR-1"), file_mbps=file_mbps, line_mbps=line_mbps)
        with pytest.raises(AssertionError):
            here.wait_for("fast_lane", 2 * MINUTE)


@pytest.mark.row(61)
@pytest.mark.slow
def test_an_honest_gateway_makes_no_finding(sqlite_store: Store) -> None:
    with collector(sqlite_store) as here:
        mine = enrolled(sqlite_store, "LHR-1")
        for hour in range(8):
            here.now_ms = NOON + hour * HOUR
            test = here.grant(mine)
            here.see(test, mine, asn=PTCL, network="AS17557 PTCL")
            here.live(mine, here.result(mine, test), wire.GatewayReading(machine="ab" * 8, hardware="physical"))
        here.now_ms += 2 * HOUR
        with pytest.raises(AssertionError):
            here.wait_for("anything", HOUR)
        assert here.findings() == set()
