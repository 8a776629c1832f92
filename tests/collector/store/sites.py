"""Gateways as a spool and a key, that talk to a collector's ingest as the uplink does."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.spool.queue import Spool
from agent.spool.record import Group
from agent.uplink.batch import batch_of
from agent.uplink.receipts import ReceiptWitness
from collector.access.enrolment import device_name
from collector.common.messages import Message
from collector.ingest.transaction import Ingest
from collector.store import Store, schema

T0 = 1_795_000_000_000
MINUTE_MS = 60_000
KEY = Ed25519PrivateKey.generate()


def stamp() -> wire.Stamp:
    return wire.Stamp(wall_ms=T0, mono_ms=1, boot="b", clock="synced")


@dataclass
class Site:
    """A gateway's spool, and every reading that was ever put into it."""

    spool: Spool
    key: Ed25519PrivateKey
    taken: dict[tuple[str, int], bytes] = field(default_factory=dict)
    receipts: set[tuple[str, int]] = field(default_factory=set)  # the readings that the collector had
    witness: ReceiptWitness = field(default_factory=ReceiptWitness)

    @property
    def device(self) -> str:
        return device_name(self.key.public_key().public_bytes_raw())

    def measure(self, minute: int, chance: random.Random) -> None:
        wall_ms = T0 + minute * MINUTE_MS + chance.randrange(-4_000, 4_000)
        at = wire.Stamp(wall_ms=wall_ms, mono_ms=minute * MINUTE_MS, boot="b", clock="synced")
        readings = [wire.UpsReading(at=at, output_state="online", load_pct=chance.uniform(0, 90)) for _ in range(3)]
        raws = [wire.encode_reading(reading) for reading in readings]
        kept = self.spool.append(raws, "low", at.wall_ms)
        first = kept.last_seq - len(raws) + 1
        self.taken |= {(kept.spool, first + place): raw for place, raw in enumerate(raws)}

    def message(self, groups: list[Group], *, live: bool) -> Message:
        body = batch_of(groups, device=self.device, nonce="", live=live, proof=self.witness.proof)
        return Message(wire.batch_topic(self.device), wire.seal(body, self.key.sign))

    def receipted(self, sealed: bytes) -> None:
        """As the uplink does it."""
        receipt = wire.decode_receipt(wire.unseal(sealed)[0])
        if self.spool.forget(receipt.spool, receipt.first_seq, receipt.last_seq, receipt.chain):
            self.spool.learn_epoch(receipt.epoch)
            if receipt.lacks:
                self.spool.want_again(receipt.spool, receipt.lacks)
            self.witness.learn(receipt, sealed)
            self.receipts |= {(receipt.spool, seq) for seq in range(receipt.first_seq, receipt.last_seq + 1)}


def talk(store: Store, sites: list[Site], now_ms: int, rounds: int = 1) -> None:
    ingest = Ingest(store, KEY, lambda *_: None)
    for _ in range(rounds):
        if not any(site.spool.waiting() for site in sites):
            return
        for site in sites:
            groups = site.spool.newest(since_ms=now_ms - 150_000) or site.spool.oldest()
            if groups:
                taken = ingest.take([site.message(groups, live=False)], now_ms)
                for message in taken.receipts:
                    site.receipted(message.payload)


def enrol(store: Store, site: Site, number: int) -> None:
    row = {"device": site.device, "center": f"LHR-{number}", "enrolled_ms": T0 - 10**9}
    with store.write() as conn:
        conn.execute(sa.insert(schema.devices).values(public_key=site.key.public_key().public_bytes_raw(), **row))
