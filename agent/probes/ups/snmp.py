"""SNMP v1, v2c and v3 to one UPS: the only module that speaks it, through pysnmp, loaded at the first question.

A `SnmpSession` asks for many objects in few datagrams and survives what UPS cards do: v1's all-or-nothing answers (the
object named by the error is dropped and the rest asked again), tooBig and silence to long questions (asked again in
halves), wrong types, broken encodings, late or foreign answers (ignored). It decides nothing about values.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agent.common.errors import describe
from agent.common.logs import Event
from agent.probes.probe import ProbeFailed

if TYPE_CHECKING:
    from agent.config import UpsSection

NOT_SNMP = Event(__name__, "debug", "snmp_unreadable", "a datagram that no SNMP v3 agent sends", fields="error")

Value = int | float | bytes | str | None  # number, octets, OID as dotted text, nothing
Binding = tuple[str, Value]
Command = Literal["get", "next", "set"]
Setting = int | str  # an INTEGER, or an object identifier as dotted text

PORT = 161
LONGEST = 28  # objects in one question: the answer stays within one unfragmented datagram
SHORTEST = 4  # what even the smallest card takes
OID = 6
MOST_OCTETS = 8 * 1024  # of a datagram: LONGEST objects of 255 octets, and some to spare
MOST_ELEMENTS = 200  # three for each object, and a dozen around them
LONGEST_OID = 640  # octets: 128 numbers of 32 bits (RFC 2578 section 3.5)
NO_ERROR, TOO_BIG, NO_SUCH_NAME = 0, 1, 2  # RFC 1157 section 4.1.1; everything else is treated like genErr(5)


class NoResponse(Exception):
    """Nothing that can be understood came back in time. `heard` tells whether anything came at all."""

    def __init__(self, heard: str = "") -> None:
        super().__init__(heard or "no answer")
        self.heard = heard


@dataclass(frozen=True, kw_only=True)
class SnmpTarget:
    """Where a UPS answers and as whom to ask. Keys are pass phrases of RFC 3414, never shown."""

    name: str = "ups"
    host: str
    port: int = PORT
    version: Literal["1", "2c", "3"] = "2c"
    community: str = field(default="public", repr=False)
    user: str = ""
    auth_protocol: str = "none"
    auth_key: str = field(default="", repr=False)
    priv_protocol: str = "none"
    priv_key: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"

    def mistake(self) -> str:
        """What is wrong with the v3 settings, as one sentence; empty when nothing is (RFC 3414 section 11.2)."""
        if self.version != "3":
            return ""
        if not self.user:
            return "SNMP v3 needs a user: set `user` (--user)"
        if self.priv_protocol != "none" and self.auth_protocol == "none":
            return "SNMP v3 privacy needs authentication: set `auth_protocol` (--auth-protocol)"
        for name, protocol, key in (
            ("auth", self.auth_protocol, self.auth_key),
            ("priv", self.priv_protocol, self.priv_key),
        ):
            if protocol != "none" and len(key) < 8:
                return f"SNMP v3 {name} key must have 8 characters or more: set `{name}_key_file` (--{name}-key)"
        return ""


@dataclass(frozen=True)
class SnmpResponse:
    """One response: RFC 3416 error status and 1-based index (0 when the agent names none), and its bindings."""

    status: int
    index: int
    bindings: Sequence[Binding]


Exchange = Callable[[Command, Sequence[str], float], Awaitable[SnmpResponse]]  # (command, objects, seconds to wait)


def target_of(ups: UpsSection) -> SnmpTarget:
    """The target a `[[ups]]` table describes. Raises ProbeFailed for a key file that cannot be read."""
    return SnmpTarget(
        name=ups.name,
        host=ups.host,
        port=ups.port or PORT,
        version=ups.snmp_version,
        community=ups.community,
        user=ups.user,
        auth_protocol=ups.auth_protocol,
        auth_key=secret_of(ups.auth_key_file),
        priv_protocol=ups.priv_protocol,
        priv_key=secret_of(ups.priv_key_file),
    )


def secret_of(path: str) -> str:
    """What the file holds, without blanks around it; nothing without a file. Raises ProbeFailed."""
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ProbeFailed("settings", f"key file {path} cannot be read: {describe(error)}") from None


# ---------------------------------------------------------------- many objects, few datagrams


class SnmpSession:
    """Questions to one agent. `asked` counts datagrams sent; `longest` shrinks when the agent cannot take more."""

    def __init__(self, exchange: Exchange, wait_s: float = 1.0) -> None:
        self._exchange = exchange
        self._wait_s = wait_s
        self.longest = LONGEST
        self.asked = 0

    async def get(self, oids: Iterable[str]) -> dict[str, Value]:
        """The values of exactly these objects; what the agent does not have is left out."""
        answers = await self._ask("get", list(oids))
        return {oid: value for oid, (_, value) in answers.items()}

    async def following(self, oids: Iterable[str]) -> dict[str, Binding]:
        """For each object the next one the agent has, with its value; nothing for those past its end."""
        return await self._ask("next", sorted(oids, key=arcs))

    async def _ask(self, command: Command, oids: list[str]) -> dict[str, Binding]:
        found: dict[str, Binding] = {}
        waiting = list(oids)
        while waiting:
            part, answer = await self._answer(command, waiting[: self.longest])
            rest = waiting[len(part) :]
            if answer.status == NO_ERROR:
                found.update(_pair(command, part, answer.bindings))
                waiting = rest
            elif command == "next" and answer.status == NO_SUCH_NAME and 1 <= answer.index <= len(part):
                # v1 says the end of its tree so; in sorted order all that follow lie beyond it too
                waiting = part[: answer.index - 1]
            else:
                waiting = self._without_refused(part, answer) + rest
        return found

    def _without_refused(self, part: list[str], answer: SnmpResponse) -> list[str]:
        if 1 <= answer.index <= len(part):
            return part[: answer.index - 1] + part[answer.index :]
        if len(part) == 1:
            return []
        self.longest = len(part) // 2  # one of these is refused, but the agent does not say which
        return part

    async def _answer(self, command: Command, part: list[str]) -> tuple[list[str], SnmpResponse]:
        """The objects that were answered, as many of the first as the agent can take, and its answer."""
        try:
            return await self._fitting(command, part)
        except NoResponse as silence:
            # A lost datagram, or a question too long for a small card: a quarter of it serves both
            part = part[: max(1, len(part) // 4)]
            self.longest = max(len(part), min(self.longest, SHORTEST))
            try:
                return await self._fitting(command, part)
            except NoResponse as again:
                raise NoResponse(again.heard or silence.heard) from None

    async def _fitting(self, command: Command, part: list[str]) -> tuple[list[str], SnmpResponse]:
        while True:
            self.asked += 1
            answer = await self._exchange(command, part, self._wait_s)
            if answer.status != TOO_BIG or len(part) == 1:
                return part, answer
            part = part[: len(part) // 2]
            self.longest = len(part)


def _pair(command: Command, names: Sequence[str], got: Sequence[Binding]) -> dict[str, Binding]:
    """Answers by the object asked for. Agents that reorder or shorten an answer lose only what cannot be told apart."""
    if command == "get":
        by_name = {name: value for name, value in got if value is not None}
        return {name: (name, by_name[name]) for name in names if name in by_name}
    pairs = zip(names, got, strict=False)
    return {name: binding for name, binding in pairs if arcs(binding[0]) > arcs(name)}


def arcs(oid: str) -> tuple[int, ...]:
    return tuple(map(int, oid.split(".")))


# ---------------------------------------------------------------- one datagram: v1 and v2c


class _Inbox(asyncio.DatagramProtocol):
    """Datagrams from the connected address only: the kernel drops those from any other."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | OSError] = asyncio.Queue(maxsize=16)

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        self._put(data)

    def error_received(self, error: Exception) -> None:
        if isinstance(error, OSError):
            self._put(error)

    def _put(self, item: bytes | OSError) -> None:
        if not self.queue.full():
            self.queue.put_nowait(item)


