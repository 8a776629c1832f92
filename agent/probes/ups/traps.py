"""Hears SNMP traps and informs (v1, v2c, v3): a UPS that calls is looked at, at once.

1. Only datagrams from the address of a configured UPS are read, and of each address only a few a second.
2. A trap is never believed: whatever it says, and whoever may have forged it, it is a reason to look and nothing else.
3. An inform is acknowledged, so that its card does not repeat it: v1 has none, v2c by RFC 3416 section 4.2.7, v3 by
   the user security model (RFC 3414) with the users of the settings; only there does pysnmp's engine cost memory.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agent.common.logs import Event
from agent.config import UpsSection
from agent.probes.probe import ProbeFailed
from agent.probes.ups.pdu import weigh
from agent.probes.ups.snmp import SnmpTarget, target_of
from agent.probes.ups.snmp_v3 import AUTH, PRIV

NOT_A_TRAP = Event(__name__, "debug", "trap_unreadable", "a datagram that is no SNMP notification", fields="error")
UNANSWERED = Event(__name__, "debug", "inform_unanswered", "an SNMPv3 inform that cannot be answered", fields="error")
UNRESOLVED = Event(
    __name__, "warning", "trap_host_unresolved", "a UPS's host name has no address now; its traps are not read",
    key="host", fields="error",
)  # fmt: skip
UNACKNOWLEDGED = Event(
    __name__, "warning", "informs_unacknowledged", "informs of a UPS are not acknowledged: its settings forbid it",
    key="ups", fields="error",
)  # fmt: skip

Alarm = Callable[[str], None]  # takes the name of the UPS that called

PER_S, AT_ONCE = 5.0, 20.0  # datagrams of one address that are read
RESOLVE_AGAIN_S = 600.0  # UPSs may be configured by name
V3 = 3  # msgVersion of RFC 3412


# ---------------------------------------------------------------- one datagram: pure


@dataclass(frozen=True)
class Notification:
    """A datagram that is a notification: its version (0: v1, 1: v2c, 3: v3) and what to answer, if anything."""

    version: int
    answer: bytes = b""


def heard(datagram: bytes) -> Notification | None:
    """What a datagram is, by RFC 1157, RFC 3416 and RFC 3412; None for anything that is no notification."""
    from pyasn1.codec.ber import decoder, encoder
    from pysnmp.proto import api

    try:
        weigh(datagram)
        version = int(api.decodeMessageVersion(datagram))
        if version == V3:
            return Notification(version)
        module = api.PROTOCOL_MODULES[version]
        message, _ = decoder.decode(datagram, asn1Spec=module.Message())
        pdu = module.apiMessage.get_pdu(message)
        if version == api.SNMP_VERSION_1:
            return Notification(version) if pdu.tagSet == module.TrapPDU.tagSet else None
        if pdu.tagSet == module.InformRequestPDU.tagSet:
            return Notification(version, bytes(encoder.encode(_acknowledged(module, message, pdu))))
        return Notification(version) if pdu.tagSet == module.SNMPv2TrapPDU.tagSet else None
    except Exception as error:
        # pyasn1 raises its own errors, and IndexError, TypeError, AttributeError … on hostile input
        NOT_A_TRAP.log(error=error)
        return None


def _acknowledged(module: Any, message: Any, pdu: Any) -> Any:
    """The inform's own bindings and request number as a response."""
    response = module.apiMessage.get_response(message)
    module.apiPDU.set_varbinds(module.apiMessage.get_pdu(response), module.apiPDU.get_varbinds(pdu))
    return response


