"""Datagrams of v1 and v2c held against pysnmp's own, byte for byte and value for value."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest
from pyasn1.codec.ber import encoder
from pysnmp.proto import api
from pysnmp.proto.rfc1902 import Counter32, Counter64, Gauge32, Integer32, Opaque, TimeTicks
from pysnmp.proto.rfc1905 import endOfMibView, noSuchInstance

from agent.probes.ups.pdu import Command, SnmpTarget, Value, arcs, decode, encode

ARCS = (0, 1, 127, 128, 16_383, 16_384, 2**32 - 1)
V2C: Any = api.PROTOCOL_MODULES[api.SNMP_VERSION_2C]


def objects(dice: random.Random) -> list[str]:
    return [".".join(map(str, (1, 3, *dice.choices(ARCS, k=dice.randint(0, 12))))) for _ in range(dice.randint(1, 28))]


def message(module: Any, community: str, pdu: Any, number: int, bindings: Sequence[Any]) -> bytes:
    module.apiPDU.set_defaults(pdu)
    module.apiPDU.set_request_id(pdu, number)
    module.apiPDU.set_varbinds(pdu, bindings)
    made = module.Message()
    module.apiMessage.set_defaults(made)
    module.apiMessage.set_community(made, community)
    module.apiMessage.set_pdu(made, pdu)
    return bytes(encoder.encode(made))


@pytest.mark.parametrize("version", ["1", "2c"])
@pytest.mark.parametrize("command", ["get", "next", "set"])
def test_a_question_is_the_bytes_that_pysnmp_would_send(version: Literal["1", "2c"], command: Command) -> None:
    dice, module = random.Random(f"{version} {command}"), api.PROTOCOL_MODULES[version == "2c"]
    kinds = {"get": module.GetRequestPDU, "next": module.GetNextRequestPDU, "set": module.SetRequestPDU}
    for _ in range(20):
        oids, number, community = objects(dice), dice.randrange(1, 2**31 - 1), "public" * dice.randint(1, 30)
        numbers = [dice.randrange(-(2**31), 2**31) for _ in oids] if command == "set" else []
        values = [module.Integer(it) for it in numbers] or [module.Null("")] * len(oids)
        pairs = list(zip(map(arcs, oids), values, strict=True))
        wanted = message(module, community, kinds[command](), number, pairs)
        assert encode(SnmpTarget(host="x", version=version, community=community), number, command, oids, numbers) == (
            wanted
        )


ANSWERS: Sequence[tuple[Callable[[], Any], Value]] = [
    (lambda: Integer32(-(2**31)), -(2**31)),
    (lambda: Integer32(128), 128),
    (lambda: Gauge32(2**32 - 1), 2**32 - 1),
    (lambda: Counter32(2**31), 2**31),
    (lambda: TimeTicks(0), 0),
    (lambda: Counter64(2**64 - 1), 2**64 - 1),
    (lambda: V2C.OctetString(b"\x00\xff" * 99), b"\x00\xff" * 99),
    (lambda: V2C.IpAddress("192.0.2.7"), b"\xc0\x00\x02\x07"),
    (lambda: V2C.ObjectIdentifier("2.100.3"), "2.100.3"),
    (lambda: V2C.ObjectIdentifier("0.0"), "0.0"),
    (lambda: V2C.Null(""), None),
    (lambda: endOfMibView, None),
    (lambda: noSuchInstance, None),
    (lambda: Opaque(hexValue="9f780442f60000"), 123.0),
]


def test_an_answer_is_read_value_for_value() -> None:
    names = [f"1.3.6.1.4.1.{number}.0" for number in range(len(ANSWERS))]
    pairs = [(arcs(name), made()) for name, (made, _) in zip(names, ANSWERS, strict=True)]
    number, answer = decode("2c", message(V2C, "public", V2C.GetResponsePDU(), 77, pairs))
    assert (number, answer.status, answer.index) == (77, 0, 0)
    assert answer.bindings == list(zip(names, (value for _, value in ANSWERS), strict=True))
    with pytest.raises(ValueError, match="0xa0 where 0xa2 belongs"):
        decode("2c", message(V2C, "public", V2C.GetRequestPDU(), 77, pairs))
