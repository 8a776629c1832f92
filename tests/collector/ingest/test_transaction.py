"""Ingest: held once, as received, whoever sends what how often; and nothing that comes can stop it."""

from __future__ import annotations

import gc
import itertools
import json
import random
from collections.abc import Callable, Sequence

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import pack, wire
from agent.common.reasons import Reason, decode, encode
from collector.commands.evidence import held_ids
from collector.common.messages import Message
from collector.common.sequence_ranges import render
from collector.ingest.flush import REPEAT_MS
from collector.ingest.pulse import STANDING_MS
from collector.ingest.rows import MAX_RANGES, QUARANTINE_BYTES
from collector.ingest.transaction import Ingest, Taken
from collector.ingest.verify import addressed
from collector.store import Store, center_states, schema, upsert
from collector.store.queries import STATES, Ranks
from tests.helpers import ROOT

NOW = 1_795_000_000_000
GOLDEN = ROOT / "tests" / "wire" / "v1"
KEY = Ed25519PrivateKey.generate()


def nobody_judges(_conn: sa.Connection, _group: Sequence[object], _now_ms: int) -> None:
    return None


class House:
    """A store with ingest on it, and questions to ask of it."""

    def __init__(self, store: Store, judge: Callable[..., object] = nobody_judges) -> None:
        self.store = store
        self.ingest = Ingest(store, KEY, judge)

    def take(self, *messages: Message, now_ms: int = NOW) -> Taken:
        return self.ingest.take(messages, now_ms)

    def receipts(self, *messages: Message, now_ms: int = NOW) -> list[wire.Receipt]:
        return [opened(receipt) for receipt in self.take(*messages, now_ms=now_ms).receipts]

    def rows(self, table: sa.Table) -> list[sa.Row]:
        with self.store.read() as conn:
            return list(conn.execute(sa.select(table)))

    def ids(self) -> list[tuple[str, str, int, str]]:
        return list(held_ids(self.store))

    def findings(self) -> list[str]:
        return [row.finding for row in self.rows(schema.integrity)]


def opened(sealed: Message) -> wire.Receipt:
    body, signature = wire.unseal(sealed.payload)
    KEY.public_key().verify(signature, body)
    receipt = wire.decode_receipt(body)
    assert sealed.topic == wire.receipt_topic(receipt.device)
    return receipt


@pytest.fixture
def house(either_store: Store) -> House:
    return House(either_store)


# ---------------------------------------------------------------- what is taken


