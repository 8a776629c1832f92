"""A UPS that calls: net-snmp's own senders, informs that must be acknowledged, strangers, floods and garbage."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.config import UpsSection
from agent.probes.ups import traps
from tests.helpers.waiting import until

ON_BATTERY = "1.3.6.1.2.1.33.2.1"  # upsTrapOnBattery of RFC 1628
AUTH = ["-u", "nabz", "-l", "authPriv", "-a", "SHA", "-A", "authentic8", "-x", "AES", "-X", "private88"]
V1 = ["snmptrap", "-v1", "-c", "public"], ["1.3.6.1.2.1.33.2", "127.0.0.1", "6", "1", "0"]
V2C = ["snmptrap", "-v2c", "-c", "public"], ["", ON_BATTERY]
V3 = ["snmptrap", "-v3", "-e", "0x8000000001020304", *AUTH], ["", ON_BATTERY]
V2C_INFORM = ["snmptrap", "-Ci", "-v2c", "-c", "public", "-r", "0", "-t", "30"], ["", ON_BATTERY]
V3_INFORM = ["snmptrap", "-Ci", "-v3", *AUTH, "-r", "0", "-t", "30"], ["", ON_BATTERY]


def a_ups(**settings: Any) -> UpsSection:
    return UpsSection(**{"name": "ups", "host": "127.0.0.1"} | settings)


def hear(upses: list[UpsSection], play: Callable[[int], Any], calls: int) -> tuple[list[str], Any]:
    """Plays to a listener until so many calls have come, and a moment longer; (the UPSs that called, what the play
    returned)."""
    called: list[str] = []

    async def story() -> Any:
        async with await traps.listen("127.0.0.1:0", upses, called.append) as listener:
            returned = await asyncio.to_thread(play, listener.port)
            await until(lambda: len(called) >= calls)
            await asyncio.sleep(0.1)
        return returned

    returned = asyncio.run(story())
    return called, returned


def sent(words: tuple[list[str], list[str]]) -> Callable[[int], subprocess.CompletedProcess[str]]:
    """net-snmp sends it; of an inform it waits for the acknowledgement, and fails without one."""
    options, what = words

    def send(port: int) -> subprocess.CompletedProcess[str]:
        # No files of net-snmp's own are read or left behind.
        quiet = os.environ | {"SNMPCONFPATH": "/nonexistent", "SNMP_PERSISTENT_DIR": "/nonexistent", "MIBS": ""}
        line = [*options, f"127.0.0.1:{port}", *what]
        return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, env=quiet)

    return send


def hasty(words: tuple[list[str], list[str]]) -> tuple[list[str], list[str]]:
    """An inform that is not going to be acknowledged."""
    options, what = words
    return [*options[:-1], "1"], what


def datagrams(*payloads: bytes) -> Callable[[int], None]:
    def send(port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for payload in payloads:
                sender.sendto(payload, ("127.0.0.1", port))

    return send


@pytest.fixture
def v3_ups(tmp_path: Path) -> UpsSection:
    for name, key in (("auth", "authentic8"), ("priv", "private88")):
        (tmp_path / name).write_text(key)
    return a_ups(
        snmp_version="3",
        user="nabz",
        auth_protocol="sha",
        auth_key_file=str(tmp_path / "auth"),
        priv_protocol="aes",
        priv_key_file=str(tmp_path / "priv"),
    )


@pytest.fixture(autouse=True)
def senders() -> None:
    if shutil.which("snmptrap") is None and not os.environ.get("CI"):
        pytest.skip("net-snmp's snmptrap is not installed (apt install snmp)")


@pytest.mark.parametrize("words", [V1, V2C, V3], ids=["v1", "v2c", "v3"])
def test_a_trap_of_any_version_is_a_call_of_the_ups_at_that_address(words: tuple[list[str], list[str]]) -> None:
    called, done = hear([a_ups(), a_ups(name="elsewhere", host="192.0.2.7")], sent(words), 1)
    assert (done.returncode, called) == (0, ["ups"])


def test_an_inform_is_acknowledged() -> None:
    called, done = hear([a_ups()], sent(V2C_INFORM), 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert called == ["ups"]


def test_an_inform_of_v3_is_acknowledged_by_the_users_of_the_settings(v3_ups: UpsSection) -> None:
    called, done = hear([v3_ups], sent(V3_INFORM), 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(called) == {"ups"}


def test_an_inform_of_v3_with_another_key_is_a_reason_to_look_but_is_not_acknowledged(v3_ups: UpsSection) -> None:
    options, what = hasty(V3_INFORM)
    called, done = hear([v3_ups], sent(([word.replace("authentic8", "imposter8") for word in options], what)), 1)
    assert done.returncode != 0
    assert set(called) == {"ups"}


def test_a_key_file_that_is_missing_costs_the_acknowledgement_and_not_the_listener(v3_ups: UpsSection) -> None:
    Path(v3_ups.auth_key_file).unlink()
    called, _done = hear([v3_ups, a_ups(name="other")], sent(V2C), 2)
    assert called == ["ups", "other"]


def test_a_stranger_is_not_heard() -> None:
    called, done = hear([a_ups(host="192.0.2.7")], sent(hasty(V2C_INFORM)), 0)
    assert called == []
    assert done.returncode != 0  # and not answered


def test_a_ups_behind_nut_has_no_traps() -> None:
    assert hear([a_ups(driver="nut")], sent(V2C), 0)[0] == []


def test_a_name_that_does_not_resolve_is_left_out_until_it_does(caplog: pytest.LogCaptureFixture) -> None:
    called, _done = hear([a_ups(name="lost", host="ups.invalid"), a_ups()], sent(V2C), 1)
    assert called == ["ups"]
    assert "ups.invalid" in caplog.text


def caught(words: tuple[list[str], list[str]]) -> bytes:
    """The datagram that net-snmp sends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        ear.settimeout(60)
        sent(words)(ear.getsockname()[1])
        return ear.recv(65535)


