"""A network card with a UPS behind it: an SNMP agent on a real UDP socket, with the manners of real cards."""

from __future__ import annotations

import asyncio
import bisect
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto import api
from pysnmp.proto.rfc1902 import Counter32, Gauge32, Integer32, OctetString, TimeTicks
from pysnmp.proto.rfc1905 import endOfMibView, noSuchInstance

from agent.probes.ups import UpsProbe
from agent.probes.ups.snmp import SnmpTarget
from agent.wire import UpsReading

DEVICES = Path(__file__).parent / "devices"
FIELD = Path(__file__).parent / "field"
Oid = tuple[int, ...]
TYPES: dict[str, Callable[[str], Any]] = {
    "2": lambda text: Integer32(int(text)),
    "4": lambda text: OctetString(text.replace("\\0", "\0").encode()),
    "4x": lambda text: OctetString(hexValue=text),
    "5": lambda _: api.PROTOCOL_MODULES[1].Null(""),
    "6": lambda text: api.PROTOCOL_MODULES[1].ObjectIdentifier(text),
    "65": lambda text: Counter32(int(text)),
    "66": lambda text: Gauge32(int(text)),
    "67": lambda text: TimeTicks(int(text)),
    "68x": lambda text: api.PROTOCOL_MODULES[1].Opaque(hexValue=text),
}


def rows(name: str) -> dict[str, tuple[str, str]]:
    """OID -> (snmpsim type tag, value) of one hand-written device, or of one that somebody met in the field."""
    path = DEVICES / f"{name}.snmprec"
    return rows_of(path if path.exists() else FIELD / path.name)


def rows_of(path: Path) -> dict[str, tuple[str, str]]:
    """Of any recording; objects of types that no UPS needs (addresses, 64 bits) are left out."""
    lines = [line.split("|", 2) for line in path.read_text(errors="replace").splitlines() if line.count("|") >= 2]
    return {oid: (tag, value) for oid, tag, value in lines if tag in TYPES}


@dataclass
class Card:
    """`too_big` answers longer questions with tooBig, `deaf` does not answer them at all; `mangle` has the last word
    over each answer (None: silence). `questions` keeps what was asked."""

    objects: dict[str, tuple[str, str]]
    community: str = "public"
    versions: tuple[int, ...] = (0, 1)
    too_big: int = 1000
    deaf: int = 1000
    broken_next: bool = False
    answers_from_elsewhere: bool = False
    mangle: Callable[[bytes], bytes | None] = bytes
    questions: list[list[str]] = field(default_factory=list)
    socket: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def target(self, **settings: Any) -> SnmpTarget:
        return SnmpTarget(host="127.0.0.1", port=self.port, **settings)

    def serve(self) -> None:
        while True:
            try:
                question, asker = self.socket.recvfrom(65535)
            except OSError:
                return
            if not question:
                return
            answer = self.answer(question)
            if answer is not None and (mangled := self.mangle(answer)) is not None:
                self.send(mangled, asker)

    def send(self, answer: bytes, asker: Any) -> None:
        if not self.answers_from_elsewhere:
            self.socket.sendto(answer, asker)
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
            elsewhere.sendto(answer, asker)

    def answer(self, question: bytes) -> bytes | None:
        version = int(api.decodeMessageVersion(question))
        if version not in self.versions:
            return None
        module = api.PROTOCOL_MODULES[version]
        message, _ = decoder.decode(question, asn1Spec=module.Message())
        if bytes(module.apiMessage.get_community(message)) != self.community.encode():
            return None
        pdu = module.apiMessage.get_pdu(message)
        names = [tuple(name) for name, _ in module.apiPDU.get_varbinds(pdu)]
        self.questions.append([".".join(map(str, name)) for name in names])
        if len(names) > self.deaf:
            return None
        response = module.apiMessage.get_response(message)
        answer = module.apiMessage.get_pdu(response)
        if len(names) > self.too_big:
            module.apiPDU.set_error_status(answer, 1)
        else:
            following = pdu.isSameTypeWith(module.GetNextRequestPDU())
            self.fill(module, answer, [self.look(name, following) for name in names], version)
        return bytes(encoder.encode(response))

    def look(self, name: Oid, following: bool) -> tuple[Oid, Any]:
        if following and not self.broken_next:
            known = sorted(tuple(map(int, oid.split("."))) for oid in self.objects)
            place = bisect.bisect_right(known, name)
            if place == len(known):
                return name, endOfMibView
            name = known[place]
        tag, value = self.objects.get(".".join(map(str, name)), ("", ""))
        return name, TYPES[tag](value) if tag else noSuchInstance

    def fill(self, module: Any, answer: Any, found: list[tuple[Oid, Any]], version: int) -> None:
        missing = [n for n, (_, value) in enumerate(found, 1) if value is endOfMibView or value is noSuchInstance]
        if version == 0 and missing:  # all or nothing: the first missing object spoils the rest
            module.apiPDU.set_varbinds(answer, [(name, module.Null("")) for name, _ in found])
            module.apiPDU.set_error_status(answer, 2)
            module.apiPDU.set_error_index(answer, missing[0])
            return
        if version == 0:
            found = [(name, _v1(module, value)) for name, value in found]
        module.apiPDU.set_varbinds(answer, found)


def _v1(module: Any, value: Any) -> Any:
    names = {Integer32: "Integer", Gauge32: "Gauge", Counter32: "Counter", TimeTicks: "TimeTicks"}
    return getattr(module, names[type(value)])(int(value)) if type(value) in names else value


@pytest.fixture
def card() -> Iterator[Callable[..., Card]]:
    """`card("rfc1628")` starts a hand-written device; keyword arguments are the Card's manners."""
    cards: list[tuple[Card, threading.Thread]] = []

    def start(device: str | dict[str, tuple[str, str]], **manners: Any) -> Card:
        made = Card(rows(device) if isinstance(device, str) else device, **manners)
        made.socket.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=made.serve, daemon=True)
        thread.start()
        cards.append((made, thread))
        return made

    yield start
    for made, thread in cards:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", made.port))
        thread.join(60)
        made.socket.close()


@pytest.fixture
def look() -> Callable[..., UpsReading]:
    """Reads one UPS once, with a fresh probe unless one is given."""

    def measure(
        target: SnmpTarget,
        probe: UpsProbe | None = None,
        say: Callable[[str], None] = lambda _: None,
        deadline_s: float = 5.0,
    ) -> UpsReading:
        probe = probe or UpsProbe(wait_s=2.0)
        return asyncio.run(probe.measure(target, deadline_s, say))

    return measure
