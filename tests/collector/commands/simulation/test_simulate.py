"""The simulated fleet against a real broker and a small receipt giver of its own."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
import pytest
import sqlalchemy as sa
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from paho.mqtt.enums import CallbackAPIVersion

from agent import wire
from agent.common.center_time import UTC_AHEAD_MS
from agent.common.mqtt import Client as MqttClient
from collector.__main__ import main
from collector.access import enrolment
from collector.commands.simulation import identities, join, readings, register
from collector.commands.simulation.fleet import SimulatedCenter, make_fleet
from collector.commands.simulation.gateway import LIVE_MS, RESEND_S, Gateway
from collector.commands.simulation.line import SimulatedSession
from collector.commands.simulation.run import Play, SimulatedClock, perform
from collector.commands.simulation.trouble import CYCLE_MS, START_UP_MS, Stage
from collector.commands.simulation.truth import Truth, TruthError, compare, read_held, read_promises
from collector.register import centers
from collector.store import Store, schema
from tests.collector.empty_stores import empty_store

START_MS = 1_780_000_000_000
HOUR_MS = 3_600_000
FLEET = make_fleet(120, seed=3)


def a_gateway(center: SimulatedCenter = FLEET[0]) -> Gateway:
    key = Ed25519PrivateKey.generate()
    return Gateway(center=center, key=key, device=identities.device_of(key), spool="0" * 32)


def a_play(fleet: list[SimulatedCenter], cycle_ms: int = HOUR_MS, **others: object) -> Play:
    gateways = [a_gateway(center) for center in fleet]
    play = Play(
        fleet={gateway.device: gateway for gateway in gateways},
        stage=Stage(fleet, 3, START_MS, cycle_ms),
        truth=Truth(io.StringIO()),
        collector_key=Ed25519PrivateKey.generate().public_key(),
    )
    for name, value in others.items():
        setattr(play, name, value)
    play.begin(START_MS)
    return play


# ---------------------------------------------------------------- who they are


def test_the_same_seed_makes_the_same_fleet_and_a_larger_one_begins_with_it() -> None:
    assert make_fleet(60, seed=3) == FLEET[:60]
    assert make_fleet(60, seed=4) != FLEET[:60]


def test_every_center_says_that_it_is_simulated_and_lies_in_pakistan() -> None:
    for center in FLEET:
        assert center.code.startswith("SIM-")
        assert "Simulated" in center.name
        assert "Simulated" in center.isp
        assert 23.5 < center.latitude < 37.1
        assert 60.8 < center.longitude < 77.9
    assert len({center.code for center in FLEET}) == len(FLEET)


def test_every_kind_of_trouble_is_staged_within_the_cycle() -> None:
    for minutes in (10, 60):
        cycle_ms = minutes * 60_000
        troubles = Stage(FLEET, 3, START_MS, cycle_ms).extend(START_MS + 1)
        assert {trouble.what for trouble in troubles} == {
            "feeder_cut",
            "carrier_outage",
            "slow_line",
            "broken_seats",
            "silent_gateway",
            "lying_clock",
            "cable_out",
            "switched_off",
            "agent_killed",
            "forged_speed",
            "replayed_test",
            "inflated_speed",
        }
        assert all(START_MS <= t.from_ms < t.to_ms <= START_MS + cycle_ms for t in troubles)


def test_the_same_seed_stages_the_same_play() -> None:
    assert Stage(FLEET, 3, START_MS).extend(START_MS + 3 * CYCLE_MS) == Stage(FLEET, 3, START_MS).extend(
        START_MS + 3 * CYCLE_MS
    )


# ---------------------------------------------------------------- what they measure


def at_every_minute(play: Play, minutes: int) -> list[tuple[SimulatedCenter, int, wire.Reading]]:
    play.measure(START_MS + minutes * 60_000)
    return [
        (gateway.center, kept.at_ms, wire.decode_reading(kept.raw))
        for gateway in play.fleet.values()
        for kept in gateway.waiting
    ]


def test_an_hour_brings_readings_of_every_kind_that_a_probe_brings() -> None:
    kinds = {type(reading) for _, _, reading in at_every_minute(a_play(FLEET), 60)}
    assert kinds == {kind.struct for kind in wire.KINDS.values()} - {wire.ShedReading}


def test_a_cut_puts_the_ups_on_battery_until_it_is_empty_and_the_return_is_told_by_a_boot_reading() -> None:
    play = a_play(FLEET)
    taken = at_every_minute(play, 59)
    cuts = {code: t for t in play.stage.troubles if t.what == "feeder_cut" for code in t.centers}
    empty_s = {center.code: center.autonomy_s for center in FLEET}
    tired = {code for code, cut in cuts.items() if cut.from_ms + empty_s[code] * 1000 < cut.to_ms}
    assert tired, "the seed must stage an exhausted UPS"
    for center, at_ms, reading in taken:
        cut = cuts.get(center.code)
        if isinstance(reading, wire.UpsReading) and cut:
            assert (reading.output_state == "battery") == cut.covers(at_ms)
        if cut and center.code in tired:
            assert not cut.from_ms + center.autonomy_s * 1000 < at_ms < cut.to_ms
    boots = {c.code for c, _, r in taken if isinstance(r, wire.BootReading) and r.previous_end == "power"}
    silent = {code for t in play.stage.troubles if t.what == "silent_gateway" for code in t.centers}
    back = {code for code in tired - silent if cuts[code].to_ms + START_UP_MS < START_MS + 58 * 60_000}
    assert back <= boots <= tired


def test_evening_lines_are_slower_than_morning_lines() -> None:
    midnight_ms = START_MS - START_MS % (24 * HOUR_MS) - UTC_AHEAD_MS
    assert readings.busy(midnight_ms + 21 * HOUR_MS) > 0.95 > 0.1 > readings.busy(midnight_ms + 9 * HOUR_MS - 1) - 0.1


def test_a_lying_clock_says_so_and_its_monotonic_clock_does_not_lie() -> None:
    play = a_play(FLEET)
    taken = at_every_minute(play, 59)
    (lie,) = [t for t in play.stage.troubles if t.what == "lying_clock"]
    mine = [(at_ms, r.at) for c, at_ms, r in taken if c.code in lie.centers and r.at]
    assert {at.clock for _, at in mine} == {"synced", "unsynced"}
    for at_ms, at in mine:
        assert (at.wall_ms != at_ms) == lie.covers(at_ms) == (at.clock == "unsynced")
    assert [at.mono_ms for _, at in mine] == sorted(at.mono_ms for _, at in mine)


# ---------------------------------------------------------------- the spool


def filled(minutes: int) -> Gateway:
    play = a_play(FLEET[:1])
    play.stage.extend = lambda until_ms: []  # type: ignore[method-assign]  # an hour without trouble
    play.measure(START_MS + minutes * 60_000)
    return next(iter(play.fleet.values()))


def opened(payload: bytes | None, gateway: Gateway) -> wire.Batch:
    assert payload is not None
    body, signature = wire.unseal(payload)
    gateway.key.public_key().verify(signature, body)
    return wire.decode_batch(body)


def receipt_of(batch: wire.Batch, **others: object) -> wire.Receipt:
    receipt = wire.Receipt(
        v=1,
        device=batch.device,
        spool=batch.spool,
        first_seq=batch.first_seq,
        last_seq=batch.last_seq,
        chain=batch.last_chain().hex(),
        at_ms=START_MS,
    )
    return msgspec.structs.replace(receipt, **others)


def test_live_readings_go_before_the_backlog_and_the_chain_holds_over_both() -> None:
    gateway, now_ms = filled(30), START_MS + 30 * 60_000
    order, chains = [], {}
    while (payload := gateway.next_batch(now_ms, 0.0)) is not None:
        batch = opened(payload, gateway)
        order.append((batch.live, batch.first_seq))
        chains[batch.first_seq - 1] = batch.prev
        chains[batch.last_seq] = batch.last_chain().hex()
        assert gateway.take_receipt(receipt_of(batch), 0.0) == "receipted"
    live = [first for is_live, first in order if is_live]
    backlog = [first for is_live, first in order if not is_live]
    assert order[0][0]
    assert live
    assert backlog
    assert backlog == sorted(backlog)
    assert min(live) > max(backlog)
    assert chains[0] == wire.GENESIS.hex()
    assert chains[gateway.next_seq - 1] == gateway.chain.hex()


def test_a_batch_is_sent_again_until_its_receipt_comes() -> None:
    gateway = filled(2)
    now_ms = START_MS + 2 * 60_000
    first = opened(gateway.next_batch(now_ms, 0.0), gateway)
    assert gateway.next_batch(now_ms, RESEND_S - 1) is None
    assert opened(gateway.next_batch(now_ms, RESEND_S), gateway) == first


def test_only_a_receipt_of_its_own_chain_lets_a_gateway_forget() -> None:
    gateway = filled(2)
    batch = opened(gateway.next_batch(START_MS + 2 * 60_000, 0.0), gateway)
    waiting = list(gateway.waiting)
    assert gateway.take_receipt(receipt_of(batch, chain="ab" * 32), 0.0) == "forked"
    assert gateway.take_receipt(receipt_of(batch, spool="1" * 32), 0.0) == "stale"
    assert gateway.take_receipt(receipt_of(batch, last_seq=batch.last_seq + 500), 0.0) == "stale"
    assert gateway.waiting == waiting
    assert gateway.take_receipt(receipt_of(batch, nonce="ab"), 0.0) == "receipted"
    assert gateway.waiting == []
    assert gateway.nonce == "ab"


def test_the_pace_that_a_receipt_asks_for_holds_back_the_backlog() -> None:
    gateway = filled(60)
    later_ms = START_MS + 60 * 60_000 + LIVE_MS  # everything is backlog now
    batch = opened(gateway.next_batch(later_ms, 0.0), gateway)
    gateway.take_receipt(receipt_of(batch, pace_ms=5000), 0.0)
    assert gateway.next_batch(later_ms, 4.9) is None
    assert not opened(gateway.next_batch(later_ms, 5.0), gateway).live


def test_a_batch_of_a_large_center_stays_within_the_limits() -> None:
    large = replace(FLEET[0], seats=500, opening="always")
    play = a_play([large])
    play.measure(START_MS + 30 * 60_000)
    (gateway,) = play.fleet.values()
    payload = gateway.next_batch(START_MS + 40 * 60_000, 0.0)
    assert opened(payload, gateway).readings


# ---------------------------------------------------------------- the truth


def test_every_promise_is_in_the_file_before_anything_can_be_sent(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with path.open("w") as file:
        play = a_play(FLEET[:5], truth=Truth(file))
        play.measure(START_MS + 10 * 60_000)
        promised = read_promises(path)  # as another process sees it, while the play goes on
    kept = {
        (gateway.device, gateway.spool, kept.seq): hashlib.sha256(kept.raw).hexdigest()
        for gateway in play.fleet.values()
        for kept in gateway.waiting
    }
    assert promised == kept
    assert len(promised) == play.counts.taken


def test_the_check_counts_lost_doubled_altered_and_strange_readings() -> None:
    promised = {("g1", "s", seq): f"h{seq}" for seq in range(1, 6)}
    held = [(key, digest) for key, digest in promised.items() if key[2] != 2]
    held += [held[0], (("g1", "s", 9), "h9"), (("pilot", "other", 1), "h1")]
    held[1] = (held[1][0], "wrong")
    finding = compare(promised, held)
    assert (finding.lost, finding.doubled, finding.altered, finding.strange) == (1, 1, 1, 1)
    assert not finding.good
    assert compare(promised, promised.items()).good


def test_a_file_that_is_no_truth_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text('{"what":"run"}\n{"what":"promise","device":"g"}\n')
    with pytest.raises(TruthError, match="line 2"):
        read_promises(path)
    with pytest.raises(TruthError, match="evidence line 1"):
        list(read_held(["nonsense\n"], "evidence"))


# ---------------------------------------------------------------- identities


def identities_in(folder: Path, fleet: list[SimulatedCenter]) -> dict[str, identities.SimulatedIdentity]:
    for center in fleet:
        key = Ed25519PrivateKey.generate()
        identities.add_key(folder, identities.SimulatedIdentity(center=center.code, key=key, enrolled={"nonce": "n"}))
    return identities.load_keys(folder)


def test_a_second_run_goes_on_with_the_same_keys_spool_and_readings(tmp_path: Path) -> None:
    keys = identities_in(tmp_path, FLEET[:2])
    before = identities.take_spools(tmp_path, FLEET[:2], keys)
    before[0].keep(
        msgspec.structs.replace(readings.boot("first", None, START_MS), at=readings.stamp(FLEET[0], START_MS, 0, 0)),
        START_MS,
    )
    identities.leave_spools(tmp_path, before)
    after = identities.take_spools(tmp_path, FLEET[:2], identities.load_keys(tmp_path))
    assert [(g.device, g.spool, g.next_seq, g.chain, g.waiting) for g in after] == [
        (g.device, g.spool, g.next_seq, g.chain, g.waiting) for g in before
    ]
    assert (tmp_path / identities.KEYS).stat().st_mode & 0o077 == 0


def test_after_a_killed_run_every_gateway_begins_a_new_spool(tmp_path: Path) -> None:
    keys = identities_in(tmp_path, FLEET[:1])
    identities.leave_spools(tmp_path, identities.take_spools(tmp_path, FLEET[:1], keys))
    (killed,) = identities.take_spools(tmp_path, FLEET[:1], keys)
    (next_run,) = identities.take_spools(tmp_path, FLEET[:1], keys)
    assert next_run.spool != killed.spool
    assert next_run.dark == "killed"


def test_two_plays_of_one_fleet_are_refused(tmp_path: Path) -> None:
    with (
        identities.held(tmp_path),
        pytest.raises(identities.FleetError, match="another simulation"),
        identities.held(tmp_path),
    ):
        pytest.fail("both hold the folder")


# ---------------------------------------------------------------- over a real broker


@contextmanager
def a_broker(port: int) -> Iterator[tuple[str, int]]:
    """amqtt in a thread of its own."""
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        broker = Broker(BrokerConfig(listeners={"default": ListenerConfig(bind=f"127.0.0.1:{port}")}, plugins=plugins))
        await broker.start()
        ready.set()
        await asyncio.to_thread(done.wait)
        await broker.shutdown()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)
    yield "127.0.0.1", port
    done.set()
    thread.join(60)


class Taker:
    """Takes batches and gives receipts, as the collector does; `lose` says which messages it pretends not to see."""

    def __init__(self, broker: tuple[str, int], lose: Callable[[int], bool]) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.keys: dict[str, Ed25519PublicKey] = {}
        self.held: dict[tuple[str, str, int], str] = {}
        self.messages = 0
        self.lose = lose
        self.client = MqttClient(CallbackAPIVersion.VERSION2, client_id="taker")
        self.client.on_message = self.take
        self.ready = threading.Event()
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.connect(*broker)
        self.client.subscribe(f"{wire.ROOT}/up/+", qos=1)
        self.client.loop_start()
        assert self.ready.wait(60)

    def take(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self.messages += 1
        if self.lose(self.messages):
            return
        body, signature = wire.unseal(message.payload)
        batch = wire.decode_batch(body)
        assert batch.device == wire.device_of(message.topic)
        self.keys[batch.device].verify(signature, body)
        for offset, raw in enumerate(batch.readings):
            key = (batch.device, batch.spool, batch.first_seq + offset)
            digest = hashlib.sha256(bytes(raw)).hexdigest()
            assert self.held.setdefault(key, digest) == digest
        receipt = wire.encode(receipt_of(batch))
        self.client.publish(wire.receipt_topic(batch.device), wire.seal(receipt, self.key.sign), qos=1)

    def close(self) -> None:
        self.client.leave()


def test_a_receipt_that_comes_after_the_loop_has_ended_harms_nobody(free_port: int) -> None:
    async def story() -> SimulatedSession:
        line = SimulatedSession(1, ("127.0.0.1", free_port), ["g0123456789abcdef"], lambda _device, _payload: None)
        line.close()
        return line

    asyncio.run(story())._arrived(
        mqtt.Client(CallbackAPIVersion.VERSION2), None, mqtt.MQTTMessage(topic=b"nabz/v1/down/x")
    )


def test_a_fleet_in_trouble_over_a_real_broker_loses_nothing(free_port: int, tmp_path: Path) -> None:
    """Ten simulated minutes with cuts, outages, and a collector that misses every tenth message."""
    path = tmp_path / "truth.jsonl"
    with a_broker(free_port) as broker, path.open("w") as file:
        taker = Taker(broker, lose=lambda number: number % 10 == 0)
        play = a_play(FLEET, cycle_ms=600_000, collector_key=taker.key.public_key(), truth=Truth(file))
        taker.keys = {device: gateway.key.public_key() for device, gateway in play.fleet.items()}
        for gateway in play.fleet.values():
            gateway.resend_s = 1.0
        pace = SimulatedClock(start_ms=START_MS, began_s=time.monotonic(), speedup=200)

        async def show() -> None:
            await perform(play, broker, pace, START_MS + 600_000, asyncio.Event(), lambda line: None)

        asyncio.run(show())
        taker.close()
    finding = compare(read_promises(path), taker.held.items())
    assert finding.good, finding
    assert finding.promised == play.counts.taken == play.counts.receipted > 1000  # the less, the slower this machine
    assert play.counts.batches > taker.messages * 0.9
    assert play.counts.bad_receipts == 0


def test_a_receipt_that_the_collector_did_not_sign_is_counted_and_ignored() -> None:
    play = a_play(FLEET[:1])
    play.measure(START_MS + 60_000)
    (gateway,) = play.fleet.values()
    batch = opened(gateway.next_batch(START_MS + 60_000, 0.0), gateway)
    forged = wire.seal(wire.encode(receipt_of(batch)), Ed25519PrivateKey.generate().sign)
    play.receive(gateway.device, forged, START_MS + 60_000, 0.0)
    assert play.counts.bad_receipts == 1
    assert gateway.waiting


# ---------------------------------------------------------------- joining


@contextmanager
def a_door(answer: Callable[[bytes], tuple[int, dict[str, object]]]) -> Iterator[str]:
    """An HTTP server that answers enrolments."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_words: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened_store = empty_store(tmp_path / "nabz.db")
    yield opened_store
    opened_store.close()