@dataclass
class Community:
    """v1 or v2c over one UDP socket; use with `async with`."""

    target: SnmpTarget
    _transport: asyncio.DatagramTransport | None = None
    _inbox: _Inbox = field(default_factory=_Inbox)
    _number: int = field(default_factory=lambda: random.SystemRandom().randrange(1, 2**30))

    async def __aenter__(self) -> Community:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self._inbox, remote_addr=(self.target.host, self.target.port)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._transport is not None:
            self._transport.close()

    async def exchange(
        self, command: Command, oids: Sequence[str], wait_s: float, values: Sequence[Setting] = ()
    ) -> SnmpResponse:
        """Raises Silent, and OSError when the host refuses the port. `values` are for ``set``, one an object."""
        assert self._transport is not None
        self._number += 1
        self._transport.sendto(encode(self.target, self._number, command, oids, values))
        heard = ""
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    item = await self._inbox.queue.get()
                    if isinstance(item, OSError):
                        raise item
                    try:
                        number, answer = decode(self.target.version, item)
                    except ValueError as error:
                        heard = describe(error)
                        continue
                    if number == self._number:
                        return answer
        except TimeoutError:
            raise NoResponse(heard) from None


def encode(
    target: SnmpTarget, number: int, command: Command, oids: Sequence[str], values: Sequence[Setting] = ()
) -> bytes:
    """One v1 or v2c question as it goes over the wire (RFC 1157, RFC 3416)."""
    from pyasn1.codec.ber import encoder
    from pysnmp.proto import api

    module = api.PROTOCOL_MODULES[api.SNMP_VERSION_1 if target.version == "1" else api.SNMP_VERSION_2C]
    pdu = {"get": module.GetRequestPDU, "next": module.GetNextRequestPDU, "set": module.SetRequestPDU}[command]()
    module.apiPDU.set_defaults(pdu)
    module.apiPDU.set_request_id(pdu, number)
    given = [module.Integer(it) if isinstance(it, int) else module.ObjectIdentifier(arcs(it)) for it in values]
    blanks = [module.Null("")] * len(oids)
    module.apiPDU.set_varbinds(pdu, list(zip(map(arcs, oids), given or blanks, strict=True)))
    message = module.Message()
    module.apiMessage.set_defaults(message)
    module.apiMessage.set_community(message, target.community)
    module.apiMessage.set_pdu(message, pdu)
    return bytes(encoder.encode(message))


