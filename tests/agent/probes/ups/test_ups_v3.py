"""SNMP v3 against pysnmp's own command responder: the right keys read, wrong ones are refused by name, and somebody
who stands in between and changes, repeats and makes up what the card says is never believed."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from pysnmp.carrier.asyncio.dgram import udp
from pysnmp.entity import config, engine
from pysnmp.entity.rfc3413 import cmdrsp, context
from pysnmp.proto.api import v2c
from pysnmp.smi import instrum

from agent.probes.ups import UpsProbe
from agent.probes.ups.snmp import SnmpTarget, conversation
from agent.wire import UpsReading

Look = Callable[..., UpsReading]
AUTH, PRIV = "correct horse", "battery staple"
SERIAL = "GX00000001"
QUICK, FULL = 300, 100_000
MUTANTS = 10  # before each true answer
MOST_POLLS = 40  # to see one that is read: a forged word of the card ends most
DEAD = 0.1  # of the polls, in which no true answer comes
POLL_S, LIMIT_S = 5.0, 8.0


class Objects(instrum.AbstractMibInstrumController):  # type: ignore[misc]
    """Serves a Card's objects to pysnmp's responders."""

    def __init__(self, device: Any) -> None:
        self.device = device

    def read_variables(self, *bindings: Any, **_: Any) -> list[Any]:
        return [self.found(name, False) for name, _ in bindings]

    def read_next_variables(self, *bindings: Any, **_: Any) -> list[Any]:
        return [self.found(name, True) for name, _ in bindings]

    def found(self, name: Any, following: bool) -> Any:
        oid, value = self.device.look(tuple(name), following)
        return v2c.ObjectIdentifier(oid), value


def serve(device: Any, port: int, ready: threading.Event, stop: threading.Event) -> None:
    async def run() -> None:
        agent = engine.SnmpEngine()
        config.add_transport(agent, udp.DOMAIN_NAME, udp.UdpTransport().open_server_mode(("127.0.0.1", port)))
        config.add_v3_user(agent, "nabz", config.USM_AUTH_HMAC96_SHA, AUTH, config.USM_PRIV_CFB128_AES, PRIV)
        config.add_vacm_user(agent, 3, "nabz", "authPriv", (1, 3, 6), (1, 3, 6))
        names = context.SnmpContext(agent)
        names.unregister_context_name(b"")
        names.register_context_name(b"", Objects(device))
        cmdrsp.GetCommandResponder(agent, names)
        cmdrsp.NextCommandResponder(agent, names)
        ready.set()
        await asyncio.get_running_loop().run_in_executor(None, stop.wait)
        agent.close_dispatcher()

    asyncio.run(run())


@pytest.fixture
def v3(card: Callable[..., Any], free_port: int) -> Iterator[Callable[..., SnmpTarget]]:
    ready, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=serve, args=(card("xups"), free_port, ready, stop), daemon=True)
    thread.start()
    assert ready.wait(60)

    def target(**settings: Any) -> SnmpTarget:
        right = {"user": "nabz", "auth_protocol": "sha", "auth_key": AUTH, "priv_protocol": "aes", "priv_key": PRIV}
        return SnmpTarget(host="127.0.0.1", port=free_port, version="3", **{**right, **settings})

    yield target
    stop.set()
    thread.join(60)


def asked(look: Look, target: SnmpTarget) -> UpsReading:
    """A look lasts five seconds at most, which a busy machine may take for itself: then it is asked again."""
    for _ in range(12):
        reading = look(target, UpsProbe(wait_s=20.0), deadline_s=60.0)
        if reading.failure is None or reading.failure.cause not in ("timeout", "slow", "silent"):
            break
    return reading


def test_a_user_with_the_right_keys_reads_the_ups(v3: Callable[..., SnmpTarget], look: Look) -> None:
    reading = asked(look, v3())

    assert reading.failure is None
    assert reading.output_state == "eco"
    assert reading.serial == SERIAL


@pytest.mark.parametrize("wrong", [{"user": "stranger"}, {"auth_key": "wrong horse"}, {"auth_protocol": "md5"}])
def test_a_refusal_names_the_user_and_never_a_key(
    v3: Callable[..., SnmpTarget], look: Look, wrong: dict[str, str]
) -> None:
    reading = asked(look, v3(**wrong))

    assert reading.failure is not None
    assert reading.failure.cause == "refused"
    assert f"'{wrong.get('user', 'nabz')}'" in reading.failure.detail
    assert "horse" not in reading.failure.detail


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"user": ""}, "needs a user"),
        ({"auth_protocol": "none", "auth_key": ""}, "privacy needs authentication"),
        ({"auth_key": "short"}, "auth key must have 8 characters"),
    ],
)
def test_settings_that_cannot_work_are_said_before_anything_is_sent(
    look: Look, settings: dict[str, str], missing: str
) -> None:
    right = {"user": "nabz", "auth_protocol": "sha", "auth_key": AUTH, "priv_protocol": "aes", "priv_key": PRIV}
    reading = look(SnmpTarget(host="127.0.0.1", port=9, version="3", **{**right, **settings}))

    assert reading.failure is not None
    assert reading.failure.cause == "settings"
    assert missing in reading.failure.detail
    assert AUTH not in repr(SnmpTarget(host="x", auth_key=AUTH))


def test_what_a_poll_needs_first_is_made_beside_the_loop_that_times_everybody_else(
    v3: Callable[..., SnmpTarget],
) -> None:
    async def share_of_the_loop() -> float:
        loop_s, all_s = time.thread_time(), time.process_time()
        async with conversation(v3()):
            return (time.thread_time() - loop_s) / (time.process_time() - all_s)

    assert asyncio.run(share_of_the_loop()) < 0.5


# ---------------------------------------------------------------- somebody in between


def mutate(datagram: bytes, dice: random.Random) -> bytes:
    octets = bytearray(datagram)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(octets) + 1)
        match dice.randrange(5):
            case 0 if octets:
                octets[place % len(octets)] ^= 1 << dice.randrange(8)
            case 1 if octets:
                octets[place % len(octets)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, 0x30))
            case 2:
                del octets[place:]
            case 3:
                octets[place:place] = dice.randbytes(dice.randint(1, 8))
            case _:
                octets[place:place] = octets[place : place + dice.randint(1, 40)]
    return bytes(octets)


@dataclass
class Between(asyncio.DatagramProtocol):
    """Speaks to the reader; `Behind` speaks to the card."""

    card_port: int
    dice: random.Random
    dead: bool = False
    changed: int = 0
    old: list[bytes] = field(default_factory=list)  # of earlier polls
    fresh: list[bytes] = field(default_factory=list)  # of this one: late, they would still be true
    reader: Any = None
    front: Any = None
    back: Any = None

    async def stand(self) -> int:
        loop = asyncio.get_running_loop()
        self.front, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        at_card = ("127.0.0.1", self.card_port)
        self.back, _ = await loop.create_datagram_endpoint(lambda: Behind(self), remote_addr=at_card)
        return int(self.front.get_extra_info("sockname")[1])

    def begin(self, *, dead: bool) -> None:
        self.old, self.fresh, self.dead = [*self.old, *self.fresh][-40:], [], dead

    def leave(self) -> None:
        self.front.close()
        self.back.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.reader = addr
        self.back.sendto(data)

    def answered(self, data: bytes) -> None:
        for _ in range(MUTANTS):
            again = self.old and self.dice.random() < 0.3
            changed = self.dice.choice(self.old) if again else mutate(data, self.dice)
            while changed.startswith(data):  # the answer itself, whatever stands behind it: the truth of this moment
                changed = mutate(data, self.dice)
            self.front.sendto(changed, self.reader)
            self.changed += 1
        self.fresh.append(data)
        if not self.dead:
            self.front.sendto(data, self.reader)


@dataclass
class Behind(asyncio.DatagramProtocol):
    between: Between

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.between.answered(data)


async def besieged(target: SnmpTarget, dice: random.Random, wanted: int) -> Counter[str]:
    """Polls until so many changed answers were sent; what came of them."""
    figures: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: figures.update([f"raised: {context.get('exception')!r:.150}"]))
    between = Between(target.port, dice)
    probe = UpsProbe(wait_s=0.5)
    at = replace(target, port=await between.stand())
    while between.changed < wanted or (not figures["read"] and figures["polls"] < MOST_POLLS):
        between.begin(dead=dice.random() < DEAD)
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(LIMIT_S):
                reading = await probe.measure(at, POLL_S, lambda _line: None)
        except TimeoutError:
            figures["hung"] += 1
            continue
        except Exception as error:  # whatever comes out of the reader is the finding
            figures[f"raised: {error!r:.150}"] += 1
            continue
        figures["polls"] += 1
        figures["longest_ms"] = max(figures["longest_ms"], int(1000 * (time.monotonic() - began_s)))
        if reading.failure is not None:
            figures[f"failed: {reading.failure.cause}"] += 1
            figures["values beside a failure"] += reading.serial is not None
        else:
            figures["read"] += 1
            figures["stale"] += between.dead
            figures["believed"] += reading.serial != SERIAL
    figures["changed"] = between.changed
    between.leave()
    return figures


@pytest.mark.row(36)
def test_nothing_changed_or_old_is_believed_of_a_v3_card(
    v3: Callable[..., SnmpTarget], request: pytest.FixtureRequest
) -> None:
    torture = request.config.getoption("--torture")
    wanted = FULL if torture else QUICK
    seed = request.config.getoption("--fault-seed") or random.SystemRandom().randrange(2**31)
    print(f"replay with --fault-seed {seed}")
    figures = asyncio.run(besieged(v3(), random.Random(seed), wanted))
    print(dict(figures))
    bad = {word: count for word, count in figures.items() if count and word.startswith(("raised", "hung", "values"))}
    assert bad == {}
    assert figures["believed"] == figures["stale"] == 0
    assert figures["read"] > 0
