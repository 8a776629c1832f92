"""Self-tests of batteries over SNMP: what is written to which card, who may, and how the result is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto import api

from agent.config import UpsSection
from agent.probes.probe import ProbeFailed
from agent.probes.ups.selftest import QUICK_BATTERY_TEST, SPIN_LOCK, TEST_ID, start
from agent.wire import UpsReading

CardMaker = Callable[..., Any]
Written = list[dict[str, str]]


@pytest.fixture
def writable(card: CardMaker) -> Callable[..., tuple[Any, Written]]:
    """A card that takes SETs of the community ``writer``, keeps what was written, and answers with ``status``."""

    def make(device: str, status: int = 0, **objects: tuple[str, str]) -> tuple[Any, Written]:
        made = card(device)
        made.objects |= {name.replace("_", "."): value for name, value in objects.items()}
        written: Written = []
        reads = made.answer

        def answer(question: bytes) -> bytes | None:
            module = api.PROTOCOL_MODULES[int(api.decodeMessageVersion(question))]
            message, _ = decoder.decode(question, asn1Spec=module.Message())
            pdu = module.apiMessage.get_pdu(message)
            if not pdu.isSameTypeWith(module.SetRequestPDU()):
                return reads(question)  # type: ignore[no-any-return]
            if bytes(module.apiMessage.get_community(message)) != b"writer":
                return None  # as real cards: a wrong community is met with silence
            bindings = module.apiPDU.get_varbinds(pdu)
            written.append({str(name): str(value) for name, value in bindings})
            response = module.apiMessage.get_response(message)
            module.apiPDU.set_varbinds(module.apiMessage.get_pdu(response), bindings)
            module.apiPDU.set_error_status(module.apiMessage.get_pdu(response), status)
            return bytes(encoder.encode(response))

        made.answer = answer
        return made, written

    return make


def begin(device: Any, folder: Path, community: str = "writer", **settings: Any) -> None:
    (folder / "community").write_text(community + "\n")
    given: dict[str, Any] = {"host": "127.0.0.1", "port": device.port}
    asyncio.run(start(UpsSection(**given | {"write_community_file": str(folder / "community")} | settings)))


@pytest.mark.parametrize(
    ("device", "written"),
    [
        ("powernet", {"1.3.6.1.4.1.318.1.1.1.7.2.2.0": "2"}),
        ("cyberpower", {"1.3.6.1.4.1.3808.1.1.1.7.2.2.0": "2"}),
    ],
)
@pytest.mark.parametrize("version", ["1", "2c"])
def test_the_vendors_own_object_starts_it(
    writable: Callable[..., Any], tmp_path: Path, device: str, written: dict[str, str], version: str
) -> None:
    made, got = writable(device)
    begin(made, tmp_path, snmp_version=version)
    assert got == [written]


def test_the_standard_mib_is_written_with_its_lock_where_the_card_has_one(
    writable: Callable[..., Any], tmp_path: Path
) -> None:
    test_id = ("6", "1.3.6.1.2.1.33.1.7.7.1")
    locked, got = writable("rfc1628", **{TEST_ID: test_id, SPIN_LOCK: ("2", "41")})
    begin(locked, tmp_path)
    assert got == [{SPIN_LOCK: "41", TEST_ID: QUICK_BATTERY_TEST}]
    open_card, got = writable("rfc1628", **{TEST_ID: test_id})
    begin(open_card, tmp_path)
    assert got == [{TEST_ID: QUICK_BATTERY_TEST}]


def test_a_card_without_such_an_object_is_left_alone(writable: Callable[..., Any], tmp_path: Path) -> None:
    made, got = writable("rfc1628")
    with pytest.raises(ProbeFailed, match="unsupported"):
        begin(made, tmp_path)
    assert got == []


def test_a_card_that_refuses_is_told_with_the_fix(writable: Callable[..., Any], tmp_path: Path) -> None:
    made, _got = writable("powernet", status=6)  # noAccess
    with pytest.raises(ProbeFailed, match=r"refused: .*allow writing on its card"):
        begin(made, tmp_path)


def test_a_community_that_may_only_read_is_told(writable: Callable[..., Any], tmp_path: Path) -> None:
    made, got = writable("powernet")
    with pytest.raises(ProbeFailed, match=r"timeout: .*may not let this community"):
        begin(made, tmp_path, "public")
    assert got == []


def test_a_file_of_the_community_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProbeFailed, match=r"settings: .*cannot be read"):
        asyncio.run(start(UpsSection(host="127.0.0.1", write_community_file=str(tmp_path / "nowhere"))))


@pytest.mark.parametrize(
    ("device", "oid", "results"),
    [
        ("powernet", "1.3.6.1.4.1.318.1.1.1.7.2.3.0", {1: "passed", 2: "failed", 3: "aborted", 4: "running"}),
        ("cyberpower", "1.3.6.1.4.1.3808.1.1.1.7.2.3.0", {1: "passed", 2: "failed", 4: "running"}),
        ("rfc1628", "1.3.6.1.2.1.33.1.7.3.0", {1: "passed", 2: "warning", 3: "failed", 5: "running", 6: None}),
    ],
)
def test_the_last_result_is_read_with_every_look(
    card: CardMaker, look: Callable[..., UpsReading], device: str, oid: str, results: dict[int, str | None]
) -> None:
    for number, word in results.items():
        made = card(device)
        made.objects[oid] = ("2", str(number))
        assert look(made.target()).self_test == word


def test_the_input_is_named_where_the_device_tells_it(card: CardMaker, look: Callable[..., UpsReading]) -> None:
    made = card("xups")
    made.objects["1.3.6.1.4.1.534.1.3.5.0"] = ("2", "6")
    reading = look(made.target())
    assert (reading.input_source, reading.source) == ("generator", "generator")
    for number, word, source in (("3", "mains", "grid"), ("5", "mains2", "grid"), ("4", "bypass", None)):
        made.objects["1.3.6.1.4.1.534.1.3.5.0"] = ("2", number)
        reading = look(made.target())
        assert (reading.input_source, reading.source) == (word, source)
