"""Hostile answers to the UPS reader and hostile words to the seat listener, over real sockets; a seed replays them.

A case counts when it was sent and the part under test has answered for it: no exception out of it, no task of it left
hanging, and nothing old shown as new. `--torture` sends a million SNMP answers and a hundred thousand snapshots.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import wire
from agent.config import SeatsSection
from agent.local import lan
from agent.probes.seats.registry import Registry
from agent.probes.ups import UpsProbe
from agent.probes.ups.snmp import SnmpTarget
from agent.scheduling import rounds
from agent.seat import snapshot as contract
from agent.seat.keyring import Keyring
from agent.seat.post import PostFailed, post
from tests.helpers import ROOT

_path = ROOT / "tests" / "agent" / "probes" / "ups" / "conftest.py"
_spec = importlib.util.spec_from_file_location("ups_card", _path)
assert _spec is not None
assert _spec.loader is not None
ups_card = importlib.util.module_from_spec(_spec)
sys.modules["ups_card"] = ups_card
_spec.loader.exec_module(ups_card)

AT = wire.Stamp(wall_ms=1, mono_ms=1, boot="b", clock="synced")
READERS = 6  # UPSs read at once: while one waits, others are busy
WAIT_S = 0.5
READ, MOST_POLLS = 12, 1_000
SMALL = 5  # objects that most cards put into one answer: taking apart a long one costs ten times as much
POLL_LIMIT_S = 8.0  # the reader promises 5
MUTANTS = 12  # with each question, before the one that may pass for its answer
DAMAGED = 0.06  # of the answers that may pass for the one that is waited for
DEAD = 0.03  # of the polls, in which nothing answers the question

# What RFC 1628 has, and what stands in a poll's own three values
MINUTES, CHARGE, LOAD = (f"1.3.6.1.2.1.33.1.{part}" for part in ("2.3.0", "2.4.0", "4.4.1.5.1"))


def truth_of(poll: int) -> tuple[int, int, int]:
    """Minutes, charge and load that are true in this poll and in none near it."""
    return 1 + poll % 997, 1 + poll % 97, 1 + poll % 89


# ---------------------------------------------------------------- mutations


def mutate(datagram: bytes, dice: random.Random) -> bytes:
    """Bits flipped, bytes changed, cut, doubled, filled in or taken out: one to four times."""
    octets = bytearray(datagram)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(octets) + 1)
        match dice.randrange(6):
            case 0 if octets:
                octets[place % len(octets)] ^= 1 << dice.randrange(8)
            case 1 if octets:
                octets[place % len(octets)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, 0x30, dice.randrange(256)))
            case 2:
                del octets[place:]
            case 3:
                octets[place:place] = dice.randbytes(dice.randint(1, 8))
            case 4:
                octets[place:place] = octets[place : place + dice.randint(1, 40)]
            case _:
                del octets[place : place + dice.randint(1, 12)]
    return bytes(octets)


def number_at(message: bytes) -> slice:
    """Where a v1 or v2c message keeps its request number (RFC 1157 section 4.1)."""
    place = _inside(message, 0)
    for _ in range(2):  # version, community
        place = _inside(message, place) + message[place + 1]
    place = _inside(message, _inside(message, place))  # the PDU, and the number in it
    return slice(place, place + message[place - 1])


def _inside(message: bytes, place: int) -> int:
    length = message[place + 1]
    return place + 2 + (length & 0x7F if length & 0x80 else 0)


def renumbered(message: bytes, number: bytes) -> bytes:
    place = number_at(message)
    return message[: place.start] + number + message[place.stop :]


# ---------------------------------------------------------------- a hostile card


@dataclass
class Hostile(asyncio.DatagramProtocol):
    """A UPS card whose answers come behind others: old ones, damaged ones, ones to nobody's question."""

    dice: random.Random
    most: int = SMALL
    card: Any = field(init=False)
    poll: int = 0
    dead: bool = False
    sent: int = 0
    older: list[bytes] = field(default_factory=list)
    known: dict[bytes, bytes] = field(default_factory=dict)
    transport: Any = None

    def __post_init__(self) -> None:
        self.card = ups_card.Card(ups_card.rows("rfc1628"), too_big=self.most)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def begins(self) -> None:
        """A new poll, in which other values are true."""
        self.poll += 1
        self.dead = self.dice.random() < DEAD and self.poll > 1
        for oid, value in zip((MINUTES, CHARGE, LOAD), truth_of(self.poll), strict=True):
            self.card.objects[oid] = ("2", str(value))
        self.older = [*self.older, *self.known.values()][-40:]
        self.known = {}

    def datagram_received(self, data: bytes, addr: Any) -> None:
        number = data[number_at(data)]
        honest = renumbered(self._answer(data), number)
        for _ in range(MUTANTS):
            self._send(self._stranger(honest, number), addr)
        if not self.dead:
            self._send(mutate(honest, self.dice) if self.dice.random() < DAMAGED else honest, addr)

    def _answer(self, question: bytes) -> bytes:
        blank = renumbered(question, b"\0\0\0\0")
        if blank not in self.known:
            self.known[blank] = self.card.answer(question)
        return self.known[blank]

    def _stranger(self, honest: bytes, number: bytes) -> bytes:
        """An answer to another question: true ones of polls before, and what mutation makes of one of now."""
        other = bytes(item ^ 0x55 for item in number)
        if self.older and self.dice.random() < 0.3:
            return renumbered(self.dice.choice(self.older), other)
        return mutate(renumbered(honest, other), self.dice)

    def _send(self, datagram: bytes, addr: Any) -> None:
        self.sent += 1
        self.transport.sendto(datagram, addr)


