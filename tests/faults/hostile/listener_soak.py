"""Hostile messages through a real broker with TLS to the real listener and ingest: ``… FOLDER SEED TIMES MAKE LAYERS``.

LAYERS says what stands: ``both``, ``signature`` (the broker's rules are switched off in the copy of the code that runs)
or ``acl`` (the collector's check of signatures is). Without signatures the broker still knows who sends, so there the
attacks are those of everybody but the gateway itself. Prints figures.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from agent import wire
from collector.access.ca import Files
from collector.brokers.endpoints import Address
from collector.common.messages import Message
from collector.ingest.mqtt.subscriber import Subscriber
from collector.store import schema
from tests.faults.hostile.wire_soak import FORGERIES, NOW, Desk, Gateway, play
from tests.faults.makes import MAKES, SERVICE, Client, Running
from tests.helpers.authority import TestAuthority

PATIENCE_S = 30.0
Attack = tuple[str, Files | None, str, str, list[Message]]  # name, certificate, client id, transport, what is sent


@dataclass
class Siege:
    """A victim that goes on reporting, an insider with papers of its own, a revoked gateway, and strangers."""

    broker: Running
    authority: TestAuthority
    other: TestAuthority
    desk: Desk
    chance: random.Random
    stack: ExitStack
    figures: Counter[str] = field(default_factory=Counter)
    sent: dict[bytes, str] = field(default_factory=dict)  # body -> the attack it came with
    honest: list[Message] = field(default_factory=list)
    numbers: int = 0

    def __post_init__(self) -> None:
        self.victim, self.insider, self.revoked = (self.desk.enrol(Gateway(f"D-{n}")) for n in range(3))
        with self.desk.store.write() as conn:
            mine = schema.devices.c.device == self.revoked.device
            conn.execute(sa.update(schema.devices).where(mine).values(revoked_ms=NOW - 1))
        if self.broker.embedded:
            self.broker.embedded.refuse([self.revoked.device])
        self.papers = {item.device: self.authority.client(item.device) for item in (self.victim, self.insider)}
        device = self.victim.device
        self.bad_papers = {
            "no certificate": None,
            "another authority": self.other.client(device),
            "expired": self.authority.client(device, begins_d=-40, ends_d=-1, file="expired"),
            "not yet valid": self.authority.client(device, begins_d=1, file="early"),
            "a server's certificate": self.authority.server(),
        }
        self.raws, self.chains = play(self.chance)
        self.chain = wire.GENESIS
        self.line = self._client(self.papers[device], device, "tcp")
        assert self.line.hears(wire.receipt_topic(device)) == [True]

    def _client(self, files: Files | None, client_id: str, transport: str) -> Client:
        port = self.broker.tls if transport == "tcp" else self.broker.websocket
        return Client(port, self.authority.ca_file, files, client_id, transport=transport, patience_s=5)

    def report(self) -> None:
        """The victim's own next batch, until its receipt is there: whatever came before it has been judged."""
        raw = wire.encode_reading(
            wire.UpsReading(at=wire.Stamp(wall_ms=NOW, mono_ms=self.numbers, boot="b", clock="synced"), load_pct=1.0)
        )
        self.numbers += 1
        message = self.victim.sealed([raw], self.numbers, self.chain)
        self.chain = wire.chain(self.chain, [raw])
        self.honest.append(message)
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            if not self.line.is_in():
                self.line.close()
                self.line = self._client(self.papers[self.victim.device], self.victim.device, "tcp")
                self.line.hears(wire.receipt_topic(self.victim.device))
            self.line.says(message.topic, message.payload)
            again_s = time.monotonic() + 3
            while time.monotonic() < again_s and self.line.is_in():
                if any(_answers(payload, self.numbers) for _, payload in list(self.line.heard)):
                    return
                time.sleep(0.005)
        raise AssertionError("the victim's own report has no receipt")

    def attack(self, attack: Attack) -> None:
        name, files, client_id, transport, messages = attack
        visitor = self._client(files, client_id, transport)
        for message in messages:
            self.figures["attacks"] += 1
            self.sent.setdefault(_body(message), name)
            if visitor.is_in():
                visitor.says(message.topic, message.payload)
        until_s = time.monotonic() + 2
        while visitor.is_in() and visitor.acknowledged < len(messages) and time.monotonic() < until_s:
            time.sleep(0.002)
        visitor.close()

    def judge(self) -> None:
        """Every row of evidence must be the victim's own report."""
        honest = {_body(message) for message in self.honest}
        with self.desk.store.read() as conn:
            bodies = [bytes(body) for body in conn.scalars(sa.select(schema.evidence.c.body))]
            rows = conn.scalar(sa.select(sa.func.count()).select_from(schema.readings["ups"])) or 0
        for body in bodies:
            if body not in honest:
                self.figures["accepted"] += 1
                self.figures[f"accepted: {self.sent.get(body, 'nobody knows')}"] += 1
        self.figures["honest"] = len(self.honest)
        self.figures["other_rows"] = abs(rows - self.numbers)