def decode(version: str, datagram: bytes) -> tuple[int, SnmpResponse]:
    """(request number, answer) of one datagram. Raises ValueError for anything that is no SNMP response."""
    from pyasn1.codec.ber import decoder
    from pysnmp.proto import api

    module = api.PROTOCOL_MODULES[api.SNMP_VERSION_1 if version == "1" else api.SNMP_VERSION_2C]
    try:
        weigh(datagram)
        message, _ = decoder.decode(datagram, asn1Spec=module.Message())
        pdu = module.apiMessage.get_pdu(message)
        if not pdu.isSameTypeWith(module.GetResponsePDU(), matchTags=True, matchConstraints=False):
            raise ValueError("not a response")
        return int(module.apiPDU.get_request_id(pdu)), SnmpResponse(
            int(pdu["error-status"]),
            int(pdu["error-index"]),
            [(str(oid), plain(value)) for oid, value in module.apiPDU.get_varbinds(pdu)],
        )
    except Exception as error:
        # pyasn1 raises its own errors, and IndexError, TypeError, AttributeError … on hostile input
        raise ValueError(f"not SNMP v{version}: {type(error).__name__}") from None


def weigh(datagram: bytes) -> None:
    """Raises ValueError for what no honest card sends, before it is taken apart: pyasn1 needs 50 µs and 2 KB for each
    element, 0.4 s for a datagram full of them. Lengths are definite (RFC 3417 section 8)."""
    if len(datagram) > MOST_OCTETS:
        raise ValueError(f"{len(datagram)} octets in a datagram")
    spans, elements = [(0, len(datagram))], 0
    while spans:
        place, end = spans.pop()
        while place < end:
            elements += 1
            tag, inside, after = _element(datagram, place, end)
            if elements > MOST_ELEMENTS or (tag == OID and after - inside > LONGEST_OID):
                raise ValueError("more than a card has to say")
            if tag & 0x20:  # constructed
                spans.append((inside, after))
            place = after


def _element(octets: bytes, place: int, end: int) -> tuple[int, int, int]:
    """(tag, where its contents begin, where they end) of the BER element there. Raises ValueError."""
    if place + 2 > end or octets[place] & 0x1F == 0x1F:
        raise ValueError("no element")
    length, inside = octets[place + 1], place + 2
    if length & 0x80:
        inside += length & 0x7F
        length = int.from_bytes(octets[place + 2 : inside], "big") if place + 2 < inside <= end else end
    if inside + length > end:
        raise ValueError("an element that does not end")
    return octets[place], inside, inside + length


def plain(value: object) -> Value:
    """A pysnmp value as a number, octets, OID text or None (null, noSuchObject, noSuchInstance, endOfMibView)."""
    from pyasn1.type import univ
    from pysnmp.proto import rfc1902, rfc1905

    if isinstance(value, (rfc1905.NoSuchObject, rfc1905.NoSuchInstance, rfc1905.EndOfMibView, univ.Null)):
        return None
    if isinstance(value, univ.Integer):
        return int(value)
    if isinstance(value, univ.ObjectIdentifier):
        return str(value)
    if isinstance(value, rfc1902.Opaque):
        return _opaque(bytes(value))
    return bytes(value) if isinstance(value, univ.OctetString) else None