@dataclass
class Score:
    polls: int = 0
    read: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    crashed: list[str] = field(default_factory=list)
    hung: int = 0
    stale: list[str] = field(default_factory=list)
    longest_s: float = 0.0


async def read_hostile(hostile: Hostile, until: Callable[[], bool], version: Any, score: Score) -> None:
    """One reader and its card, poll after poll."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: hostile, ("127.0.0.1", 0))
    target = SnmpTarget(host="127.0.0.1", port=transport.get_extra_info("sockname")[1], version=version)
    probe = UpsProbe(wait_s=WAIT_S)
    while not until():
        hostile.begins()
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(POLL_LIMIT_S):
                reading = await probe.measure(target, 5.0, lambda _line: None)
            note(score, hostile, rounds.checked("ups", msgspec.structs.replace(reading, at=AT)))
        except TimeoutError:
            score.hung += 1
        except Exception as error:  # whatever comes out of the reader is the finding
            score.crashed.append(f"{type(error).__name__}: {error}")
        score.polls += 1
        score.longest_s = max(score.longest_s, time.monotonic() - began_s)
    transport.close()
    hostile.card.socket.close()


def note(score: Score, hostile: Hostile, reading: wire.Reading) -> None:
    assert isinstance(reading, wire.UpsReading)
    figures = (reading.runtime_s, reading.battery_charge_pct, reading.load_pct)
    if reading.failure is not None:
        score.causes[reading.failure.cause] += 1
        if any(item is not None for item in (*figures, reading.output_state)):
            score.stale.append(f"values beside a failure: {reading}")
        return
    score.read += 1
    older = [poll for poll in range(max(1, hostile.poll - 200), hostile.poll) if _is(truth_of(poll), figures)]
    if hostile.dead or older:
        score.stale.append(f"poll {hostile.poll}, dead {hostile.dead}, values of {older}: {reading}")


def _is(truth: tuple[int, int, int], figures: Sequence[float | None]) -> bool:
    minutes, charge, load = truth
    return figures == (minutes * 60, charge, load)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2c", "1"])
@pytest.mark.row(36)
def test_hostile_answers_to_the_ups_reader_are_survived_and_old_ones_never_shown(
    seed: int, torture: bool, version: str
) -> None:
    wanted = 500_000 if torture else 2_500
    score, began_s = Score(), time.monotonic()
    dice = [random.Random(f"{seed} {version} {reader}") for reader in range(READERS)]
    cards = [Hostile(draw, SMALL if number else 1000) for number, draw in enumerate(dice)]

    def done() -> bool:
        # On a busy machine many true answers come too late: it goes on until enough were read.
        is_read = score.read >= READ or score.polls >= MOST_POLLS
        return sum(card.sent for card in cards) >= wanted and is_read

    async def play() -> None:
        async with asyncio.TaskGroup() as group:
            for card in cards:
                group.create_task(read_hostile(card, done, version, score))

    asyncio.run(play())
    sent = sum(card.sent for card in cards)
    print(
        f"\nSNMP v{version}: {sent} answers in {score.polls} polls, {time.monotonic() - began_s:.0f} s; read "
        f"{score.read}, failed {dict(score.causes)}; longest poll {score.longest_s:.2f} s; crashes "
        f"{len(score.crashed)}, hangs {score.hung}, stale {len(score.stale)}"
    )
    assert sent >= wanted
    assert (score.crashed[:3], score.hung, score.stale[:3]) == ([], 0, [])
    assert score.read >= READ, "a reader that reads nothing shows nothing stale either"
    assert score.causes["broken"] == 0, "a reading that breaks the wire's contract"


# ---------------------------------------------------------------- hostile seats

CENTER_KEY = bytes(range(32))
WALL_MS = 1_790_000_000_000
STEP_MS = 250  # of the listener's clocks, for each word
LIMITS = SeatsSection()
VICTIM = f"s{0xFFFF:016x}"
WEIRD: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 10**400, -1e308, 1.5, "", "x" * 40, "\0", "ٹ", "0" * 32, [], [[]] * 40, {}, {"v": 1},
)  # fmt: skip


def seat(number: int, at_ms: int, dice: random.Random) -> contract.Snapshot:
    return contract.Snapshot(
        id=f"s{number:016x}", name=f"SEAT-{number:03}", at_ms=at_ms, nonce=f"{dice.getrandbits(128):032x}",
        facts=(f"mac:{number:016x}",), cpu_pct=4.0, memory_pct=30.0, memory_mb=8192.0, uptime_s=100.0,
        disks=(contract.Disk(role="system", total_gb=100.0, used_pct=40.0),), version="1",
    )  # fmt: skip


@dataclass
class Town:
    """What hostile PCs with the center's key may say: of their own, in others' names, and again."""

    dice: random.Random
    heard: list[bytes] = field(default_factory=list)  # that the listener has taken
    now_ms: int = 0

    def word(self) -> tuple[str, bytes]:
        """(what it is, the payload)."""
        kind = self.dice.choice(("bytes", "sealed bytes", "fields", "again", "old", "own", "another's"))
        own = seat(self.dice.randrange(1, 400), WALL_MS + self.now_ms, self.dice)
        body = contract.encode(own)
        if kind == "again" and self.heard:
            return kind, self.dice.choice(self.heard)
        if kind == "old":
            body = contract.encode(replace(own, at_ms=own.at_ms - self.dice.randint(121_000, 10**9)))
        elif kind == "another's":
            body = contract.encode(replace(own, id=VICTIM, name="SEAT-VICTIM"))
        elif kind == "fields":
            body = self._odd(body)
        elif kind == "sealed bytes":
            body = mutate(body, self.dice)
        sealed = contract.seal(body, CENTER_KEY, contract.SNAPSHOT)
        return kind, mutate(sealed, self.dice) if kind == "bytes" else sealed

    def _odd(self, body: bytes) -> bytes:
        fields = json.loads(body)
        for name in self.dice.sample(sorted(fields), self.dice.randint(1, 3)):
            fields[name] = self.dice.choice(WEIRD)
        return json.dumps(fields, separators=(",", ":")).encode()


async def say(port: int, source: str, payload: bytes, mangle: Callable[[bytes], bytes]) -> int:
    """The status of one request from a loopback address of its own, 0 for a connection that was closed on it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    head = f"POST /seat HTTP/1.1\r\nHost: g\r\nContent-Length: {len(payload)}\r\n\r\n".encode()
    try:
        writer.write(mangle(head) + payload)
        writer.write_eof()
        answer = await reader.read(4096)
    except ConnectionError:
        return 0
    finally:
        writer.transport.abort()
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


