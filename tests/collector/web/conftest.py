"""A cast of centers in a real database, with a day of readings, for the pages to show."""

from __future__ import annotations

import hashlib
import json
import math
import random
import ssl
import sys
import threading
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec
import pytest
import sqlalchemy as sa
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from playwright.sync_api import Browser

from agent import wire
from agent.common.reasons import Reason, encode, encode_all
from agent.common.words import FOLDER
from collector.access import approvals, enrolment, passwords, users
from collector.access.accounts import directory, policy, sessions
from collector.access.enrolment import Approval
from collector.common.config import (
    AlertsSection,
    CollectorTable,
    EnrolmentSection,
    MeasureSection,
    OidcSection,
    Settings,
    UpdatesSection,
    WebSection,
)
from collector.common.scope import EVERYWHERE, Scope
from collector.standard import Standards
from collector.store import Store, schema
from collector.web import auth
from collector.web.app import build
from collector.web.health import Health
from collector.web.live import Hub
from tests.collector.empty_stores import empty_store
from tests.collector.standard.timeless import timeless, timeless_standards
from tests.helpers.pages import chromium

NOW_MS = 1_795_000_000_000  # a Wednesday of November 2026, 16:06 in Karachi
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx would read 140 authorities for each client, in 20 ms

PLACES = (
    ("Lahore", "Lahore", "Punjab", "one"), ("Karachi", "Karachi South", "Sindh", "one"),
    ("Peshawar", "Peshawar", "Khyber Pakhtunkhwa", "two"), ("Quetta", "Quetta", "Balochistan", "two"),
    ("Gilgit", "Gilgit", "Gilgit-Baltistan", "three"),
    ("Muzaffarabad", "Muzaffarabad", "Azad Jammu and Kashmir", "three"),
)  # fmt: skip
HOSTILE = "<script>alert(1)</script> \"'><img src=x onerror=alert(2)> \u202e"


HEALTHY = Reason.of("verdict.at_least", value=95.0, bound=90.0, unit="%")
HELD = encode(HEALTHY)
SEEN = [Reason.of("evidence.fault_seen", n=57, field="fault_place", word="isp", reading="g s 57")]