def test_a_flood_from_the_ups_address_is_read_a_few_times_a_second() -> None:
    called, _done = hear([a_ups()], datagrams(*[caught(V2C)] * 2000), traps.AT_ONCE)
    assert traps.AT_ONCE <= len(called) <= traps.AT_ONCE + 10 * traps.PER_S


def test_questions_and_answers_are_no_notifications() -> None:
    from agent.probes.ups.pdu import encode
    from agent.probes.ups.snmp import SnmpTarget

    assert traps.heard(encode(SnmpTarget(host="x"), 1, "get", ["1.3.6.1"])) is None
    assert traps.heard(encode(SnmpTarget(host="x", version="1"), 1, "next", ["1.3.6.1"])) is None


def test_no_mutated_datagram_does_harm() -> None:
    chance = random.Random(4)  # the same garbage in every run
    whole = [caught(V1), caught(V2C), caught(hasty(V2C_INFORM)), caught(V3)]
    for number in range(2000):
        garbage = bytearray(whole[number % 4])
        for _ in range(chance.randrange(1, 6)):
            garbage[chance.randrange(len(garbage))] = chance.randrange(256)
        traps.heard(bytes(garbage[: chance.randrange(len(garbage) + 1)] if number % 3 == 0 else garbage))


def test_garbage_over_the_wire_leaves_a_listener_that_listens(v3_ups: UpsSection) -> None:
    v3 = caught(V3)
    chance = random.Random(5)
    broken = [v3[: chance.randrange(1, len(v3))] for _ in range(10)] + [b"", b"\x30\x84\xff\xff\xff\xff", b"0" * 9000]

    def play(port: int) -> subprocess.CompletedProcess[str]:
        datagrams(*broken)(port)
        return sent(V2C_INFORM)(port)

    called, done = hear([v3_ups], play, 1)
    assert done.returncode == 0
    assert "ups" in called


@pytest.mark.parametrize(
    ("address", "plain"),
    [("::ffff:192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::1"), ("192.0.2.7", "192.0.2.7"), ("x", "x")],
)
def test_an_address_is_compared_as_settings_would_write_it(address: str, plain: str) -> None:
    assert traps.plain_address(address) == plain