def enrols(store: Store) -> Callable[[bytes], tuple[int, dict[str, object]]]:
    """The collector's own answer, from its own register."""
    facts = enrolment.EnrolmentFacts(collector_key=bytes(32), broker_host="127.0.0.1", broker_port=1883, measure_url="")

    def answer(body: bytes) -> tuple[int, dict[str, object]]:
        try:
            with store.write() as conn:
                return 200, enrolment.enrol(conn, body, START_MS, facts)
        except enrolment.EnrolmentRefused as refused:
            return refused.status, refused.body

    return answer


def test_a_fleet_is_registered_and_enrolled_by_the_code_of_real_centers(store: Store, tmp_path: Path) -> None:
    tokens = register.register(store, FLEET, START_MS)
    with a_door(enrols(store)) as url:
        joined = join.join(url, tmp_path, tokens, lambda line: None)
    with store.read() as conn:
        registered = centers.all_centers(conn)
        devices = {row.center: row.device for row in conn.execute(sa.select(schema.devices))}
    assert {center.code for center in registered} == {center.code for center in FLEET}
    assert {identity.center: identity.device for identity in joined} == devices
    assert set(identities.load_keys(tmp_path)) == set(devices)
    assert join.broker_of(joined) == ("127.0.0.1", 1883)


def test_a_refused_enrolment_is_said_in_the_collectors_words(store: Store, tmp_path: Path) -> None:
    with a_door(enrols(store)) as url, pytest.raises(identities.FleetError, match="the token is not known here"):
        join.join(url, tmp_path, {"SIM-LHE-0001": "0" * 32}, lambda line: None)