def center_row(code: str, number: int = 0, **facts: object) -> dict[str, Any]:
    city, district, province, tier = PLACES[number % len(PLACES)]
    return {
        "center": code, "name": f"e-Rozgar Center {city} {number + 1}", "owner": "Bint-e-Hawa Trust", "building": "",
        "city": city, "district": district, "province": province, "tier": tier, "seats_promised": 20,
        "isp": ("PTCL", "Nayatel", "StormFiber")[number // 6 % 3], "feeder": f"F-{number % 40:02}",
        "exchange": f"X-{number % 9}", "opening": "Mon-Sat 09:00-21:00", "latitude": None, "longitude": None,
        "lifecycle": "declared", "since_ms": NOW_MS - 90 * DAY_MS, "changed_ms": NOW_MS - 90 * DAY_MS, **facts,
    }  # fmt: skip


def flag_row(code: str, criterion: str, **parts: object) -> dict[str, Any]:
    return {
        "center": code, "criterion": criterion, "subject": "", "state": "clear", "since_ms": NOW_MS - 2 * DAY_MS,
        "judged_until_ms": NOW_MS - MINUTE_MS, "memory": "[]", "verdict": "meets", "value": None, "bound": None,
        "reason": HELD, "standard": "example-2026-3", **parts,
    }  # fmt: skip


def pulse_row(code: str, heard_ms: int = NOW_MS - 20_000) -> dict[str, Any]:
    return {"center": code, "device": f"g{code.lower()}", "heard_ms": heard_ms, "due_ms": heard_ms + 15 * MINUTE_MS}


def insert(store: Store, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        with store.write() as conn:
            conn.execute(sa.insert(table), list(rows))


def add_readings(store: Store, code: str, kind: str, rows: Sequence[Mapping[str, Any]], subject: str = "") -> None:
    """`rows` hold `wall_ms` and the fields of their kind; the same keys in each."""
    base = {"center": code, "device": f"g{code.lower()}", "spool": "0" * 32, "subject": subject}
    insert(
        store, schema.readings[kind],
        [{**base, "seq": place, "received_ms": row["wall_ms"] + 900, **row} for place, row in enumerate(rows, 1)],
    )  # fmt: skip


def add_latest(store: Store, code: str, reading: wire.Reading, wall_ms: int) -> None:
    stamped = msgspec.structs.replace(reading, at=wire.Stamp(wall_ms=wall_ms, mono_ms=1, boot="b", clock="synced"))
    row = {
        "center": code, "kind": type(reading).__struct_config__.tag, "subject": reading.subject,
        "device": f"g{code.lower()}", "wall_ms": wall_ms, "received_ms": wall_ms + 900,
        "body": wire.encode_reading(stamped).decode(),
    }  # fmt: skip
    insert(store, schema.latest, [row])


UPS = wire.UpsReading(
    output_state="online", battery_status="normal", battery_charge_pct=100.0, runtime_s=2940.0, input_voltage_v=221.4,
    output_voltage_v=221.0, load_pct=38.0, battery_temp_c=31.0, manufacturer="American Power Conversion",
    model="Smart-UPS 3000", profiles=["powernet", "rfc1628"],
)  # fmt: skip
SPEED = wire.SpeedReading(
    engine="librespeed", server="measure.example", purpose="self-test", download_mbps=46.2, upload_mbps=18.9,
    idle_rtt_ms=21.0, loaded_rtt_down_ms=64.0, bytes_total=88_000_000, seconds=12.4,
)  # fmt: skip
LINK = wire.LinkReading(
    rtt_min_ms=14.2, rtt_median_ms=21.3, rtt_p95_ms=38.0, jitter_ms=3.1, loss_pct=0.0, fault_place="none",
    hops=[wire.Hop(role="lan", target="192.168.1.1", method="icmp", sent=20, received=20, median_ms=0.7),
          wire.Hop(role="isp", target="10.20.0.1", method="icmp", sent=20, received=19, median_ms=9.0),
          wire.Hop(role="collector", target="collector", method="tcp", sent=20, received=20, median_ms=21.3)],
)  # fmt: skip
GATEWAY = wire.GatewayReading(
    cpu_pct=7.0, memory_pct=41.0, disk_free_pct=63.0, temperature_c=52.0, uptime_s=864_000.0, clock_offset_ms=12.0,
    agent_rss_mb=38.5, spool_readings=4, spool_bytes=4096, version="0.1.0",
)  # fmt: skip


def seats_reading() -> wire.SeatsReading:
    states = ["healthy"] * 16 + ["unhealthy", "missing", "missing", "off"]
    why = [""] * 18 + ["silent for 2 h", ""]  # a sentence as gateways before 0.2 sent it
    faults = {
        "PC-17": "disk_gone:size_gb=256;disk:used_pct=98,limit_pct=97",
        "PC-18": "silent_gone:silent_s=360",
        "PC-20": "said_bye",
    }
    return wire.SeatsReading(
        known=20, healthy=16, unhealthy=1, missing=2, off=1,
        seats=wire.SeatColumns(
            id=[f"PC-{n:02}" for n in range(1, 21)], state=states, why=why,
            cpu_pct=[float(n) for n in range(20)], memory_pct=[40.0] * 20,
            changed=[""] * 16 + ["disk_gone:size_gb=256", "", "", ""], faults=faults,
            waiting=["PC-21", "s0123456789abcdef"],
        ),
    )  # fmt: skip


def add_full_center(store: Store, code: str, now_ms: int = NOW_MS, minutes: int = 1440) -> None:
    """A day of every kind of reading, with a gap, a cut of mains and an evening that is slow."""
    rng = random.Random(7)
    times = [
        t
        for t in range(now_ms - minutes * MINUTE_MS, now_ms, MINUTE_MS)
        if not now_ms - 9 * HOUR_MS < t < now_ms - 8 * HOUR_MS
    ]
    add_readings(store, code, "link", [
        {"wall_ms": t, "rtt_median_ms": 20 + 8 * math.sin(t / 7e6) + rng.random() * 4,
         "rtt_p95_ms": 34 + rng.random() * 30, "jitter_ms": 2 + rng.random(),
         "loss_pct": 5.0 if rng.random() > 0.985 else 0.0}
        for t in times
    ])  # fmt: skip
    cut = range(now_ms - 4 * HOUR_MS, now_ms - 3 * HOUR_MS)
    add_readings(store, code, "ups", [
        {"wall_ms": t, "output_state": "battery" if t in cut else "online",
         "battery_charge_pct": 100 - (t - cut.start) / 90_000 if t in cut else 100.0, "load_pct": 36 + rng.random() * 5,
         "input_voltage_v": 0.0 if t in cut else 218 + rng.random() * 8, "runtime_s": 2900.0}
        for t in times
    ])  # fmt: skip
    add_readings(store, code, "seats", [
        {"wall_ms": t, "known": 20, "healthy": 16 if t > now_ms - 5 * HOUR_MS else 19,
         "unhealthy": 1, "missing": 2, "off": 1}
        for t in times
    ])  # fmt: skip
    add_readings(store, code, "speed", [
        {"wall_ms": now_ms - hours * HOUR_MS, "download_mbps": down, "upload_mbps": down and down / 2.4,
         "purpose": purpose, "failure": failure}
        for hours, down, purpose, failure in (
            (23, 47.0, "routine", None), (18, 44.5, "routine", None), (13, None, "routine", '{"cause":"timeout"}'),
            (7, 31.0, "routine", None), (2, 46.2, "self-test", None))
    ])  # fmt: skip
    for reading in (UPS, SPEED, LINK, GATEWAY, seats_reading()):
        add_latest(store, code, reading, now_ms - 20_000)


def add_story(store: Store, code: str) -> None:
    """A gateway, some changes of its flags and a finding about its honesty."""
    insert(store, schema.devices, [device_row(code, hostname=HOSTILE)])
    moves = (("internet.download", "pending", "raised", 26), ("seats.usable", "recovering", "clear", 30))
    insert(store, schema.changes, [
        {"center": code, "criterion": criterion, "subject": "", "was": was, "now": now,
         "at_ms": NOW_MS - hours * HOUR_MS, "recorded_ms": NOW_MS, "value": 12.4, "bound": 40.0,
         "reason": encode(Reason.of("change.recovery_held", found=HEALTHY)), "standard": "example-2026-3"}
        for criterion, was, now, hours in moves
    ])  # fmt: skip
    gap = {
        "center": code, "from_ms": NOW_MS - 9 * HOUR_MS, "to_ms": NOW_MS - 8 * HOUR_MS, "facts": "{}", "witness": "{}",
        "recorded_ms": NOW_MS,
    }  # fmt: skip
    insert(store, schema.gaps, [
        {**gap, "revision": 1, "cause": "unknown", "grade": "none", "evidence": "[]"},
        {**gap, "revision": 2, "cause": "isp_down", "grade": "shown", "evidence": encode_all(SEEN)},
    ])  # fmt: skip
    begun_ms = NOW_MS - 4 * HOUR_MS
    cut = {
        "noted_ms": begun_ms, "from_ms": begun_ms, "last_ms": begun_ms + HOUR_MS - MINUTE_MS,
        "to_ms": begun_ms + HOUR_MS, "charge_from_pct": 100.0, "charge_low_pct": 60.0, "load_sum_pct": 37.0, "loads": 1,
        "evidence": [{"code": "evidence.cut_begins", "params": {"reading": "g s 7"}}],
    }  # fmt: skip
    insert(store, schema.cuts, [
        {"center": code, "subject": "", "revision": 1, "carried": True, "facts": json.dumps(cut), "recorded_ms": NOW_MS,
         "open": True, **{name: cut[name] for name in ("noted_ms", "from_ms", "last_ms", "to_ms")}}
    ])  # fmt: skip
    insert(store, schema.integrity, [
        {"at_ms": NOW_MS - HOUR_MS, "center": code, "device": f"g{code.lower()}", "finding": "equivocation",
         "detail": encode(Reason.text(HOSTILE))}
    ])  # fmt: skip


def add_person(store: Store, name: str, secret: str, *may: users.May) -> None:
    with store.write() as conn:
        kept = passwords.hash_password(secret, passwords.Cost(64, 1, 1))
        users.add(conn, name, kept, may or users.MAY, "root", NOW_MS)


def add_waiting(
    store: Store, number: int, maker: str = "Ali", given: str = "", code: str = "KHI-0001", hostname: str = "box"
) -> str:
    """A gateway that came with a token of `maker`, whose passphrase may be `given`; returns its name."""
    proof = users.prove(store, maker, given, NOW_MS, counted=False).proof if given else ""
    key_hash = hashlib.sha256(f"gateway {number}".encode()).hexdigest()
    at_ms = NOW_MS - (50 - number) * MINUTE_MS
    with store.write() as conn:
        token = enrolment.issue_token(conn, code, at_ms, 3600, maker, proof=proof)
        held = hashlib.sha256(token.encode()).hexdigest()
        approvals.request_approval(conn, held, "g" + key_hash[:16], key_hash, hostname, at_ms)
    return "g" + key_hash[:16]


CRITERIA = tuple(rule.id for rule in timeless().criteria)


def add_fleet(store: Store, number: int, now_ms: int = NOW_MS) -> None:
    """Centers in every state: of 20, one silent, two below, one on watch, two unknown, one waiting, one out of hours,
    one given up."""
    rows, flags, pulses = [], [], []
    for n in range(number):
        code, role = f"{('LHE', 'KHI', 'PEW', 'UET', 'GIL', 'MZD')[n % 6]}-{n:04}", n % 20
        opening = {"opening": "Sun 09:00-17:00"} if role == 17 else {}
        rows.append(center_row(code, n, lifecycle="closed" if role == 19 else "declared", **opening))
        if role == 18:
            continue
        pulses.append(pulse_row(code, now_ms - (3 * HOUR_MS if role == 0 else 20_000 + n % 40_000)))
        own = {criterion: flag_row(code, criterion) for criterion in CRITERIA}
        for criterion, parts in troubles(role, now_ms, n).items():
            own[criterion].update(parts)
        flags += own.values()
    insert(store, schema.centers, rows)
    insert(store, schema.pulse, pulses)
    insert(store, schema.flags, flags)


def troubles(role: int, now_ms: int, n: int) -> dict[str, dict[str, Any]]:
    """What is wrong with a center of this role, by criterion."""
    raised = {"state": "raised", "verdict": "below"}
    silent = {
        "since_ms": now_ms - 2 * HOUR_MS - n * 1000,
        "value": 10800,
        "bound": 900,
        "reason": encode(Reason.of("verdict.at_most", value=10800.0, bound=900.0, unit="s")),
    }
    slow = {
        "since_ms": now_ms - 26 * HOUR_MS - n * 1000,
        "value": 12.4,
        "bound": 40.0,
        "reason": encode(Reason.of("verdict.at_least", value=12.4, bound=40.0, unit="Mbit/s")),
    }
    low = {
        "state": "recovering",
        "verdict": "below",
        "since_ms": now_ms - 50 * MINUTE_MS,
        "reason": encode(Reason.of("verdict.word", field="battery_status", word="low")),
    }
    loss = {
        "state": "pending",
        "verdict": "below",
        "since_ms": now_ms - 4 * MINUTE_MS,
        "value": 4.2,
        "bound": 2.0,
        "reason": encode(Reason.of("verdict.at_most", value=4.2, bound=2.0, unit="%")),
    }
    unknown = {"verdict": "unknown", "reason": encode(Reason.of("verdict.absent", fields=["runtime_s"]))}
    return {
        0: {"presence.silent": raised | silent},
        1: {"internet.download": raised | slow},
        2: {"internet.download": raised | slow, "power.battery_low": low},
        3: {"internet.loss": loss},
        4: {"power.backup": unknown},
        5: {"power.backup": unknown},
    }.get(role, {})


def device_row(code: str, **parts: object) -> dict[str, Any]:
    return {
        "device": f"g{code.lower()}", "center": code, "public_key": b"k" * 32, "enrolled_ms": NOW_MS - DAY_MS,
        "hostname": "gateway", "version": "0.1.0", **parts,
    }  # fmt: skip


@pytest.fixture(scope="session")
def cast() -> types.ModuleType:
    """This module, for tests that put rows of their own into a database."""
    return sys.modules[__name__]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = empty_store(tmp_path / "nabz.sqlite")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def standards() -> Standards:
    return timeless_standards()


ADMIN, PASSWORD = "Amna", "a password of these tests"
SESSION = "the-session-of-these-tests"


def add_account(
    store: Store, name: str, role: policy.Role, scope: Scope = EVERYWHERE, now_ms: int = NOW_MS, cookie: str = ""
) -> str:
    """An account that is logged in; returns the cookie of its session. Its password is PASSWORD."""
    cookie = cookie or f"the session of {name}".replace(" ", "-")
    kept = passwords.hash_password(PASSWORD, passwords.Cost(64, 1, 1))
    row = {"token_hash": sessions.id_of(cookie), "person": users.key_of(name), "made_ms": now_ms, "seen_ms": now_ms}
    row |= {"expires_ms": now_ms + 7 * DAY_MS, "is_full": True, "address": "", "agent": ""}
    with store.write() as conn:
        if directory.account_of(conn, name) is None:
            directory.add(conn, name, kept, role, scope, "root", now_ms, may=())
        if sessions.find(conn, cookie, now_ms) is None:
            conn.execute(sa.insert(schema.sessions).values(row))
    return cookie


@dataclass
class Served:
    """The application behind a real server on a real port."""

    url: str
    store: Store
    hub: Hub
    app: FastAPI
    health: Health
    now: list[int]  # what the clock says is the last

    @contextmanager
    def client(self, *, logged_in: bool = True, **headers: str) -> Iterator[httpx.Client]:
        heads = {"accept": "text/html", **headers}
        with httpx.Client(base_url=self.url, headers=heads, timeout=60, verify=NO_TLS) as client:
            if logged_in:
                client.cookies.set(auth.COOKIE, SESSION)
            yield client


@contextmanager
def serve(
    store: Store,
    standards: Standards,
    data_dir: Path,
    now_ms: int = NOW_MS,
    approval: Approval = "none",
    texts: Path = FOLDER,
    *,
    has_admin: bool = True,
    port: int = 0,
    second_proof: Literal["offered", "required"] = "offered",
    alerts: AlertsSection | None = None,
    public_page: bool = False,
    desk_telephone: str = "",
    boundaries: Path | None = None,
    releases: Path | None = None,
    oidc: OidcSection | None = None,
) -> Iterator[Served]:
    if has_admin:
        add_account(store, ADMIN, "admin", now_ms=now_ms, cookie=SESSION)
    hub = Hub(gather_s=0.05)
    config = Settings(
        web=WebSection(
            public_url=f"http://localhost:{port}" if port else "",
            second_proof=second_proof,
            public_page=public_page,
            desk_telephone=desk_telephone,
            boundaries=boundaries,
        ),
        collector=CollectorTable(data_dir=data_dir),
        enrolment=EnrolmentSection(approval=approval),
        alerts=alerts or AlertsSection(),
        updates=UpdatesSection(repository=releases),
        oidc=oidc or OidcSection(),
        measure=MeasureSection(providers={"PTCL": (17557, 45595)}),
    )
    key = Ed25519PrivateKey.generate()
    health, times = Health(), [now_ms]
    app = build(store, config, hub, standards=standards, key=key, now=lambda: times[-1], texts=texts, health=health)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + 60
        while not server.started:
            assert time.monotonic() < until, "the web server did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(f"http://127.0.0.1:{port}", store, hub, app, health, times)
    finally:
        hub.close()
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the web server did not stop while a page was open"


@pytest.fixture
def served(store: Store, standards: Standards, tmp_path: Path) -> Iterator[Served]:
    """An empty register, to fill."""
    with serve(store, standards, tmp_path) as site:
        yield site


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory, standards: Standards) -> Iterator[Served]:
    """120 centers in every state, the center KHI-0001 with a day of readings; for tests that only read."""
    folder = tmp_path_factory.mktemp("fleet")
    store = empty_store(folder / "nabz.sqlite")
    add_fleet(store, 120)
    add_full_center(store, "KHI-0001")
    add_story(store, "KHI-0001")
    with serve(store, standards, folder) as site:
        yield site
    store.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.launched() as browser:
        yield browser


# ---------------------------------------------------------------- people of a module's own `site`


@pytest.fixture(scope="module")
def desk(site, cast) -> str:
    return cast.add_account(site.store, "Dua", "desk")


@pytest.fixture(scope="module")
def auditor(site, cast) -> str:
    return cast.add_account(site.store, "Asad", "auditor")


@pytest.fixture(scope="module")
def operator(site, cast) -> str:
    scope = Scope(owner=frozenset({"Bint-e-Hawa Trust"}), district=frozenset({"Karachi South"}))
    return cast.add_account(site.store, "Omar", "operator", scope)
