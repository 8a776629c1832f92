"""The contract: what was said in version 1 is understood for ever, and nothing else is.

`tests/wire/v1` holds one golden message of each kind. Files are added, never edited: a message that any deployed
gateway may still send must keep its meaning.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from tests.helpers import ROOT

GOLDEN = ROOT / "tests" / "wire" / "v1"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))  # a test key that everyone knows
DEVICE = "g" + hashlib.sha256(KEY.public_key().public_bytes_raw()).hexdigest()[:16]
SPOOL = "00112233445566778899aabbccddeeff"
AT = wire.Stamp(
    wall_ms=1_780_000_000_000, mono_ms=3_600_000, boot="3f1c1f4e-8a4e-4a56-9f1e-0d6a51f6f2aa", clock="synced"
)

READINGS: dict[str, wire.Reading] = {
    "link": wire.LinkReading(
        at=AT,
        subject="wan",
        rtt_min_ms=11.2,
        rtt_median_ms=12.5,
        rtt_p95_ms=19.75,
        jitter_ms=1.5,
        loss_pct=5.0,
        fault_place="none",
        hops=[
            wire.Hop(
                role="lan",
                target="192.0.2.1",
                method="icmp",
                sent=20,
                received=20,
                min_ms=0.3,
                median_ms=0.4,
                p95_ms=0.9,
                jitter_ms=0.1,
            ),
            wire.Hop(role="collector", target="collector.example", method="tcp", sent=20, received=19),
        ],
    ),
    "link-causes": wire.LinkReading(
        at=msgspec.structs.replace(AT, wall_ms=1_790_000_000_000),
        subject="wan",
        rtt_min_ms=31.2,
        rtt_median_ms=33.5,
        rtt_p95_ms=49.75,
        jitter_ms=2.5,
        loss_pct=0.0,
        fault_place="none",
        causes=["ipv6_dead", "dns", "mtu"],
        path_mtu_bytes=1400,
        names_ms=5012.4,
        names_failed_pct=0.0,
        names_by="192.0.2.53",
        names_silent=["192.0.2.52"],
        hops=[
            wire.Hop(
                role="lan",
                target="192.0.2.1",
                method="icmp",
                sent=20,
                received=20,
                min_ms=0.3,
                median_ms=0.4,
                p95_ms=0.9,
                jitter_ms=0.1,
            ),
            wire.Hop(role="collector", target="2001:db8::10", method="icmp", sent=20, received=0),
            wire.Hop(
                role="collector",
                target="198.51.100.10",
                method="icmp",
                sent=20,
                received=12,
                min_ms=31.0,
                median_ms=33.0,
                p95_ms=48.0,
                jitter_ms=2.0,
            ),
            wire.Hop(
                role="collector",
                target="198.51.100.10",
                method="udp",
                sent=20,
                received=20,
                min_ms=31.2,
                median_ms=33.5,
                p95_ms=49.75,
                jitter_ms=2.5,
            ),
        ],
    ),
    "link-failed": wire.LinkReading(
        at=AT, subject="wan", failure=wire.Failure("unreachable", "no route to collector.example")
    ),
    "speed": wire.SpeedReading(
        at=AT,
        subject="wan",
        engine="librespeed",
        engine_version="1",
        server="https://measure.example",
        mode="adaptive",
        purpose="routine",
        test_id="t-0001",
        download_mbps=48.2,
        upload_mbps=19.6,
        capacity_down_mbps=50.1,
        capacity_up_mbps=20.0,
        cross_traffic_down_pct=3.8,
        cross_traffic_up_pct=2.0,
        idle_rtt_ms=12.5,
        loaded_rtt_down_ms=48.0,
        loaded_rtt_up_ms=61.5,
        jitter_ms=1.5,
        loss_pct=0.0,
        bytes_total=84_000_000,
        seconds=15.5,
        flags=["busy_line"],
    ),
    "speed-granted": wire.SpeedReading(
        at=AT,
        subject="wan",
        engine="ndt7",
        engine_version="1",
        server="wss://measure.example",
        mode="quick",
        purpose="retest",
        slot="2026-05-28 19:00-22:00",
        test_id="t-0002",
        tls=True,
        download_mbps=9.1,
        upload_mbps=1.9,
        seconds=4.5,
        others_from="router",
        public_address="192.0.2.10",
        network="AS64500 Example Broadband",
        wan_interface="eth0",
        failover=False,
        flags=["capped"],
    ),
    "speed-skipped": wire.SpeedReading(
        at=AT,
        subject="wan",
        slot="2026-05-28 19:00-22:00",
        failover=True,
        failure=wire.Failure("skipped_failover", "the line in use is metered"),
    ),
    "ups": wire.UpsReading(
        at=AT,
        subject="ups",
        output_state="battery",
        battery_status="low",
        battery_replace=False,
        battery_charge_pct=18.0,
        runtime_s=420.0,
        on_battery_s=1800.0,
        input_voltage_v=0.0,
        output_voltage_v=229.5,
        input_frequency_hz=50.0,
        output_frequency_hz=50.0,
        load_pct=35.0,
        battery_temp_c=31.0,
        battery_voltage_v=24.6,
        alarms_count=1,
        manufacturer="Example",
        model="Example UPS 1500",
        firmware="1.0",
        serial="EX0001",
        profiles=["rfc1628"],
        corrected=["battery_voltage_v: reported in tenths"],
    ),
    "ups-corrected": wire.UpsReading(
        at=AT,
        subject="ups",
        output_state="online",
        input_voltage_v=231.2,
        profiles=["nut"],
        corrected=["tenths:field=input_voltage_v,raw=2312,mib=nut"],
    ),
    "ups-by-choice": wire.UpsReading(
        at=AT,
        subject="ups",
        output_state="online",
        battery_charge_pct=71.0,
        input_voltage_v=228.4,
        profiles=["nut"],
        corrected=["by_choice:field=output_state"],
        source="battery",
    ),
    "ups-on-grid": wire.UpsReading(
        at=AT,
        subject="ups",
        output_state="online",
        battery_charge_pct=100.0,
        input_voltage_v=231.0,
        profiles=["xups"],
        input_source="mains",
        source="grid",
    ),
    "ups-last-gasp": wire.UpsReading(
        at=AT,
        subject="ups",
        output_state="battery",
        battery_status="low",
        battery_charge_pct=9.0,
        runtime_s=90.0,
        profiles=["xups"],
        input_source="none",
        self_test="passed",
        self_test_ms=1_779_900_000_000,
        last_gasp="battery_low",
    ),
    "ups-unreadable": wire.UpsReading(
        at=AT,
        subject="ups",
        failure=wire.Failure("timeout", "no answer from 192.0.2.7:161"),
        unreadable_since_ms=1_779_999_998_000,
        last_gasp="comms_lost",
    ),
    "seats": wire.SeatsReading(
        at=AT,
        known=3,
        healthy=1,
        unhealthy=1,
        missing=1,
        off=0,
        seats=wire.SeatColumns(
            id=["seat-01", "seat-02", "seat-03"],
            state=["healthy", "unhealthy", "missing"],
            why=["", "disk_full", "not heard for 300 s"],
            cpu_pct=[12.0, 40.0, None],
            memory_pct=[55.0, 61.0, None],
            disk_pct=[40.0, 99.0, None],
            temperature_c=[45.0, None, None],
            uptime_s=[3600.0, 7200.0, None],
        ),
    ),
    "seats-changed": wire.SeatsReading(
        at=AT,
        known=2,
        healthy=0,
        unhealthy=1,
        missing=1,
        off=0,
        seats=wire.SeatColumns(
            id=["seat-01", "seat-02"],
            state=["unhealthy", "missing"],
            why=[
                "disk gone: 256 GB",
                "silent for 300 s: the PC does not answer, it is off, asleep or unplugged",
            ],
            changed=["disk gone: 256 GB", ""],
            waiting=["seat-03"],
        ),
    ),
    "seats-closing": wire.SeatsReading(
        at=AT,
        known=3,
        healthy=1,
        unhealthy=0,
        missing=1,
        off=1,
        seats=wire.SeatColumns(
            id=["seat-01", "seat-02", "seat-03"],
            state=["healthy", "missing", "off"],
            why=["", "silent for 200 s", "said it was shutting down"],
            quiet_s=[None, 200.0, 45.0],
        ),
    ),
    "seats-faults": wire.SeatsReading(
        at=AT,
        known=3,
        healthy=1,
        unhealthy=1,
        missing=1,
        off=0,
        seats=wire.SeatColumns(
            id=["seat-01", "seat-02", "seat-03"],
            state=["healthy", "unhealthy", "missing"],
            why=["", "", ""],
            changed=["", "disk_gone:size_gb=256", ""],
            faults={
                "seat-02": "disk_gone:size_gb=256;cpu:used_pct=98,limit_pct=97",
                "seat-03": "silent_gone:silent_s=300",
            },
        ),
    ),
    "gateway": wire.GatewayReading(
        at=AT,
        cpu_pct=4.5,
        memory_pct=38.0,
        disk_free_pct=71.0,
        temperature_c=48.0,
        uptime_s=3600.0,
        clock_offset_ms=-2.5,
        wan_interface="eth0",
        wan_rx_bytes=756_000_000,
        wan_tx_bytes=144_000_000,
        agent_rss_mb=38.5,
        agent_cpu_s=21.6,
        spool_readings=12,
        spool_bytes=65_536,
        spool_volatile=False,
        version="0.1.0",
    ),
    "gateway-answer": wire.GatewayReading(
        at=AT,
        cpu_pct=4.5,
        memory_pct=38.0,
        disk_free_pct=71.0,
        temperature_c=48.0,
        uptime_s=3600.0,
        clock_offset_ms=-2.5,
        wan_interface="eth0",
        wan_rx_bytes=756_000_000,
        wan_tx_bytes=144_000_000,
        agent_rss_mb=38.5,
        agent_cpu_s=21.6,
        spool_readings=12,
        spool_bytes=65_536,
        spool_volatile=False,
        version="0.1.0",
        machine="0123456789abcdef",
        router="fedcba9876543210",
        hardware="physical",
        answers="challenge-1",
    ),
    "gateway-release": wire.GatewayReading(
        at=AT,
        cpu_pct=4.5,
        memory_pct=38.0,
        disk_free_pct=71.0,
        temperature_c=48.0,
        uptime_s=3600.0,
        clock_offset_ms=-2.5,
        wan_interface="eth0",
        wan_rx_bytes=756_000_000,
        wan_tx_bytes=144_000_000,
        agent_rss_mb=38.5,
        agent_cpu_s=21.6,
        spool_readings=12,
        spool_bytes=65_536,
        spool_volatile=False,
        version="0.1.0",
        machine="0123456789abcdef",
        router="fedcba9876543210",
        hardware="physical",
        answers="challenge-1",
        release="trial",
        failed_release="0.4.0",
        failed_why="no_receipt",
    ),
    "boot": wire.BootReading(
        at=AT,
        previous_end="power",
        evidence=["the UPS was on battery and low at the last sign of life"],
        last_alive_ms=1_779_999_000_000,
        dark_s=940.0,
    ),
    "boot-codes": wire.BootReading(
        at=AT,
        previous_end="power",
        evidence=["went_down", "new_boot:up_s=75"],
        last_alive_ms=1_779_999_000_000,
        dark_s=940.0,
    ),
    "shed": wire.ShedReading(at=AT, first_seq=100, last_seq=199, count=100, why="full"),
}
RAWS = [wire.encode_reading(READINGS[kind]) for kind in ("boot", "link", "ups")]
MESSAGES: dict[str, wire.Batch | wire.Receipt | wire.Ask | wire.Task | wire.Presence] = {
    "batch": wire.Batch(
        v=1,
        device=DEVICE,
        spool=SPOOL,
        first_seq=1,
        prev=wire.GENESIS.hex(),
        nonce="c0ffee",
        live=False,
        readings=[msgspec.Raw(raw) for raw in RAWS],
    ),
    "batch-proof": wire.Batch(
        v=1,
        device=DEVICE,
        spool=SPOOL,
        first_seq=4,
        prev="ab" * 32,
        proof=(GOLDEN / "receipt.sealed").read_text(),
        readings=[msgspec.Raw(RAWS[0])],
    ),
    "batch-settings": wire.Batch(
        v=1,
        device=DEVICE,
        spool=SPOOL,
        first_seq=4,
        prev="ab" * 32,
        settings=wire.SettingsReport(digest="c0ffee05", state="trial", failed="c0ffee04", why="no_receipt: 600 s"),
        readings=[msgspec.Raw(RAWS[0])],
    ),
    "receipt": wire.Receipt(
        v=1,
        device=DEVICE,
        spool=SPOOL,
        first_seq=1,
        last_seq=3,
        chain=wire.chain(wire.GENESIS, RAWS).hex(),
        nonce="c0ffee01",
        at_ms=1_780_000_000_250,
        pace_ms=500,
    ),
    "receipt-lacks": wire.Receipt(
        v=1,
        device=DEVICE,
        spool=SPOOL,
        first_seq=1440,
        last_seq=1443,
        chain="ab" * 32,
        at_ms=1_780_000_000_250,
        epoch="5ca1ab1e" * 4,
        lacks=[(800, 1439), (12, 16)],
    ),
    "receipt-standing": wire.Receipt(
        v=1,
        device=DEVICE,
        spool=SPOOL,
        first_seq=1440,
        last_seq=1443,
        chain="ab" * 32,
        at_ms=1_780_000_000_250,
        standing=wire.CenterStanding(
            state="below", criterion="internet.download", since_ms=1_779_990_000_000, missed=3
        ),
    ),
    "receipt-packing": wire.Receipt(
        v=1,
        device=DEVICE,
        spool=SPOOL,
        first_seq=1,
        last_seq=3,
        chain=wire.chain(wire.GENESIS, RAWS).hex(),
        at_ms=1_780_000_000_250,
        packing=1,
    ),
    "receipt-decisions": wire.Receipt(
        v=1,
        device=DEVICE,
        spool=SPOOL,
        first_seq=1,
        last_seq=3,
        chain=wire.chain(wire.GENESIS, RAWS).hex(),
        at_ms=1_780_000_000_250,
        epoch="5ca1ab1e" * 4,
        packing=1,
        decisions=412,
    ),
    "receipt-set-aside": wire.Receipt(
        v=1,
        device=DEVICE,
        spool=SPOOL,
        first_seq=4,
        last_seq=4,
        chain="ab" * 32,
        outcome="set_aside",
        reason="reading: Invalid value 'weather' - at `$.kind`",
        at_ms=1_780_000_000_250,
    ),
    "receipt-other-history": wire.Receipt(
        v=1,
        device=DEVICE,
        spool=SPOOL,
        first_seq=4,
        last_seq=4,
        chain="ab" * 32,
        outcome="set_aside",
        code="other_history",
        reason="equivocation: other bytes are held of 4",  # gateways before 0.2 know it by its first word
        at_ms=1_780_000_000_250,
    ),
    "receipt-equivocation": wire.Receipt(
        v=1,
        device=DEVICE,
        spool=SPOOL,
        first_seq=4,
        last_seq=4,
        chain="ab" * 32,
        outcome="set_aside",
        reason="equivocation: other bytes are held of 4",
        at_ms=1_780_000_000_250,
    ),
    "ask": wire.Ask(
        v=1,
        device=DEVICE,
        id="t-0001",
        want="speed",
        purpose="routine",
        slot="2026-05-28 19:00-22:00",
        expected_bytes=11_000_000,
        nonce="c0ffee02",
        expires_ms=1_780_000_600_000,
    ),
    "ask-answer": wire.Ask(
        v=1,
        device=DEVICE,
        id="q-0001",
        want="answer",
        purpose="desk",
        nonce="c0ffee02",
        answer='[\n {"what": "identity", "ok": true}\n]',
        expires_ms=1_780_000_600_000,
    ),
    "task-question": wire.Task(
        v=1,
        device=DEVICE,
        id="task-0003",
        do="question",
        question=wire.Question(id="q-0001", kind="doctor", asked_by="Ayesha"),
        expires_ms=1_780_000_600_000,
    ),
    "task-granted": wire.Task(
        v=1,
        device=DEVICE,
        id="t-0001",
        do="speed",
        purpose="routine",
        nonce="c0ffee03",
        token="t-0001.one-time",
        server="https://measure.example",
        expires_ms=1_780_000_300_000,
    ),
    "task-drawn": wire.Task(
        v=1,
        device=DEVICE,
        id="t-0001",
        do="speed",
        purpose="routine",
        nonce="c0ffee03",
        token="t-0001.one-time",
        slot="2026-11-19 10:00-13:00",
        server="https://measure.example",
        expires_ms=1_780_000_300_000,
    ),
    "task": wire.Task(
        v=1,
        device=DEVICE,
        id="task-0001",
        do="speed",
        nonce="c0ffee02",
        token="one-time",
        server="https://measure.example",
        expires_ms=1_780_000_600_000,
    ),
    "batch-fetches": wire.Batch(
        v=1,
        device=DEVICE,
        spool="00112233445566778899aabbccddeeff",
        first_seq=1,
        prev=wire.GENESIS.hex(),
        settings=wire.SettingsReport(digest="c0ffee05", fetches=True),
        readings=[msgspec.Raw(b'{"kind":"boot"}')],
    ),
    "task-fetch": wire.Task(
        v=1,
        device=DEVICE,
        id="fetch-0001",
        do="fetch",
        nonce="c0ffee02",
        fetch=wire.FetchOrder(name="00112233445566778899aabbccddeeff", parts=16, part_bytes=500_000),
        expires_ms=1_780_000_600_000,
    ),
    "task-settings": wire.Task(
        v=1,
        device=DEVICE,
        id="task-0002",
        do="settings",
        nonce="c0ffee02",
        settings=wire.SettingsDocument(
            digest="c0ffee05",
            issued_ms=1_780_000_000_000,
            values={"speed": {"mode": "quick", "enabled": True, "slots": ["10:00-12:00"]}, "agent": {"cycle_s": 60.5}},
        ),
        expires_ms=1_780_000_120_000,
    ),
    "presence": wire.Presence(v=1, device=DEVICE, state="online", boot=AT.boot, version="0.1.0"),
}
DECODERS = {
    "batch": wire.decode_batch,
    "batch-proof": wire.decode_batch,
    "batch-settings": wire.decode_batch,
    "receipt": wire.decode_receipt,
    "receipt-lacks": wire.decode_receipt,
    "receipt-packing": wire.decode_receipt,
    "receipt-decisions": wire.decode_receipt,
    "receipt-standing": wire.decode_receipt,
    "receipt-set-aside": wire.decode_receipt,
    "receipt-other-history": wire.decode_receipt,
    "receipt-equivocation": wire.decode_receipt,
    "ask": wire.decode_ask,
    "task": wire.decode_task,
    "task-granted": wire.decode_task,
    "task-drawn": wire.decode_task,
    "task-settings": wire.decode_task,
    "task-fetch": wire.decode_task,
    "batch-fetches": wire.decode_batch,
    "task-question": wire.decode_task,
    "ask-answer": wire.decode_ask,
    "presence": wire.decode_presence,
}


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


# ---------------------------------------------------------------- golden messages


def of_kinds() -> list[str]:
    """The golden readings by the names of their files, `KIND.json` and `KIND-WHAT.json`."""
    return sorted(path.stem for path in GOLDEN.glob("*.json") if path.stem.partition("-")[0] in wire.KINDS)


def test_every_golden_file_is_tested() -> None:
    names = {f"{name}.json" for name in (*of_kinds(), *MESSAGES)} | {"key.json"}
    names |= {"batch.sealed", "batch.packed", "receipt.sealed"}
    assert {path.name for path in GOLDEN.iterdir()} == names
    assert READINGS.keys() <= set(of_kinds())


@pytest.mark.parametrize("name", of_kinds())
def test_the_bytes_of_a_golden_reading_are_those_of_its_values(name: str) -> None:
    assert wire.encode_reading(wire.decode_reading(golden(f"{name}.json"))) == golden(f"{name}.json")


@pytest.mark.parametrize("name", READINGS)
def test_a_golden_reading_is_read_and_written_as_ever(name: str) -> None:
    assert wire.decode_reading(golden(f"{name}.json")) == READINGS[name]
    assert wire.encode_reading(READINGS[name]) == golden(f"{name}.json")


@pytest.mark.parametrize("name", MESSAGES)
def test_a_golden_message_is_read_and_written_as_ever(name: str) -> None:
    assert DECODERS[name](golden(f"{name}.json")) == MESSAGES[name]
    assert wire.encode(MESSAGES[name]) == golden(f"{name}.json")


@pytest.mark.parametrize("name", ["batch", "receipt"])
def test_golden_sealed_bytes_hold_the_body_and_a_signature_of_exactly_it(name: str) -> None:
    sealed = golden(f"{name}.sealed")
    body, signature = wire.unseal(sealed)
    assert body == golden(f"{name}.json")
    KEY.public_key().verify(signature, body)
    # Ed25519 is deterministic (RFC 8032): the same key and body give the same bytes.
    assert wire.seal(body, KEY.sign) == sealed


def test_the_golden_batch_ends_at_the_chain_that_its_receipt_names() -> None:
    batch, receipt = wire.decode_batch(golden("batch.json")), wire.decode_receipt(golden("receipt.json"))
    assert batch.last_chain().hex() == receipt.chain
    assert (batch.first_seq, batch.last_seq) == (receipt.first_seq, receipt.last_seq) == (1, 3)


# ---------------------------------------------------------------- the chain


def test_the_chain_does_not_depend_on_where_batches_are_cut() -> None:
    whole = wire.chain(wire.GENESIS, RAWS)
    for cut in range(len(RAWS) + 1):
        assert wire.chain(wire.chain(wire.GENESIS, RAWS[:cut]), RAWS[cut:]) == whole


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=2, max_size=8, unique=True))
def test_any_change_of_order_or_bytes_or_number_changes_the_chain(raws: list[bytes]) -> None:
    whole = wire.chain(wire.GENESIS, raws)
    assert wire.chain(wire.GENESIS, raws[::-1]) != whole
    assert wire.chain(wire.GENESIS, raws[1:]) != whole
    assert wire.chain(wire.GENESIS, [*raws[:-1], raws[-1] + b"\0"]) != whole


def test_the_chain_is_the_documented_formula() -> None:
    first = hashlib.sha256(bytes(32) + RAWS[0]).digest()
    assert wire.chain(wire.GENESIS, RAWS[:2]) == hashlib.sha256(first + RAWS[1]).digest()


# ---------------------------------------------------------------- sealing


@given(st.binary(max_size=300))
def test_whatever_the_body_it_comes_out_of_its_seal_unchanged(body: bytes) -> None:
    assert wire.unseal(wire.seal(body, KEY.sign))[0] == body


def test_a_changed_body_does_not_fit_its_signature() -> None:
    body, signature = wire.unseal(golden("batch.sealed"))
    with pytest.raises(InvalidSignature):
        KEY.public_key().verify(signature, body.replace(b'"first_seq":1', b'"first_seq":2'))


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (b"", "no signature line"),
        (b"{}", "no signature line"),
        (b"{}\n", "0 bytes, Ed25519 has 64"),
        (b"{}\n!!!!", "not base64"),
        (b"{}\n\xff\xfe", "not base64"),
        (b"{}\n" + base64.b64encode(bytes(63)), "63 bytes"),
        (bytes(wire.MAX_BATCH_BYTES + 129), "over the limit"),
    ],
)
def test_a_broken_seal_is_refused_with_its_rule(payload: bytes, rule: str) -> None:
    with pytest.raises(wire.WireError, match=rule):
        wire.unseal(payload)


# ---------------------------------------------------------------- hostile input


def changed(name: str, **fields: object) -> bytes:
    return json.dumps({**json.loads(golden(f"{name}.json")), **fields}).encode()


@pytest.mark.parametrize("version", [0, 2, 99])
@pytest.mark.parametrize("name", ["batch", "receipt", "task", "presence"])
def test_another_version_is_refused_by_name(name: str, version: int) -> None:
    with pytest.raises(wire.WireError, match=f"{name}: version {version} is not spoken here"):
        DECODERS[name](changed(name, v=version))


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"v": "1"}, "Expected `int`"),
        ({"first_seq": 0}, ">= 1"),
        ({"first_seq": 2**60}, "<= 9007199254740992"),
        ({"prev": "00"}, "`prev` must be 64 lower-case hex digits"),
        ({"prev": "AB" * 32}, "`prev` must be 64 lower-case hex digits"),
        ({"prev": "zz" * 32}, "`prev` must be 64 lower-case hex digits"),
        ({"spool": "../../etc/passwd"}, "`spool` must be 32 lower-case hex digits"),
        ({"device": ""}, "length >= 1"),
        ({"device": "x" * 65}, "length <= 64"),
        ({"readings": []}, "at least length 1"),
        ({"readings": [{}] * 101}, "at most length 100"),
    ],
)
def test_a_batch_with_a_wrong_frame_is_refused_with_its_rule(fields: dict[str, object], rule: str) -> None:
    with pytest.raises(wire.WireError, match=rule):
        wire.decode_batch(changed("batch", **fields))


@pytest.mark.parametrize(
    ("name", "fields", "rule"),
    [
        ("link", {"kind": "weather"}, "weather"),
        ("link", {"loss_pct": "5"}, "loss_pct"),
        ("link", {"rtt_min_ms": 1e13}, "<= 1000000000000"),
        ("link", {"hops": [{}] * 17}, "hops"),
        ("ups", {"output_state": "on fire"}, "output_state"),
        ("ups", {"battery_replace": 1}, "Expected `bool"),
        ("ups", {"model": "m" * 201}, "length <= 200"),
        ("shed", {"first_seq": None}, "first_seq"),
        (
            "seats",
            {"seats": {"id": ["a", "b"], "state": ["off"], "why": ["", ""]}},
            "column `state` has 1 entries for 2",
        ),
        ("seats", {"seats": {"id": ["a"], "state": ["off"], "why": [""], "cpu_pct": [1.0, 2.0]}}, "cpu_pct"),
        ("boot", {"at": {"wall_ms": -1, "mono_ms": 0, "boot": "b", "clock": "synced"}}, ">= 0"),
    ],
)
def test_a_reading_that_breaks_a_rule_is_refused_with_its_place(
    name: str, fields: dict[str, object], rule: str
) -> None:
    with pytest.raises(wire.WireError, match=rule):
        wire.decode_reading(changed(name, **fields))


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_are_none_are_refused(number: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode_reading(b'{"kind":"link","loss_pct":' + number + b"}")


def test_one_bad_reading_does_not_hide_the_others_of_its_batch() -> None:
    batch = wire.decode_batch(changed("batch", readings=[{"kind": "weather"}, json.loads(golden("link.json"))]))
    with pytest.raises(wire.WireError):
        wire.decode_reading(bytes(batch.readings[0]))
    assert wire.decode_reading(bytes(batch.readings[1])) == READINGS["link"]


@pytest.mark.parametrize("name", [*READINGS, *MESSAGES])
def test_fields_of_a_later_minor_version_are_tolerated(name: str) -> None:
    decode = DECODERS.get(name, wire.decode_reading)
    known = READINGS.get(name) or MESSAGES[name]
    body = golden(f"{name}.json")
    assert decode(body[:-1] + b',"news":{"deep":[1,2,3]}}') == known


@pytest.mark.parametrize(
    ("decode", "limit"),
    [
        (wire.decode_batch, wire.MAX_BATCH_BYTES),
        (wire.decode_reading, wire.MAX_BATCH_BYTES),
        (wire.decode_receipt, wire.MAX_SMALL_BYTES),
        (wire.decode_ask, wire.MAX_ASK_BYTES),
        (wire.decode_task, wire.MAX_SMALL_BYTES),
        (wire.decode_presence, wire.MAX_SMALL_BYTES),
    ],
)
def test_sizes_are_capped_before_anything_is_decoded(decode: Callable[[bytes], object], limit: int) -> None:
    with pytest.raises(wire.WireError, match=f"{limit + 1} bytes is over the limit of {limit}"):
        decode(b"[" * (limit + 1))
    with pytest.raises(wire.WireError):
        decode(b"[" * limit)


HOSTILE = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["v", "device", "spool", "first_seq", "prev", "readings", "kind", "at", "seats"]), inner
            )
        ),
        max_leaves=12,
    ).map(lambda thing: json.dumps(thing).encode()),
)


@given(HOSTILE)
def test_no_bytes_whatever_bring_another_error_than_ours(body: bytes) -> None:
    for decode in (wire.decode_reading, wire.unseal, *DECODERS.values()):
        with suppress(wire.WireError):
            decode(body)


@given(st.sampled_from([*READINGS, *MESSAGES]), st.data())
def test_a_golden_message_with_any_byte_changed_is_read_or_refused_but_never_breaks_us(
    name: str, data: st.DataObject
) -> None:
    body = bytearray(golden(f"{name}.json"))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = DECODERS.get(name, wire.decode_reading)(bytes(body))
    except wire.WireError:
        return
    if isinstance(message, wire.Batch):
        assert len(message.last_chain()) == 32


# ---------------------------------------------------------------- topics and stamps


def test_a_topic_names_its_device() -> None:
    for topic in (wire.batch_topic, wire.receipt_topic, wire.task_topic, wire.presence_topic):
        assert wire.device_of(topic(DEVICE)) == DEVICE


@pytest.mark.parametrize(
    "topic", ["", "nabz/v1/up", "nabz/v1/up/", "nabz/v2/up/g1", "nabz/v1/up/g1/more", "other/v1/up/g1"]
)
def test_another_topic_is_refused(topic: str) -> None:
    with pytest.raises(wire.WireError, match="is not nabz/v1/WORD/DEVICE"):
        wire.device_of(topic)


def test_a_reading_without_a_stamp_does_not_travel() -> None:
    with pytest.raises(wire.WireError, match="set `at` first"):
        wire.encode_reading(wire.LinkReading(loss_pct=0.0))