def _opaque(octets: bytes) -> float | bytes:
    """A float as net-snmp wraps it: 9f 78 04 and four octets of IEEE 754."""
    if octets[:3] == b"\x9f\x78\x04" and len(octets) == 7:
        return float(struct.unpack("!f", octets[3:])[0])
    return octets


# ---------------------------------------------------------------- v3


AUTH = {
    "none": "usmNoAuthProtocol",
    "md5": "usmHMACMD5AuthProtocol",
    "sha": "usmHMACSHAAuthProtocol",
    "sha224": "usmHMAC128SHA224AuthProtocol",
    "sha256": "usmHMAC192SHA256AuthProtocol",
    "sha384": "usmHMAC256SHA384AuthProtocol",
    "sha512": "usmHMAC384SHA512AuthProtocol",
}
PRIV = {
    "none": "usmNoPrivProtocol",
    "des": "usmDESPrivProtocol",
    "aes": "usmAesCfb128Protocol",
    "aes192": "usmAesCfb192Protocol",
    "aes256": "usmAesCfb256Protocol",
}


def careful_dispatcher() -> Any:
    """pysnmp's own, except that what it cannot take apart ends there: it raises TypeError and others on hostile
    datagrams, and on those that come while it closes, and each would stand in the log as a fault of this program."""
    from pysnmp.carrier.asyncio.dispatch import AsyncioDispatcher

    class Careful(AsyncioDispatcher):  # type: ignore[misc]
        def _callback_function(self, transport: object, address: object, datagram: bytes) -> None:
            try:
                weigh(datagram)
                super()._callback_function(transport, address, datagram)
            except Exception as error:
                NOT_SNMP.log(error=error)

    return Careful()


@dataclass
class User:
    """v3 with the user security model (RFC 3414); use with `async with`. Costs memory only where it is configured."""

    target: SnmpTarget
    wait_s: float = 1.0
    _engine: Any = None
    _parts: tuple[Any, ...] = ()

    async def __aenter__(self) -> User:
        from pysnmp.error import PySnmpError
        from pysnmp.hlapi.v3arch import asyncio as hlapi

        target = self.target
        self._engine = hlapi.SnmpEngine()
        self._engine.register_transport_dispatcher(careful_dispatcher())
        user = hlapi.UsmUserData(
            target.user,
            target.auth_key or None,
            target.priv_key or None,
            authProtocol=getattr(hlapi, AUTH[target.auth_protocol]),
            privProtocol=getattr(hlapi, PRIV[target.priv_protocol]),
        )
        try:
            transport = await hlapi.UdpTransportTarget.create((target.host, target.port), self.wait_s, 0)
        except PySnmpError as error:  # a name that does not resolve
            self._engine.close_dispatcher()
            raise OSError(describe(error)) from None
        self._parts = (user, transport, hlapi.ContextData())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._engine.close_dispatcher()

    async def exchange(
        self, command: Command, oids: Sequence[str], _wait_s: float, values: Sequence[Setting] = ()
    ) -> SnmpResponse:
        """Raises Silent, and ProbeFailed when the agent refuses this user or its keys."""
        from pysnmp.hlapi.v3arch import asyncio as hlapi
        from pysnmp.proto.errind import RequestTimedOut

        send = {"get": hlapi.get_cmd, "next": hlapi.next_cmd, "set": hlapi.set_cmd}[command]
        given = [hlapi.Integer32(it) if isinstance(it, int) else hlapi.ObjectIdentifier(arcs(it)) for it in values]
        blanks = [hlapi.Null("")] * len(oids)
        objects = [
            hlapi.ObjectType(hlapi.ObjectIdentity(arcs(oid)), value)
            for oid, value in zip(oids, given or blanks, strict=True)
        ]
        problem, status, index, bindings = await send(self._engine, *self._parts, *objects, lookupMib=False)
        if isinstance(problem, RequestTimedOut):
            raise NoResponse
        if problem:
            detail = (
                f"{self.target.place} refuses SNMPv3 user '{self.target.user}': {problem}; check user, protocols, keys"
            )
            raise ProbeFailed("refused", detail)
        return SnmpResponse(int(status), int(index), [(str(name), plain(value)) for name, value in bindings])


def conversation(target: SnmpTarget) -> Community | User:
    """The way to talk to this target, by its SNMP version."""
    return User(target) if target.version == "3" else Community(target)


def as_v1(target: SnmpTarget) -> SnmpTarget:
    return replace(target, version="1")
