"""Whom an SNMP question is for, and one datagram of v1 or v2c: written and read (RFC 1157, RFC 3416). pysnmp is loaded
at the first one."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Value = int | float | bytes | str | None  # number, octets, OID as dotted text, nothing
Binding = tuple[str, Value]
Command = Literal["get", "next", "set"]
Setting = int | str  # an INTEGER, or an object identifier as dotted text

PORT = 161
SHORTEST = 4  # what even the smallest card takes
REPEAT_S = 1.5  # a datagram may be lost; a repeat to a card that is only slow makes it slower
ANSWER_S = 3.0  # what the slowest cards need

OID = 6
MOST_OCTETS = 8 * 1024  # of a datagram: as many objects of 255 octets as one question has, and some to spare
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
    context: str = ""  # v3: of several UPSs behind one card
    device: int = 0  # the number of the UPS in tables that have several; 0: the first
    answer_s: float = ANSWER_S

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
    """One response: RFC 3416 error status and 1-based index (0 when the agent names none), and its bindings. `covered`
    is how many of the objects it answers, when that is not all (a shorter question was tried meanwhile)."""

    status: int
    index: int
    bindings: Sequence[Binding]
    covered: int | None = None


def arcs(oid: str) -> tuple[int, ...]:
    return tuple(map(int, oid.split(".")))


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
