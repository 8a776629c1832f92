"""The LAN contract: what travels, under which key, and what is refused."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.seat import snapshot as contract
from agent.seat.snapshot import Disk, Drive, GatewayReply, Snapshot, SnapshotError

KEY = bytes(range(32))
WHOLE = Snapshot(
    id="s0123456789abcdef",
    name="SEAT-01",
    at_ms=1_800_000_000_000,
    nonce="0" * 32,
    facts=("mac:0123456789abcdef",),
    cpu_pct=3.5,
    memory_pct=40.0,
    memory_mb=8192.0,
    disks=(Disk(role="system", total_gb=240.0, used_pct=61.0), Disk(role="data", total_gb=1000.0, used_pct=88.0)),
    temperature_c=51.0,
    battery_pct=80.0,
    on_mains=True,
    uptime_s=3600.0,
    net_errors=0,
    version="0.1.0",
    drives=(Drive(id="0123456789abcdef", size_gb=240.1, health="good", temperature_c=38.0),),
    slept_s=3600.5,
    running_s=1800.0,
    hand="ab" * 256,
)
BARE = Snapshot(id="s0123456789abcdef", name="", at_ms=0, nonce="f" * 32)


@pytest.mark.parametrize("snapshot", [WHOLE, BARE])
def test_what_is_said_is_what_is_heard(snapshot: Snapshot) -> None:
    sealed = contract.seal(contract.encode(snapshot), KEY, contract.SNAPSHOT)
    assert contract.decode(contract.unseal(sealed, KEY, contract.SNAPSHOT)) == snapshot


def test_the_fullest_disk_speaks_for_all() -> None:
    assert WHOLE.disk_pct == 88.0
    assert BARE.disk_pct is None


def test_a_snapshot_is_about_the_machine_and_has_no_field_for_a_person() -> None:
    assert set(json.loads(contract.encode(WHOLE))) == {
        "v", "id", "name", "at_ms", "nonce", "state", "interval_s", "facts", "cpu_pct", "memory_pct", "memory_mb",
        "disks", "temperature_c", "battery_pct", "on_mains", "uptime_s", "net_errors", "version", "drives", "slept_s",
        "running_s", "hand", "is_virtual", "condition",
    }  # fmt: skip
    assert set(json.loads(contract.encode(WHOLE))["disks"][0]) == {"role", "total_gb", "used_pct"}
    assert set(json.loads(contract.encode(WHOLE))["drives"][0]) == {"id", "size_gb", "health", "temperature_c"}


def test_another_key_another_label_or_another_byte_is_refused() -> None:
    sealed = contract.seal(contract.encode(WHOLE), KEY, contract.SNAPSHOT)
    for payload, key, label in (
        (sealed, b"k" * 32, contract.SNAPSHOT),
        (sealed, KEY, contract.ANSWER),
        (sealed.replace(b"SEAT-01", b"SEAT-02"), KEY, contract.SNAPSHOT),
        (sealed[:-1], KEY, contract.SNAPSHOT),
        (b"", KEY, contract.SNAPSHOT),
        (b"no newline", KEY, contract.SNAPSHOT),
        (b"\n" + "ü".encode(), KEY, contract.SNAPSHOT),
    ):
        with pytest.raises(SnapshotError, match="seat key"):
            contract.unseal(payload, key, label)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("v", 2, "version 2"),
        ("id", "SEAT", "`id`"),
        ("id", "s0123456789ABCDEF", "`id`"),
        ("id", None, "`id`"),
        ("name", "a" * 33, "`name`"),
        ("name", "<script>", "`name`"),
        ("name", "سیٹ", "`name`"),
        ("at_ms", True, "`at_ms` must be a number"),
        ("at_ms", -1, "`at_ms` must lie"),
        ("nonce", "0" * 31, "`nonce`"),
        ("state", "fine", "`state`"),
        ("interval_s", 0, "`interval_s`"),
        ("facts", ["mac:xyz"], "`facts`"),
        ("facts", [[]], "`facts`"),
        ("facts", ["mac:0123456789abcdef"] * 33, "`facts`"),
        ("cpu_pct", 101, "`cpu_pct`"),
        ("cpu_pct", "3", "`cpu_pct`"),
        pytest.param("memory_mb", 10**400, "`memory_mb`", id="an integer too long for a float"),
        ("disks", {}, "`disks`"),
        ("disks", [1], "`disks`"),
        ("disks", [{"role": "usb", "total_gb": 1, "used_pct": 1}], "`role`"),
        ("on_mains", 1, "`on_mains`"),
        ("net_errors", [], "`net_errors`"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object, rule: str) -> None:
    body = json.dumps(json.loads(contract.encode(WHOLE)) | {field: value}).encode()
    with pytest.raises(SnapshotError, match=rule):
        contract.decode(body)


@pytest.mark.parametrize("field", ["id", "name", "at_ms", "nonce", "state", "interval_s", "facts", "disks", "v"])
def test_a_missing_field_is_named(field: str) -> None:
    fields = json.loads(contract.encode(WHOLE))
    del fields[field]
    with pytest.raises(SnapshotError):
        contract.decode(json.dumps(fields).encode())


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 8000, b"NaN", b" " * 9000, b'{"v":NaN}'])
def test_what_is_no_snapshot_is_refused(body: bytes) -> None:
    with pytest.raises(SnapshotError):
        contract.decode(body)


@given(st.data())
@settings(max_examples=1500, deadline=None)
def test_a_mutated_snapshot_is_taken_or_refused_and_never_worse(data: st.DataObject) -> None:
    body = bytearray(contract.encode(WHOLE))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    with contextlib.suppress(SnapshotError):
        taken = contract.decode(bytes(body))
        assert contract.decode(contract.encode(taken)) == taken


def test_the_gateways_answer_travels_sealed() -> None:
    answer = GatewayReply(nonce="a" * 32, ok=False, now_ms=5, error="clock")
    sealed = contract.seal(contract.encode_answer(answer), KEY, contract.ANSWER)
    assert contract.decode_answer(contract.unseal(sealed, KEY, contract.ANSWER)) == answer
    with pytest.raises(SnapshotError):
        contract.decode_answer(b'{"ok":1,"now_ms":1,"nonce":"","error":""}')


def test_a_key_is_hexadecimal_and_long_enough() -> None:
    assert contract.parse_key(KEY.hex() + "\n") == KEY
    for text, rule in (("zz", "hexadecimal"), ("00ff", "at least 16"), ("", "at least 16")):
        with pytest.raises(SnapshotError, match=rule):
            contract.parse_key(text)