def _answers(payload: bytes, number: int) -> bool:
    return wire.decode_receipt(wire.unseal(payload)[0]).last_seq == number


def _body(message: Message) -> bytes:
    return message.payload.rpartition(b"\n")[0]


def attacks(siege: Siege, layers: str) -> Iterator[Attack]:
    victim, insider, chance = siege.victim, siege.insider, siege.chance
    spool = Gateway("none").spool  # numbers that were never used, so that only who sends it is wrong
    fresh = Gateway(victim.center, victim.key, spool).sealed(siege.raws[:3], 1, siege.chains[0])
    theirs = Gateway(insider.center, insider.key, Gateway("none").spool).sealed(siege.raws[:3], 1, siege.chains[0])
    named = insider.sealed(siege.raws[:3], 1, siege.chains[0], device=victim.device)
    noise = Message(fresh.topic, chance.randbytes(chance.randrange(1, 60_000)))
    transport = chance.choice(("tcp", "websockets"))
    for name, files in siege.bad_papers.items():
        yield name, files, victim.device, transport, [fresh]
    mine = siege.papers[insider.device]
    as_victim = [Message(fresh.topic, item.payload) for item in (theirs, named)]
    if layers != "signature":  # passing on what the victim has signed is no forgery to who reads signatures
        relayed = Gateway(victim.center, victim.key, Gateway("none").spool).sealed(siege.raws[:3], 1, siege.chains[0])
        as_victim.append(relayed)
    yield "the insider on the victim's topic", mine, insider.device, transport, [*as_victim, noise]
    yield "the insider with the victim's client id", mine, victim.device, transport, [as_victim[0], noise]
    papers = siege.authority.client(siege.revoked.device)
    late = siege.revoked.sealed(siege.raws[:3], 1, siege.chains[0])
    yield "revoked", papers, siege.revoked.device, transport, [late]
    # Who has the victim's own papers: old batches again, in any order, and other bytes under numbers in use.
    own = siege.papers[victim.device]
    old = chance.choices(siege.honest, k=4)
    yield "replayed and reordered", own, victim.device, transport, old
    if layers != "acl":
        for name, forge in FORGERIES.items():
            message = forge(victim, insider, siege.raws, siege.chains, chance)
            if len(message.payload) < wire.MAX_BATCH_BYTES:
                yield name, own, victim.device, transport, [message]
    for name in ("oversized", "too many readings", "deeply nested", "a number of 400 digits"):
        message = FORGERIES[name](victim, insider, siege.raws, siege.chains, chance)
        yield name, own, victim.device, transport, [message]


def main(folder: Path, seed: int, times: int, make: str, layers: str) -> None:
    chance = random.Random(f"{seed} {make} {layers}")
    authority = TestAuthority(folder / "authority")
    other = TestAuthority(folder / "other", "another authority")
    with ExitStack() as stack:
        desk = Desk(folder / "desk")
        broker = stack.enter_context(MAKES[make](folder / "broker", authority))
        service = authority.client(SERVICE)
        address = Address("127.0.0.1", broker.tls, tls=True, ca=service.ca, cert=service.cert, key=service.key)
        listener = Subscriber(address, desk.ingest, lambda _moved: None, lambda: NOW)
        listener.start()
        stack.callback(listener.stop)
        assert listener.connected.wait(60)
        siege = Siege(broker, authority, other, desk, chance, stack)
        for _ in range(times):
            siege.report()
            for attack in attacks(siege, layers):
                siege.attack(attack)
        siege.report()
        time.sleep(1)
        siege.judge()
        siege.line.close()
    desk.store.close()
    print(json.dumps(siege.figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
