"""Whom an SNMP question is for, and one datagram of v1 or v2c: written and read (RFC 1157, RFC 3416; BER by X.690).
pysnmp does the same for 2 MB more, and is loaded for v3 alone."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from agent.common.errors import describe

Value = int | float | bytes | str | None  # number, octets, OID as dotted text, nothing
Binding = tuple[str, Value]
Command = Literal["get", "next", "set"]
Setting = int | str  # an INTEGER, or an object identifier as dotted text

PORT = 161
SHORTEST = 4  # what even the smallest card takes
REPEAT_S = 1.5  # a datagram may be lost; a repeat to a card that is only slow makes it slower
ANSWER_S = 3.0  # what the slowest cards need

Element = tuple[int, int, int]  # its tag, where its contents begin and where they end
INTEGER, OCTETS, NULL, OID, SEQUENCE = 2, 4, 5, 6, 0x30
ADDRESS, OPAQUE, UNSIGNED = 0x40, 0x44, (0x41, 0x42, 0x43, 0x46)  # RFC 2578; counters, gauges, ticks
QUESTIONS: dict[Command, int] = {"get": 0xA0, "next": 0xA1, "set": 0xA3}
RESPONSE = 0xA2
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
    given = [_integer(it) if isinstance(it, int) else _element_of(OID, _packed(it)) for it in values]
    blanks = [_element_of(NULL, b"")] * len(oids)
    pairs = [_element_of(OID, _packed(oid)) + value for oid, value in zip(oids, given or blanks, strict=True)]
    bindings = _element_of(SEQUENCE, b"".join(_element_of(SEQUENCE, pair) for pair in pairs))
    pdu = _element_of(QUESTIONS[command], _integer(number) + _integer(0) + _integer(0) + bindings)
    version, community = _integer(target.version != "1"), _element_of(OCTETS, target.community.encode())
    return _element_of(SEQUENCE, version + community + pdu)


def _element_of(tag: int, contents: bytes) -> bytes:
    size = len(contents)
    if size < 0x80:
        return bytes((tag, size)) + contents
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + contents


def _integer(number: int) -> bytes:
    return _element_of(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def _packed(oid: str) -> bytes:
    first, second, *others = arcs(oid)
    octets = bytearray()
    for arc in (40 * first + second, *others):
        shifts = range(max(0, arc.bit_length() - 1) // 7 * 7, 0, -7)
        octets += bytes((*(0x80 | (arc >> shift) & 0x7F for shift in shifts), arc & 0x7F))
    return bytes(octets)


def decode(version: str, datagram: bytes) -> tuple[int, SnmpResponse]:
    """(request number, answer) of one datagram. Raises ValueError for anything that is no SNMP response."""
    try:
        weigh(datagram)
        message = _elements(datagram, 0, len(datagram))[0]
        _version, _community, (tag, start, end) = _inside(datagram, message, SEQUENCE)
        number, status, index, bindings = _inside(datagram, (tag, start, end), RESPONSE)
        pairs = [_inside(datagram, pair, SEQUENCE) for pair in _inside(datagram, bindings, SEQUENCE)]
        answer = [(_text(datagram, name), value_of(datagram, value)) for name, value in pairs]
        return _number(datagram, number), SnmpResponse(_number(datagram, status), _number(datagram, index), answer)
    except (ValueError, IndexError) as error:
        raise ValueError(f"not SNMP v{version}: {describe(error)}") from None


def _elements(octets: bytes, place: int, end: int) -> list[Element]:
    elements = []
    while place < end:
        element = _element(octets, place, end)
        elements.append(element)
        place = element[2]
    return elements


def _inside(octets: bytes, element: Element, tag: int) -> list[Element]:
    """What an element of this tag is made of. Raises ValueError."""
    if element[0] != tag:
        raise ValueError(f"an element {element[0]:#x} where {tag:#x} belongs")
    return _elements(octets, element[1], element[2])


def _number(octets: bytes, element: Element) -> int:
    if element[0] != INTEGER:
        raise ValueError("no number where one belongs")
    return int.from_bytes(octets[element[1] : element[2]], "big", signed=True)


def _text(octets: bytes, element: Element) -> str:
    """An object identifier as dotted text. Raises ValueError."""
    tag, start, end = element
    if tag != OID or start == end or octets[end - 1] & 0x80:
        raise ValueError("no object identifier where one belongs")
    numbers, arc = [], 0
    for octet in octets[start:end]:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(arc)
            arc = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def value_of(octets: bytes, element: Element) -> Value:
    """A number, octets, OID text or None (null, noSuchObject, noSuchInstance, endOfMibView, and what RFC 2578 does not
    know). Raises ValueError."""
    tag, start, end = element
    contents = octets[start:end]
    if tag == INTEGER:
        return int.from_bytes(contents, "big", signed=True)
    if tag in UNSIGNED:  # some cards leave out the octet that keeps the first bit from being a sign
        return int.from_bytes(contents, "big")
    if tag == OID:
        return _text(octets, element) if contents else None
    if tag == OPAQUE:
        return opaque(contents)
    return contents if tag in (OCTETS, ADDRESS) else None


def weigh(datagram: bytes) -> None:
    """Raises ValueError for what no honest card sends, before it is taken apart: pyasn1, which reads v3, needs 50 µs
    and 2 KB for each element, 0.4 s for a datagram full of them. Lengths are definite (RFC 3417 section 8)."""
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


def _element(octets: bytes, place: int, end: int) -> Element:
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


def opaque(octets: bytes) -> float | bytes:
    """A float as net-snmp wraps it: 9f 78 04 and four octets of IEEE 754."""
    if octets[:3] == b"\x9f\x78\x04" and len(octets) == 7:
        return float(struct.unpack("!f", octets[3:])[0])
    return octets