def test_who_sends_is_looked_up_once_a_group_after_its_centers_are_kept_from_others(house: House, gateway) -> None:
    """So that no word is given to a gateway whose revocation was committed while this transaction waited."""
    senders = [gateway(house.store, code) for code in ("LHR-1", "KHI-2")]
    lines: list[str] = []

    def listen(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        lines.extend(word for word in ("pg_advisory_xact_lock(", "devices.public_key") if word in statement)

    sa.event.listen(house.store._writer, "before_cursor_execute", listen)
    house.take(*(mine.batch([mine.ups()]) for mine in senders for _ in range(3)))
    sa.event.remove(house.store._writer, "before_cursor_execute", listen)
    assert lines == ["pg_advisory_xact_lock("] * house.store.parted + ["devices.public_key"]


@pytest.mark.parametrize(
    "topic",
    ["", "nabz/v1/up/", "nabz/v1/up/A B", "nabz/v1/up/x/y", "nabz/v1/down/g1", "nabz/v2/up/g1", "nabz/v1/receipt/g1"],
)
def test_a_topic_that_is_nobodys_names_nobody(topic: str) -> None:
    sent = addressed(Message(topic, b""))
    assert (sent.device, sent.is_ask) == ("", False)


def test_a_topic_names_its_gateway_and_what_it_sends() -> None:
    for topic, is_ask in ((wire.batch_topic("g1"), False), (wire.ask_topic("g1"), True)):
        sent = addressed(Message(topic, b""))
        assert (sent.device, sent.is_ask) == ("g1", is_ask)


def test_receipts_tell_how_the_center_stands_when_that_changes_and_now_and_then(house: House, gateway) -> None:
    mine = gateway(house.store)
    with house.store.write() as conn:
        center_states.settle(conn, Ranks({"power.backup": 3}), NOW)

    def standing(now_ms: int) -> wire.CenterStanding | None:
        [receipt] = house.receipts(mine.batch([mine.ups()]), now_ms=now_ms)
        return receipt.standing

    first = standing(NOW)
    assert first is not None
    assert (first.state, first.missed) == ("meets", 0)
    assert standing(NOW + 1000) is None
    flag = {"center": mine.center, "criterion": "power.backup", "subject": "", "state": "raised", "since_ms": NOW}
    flag |= {"judged_until_ms": NOW, "memory": "[]", "verdict": "below", "reason": encode(Reason("verdict.none"))}
    change = {"center": mine.center, "criterion": "power.backup", "subject": "", "was": "clear", "now": "raised"}
    change |= {"at_ms": NOW, "recorded_ms": NOW, "reason": flag["reason"], "standard": "s"}
    with house.store.write() as conn:
        conn.execute(sa.insert(schema.flags).values(**flag, standard="s"))
        conn.execute(sa.insert(schema.changes), [change, {**change, "at_ms": NOW - 40 * 86_400_000}])
        center_states.refresh(conn, [mine.center], NOW)
    below = wire.CenterStanding(state="below", criterion="power.backup", since_ms=NOW, missed=1)
    assert standing(NOW + 2000) == below
    assert standing(NOW + STANDING_MS) is None
    assert standing(NOW + 2000 + STANDING_MS) == below


def test_a_standing_whose_commit_failed_is_told_with_the_next_receipt(house: House, gateway) -> None:
    mine = gateway(house.store)
    with house.store.write() as conn:
        center_states.settle(conn, Ranks(), NOW)

    def fail(_conn: object) -> None:
        raise sa.exc.OperationalError("COMMIT", None, OSError("disk full"))

    batch = mine.batch([mine.ups()])
    sa.event.listen(house.store._writer, "commit", fail)
    with pytest.raises(sa.exc.OperationalError):
        house.take(batch)
    sa.event.remove(house.store._writer, "commit", fail)
    [receipt] = house.receipts(batch)
    assert receipt.standing is not None


def test_a_center_waits_in_the_list_until_its_first_batch(house: House, gateway) -> None:
    mine = gateway(house.store)
    with house.store.write() as conn:
        center_states.settle(conn, Ranks(), NOW)
    (row,) = house.rows(schema.center_states)
    assert STATES[row.rank] == "waiting"
    house.take(mine.batch([mine.ups()]))
    (row,) = house.rows(schema.center_states)
    assert STATES[row.rank] == "meets"


def test_a_batch_is_held_as_received_and_receipted(house: House, gateway) -> None:
    mine = gateway(house.store)
    message = mine.batch([mine.ups(load_pct=30.5), mine.ups(wall_ms=NOW - 1)])
    (receipt,) = house.receipts(message)
    assert (receipt.outcome, receipt.first_seq, receipt.last_seq, receipt.chain, receipt.at_ms) == (
        "stored", 1, 2, mine.chain.hex(), NOW,
    )  # fmt: skip
    (evidence,) = house.rows(schema.evidence)
    body, signature = wire.unseal(message.payload)
    assert (evidence.body, evidence.signature, json.loads(evidence.fresh)) == (body, signature, [[1, 2]])
    Ed25519PublicKey.from_public_bytes(mine.public_key).verify(evidence.signature, evidence.body)
    newest, older = sorted(house.rows(schema.readings["ups"]), key=lambda row: row.seq)
    assert (newest.load_pct, newest.output_state, newest.wall_ms, newest.profiles) == (30.5, "online", NOW, "[]")
    assert older.load_pct is None
    (latest,) = house.rows(schema.latest)
    assert wire.decode_reading(latest.body.encode()).load_pct == 30.5  # the later one, though it came first
    (pulse,) = house.rows(schema.pulse)
    assert (pulse.center, pulse.heard_ms, pulse.due_ms) == ("LHR-1", NOW, NOW + 300_000)


def test_every_kind_of_reading_finds_its_table(house: House, gateway) -> None:
    mine = gateway(house.store)
    at = wire.Stamp(wall_ms=NOW, mono_ms=1, boot="b", clock="synced")
    hop = wire.Hop(role="lan", target="192.0.2.1", method="icmp", sent=3, received=3)
    seats = wire.SeatColumns(id=["s1"], state=["unhealthy"], why=["disk"], cpu_pct=[None])
    kinds: list[wire.Reading] = [
        wire.LinkReading(at=at, loss_pct=0.5, hops=[hop]),
        wire.SpeedReading(at=at, download_mbps=20.5, flags=["capped"]),
        wire.UpsReading(at=at, battery_replace=True, failure=wire.Failure("timeout", "no answer")),
        wire.SeatsReading(at=at, known=1, unhealthy=1, seats=seats),
        wire.GatewayReading(at=at, wan_rx_bytes=2**53, spool_volatile=False),
        wire.BootReading(at=at, previous_end="power", evidence=["dirty"]),
        wire.ShedReading(at=at, first_seq=1, last_seq=2, count=2, why="full"),
    ]
    shown = {type(kind).__struct_config__.tag for kind in kinds}
    kinds += [wire.decode_reading((GOLDEN / f"{name}.json").read_bytes()) for name in wire.KINDS if name not in shown]
    assert house.receipts(mine.batch([wire.encode_reading(kind) for kind in kinds]))[0].outcome == "stored"
    rows = {kind: house.rows(table)[0] for kind, table in schema.readings.items()}
    assert json.loads(rows["link"].hops)[0]["target"] == "192.0.2.1"
    assert json.loads(rows["speed"].flags) == ["capped"]
    assert rows["ups"].battery_replace is True
    assert json.loads(rows["ups"].failure) == {"cause": "timeout", "detail": "no answer"}
    assert json.loads(rows["seats"].seats)["why"] == ["disk"]
    assert (rows["gateway"].wan_rx_bytes, rows["gateway"].spool_volatile) == (2**53, False)
    assert (rows["boot"].previous_end, rows["shed"].last_seq) == ("power", 2)


def test_receipts_carry_the_nonce_and_evidence_when_it_was_issued(house: House, gateway) -> None:
    mine = gateway(house.store)
    nonce = house.receipts(mine.batch([mine.ups()]))[0].nonce
    later = house.receipts(mine.batch([mine.ups()], nonce=nonce), now_ms=NOW + 700_000)[0]
    assert later.nonce not in ("", nonce)
    house.take(mine.batch([mine.ups()], nonce="made up"))
    assert [row.issued_ms for row in house.rows(schema.evidence)] == [None, NOW, None]


def test_a_receipt_asks_for_the_pause_that_the_transaction_was_given(house: House, gateway) -> None:
    mine = gateway(house.store)
    (receipt,) = house.ingest.take([mine.batch([mine.ups()])], NOW, pace_ms=700).receipts
    assert opened(receipt).pace_ms == 700


def test_the_judge_sees_what_is_fresh_before_it_is_the_latest(either_store: Store, gateway) -> None:
    seen = []

    def judge(conn: sa.Connection, group: Sequence, now_ms: int) -> None:
        held = conn.scalar(sa.select(sa.func.count()).select_from(schema.latest))
        seen.append(
            (held, now_ms, [(center.code, [(one.kind, one.wall_ms) for one in fresh]) for center, fresh in group])
        )

    house = House(either_store, judge)
    one, two = gateway(either_store), gateway(either_store, "LHR-2")
    first = one.batch([one.ups(), one.ups(NOW - 5)])
    house.take(first, two.batch([two.ups()]), first)
    house.take(first)  # nothing fresh, nothing to judge
    assert seen == [(0, NOW, [("LHR-1", [("ups", NOW), ("ups", NOW - 5)]), ("LHR-2", [("ups", NOW)])])]


def test_an_older_reading_does_not_replace_the_latest(house: House, gateway) -> None:
    mine = gateway(house.store)
    house.take(mine.batch([mine.ups(NOW - 1, load_pct=1.0)]))
    house.take(mine.batch([mine.ups(NOW - 60_000, load_pct=2.0)]))
    assert '"load_pct":1.0' in house.rows(schema.latest)[0].body


def test_a_clock_of_1970_is_corrected_in_the_tables_and_kept_in_evidence(house: House, gateway) -> None:
    mine = gateway(house.store)
    house.take(mine.batch([mine.ups(1_000, "unsynced", 1_000), mine.ups(31_000, "unsynced", 31_000)]))
    assert sorted(row.wall_ms for row in house.rows(schema.readings["ups"])) == [NOW - 30_000, NOW]
    assert b'"wall_ms":1000' in house.rows(schema.evidence)[0].body


# ---------------------------------------------------------------- once, however often


def test_what_is_held_already_is_counted_and_receipted_again(house: House, gateway) -> None:
    mine = gateway(house.store)
    message = mine.batch([mine.ups(), mine.ups()])
    first = house.receipts(message)[0]
    again = house.receipts(message, message, now_ms=NOW + 1)
    assert [(r.outcome, r.chain) for r in again] == [("stored", first.chain)] * 2
    assert len(house.ids()) == len(house.rows(schema.readings["ups"])) == 2
    assert len(house.rows(schema.evidence)) == 1
    assert house.rows(schema.spools)[0].duplicates == 4
    assert house.findings() == []


def test_a_batch_twice_in_one_group_is_held_once(house: House, gateway) -> None:
    mine = gateway(house.store)
    message = mine.batch([mine.ups(), mine.ups()])
    assert len(house.receipts(message, message)) == 2
    assert len(house.ids()) == 2


def test_a_repeated_batch_is_no_sign_of_life(house: House, gateway) -> None:
    mine = gateway(house.store)
    message = mine.batch([mine.ups()])
    house.take(message)
    assert house.take(message, now_ms=NOW + 3_600_000).touched == set()
    assert house.rows(schema.pulse)[0].heard_ms == NOW


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_order_cut_and_repetition_end_in_the_same_state(sqlite_store: Store, gateway, seed: int) -> None:
    chance = random.Random(seed)
    house, mine = House(sqlite_store), gateway(sqlite_store)
    raws = [mine.ups(NOW - 60_000 + number) for number in range(30)]
    chains = list(itertools.accumulate(raws, lambda before, raw: wire.chain(before, [raw]), initial=wire.GENESIS))
    cuts = [(first, min(first + chance.randrange(1, 9), 30)) for first in chance.choices(range(30), k=25)]
    cuts += [(first, first + 10) for first in (0, 10, 20)]  # all of it at least once
    chance.shuffle(cuts)
    messages = [mine.sealed(raws[first:last], first + 1, chains[first]) for first, last in cuts]
    while messages:
        size = chance.randrange(1, 8)
        group, messages = messages[:size], messages[size:]
        assert {receipt.outcome for receipt in house.receipts(*group)} == {"stored"}
    held = [seq for device, _, seq, _ in house.ids() if device == mine.device]
    assert sorted(held) == list(range(1, 31))
    rows = [row for row in house.rows(schema.readings["ups"]) if row.device == mine.device]
    assert sorted((row.seq, row.wall_ms) for row in rows) == [(n + 1, NOW - 60_000 + n) for n in range(30)]
    assert house.findings() == []


# ---------------------------------------------------------------- honesty


@pytest.mark.row(26, 27)
def test_other_bytes_under_a_held_number_are_an_equivocation_with_both_kept(house: House, gateway) -> None:
    mine = gateway(house.store)
    honest = mine.sealed([mine.ups(load_pct=1.0), mine.ups()], 1, wire.GENESIS)
    forged = mine.sealed([mine.ups(load_pct=2.0), mine.ups()], 1, wire.GENESIS)
    house.take(honest)
    receipt = house.receipts(forged)[0]
    assert receipt.outcome == "set_aside"
    assert receipt.code == "other_history"
    assert receipt.reason.startswith("equivocation: other bytes are held of reading 1; fork: ")
    finding = house.rows(schema.integrity)[0]
    assert (finding.finding, finding.device, finding.center) == ("equivocation", mine.device, "LHR-1")
    other = Reason.of("receipt.equivocation", numbers=["1"], n=1)
    assert decode(finding.detail) == Reason.of("finding.batch", spool=mine.spool, first="1", last="2", found=other)
    # Both signed stories are evidence; only the first counts.
    assert [json.loads(row.fresh) for row in house.rows(schema.evidence)] == [[[1, 2]], []]
    assert sorted((row.seq, row.load_pct) for row in house.rows(schema.readings["ups"])) == [(1, 1.0), (2, None)]
    # Sending it again adds nothing.
    assert house.receipts(forged)[0].outcome == "set_aside"
    assert (len(house.findings()), len(house.rows(schema.evidence))) == (2, 2)


@pytest.mark.row(26)
def test_two_stories_in_one_group_are_told_apart_too(house: House, gateway) -> None:
    mine = gateway(house.store)
    honest = mine.sealed([mine.ups(load_pct=1.0)], 1, wire.GENESIS)
    forged = mine.sealed([mine.ups(load_pct=2.0)], 1, wire.GENESIS)
    assert [receipt.outcome for receipt in house.receipts(honest, forged)] == ["stored", "set_aside"]
    assert house.findings() == ["equivocation", "fork"]


@pytest.mark.row(27)
def test_a_chain_that_does_not_continue_is_a_fork_and_its_readings_are_held(house: House, gateway) -> None:
    mine = gateway(house.store)
    house.take(mine.batch([mine.ups()]))
    stranger = mine.sealed([mine.ups()], 2, b"\xab" * 32)
    receipt = house.receipts(stranger)[0]
    assert (receipt.code, receipt.reason) == ("other_history", "fork: another history is held after reading 1")
    assert house.findings() == ["fork"]
    assert [seq for *_, seq, _ in house.ids()] == [1]
    assert house.receipts(stranger)[0].outcome == "set_aside"
    assert house.findings() == ["fork"]


# ---------------------------------------------------------------- hostile, broken, unknown


def refused(house: House, message: Message, finding: str) -> None:
    assert house.take(message).receipts == []
    assert house.findings() == [finding]
    (aside,) = house.rows(schema.set_aside)
    (row,) = house.rows(schema.integrity)
    assert decode(aside.reason) == decode(row.detail)
    assert house.rows(schema.evidence) == []


def test_a_bad_signature_is_set_aside(house: House, gateway) -> None:
    mine, other = gateway(house.store), gateway(house.store)
    body, _ = wire.unseal(mine.batch([mine.ups()]).payload)
    refused(house, Message(wire.batch_topic(mine.device), wire.seal(body, other.key.sign)), "bad_signature")


def test_a_changed_byte_is_a_bad_signature(house: House, gateway) -> None:
    mine = gateway(house.store)
    message = mine.batch([mine.ups(load_pct=1.0)])
    refused(house, Message(message.topic, message.payload.replace(b":1.0", b":9.0")), "bad_signature")


def test_a_batch_on_another_topic_is_refused_by_signature(house: House, gateway) -> None:
    mine, other = gateway(house.store), gateway(house.store, "LHR-2")
    refused(house, Message(wire.batch_topic(other.device), mine.batch([mine.ups()]).payload), "bad_signature")


def test_a_batch_that_names_another_device_is_refused_though_well_signed(house: House, gateway) -> None:
    mine, other = gateway(house.store), gateway(house.store, "LHR-2")
    refused(house, mine.batch([mine.ups()], device=other.device), "wrong_topic")


def test_who_never_enrolled_is_unknown(house: House, gateway) -> None:
    mine = gateway(house.store)
    mine.key = Ed25519PrivateKey.generate()
    refused(house, mine.batch([mine.ups()]), "unknown_device")


def test_who_is_revoked_is_refused(house: House, gateway) -> None:
    mine = gateway(house.store)
    with house.store.write() as conn:
        conn.execute(sa.update(schema.devices).values(revoked_ms=NOW))
    refused(house, mine.batch([mine.ups()]), "revoked_device")


@pytest.mark.parametrize(
    "topic", ["nabz/v1/up", "nabz/v1/receipt/x", "nabz/v2/up/x", "", "a" * 70_000, "nabz/v1/up/\x00"]
)
def test_a_strange_topic_is_set_aside(house: House, gateway, topic: str) -> None:
    mine = gateway(house.store)
    assert house.take(Message(topic, mine.batch([mine.ups()]).payload)).receipts == []
    assert [decode(row.reason).code for row in house.rows(schema.set_aside)] == ["refused.topic"]


def test_a_nonce_that_is_no_nonce_is_as_none(house: House, gateway) -> None:
    mine = gateway(house.store)
    assert house.receipts(mine.batch([mine.ups()], nonce="\x00'; --"))[0].outcome == "stored"


@pytest.mark.parametrize(
    "payload",
    [b"", b"\n", b"x" * 200_000, b"{}", b"{}\nAAAA", b"{}\n" + b"A" * 88, b"\xff" * 100, b"[" * 60_000 + b"\n"],
)
def test_what_has_no_frame_is_set_aside_in_part(house: House, gateway, payload: bytes) -> None:
    mine = gateway(house.store)
    assert house.take(Message(wire.batch_topic(mine.device), payload)).receipts == []
    (aside,) = house.rows(schema.set_aside)
    assert len(aside.payload) <= QUARANTINE_BYTES


@pytest.mark.parametrize(
    "body", [b"{}", b"[" * 50_000, b'{"v":1e999}', b"null", b"\xff\xfe", b'{"v":1,"device":"g"}', b""]
)
def test_a_signed_body_that_is_no_batch_is_set_aside(house: House, gateway, body: bytes) -> None:
    mine = gateway(house.store)
    refused(house, Message(wire.batch_topic(mine.device), wire.seal(body, mine.key.sign)), "unframed")


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_after_a_group_as_before_it(house: House, gateway, enabled: bool) -> None:
    seen: list[bool] = []

    def judge(_conn: sa.Connection, _group: Sequence[object], _now_ms: int) -> None:
        seen.append(gc.isenabled())
        raise ValueError("nobody foresaw this")

    mine, before = gateway(house.store), gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        Ingest(house.store, KEY, judge).take([mine.batch([mine.ups()])], NOW)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
    assert seen
    assert not any(seen), "not while a group is taken"


def test_a_packed_batch_is_held_as_it_was_signed(house: House, gateway) -> None:
    mine = gateway(house.store)
    sealed = mine.batch([mine.ups(), mine.ups(NOW + 1)])
    body, signature = wire.unseal(sealed.payload)
    (receipt,) = house.receipts(Message(sealed.topic, pack.pack(body, signature)))
    assert (receipt.outcome, receipt.last_seq, receipt.packing) == ("stored", 2, pack.FORMAT)
    (row,) = house.rows(schema.evidence)
    assert (bytes(row.body), bytes(row.signature)) == (body, signature)
    house.take(sealed)  # the same once more, as an older gateway sends it
    assert len(house.rows(schema.evidence)) == 1
    assert house.findings() == []


def test_what_is_packed_is_not_believed_without_its_signature_and_a_bomb_is_refused(house: House, gateway) -> None:
    mine = gateway(house.store)
    body, signature = wire.unseal(mine.batch([mine.ups()]).payload)
    topic = wire.batch_topic(mine.device)
    refused(house, Message(topic, pack.pack(body, signature[::-1])), "bad_signature")
    house.take(Message(topic, pack.pack(bytes(50_000_000), signature)))
    assert house.findings() == ["bad_signature", "unframed"]
    (_, bomb) = house.rows(schema.set_aside)
    assert "more than 65536 bytes are packed in" in bomb.reason


def test_a_flood_of_the_same_doubt_is_one_finding_an_hour(house: House, gateway) -> None:
    mine = gateway(house.store)
    junk = Message(wire.batch_topic(mine.device), b"junk")
    house.take(*[junk] * 50)
    house.take(junk, now_ms=NOW + REPEAT_MS - 1)
    assert house.findings() == ["unframed"]
    house.take(junk, now_ms=NOW + REPEAT_MS + 1)
    assert house.findings() == ["unframed"] * 2


def test_bad_messages_in_a_group_do_not_touch_the_good(house: House, gateway) -> None:
    mine = gateway(house.store)
    junk = Message(wire.batch_topic(mine.device), b"junk")
    assert len(house.receipts(junk, mine.batch([mine.ups()]), junk)) == 1
    assert len(house.ids()) == 1


def test_a_reading_of_a_newer_kind_stays_in_evidence_and_says_so(house: House, gateway) -> None:
    mine = gateway(house.store)
    newer = b'{"kind":"weather","at":{"wall_ms":1,"mono_ms":1,"boot":"b","clock":"synced"}}'
    unstamped = b'{"kind":"ups"}'
    receipt = house.receipts(mine.batch([mine.ups(), newer, unstamped]))[0]
    assert (receipt.outcome, receipt.code) == ("set_aside", "unreadable")
    assert receipt.reason.startswith("unreadable: reading 2 is held but cannot be read: ")
    assert receipt.chain == mine.chain.hex()
    assert len(house.ids()) == 3
    assert len(house.rows(schema.readings["ups"])) == 1
    params = [decode(row.reason).params for row in house.rows(schema.set_aside)]
    assert params[0]["reading"] == f"{mine.device} {mine.spool} 2"
    assert params[1]["text"] == "reading: has no stamp"


def test_a_batch_of_a_later_version_is_held_whole_and_receipted_as_set_aside(house: House, gateway) -> None:
    mine = gateway(house.store)
    receipt = house.receipts(mine.batch([mine.ups(), mine.ups()], v=2))[0]
    assert (receipt.outcome, receipt.code) == ("set_aside", "unread_version")
    assert receipt.reason == "unread_version: version 2 is held but not read here, only 1"
    assert len(house.ids()) == 2
    assert house.rows(schema.readings["ups"]) == []


def test_text_that_no_database_likes_is_cleaned_in_tables_and_kept_in_evidence(house: House, gateway) -> None:
    mine = gateway(house.store)
    raw = mine.ups(model="APC\x00\x1b", subject="u\x00ps")
    assert house.receipts(mine.batch([raw]))[0].outcome == "stored"
    (row,) = house.rows(schema.readings["ups"])
    assert (row.model, row.subject) == (
        "APC\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}",
        "u\N{REPLACEMENT CHARACTER}ps",
    )
    assert raw in house.rows(schema.evidence)[0].body


def test_minus_zero_is_zero_in_every_database(house: House, gateway) -> None:
    """SQLite knows no other, so a copy from PostgreSQL would differ."""
    mine = gateway(house.store)
    house.take(mine.batch([mine.ups(load_pct=-0.0)]))
    assert str(house.rows(schema.readings["ups"])[0].load_pct) == "0.0"


def test_a_spool_with_too_many_gaps_is_refused(house: House, gateway) -> None:
    mine = gateway(house.store)
    gaps = [(3 * n + 1, 3 * n + 1, "00" * 32, "00" * 32) for n in range(MAX_RANGES)]
    row = {"center": "LHR-1", "device": mine.device, "spool": mine.spool, "ranges": render(gaps), "updated_ms": NOW}
    with house.store.write() as conn:
        upsert(conn, schema.spools, [row])
    assert house.take(mine.sealed([mine.ups()], 10**6, wire.GENESIS)).receipts == []
    assert house.findings() == ["too_many_gaps"]


def test_a_judge_that_breaks_on_one_center_loses_nobody_a_reading(either_store: Store, gateway) -> None:
    judged = []

    def judge(_conn: sa.Connection, group: Sequence, _now_ms: int) -> None:
        for center, _ in group:
            if center.code == "LHR-2":
                raise ZeroDivisionError
            judged.append(center.code)

    house = House(either_store, judge)
    one, two, three = (gateway(either_store, f"LHR-{number}") for number in (1, 2, 3))
    outcomes = [
        receipt.outcome for receipt in house.receipts(*(item.batch([item.ups()]) for item in (one, two, three)))
    ]
    assert outcomes == ["stored", "set_aside", "stored"]
    assert len(house.ids()) == 3
    assert judged[-2:] == ["LHR-1", "LHR-3"]


def test_what_cannot_be_committed_is_not_receipted_and_leaves_no_trace(either_store: Store, gateway) -> None:
    away = [True]

    def judge(_conn: sa.Connection, _group: Sequence, _now_ms: int) -> None:
        if away[0]:
            raise sa.exc.OperationalError("INSERT", {}, Exception("database or disk is full"))

    house, mine = House(either_store, judge), gateway(either_store)
    message = mine.batch([mine.ups()])
    with pytest.raises(sa.exc.OperationalError):
        house.take(message)
    assert house.ids() == []
    away[0] = False
    assert house.receipts(message)[0].outcome == "stored"
    assert len(house.ids()) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(wire.Batch.__struct_fields__), json_values, min_size=1, max_size=3))
def test_no_signed_batch_whatever_its_fields_stops_ingest(sqlite_store: Store, gateway, changes: dict) -> None:
    house, mine = House(sqlite_store), gateway(sqlite_store)
    body, _ = wire.unseal(mine.batch([mine.ups()]).payload)
    strange = msgspec.json.encode(msgspec.json.decode(body) | changes)
    counts = house.take(Message(wire.batch_topic(mine.device), wire.seal(strange, mine.key.sign))).counts
    assert counts["broken"] == 0  # foreseen, whatever it is
    assert house.receipts(mine.sealed([mine.ups()], 500, wire.GENESIS))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from([*wire.UpsReading.__struct_fields__, "kind"]), json_values, max_size=3))
def test_no_signed_reading_whatever_its_fields_stops_ingest(sqlite_store: Store, gateway, changes: dict) -> None:
    house, mine = House(sqlite_store), gateway(sqlite_store)
    strange = msgspec.json.encode(msgspec.json.decode(mine.ups()) | changes)
    taken = house.take(mine.batch([strange, mine.ups()]))
    assert taken.counts["broken"] == 0
    assert len(taken.receipts) == 1