@pytest.mark.row(35)
def test_hostile_words_to_the_seat_listener_are_survived_and_old_ones_never_taken(
    seed: int, torture: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = 100_000 if torture else 1_500
    dice, statuses = random.Random(seed), Counter[tuple[str, int]]()
    town, began_s, hung = Town(dice), time.monotonic(), 0
    roll = Registry(None, policy="always")
    victim = replace(seat(0, WALL_MS, dice), id=VICTIM, name="SEAT-VICTIM")

    def mono() -> int:
        return town.now_ms

    async def play() -> None:
        nonlocal hung
        server = await lan.listen(roll, "127.0.0.1:0", CENTER_KEY, wall=lambda: WALL_MS + town.now_ms, mono=mono)
        port = server.sockets[0].getsockname()[1]
        own_words = await asyncio.to_thread(keyed, victim, port, tmp_path, dice)
        town.heard += own_words
        for number in range(wanted):
            town.now_ms += STEP_MS
            kind, payload = town.word()
            broken_head = dice.random() < 0.02
            mangle = (lambda head: mutate(head, dice)) if broken_head else bytes
            try:
                async with asyncio.timeout(7):
                    source = f"127.1.{number // 100 // 250 % 250}.{1 + number // 100 % 250}"
                    status = await say(port, source, payload, mangle)
            except TimeoutError:
                hung += 1
                continue
            statuses["head" if broken_head else kind, status] += 1
            if status == 200 and kind == "own":
                town.heard = [*own_words, *town.heard[-400:], payload]
            if number % 250 == 0:
                called = roll.call(mono(), LIMITS)
                assert called is None or rounds.checked("seats", msgspec.structs.replace(called, at=AT)).failure is None
        server.close()

    asyncio.run(play())
    print(
        f"\nseats: {sum(statuses.values())} words, {time.monotonic() - began_s:.0f} s, hangs {hung}", statuses, sep="\n"
    )
    assert hung == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert not [kind for kind, status in statuses if status == 500]
    assert statuses["own", 200] > wanted / 20, "a listener that takes nothing takes nothing stale either"
    assert (statuses["again", 200], statuses["old", 200], statuses["another's", 200]) == (0, 0, 0)
    state = {item.id: item for item in roll.seats.values()}[victim.id]
    assert state.heard_ms == 0, "the victim was silent, and nobody may speak for it"
    calls = roll.call(mono(), LIMITS)
    assert calls is not None
    assert calls.seats is not None
    assert dict(zip(calls.seats.id, calls.seats.state, strict=True))[victim.name] == "missing"


def keyed(victim: contract.Snapshot, port: int, folder: Path, dice: random.Random) -> list[bytes]:
    """The victim agrees on a key of its own and speaks under it once; gives what was to be heard of that on the LAN."""
    url, keyring = f"http://127.0.0.1:{port}/seat", Keyring(CENTER_KEY, victim.id, folder)
    figures = []
    for _ in range(2):
        own = replace(victim, nonce=f"{dice.getrandbits(128):032x}", hand=keyring.hand(keyring.key))
        figures.append(contract.seal(contract.encode(own), keyring.key, contract.SNAPSHOT))
        try:
            keyring.take(post(own, url, keyring.key).hand)
        except PostFailed as error:
            raise AssertionError(str(error)) from None
    assert keyring.own is not None
    return figures