def test_a_collector_that_is_not_there_is_said_with_the_fix(free_port: int, tmp_path: Path) -> None:
    with pytest.raises(identities.FleetError, match="is `nabz-collector serve` running there"):
        join.join(f"http://127.0.0.1:{free_port}", tmp_path, {"SIM-LHE-0001": "t"}, lambda line: None)


# ---------------------------------------------------------------- the command


def test_the_command_lists_its_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--centers", "50", "--minutes", "10", "--list-trouble"]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("feeder_cut", "carrier_outage", "silent_gateway"))
    assert all(float(line.split()[3]) <= 10 for line in script.splitlines())


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--speedup", "5"], "add --minutes M"),
        (["--url", "collector.example"], "must begin with http:// or https://"),
    ],
)
def test_wrong_use_is_said_with_the_fix(words: list[str], rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *words]) == 2
    assert rule in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--centers", "0"], ["--minutes", "-1"], ["--broker", "nowhere"], ["--centers", "x"]]
)
def test_a_value_out_of_range_is_refused_by_name(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["simulate", *words])
    assert f"argument {words[0]}" in capsys.readouterr().err


def test_the_check_fails_when_a_promise_is_not_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promise = {"device": "g1", "spool": "s", "seq": 1, "sha256": "h"}
    (tmp_path / "truth").write_text(json.dumps({"what": "promise", **promise}, separators=(",", ":")) + "\n")
    (tmp_path / "held").write_text(json.dumps(promise) + "\n")
    (tmp_path / "empty").write_text("")
    check = ["simulate", "--json", "--check", str(tmp_path / "truth"), "--held"]
    assert main([*check, str(tmp_path / "held")]) == 0
    assert main([*check, str(tmp_path / "empty")]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[1])["lost"] == 1
