"""One key a seat: agreed once, proved by use, and nobody else speaks for that seat; hostile bytes change nothing."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from agent.common.tcp.http_server import HttpRefused, RateLimiter
from agent.config import SeatsSection
from agent.local import http, lan
from agent.probes.seats import registry_file
from agent.probes.seats.registry import Policy, Registry
from agent.probes.seats.registry_file import Order
from agent.seat import keys
from agent.seat import snapshot as contract
from agent.seat.keyring import Keyring
from agent.seat.snapshot import Disk, Drive, Snapshot

CENTER_KEY = bytes(range(32))
FACTS = ("mac:0123456789abcdef",)
ID = "s0123456789abcdef"
OTHER = "sfedcba9876543210"


class Gateway:
    """The ear itself, without a socket before it."""

    def __init__(self, folder: Path | None = None, policy: Policy = "always") -> None:
        self.roll = Registry(folder, 0, policy)
        self.ear = lan._SeatListener(self.roll, CENTER_KEY, lambda: None, lan.wall_ms, lan.mono_ms)

    def handle(self, body: bytes, peer: str = "192.0.2.20") -> http.HttpAnswer:
        request = http.HttpRequest(method="POST", path="/seat", headers={}, body=body, peer=peer)
        hearing = self.ear.handle(request)
        try:
            hearing.send(None)  # it waits for nothing, so it needs no loop
        except StopIteration as done:
            answer: http.HttpAnswer = done.value
        except HttpRefused as refused:
            answer = http.HttpAnswer(status=refused.status, body=str(refused).encode())
        return answer

    def say(self, ring: Keyring, *, key: bytes | None = None, **more: object) -> int:
        """One snapshot by the rules of a seat; the status of the answer."""
        under = key or ring.key
        report = snapshot(id=ring.seat_id, hand=ring.hand(under), **more)
        answer = self.handle(contract.seal(contract.encode(report), under, contract.SNAPSHOT))
        if answer.status == 200:
            ring.take(contract.decode_answer(contract.unseal(answer.body, under, contract.ANSWER)).hand)
        return answer.status


def snapshot(**more: object) -> Snapshot:
    plain = Snapshot(id=ID, name="SEAT-01", at_ms=lan.wall_ms(), nonce=secrets.token_hex(16), facts=FACTS)
    return replace(plain, **more)  # type: ignore[arg-type]


# ---------------------------------------------------------------- one key a seat


def test_a_seat_gets_a_key_of_its_own_and_the_centers_no_longer_speaks_for_it(tmp_path: Path) -> None:
    gateway, ring = Gateway(), Keyring(CENTER_KEY, ID, tmp_path)
    assert gateway.say(ring) == 200
    assert ring.own is not None
    # Not proved yet: an answer may be lost, and the seat must still get in.
    assert gateway.say(Keyring(CENTER_KEY, ID, tmp_path / "lost"), key=CENTER_KEY) == 200
    ring = Keyring(CENTER_KEY, ID, tmp_path / "lost")
    assert gateway.say(ring) == 200
    heard_ms = gateway.roll.seats[ID].heard_ms
    # Another PC that has the center's key, as all have: refused, and it moves nothing.
    assert gateway.say(Keyring(CENTER_KEY, ID, tmp_path / "thief"), key=CENTER_KEY, state="stopping") == 403
    assert gateway.roll.seats[ID].heard_ms == heard_ms
    assert not gateway.roll.seats[ID].said_goodbye
    reading = gateway.roll.call(lan.mono_ms(), SeatsSection())
    assert reading is not None
    assert reading.seats is not None
    assert list(reading.seats.faults.values()) == ["intruder"]


def test_a_leaked_seat_cannot_speak_for_another(tmp_path: Path) -> None:
    gateway = Gateway()
    mine, theirs = Keyring(CENTER_KEY, ID, tmp_path / "a"), Keyring(CENTER_KEY, OTHER, tmp_path / "b")
    for ring in (mine, mine, theirs, theirs):
        assert gateway.say(ring) == 200
    forged = contract.seal(contract.encode(snapshot(id=OTHER)), mine.own or b"", contract.SNAPSHOT)
    assert gateway.handle(forged).status == 401
    # Nor by claiming to be itself where the key is looked up, and another where the body is read.
    body = contract.encode(snapshot()).replace(b'"name"', b'"id":"%b","name"' % OTHER.encode(), 1)
    assert gateway.handle(contract.seal(body, mine.own or b"", contract.SNAPSHOT)).status == 400
    assert gateway.roll.seats[OTHER].intruder_ms is None


def test_who_listens_with_the_centers_key_does_not_learn_the_own_key() -> None:
    ours, theirs = keys.make_secret(), keys.make_secret()
    own = keys.agree(ours, keys.half(theirs), CENTER_KEY, ID)
    assert own == keys.agree(theirs, keys.half(ours), CENTER_KEY, ID)
    assert own != keys.agree(keys.make_secret(), keys.half(ours), CENTER_KEY, ID)
    assert own != keys.agree(ours, keys.half(theirs), CENTER_KEY, OTHER)


@pytest.mark.parametrize("half", ["", "0", "1", f"{keys.P:x}", f"{keys.P - 1:x}", f"{keys.P + 5:x}"])
def test_a_half_that_fixes_the_key_is_refused(half: str) -> None:
    with pytest.raises(ValueError, match="public value"):
        keys.agree(keys.make_secret(), half, CENTER_KEY, ID)


def test_new_hardware_gets_no_key_before_it_is_approved(tmp_path: Path) -> None:
    gateway, ring = Gateway(tmp_path, "never"), Keyring(CENTER_KEY, ID, tmp_path / "seat")
    assert gateway.say(ring) == 200
    assert ring.own is None
    registry_file.give(tmp_path, Order(do="approve", seat=ID))
    gateway.roll.obey()
    assert gateway.say(ring) == 200
    assert ring.own is not None


def test_a_seat_keeps_its_key_and_so_does_the_gateway_over_restarts(tmp_path: Path) -> None:
    gateway, ring = Gateway(tmp_path), Keyring(CENTER_KEY, ID, tmp_path / "seat")
    assert [gateway.say(ring), gateway.say(ring)] == [200, 200]
    gateway.roll.save()
    assert (tmp_path / "seats.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "seat" / "own.key").stat().st_mode & 0o777 == 0o600
    again = Gateway(tmp_path)
    assert again.say(Keyring(CENTER_KEY, ID, tmp_path / "seat")) == 200
    assert again.say(Keyring(CENTER_KEY, ID, tmp_path / "thief"), key=CENTER_KEY) == 403
    # A cloned disk carries the file, but it is another machine.
    assert Keyring(CENTER_KEY, OTHER, tmp_path / "seat").own is None


def test_approval_lets_a_newly_installed_seat_in_again(tmp_path: Path) -> None:
    gateway, ring = Gateway(tmp_path), Keyring(CENTER_KEY, ID, tmp_path / "seat")
    assert [gateway.say(ring), gateway.say(ring)] == [200, 200]
    fresh = Keyring(CENTER_KEY, ID, tmp_path / "new")
    assert gateway.say(fresh) == 403
    registry_file.give(tmp_path, Order(do="approve", seat=ID))
    gateway.roll.obey()
    assert [gateway.say(fresh), gateway.say(fresh)] == [200, 200]
    assert gateway.say(ring) == 401


def test_a_seat_that_cannot_keep_a_key_stays_with_the_centers(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where the folder should be")
    gateway, ring = Gateway(), Keyring(CENTER_KEY, ID, tmp_path / "file")
    assert [gateway.say(ring), gateway.say(ring)] == [200, 200]
    assert ring.own is None
    assert ring.hand(CENTER_KEY) == ""


def test_a_try_by_hand_uses_the_own_key_and_makes_none(tmp_path: Path) -> None:
    gateway = Gateway()
    assert gateway.say(Keyring(CENTER_KEY, ID, tmp_path, may_agree=False)) == 200
    assert not (tmp_path / "own.key").exists()
    assert [gateway.say(ring) for ring in [Keyring(CENTER_KEY, ID, tmp_path)] * 2] == [200, 200]
    assert gateway.say(Keyring(CENTER_KEY, ID, tmp_path, may_agree=False)) == 200


@pytest.mark.parametrize("text", ["", "{}", "[", '{"id":1,"key":"zz"}', '{"id":"s","key":"00"}', "null"])
def test_a_spoilt_key_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.key").write_text(text)
    assert Keyring(CENTER_KEY, ID, tmp_path).own is None


# ---------------------------------------------------------------- a hostile PC


def test_one_seat_cannot_use_up_the_memory_for_nonces() -> None:
    gateway, ring = Gateway(), Keyring(CENTER_KEY, ID)
    answers = [gateway.say(ring) for _ in range(40)]
    assert answers[:20] == [200] * 20
    assert answers.count(403) >= 18
    assert len(gateway.ear.nonces.seen) <= 22
    # Another seat is not made to pay.
    assert gateway.say(Keyring(CENTER_KEY, OTHER)) == 200


def test_made_up_machines_of_one_address_wait_and_are_bounded() -> None:
    gateway = Gateway()
    for number in range(200):
        gateway.say(Keyring(CENTER_KEY, f"s{number:016x}"))
    counted = [seat for seat in gateway.roll.seats.values() if seat.approved]
    assert (len(counted), len(gateway.roll.seats)) == (8, 8 + 64)


WHOLE = {
    "cpu_pct": 3.5, "memory_pct": 40.0, "memory_mb": 8192.0, "temperature_c": 51.0, "uptime_s": 3600.0, "net_errors": 0,
    "disks": (Disk(role="system", total_gb=240.0, used_pct=61.0),), "slept_s": 1.0, "running_s": 2.0,
    "drives": (Drive(id="0123456789abcdef", size_gb=240.0, health="good"),),
}  # fmt: skip
SPLINTERS = (
    b"null", b"-1", b"1e999", b"NaN", b'"', b"[", b"{", b"}", b"]", b",", b":", b"\xff\xfe", b"\0", b"9" * 400,
    b"[[[[" * 9, b"true", b'"id":"sfedcba9876543210"', b'"state":"stopping"', b"\\u0000", b"\n",
)  # fmt: skip


def mutated(body: bytes, dice: random.Random) -> bytes:
    """Bytes flipped, cut out, doubled, or splinters of JSON put in."""
    for _ in range(dice.randint(1, 4)):
        place, length = dice.randrange(len(body) + 1), dice.randrange(12)
        middle = dice.choice(
            (b"", bytes([dice.randrange(256)]), body[place : place + length] * 2, dice.choice(SPLINTERS))
        )
        body = body[:place] + middle + body[place + length :]
    return body


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_mutated_snapshots_crash_nothing_and_are_never_taken_as_fresh(count: int) -> None:
    """Most under the right key, so that the parser meets them; a third as they were sealed before."""
    dice = random.Random(4)
    gateway = Gateway()
    gateway.ear.pace = RateLimiter(1e9, addresses=8)
    gateway.ear.nonces.most = count
    statuses: Counter[int] = Counter()
    for number in range(count):
        at_ms = lan.wall_ms() - (2 * lan.WINDOW_MS if number % 2 else 0)
        body = contract.encode(snapshot(id=f"s{number % 40:016x}", at_ms=at_ms, **WHOLE))
        if number % 3:
            payload = contract.seal(mutated(body, dice), CENTER_KEY, contract.SNAPSHOT)
        else:
            payload = mutated(contract.seal(body, CENTER_KEY, contract.SNAPSHOT), dice)
        status = gateway.handle(payload, peer="127.0.0.1").status
        statuses[status] += 1
        if status == 200:
            taken = contract.decode(contract.unseal(payload, CENTER_KEY, contract.SNAPSHOT))
            assert abs(taken.at_ms - lan.wall_ms()) <= lan.WINDOW_MS
            assert gateway.handle(payload).status == 403  # said again
    assert set(statuses) == {200, 400, 401, 403}
    assert gateway.roll.call(lan.mono_ms(), SeatsSection()) is not None