def plain_address(address: str) -> str:
    """An address as settings would write it: an IPv4 one that came over an IPv6 socket as IPv4, without a zone."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


# ---------------------------------------------------------------- the listener


@dataclass
class _Bucket:
    """Lets AT_ONCE through, then PER_S a second."""

    at_s: float
    left: float = AT_ONCE

    def takes(self, now_s: float) -> bool:
        self.left = min(AT_ONCE, self.left + (now_s - self.at_s) * PER_S)
        self.at_s = now_s
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass
class Ear(asyncio.DatagramProtocol):
    """`callers` names the UPSs behind each address."""

    alarm: Alarm
    targets: Sequence[SnmpTarget]
    now_s: Callable[[], float] = time.monotonic
    callers: Mapping[str, list[str]] = field(default_factory=dict)
    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _transport: asyncio.DatagramTransport | None = None
    _engine: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        if self.targets:
            self._engine = _engine(self.targets, self._transport)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if self._engine is not None:
            self._engine.close_dispatcher()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        address = plain_address(addr[0])
        if address not in self.callers or not self._bucket(address).takes(self.now_s()):
            return
        call = heard(data)
        if call is None:
            return
        for name in self.callers[address]:
            self.alarm(name)
        if call.answer and self._transport is not None:
            self._transport.sendto(call.answer, addr)
        elif call.version == V3 and self._engine is not None:
            self._answer_v3(data, addr)

    def _bucket(self, address: str) -> _Bucket:
        return self._buckets.setdefault(address, _Bucket(self.now_s()))

    def _answer_v3(self, data: bytes, addr: tuple[str, int]) -> None:
        from pysnmp.carrier.asyncio.dgram import udp

        try:
            self._engine.message_dispatcher.receive_message(
                self._engine, udp.DOMAIN_NAME, udp.UdpTransportAddress(addr[:2]), data
            )
        except Exception as error:
            # as with pyasn1: no list of what hostile input raises is complete
            UNANSWERED.log(error=error)


def _engine(targets: Sequence[SnmpTarget], transport: asyncio.DatagramTransport) -> Any:
    """pysnmp's engine, which knows how to answer v3 discovery and informs, on our socket."""
    from pysnmp.carrier.asyncio.dgram import udp
    from pysnmp.entity import config
    from pysnmp.entity.engine import SnmpEngine
    from pysnmp.entity.rfc3413.ntfrcv import NotificationReceiver
    from pysnmp.hlapi.v3arch import asyncio as hlapi

    engine = SnmpEngine()
    through = udp.UdpTransport()
    through.connection_made(transport)
    config.add_transport(engine, udp.DOMAIN_NAME, through)
    for target in targets:
        config.add_v3_user(
            engine,
            target.user,
            getattr(hlapi, AUTH[target.auth_protocol]),
            target.auth_key or None,
            getattr(hlapi, PRIV[target.priv_protocol]),
            target.priv_key or None,
        )
    NotificationReceiver(engine, lambda *_said: None)
    return engine


@dataclass
class TrapListener:
    """One open socket; `async with` it, and `serve_forever` keeps the UPSs' addresses fresh."""

    ear: Ear
    transport: asyncio.DatagramTransport
    hosts: Mapping[str, list[str]]

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])

    async def __aenter__(self) -> TrapListener:
        self.ear.callers = await callers_of(self.hosts)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.transport.close()

    async def serve_forever(self) -> None:
        while True:
            await asyncio.sleep(RESOLVE_AGAIN_S)
            self.ear.callers = await callers_of(self.hosts)


async def callers_of(hosts: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The names of the UPSs behind each address; a host that does not resolve is left out until the next time."""
    loop = asyncio.get_running_loop()
    callers: dict[str, list[str]] = {}
    for host, names in hosts.items():
        try:
            addresses = await loop.getaddrinfo(host, None)
        except (OSError, UnicodeError) as error:
            UNRESOLVED.log(host=host, error=error)
            continue
        for address in {plain_address(str(entry[4][0])) for entry in addresses}:
            callers.setdefault(address, []).extend(names)
    return callers


async def listen(address: str, upses: Sequence[UpsSection], alarm: Alarm) -> TrapListener:
    """Listens on ``HOST:PORT``. Raises OSError when the port is taken or not allowed."""
    host, _, port = address.rpartition(":")
    called = [ups for ups in upses if ups.driver == "snmp" and ups.host]
    hosts: dict[str, list[str]] = {}
    for ups in called:
        hosts.setdefault(ups.host, []).append(ups.name)
    transport, ear = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Ear(alarm, _users(called)), local_addr=(host.strip("[]"), int(port))
    )
    return TrapListener(ear, transport, hosts)


def _users(upses: Sequence[UpsSection]) -> list[SnmpTarget]:
    targets = []
    for ups in upses:
        if ups.snmp_version != "3":
            continue
        try:
            target = target_of(ups)
        except ProbeFailed as error:
            UNACKNOWLEDGED.log(ups=ups.name, error=error.detail)
            continue
        if problem := target.mistake():
            UNACKNOWLEDGED.log(ups=ups.name, error=problem)
        else:
            targets.append(target)
    return targets
