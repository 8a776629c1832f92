"""Records and readings in the store: whichever comes first, both make the verdict; what is dishonest is refused."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.common.reasons import Reason
from agent.common.reasons import decode as decode_reason
from collector.access.enrolment import EnrolmentRefused
from collector.common.messages import MessageRefused
from collector.ingest import server_results
from collector.ingest.transaction import Ingest
from collector.judging import server_check, server_samples
from collector.judging.current import current_verdicts, latest_readings
from collector.judging.evaluate import FreshReading, judge_group
from collector.judging.flags.witness import RULES
from collector.register import centers
from collector.register.centers import Center
from collector.reports.monthly import build
from collector.speedtests import servers
from collector.speedtests.measure.record import Record, RecordedDirection, encode
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless_standards

NOON = 1_795_071_600_000  # Thursday 2026-11-19 12:00 in Karachi
MINUTE = 60_000
STANDARDS = timeless_standards()
FIELDS = ("download_mbps", "capacity_down_mbps", "upload_mbps", "capacity_up_mbps")


def judge(conn: sa.Connection, group: Sequence[tuple[Center, Sequence[FreshReading]]], now_ms: int) -> int:
    return judge_group(conn, server_results.attach(conn, group, now_ms), STANDARDS, now_ms)


def way(mbps: float, seconds: float = 4.0, start_ms: int = 0) -> RecordedDirection:
    at_ms = [start_ms + 100 * i for i in range(int(seconds * 10) + 1)]
    total = [round(mbps * 1e6 / 8 * 0.1 * i) for i in range(len(at_ms))]
    return RecordedDirection(bytes=total[-1], at_ms=at_ms, total=total)


@dataclass
class House:
    """A collector with one joined measurement server, `pie`."""

    store: Store
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    tests: itertools.count = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.ingest = Ingest(self.store, Ed25519PrivateKey.generate(), judge)
        public = self.key.public_key().public_bytes_raw()
        row = {"name": "pie", "url": "https://pie.example", "public_key": public, "tests_at_once": 5}
        with self.store.write() as conn:
            conn.execute(sa.insert(schema.measure_servers).values(**row, joined_ms=NOON - 10**9))

    def grant(self, device: str, center: str, at_ms: int = NOON) -> str:
        test = f"t{next(self.tests)}"
        times = {"asked_ms": at_ms, "granted_ms": at_ms, "expires_ms": at_ms + 5 * MINUTE}
        who = {"center": center, "device": device, "server": "pie", "purpose": "routine", "state": "granted"}
        with self.store.write() as conn:
            conn.execute(sa.insert(schema.grants).values(test_id=test, **who, **times))
        return test

    def sealed(self, test: str, device: str, down: float = 60.0, up: float = 30.0, **more) -> bytes:
        fields = {"server": "pie", "address": "203.0.113.7", "started_ms": NOON, "witnessed": True, "min_rtt_ms": 18.0}
        record = Record(
            test=test, device=device, seconds=9.0, end="idle", connections=7, down=way(down), up=way(up, 4.0, 4500),
            **(fields | more),
        )  # fmt: skip
        return encode(record, self.key.sign)

    def record(self, sealed: bytes, now_ms: int = NOON + MINUTE) -> set[str]:
        with self.store.write() as conn:
            return server_results.take_record(conn, sealed, now_ms, STANDARDS)

    def told(self, gateway, test: str, now_ms: int = NOON + MINUTE, wall_ms: int = NOON, **fields) -> None:
        figures = dict(zip(FIELDS, (60.0, 60.0, 30.0, 30.0), strict=True))
        values = figures | {"server": "https://pie.example", "engine": "librespeed", "test_id": test} | fields
        at = wire.Stamp(wall_ms=wall_ms, mono_ms=wall_ms - NOON + 10**6, boot="b", clock="synced")
        reading = wire.SpeedReading(at=at, subject="wan", **values)
        self.ingest.take([gateway.batch([wire.encode_reading(reading)])], now_ms)

    def flag(self, center: str = "LHR-1") -> tuple[str, str]:
        f = schema.flags.c
        query = sa.select(f.verdict, f.state).where(f.center == center, f.criterion == "internet.download")
        with self.store.read() as conn:
            row = conn.execute(query).one_or_none()
        return (row.verdict, row.state) if row else ("", "")

    def now(self, now_ms: int = NOON + 2 * MINUTE, center: str = "LHR-1") -> tuple[str, Reason]:
        with self.store.read() as conn:
            found = current_verdicts(conn, centers.get(conn, center), latest_readings(conn, center), STANDARDS, now_ms)
        return next((e.verdict.word, e.verdict.reason) for e in found if e.criterion.id == "internet.download")

    def findings(self) -> list[tuple[str, str, str]]:
        table = schema.integrity.c
        query = sa.select(table.finding, table.center, table.detail).order_by(table.id)
        with self.store.read() as conn:
            return [tuple(row) for row in conn.execute(query)]

    def month(self, center: str = "LHR-1", now_ms: int = NOON + 40 * 86_400_000) -> dict:
        with self.store.read() as conn:
            found = build(conn, centers.get(conn, center), "2026-11", STANDARDS, now_ms)
        return next(row for row in found["criteria"] if row["criterion"] == "internet.download")


@pytest.fixture
def house(either_store: Store) -> House:
    return House(either_store)


@pytest.fixture
def mine(house: House, gateway: Callable):
    return gateway(house.store)


# ---------------------------------------------------------------- the honest way


@pytest.mark.parametrize("record_first", [True, False])
def test_whichever_comes_first_the_verdict_is_that_of_both(house: House, mine, record_first: bool) -> None:
    test = house.grant(mine.device, mine.center)
    steps = [lambda: house.record(house.sealed(test, mine.device)), lambda: house.told(mine, test)]
    for step in steps if record_first else reversed(steps):
        assert house.flag()[0] != "meets"
        step()
    assert house.flag() == ("meets", "clear")
    assert house.now()[0] == "meets"
    assert house.month()["samples"] == 1
    assert house.findings() == []


def test_a_miss_is_a_miss_only_when_the_server_saw_it(house: House, mine) -> None:
    for minute in range(3):
        test = house.grant(mine.device, mine.center)
        slow = {"download_mbps": 9.0, "capacity_down_mbps": 9.0}
        house.told(mine, test, now_ms=NOON + (minute + 1) * MINUTE, wall_ms=NOON + minute * MINUTE, **slow)
        assert house.flag()[1] == ("pending" if minute else "clear")
        house.record(house.sealed(test, mine.device, down=9.0), NOON + (minute + 1) * MINUTE + 1)
    assert house.flag() == ("below", "raised")
    with house.store.read() as conn:
        (raised,) = conn.execute(sa.select(schema.changes).where(schema.changes.c.now == "raised")).all()
    assert raised.recorded_ms == NOON + 3 * MINUTE + 1  # in the transaction of the last record


def test_a_record_that_comes_late_moves_no_flag_that_newer_readings_have_judged(house: House, mine) -> None:
    old, new = house.grant(mine.device, mine.center), house.grant(mine.device, mine.center)
    house.told(mine, old, download_mbps=9.0, capacity_down_mbps=9.0)
    house.record(house.sealed(new, mine.device))
    house.told(mine, new, wall_ms=NOON + MINUTE, now_ms=NOON + 2 * MINUTE)
    house.record(house.sealed(old, mine.device, down=9.0), NOON + 3 * MINUTE)
    assert house.flag() == ("meets", "clear")
    assert (house.month()["samples"], house.month()["met"]) == (2, 1)


def test_the_network_of_a_test_is_kept_with_its_record(house: House, mine) -> None:
    tests = [house.grant(mine.device, "LHR-1") for _ in range(2)]
    house.record(house.sealed(tests[0], mine.device, asn=45595, network="AS45595 PTCL\u202e", server_asn=64500))
    house.record(house.sealed(tests[1], mine.device))
    with house.store.read() as conn:
        found = [server_check.network_of(conn, test, {45595}) for test in (*tests, "unknown")]
    assert found == [server_check.TestNetwork("AS45595 PTCL\N{REPLACEMENT CHARACTER}", "off_net"), None, None]


def test_the_other_engines_test_is_held_and_changes_nothing_that_is_shown_of_the_line(house: House, mine) -> None:
    test = house.grant(mine.device, mine.center)
    house.record(house.sealed(test, mine.device))
    house.told(mine, test)
    before = house.now()
    slot = {"engine": "ndt7", "purpose": "manual", "slot": "2026-11-19 10:00-13:00", "download_mbps": 9.0}
    house.told(mine, "", wall_ms=NOON + 1000, **slot)
    assert house.now() == before
    with house.store.read() as conn:
        engines = conn.execute(sa.select(schema.readings["speed"].c.engine)).scalars().all()
    assert sorted(engines) == ["librespeed", "ndt7"]
    by_hand = slot | {"slot": None}  # the only engine of such a gateway, or somebody's own test: the newest there is
    house.told(mine, "", wall_ms=NOON + 2000, **by_hand)
    assert house.now() != before


def test_a_late_record_is_no_sign_of_life(house: House, mine) -> None:
    test = house.grant(mine.device, mine.center)
    house.told(mine, test)
    silent = schema.flags.c.criterion == "presence.silent"
    with house.store.write() as conn:  # it has fallen silent since
        conn.execute(sa.update(schema.flags).where(silent).values(state="raised", verdict="below"))
    queries = (sa.select(schema.pulse), sa.select(schema.flags).where(silent))
    with house.store.read() as conn:
        before = [conn.execute(query).all() for query in queries]
    house.record(house.sealed(test, mine.device), NOON + 60 * MINUTE)
    with house.store.read() as conn:
        assert [conn.execute(query).all() for query in queries] == before


def test_the_same_record_again_changes_nothing_and_another_is_a_finding(house: House, mine) -> None:
    test = house.grant(mine.device, mine.center)
    sealed = house.sealed(test, mine.device)
    house.record(sealed)
    assert house.record(sealed) == set()
    assert house.findings() == []
    house.record(house.sealed(test, mine.device, down=900.0))
    assert [finding for finding, _, _ in house.findings()] == ["record_conflict"]
    house.told(mine, test)
    assert house.flag()[0] == "meets"


@pytest.mark.parametrize(
    ("moved_bytes", "up_s", "credited"),
    [(60_000_000, 1500.0, 50.0), (20_000_000, 1500.0, 30.0), (20_000_000, 5.0, 50.0), (None, 0.0, 50.0)],
    ids=["borne out", "contradicted", "restarted between", "not told"],
)
def test_the_lines_own_counters_may_contradict_an_add_back(
    house: House, mine, moved_bytes: int | None, up_s: float, credited: float
) -> None:
    """The test moved 15 MB in four seconds; others at 20 Mbit/s would have moved 10 MB more."""
    test = house.grant(mine.device, mine.center)
    house.record(house.sealed(test, mine.device, down=30.0))
    figures = {"download_mbps": 30.0, "capacity_down_mbps": 50.0}
    house.told(mine, test, **figures, seconds=9.0, others_from="interface")
    told = ((NOON - 5 * MINUTE, 10**9, 900.0), (NOON + 5 * MINUTE, 10**9 + (moved_bytes or 0), up_s))
    for at_ms, rx_bytes, uptime_s in told if moved_bytes else ():
        at = wire.Stamp(wall_ms=at_ms, mono_ms=at_ms - NOON + 10**6, boot="b", clock="synced")
        reading = wire.GatewayReading(at=at, wan_interface="eth0", wan_rx_bytes=rx_bytes, uptime_s=uptime_s)
        house.ingest.take([mine.batch([wire.encode_reading(reading)])], NOON + 6 * MINUTE)
    with house.store.read() as conn:
        (found,) = server_check.of_centers(conn, [mine.center], 0, 2**53, NOON).values()
    assert found.credited["capacity_down_mbps"] == pytest.approx(credited, rel=0.01)


# ---------------------------------------------------------------- what is refused, and why


def refused_cases() -> dict[str, Callable[[House, object, object], None]]:
    def forged(house: House, mine, _other) -> None:
        house.told(mine, house.grant(mine.device, mine.center), download_mbps=900.0)

    def made_up(house: House, mine, _other) -> None:
        house.told(mine, "of-my-own-making")

    def replayed(house: House, mine, _other) -> None:
        test = house.grant(mine.device, mine.center)
        house.record(house.sealed(test, mine.device))
        house.told(mine, test)
        house.told(mine, test, wall_ms=NOON + MINUTE, now_ms=NOON + 2 * MINUTE)

    def foreign(house: House, mine, other) -> None:
        test = house.grant(other.device, other.center)
        house.record(house.sealed(test, other.device))
        house.told(mine, test)

    def inflated(house: House, mine, _other) -> None:
        test = house.grant(mine.device, mine.center)
        house.record(house.sealed(test, mine.device, down=9.0))
        house.told(mine, test)

    def inflated_before(house: House, mine, _other) -> None:
        test = house.grant(mine.device, mine.center)
        house.told(mine, test)
        house.record(house.sealed(test, mine.device, down=9.0))

    def lan(house: House, mine, _other) -> None:
        house.told(mine, house.grant(mine.device, mine.center), server="http://192.168.1.5:8474")

    def near(house: House, mine, _other) -> None:
        test = house.grant(mine.device, mine.center)
        house.told(mine, test)
        house.record(house.sealed(test, mine.device, min_rtt_ms=0.1))

    def late(house: House, mine, _other) -> None:
        test = house.grant(mine.device, mine.center)
        house.told(mine, test)
        house.record(house.sealed(test, mine.device, started_ms=NOON + 60 * MINUTE), NOON + 61 * MINUTE)

    def tokenless(house: House, mine, _other) -> None:
        test = house.grant(mine.device, mine.center)
        house.record(house.sealed(test, "", witnessed=False))
        house.told(mine, test)

    def without_test(house: House, mine, _other) -> None:
        house.told(mine, "")

    def self_test(house: House, mine, _other) -> None:
        house.told(mine, house.grant(mine.device, mine.center), purpose="self-test")

    return {name: case for name, case in locals().items() if callable(case)}


def why(name: str, mine: str, other: str, spool: str) -> tuple[Reason, list[str]]:
    """(reason, findings) of each of these cases."""
    apart = Reason.of(
        "witness.apart", direction="down", device=mine, server="pie", claimed_mbps=60.0, seen_mbps=9.0, bound_pct=5.0
    )
    disagrees = Reason.of("witness.disagrees", apart=[apart]), ["disagrees"]
    foreign = Reason.of("witness.not_granted_to_this_device", test="t0", device=other, other=mine)
    return {
        "forged": (Reason.of("witness.no_record", within_s=900), []),
        "made_up": (Reason.of("witness.unknown_test", test="of-my-own-making"), []),
        "replayed": (Reason.of("witness.replayed", test="t0", reading=f"{mine} {spool} 1"), ["replayed"]),
        "foreign": (foreign, ["not_granted_to_this_device"]),
        "inflated": disagrees,
        "inflated_before": disagrees,
        "lan": (Reason.of("witness.lan_server", server="192.168.1.5"), ["lan_server"]),
        "near": (Reason.of("witness.lan_distance", server="pie", rtt_ms=0.1), ["lan_server"]),
        "late": (Reason.of("witness.expired", test="t0", late_s=3300), []),
        "tokenless": (Reason.of("witness.no_token", server="pie"), []),
        "without_test": (Reason("witness.no_test_id"), []),
        "self_test": (Reason("verdict.self_test"), []),
    }[name]


@pytest.mark.parametrize("name", list(refused_cases()))
def test_what_is_not_witnessed_is_refused_with_its_reason(house: House, mine, gateway, name: str) -> None:
    other = gateway(house.store, "KHI-1")
    refused_cases()[name](house, mine, other)
    reason, findings = why(name, mine.device, other.device, mine.spool)
    assert house.now(NOON + MINUTE + RULES.patience_ms) == ("unknown", reason)
    assert [finding for finding, _, _ in house.findings()] == findings
    assert all(center == "LHR-1" and mine.device in detail for _, center, detail in house.findings())
    month = house.month()
    assert (month["samples"], month["not_counted"]) == (
        int(name in ("replayed", "inflated", "inflated_before")),  # of these, what the server saw counts
        [{"reason": msgspec.to_builtins(reason), "count": 1}],
    )


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_three_readings_of_one_test_are_two_repetitions_in_whatever_order_they_come(
    house: House, mine, order: tuple[int, ...]
) -> None:
    test = house.grant(mine.device, mine.center)
    first = f"{mine.device} {mine.spool} {1 + order.index(0)}"
    for minute in order:
        house.told(mine, test, wall_ms=NOON + minute * MINUTE)
    with house.store.write() as conn:
        server_results.forget_overtaken(conn, NOON + 60 * MINUTE)
    found = [msgspec.json.decode(detail, type=Reason) for _, _, detail in house.findings()]
    assert len(found) == 2
    assert {detail.params["found"].params["reading"] for detail in found} == {first}


def test_a_reading_waits_before_it_has_no_record(house: House, mine) -> None:
    house.told(mine, house.grant(mine.device, mine.center))
    assert house.now(NOON + MINUTE + RULES.patience_ms - 1) == ("unknown", Reason("witness.waiting"))


# ---------------------------------------------------------------- who may bring records


def test_a_record_of_nobody_known_is_refused(house: House, mine) -> None:
    test = house.grant(mine.device, mine.center)
    sealed = house.sealed(test, mine.device)
    body, _ = wire.unseal(sealed)
    cases = {
        "unframed": b"{}",
        "unknown_server": house.sealed(test, mine.device, server="nobody"),
        "bad_signature": wire.seal(body, Ed25519PrivateKey.generate().sign),
    }
    for word, what in cases.items():
        with pytest.raises(MessageRefused) as caught:
            house.record(what)
        assert caught.value.finding == word
    with house.store.write() as conn:
        servers.revoke(conn, "pie", NOON - 1)
    with pytest.raises(MessageRefused) as caught:
        house.record(sealed)
    assert caught.value.finding == "revoked_server"


@pytest.mark.parametrize("change", [{"v": 2}, {"test": "x" * 65}, {"started_ms": -1}, {"down": {}}])
def test_a_record_in_another_form_is_refused(house: House, mine, change: dict) -> None:
    body, _ = wire.unseal(house.sealed("t", mine.device))
    changed = msgspec.json.encode(msgspec.json.decode(body) | change)
    with pytest.raises(MessageRefused) as caught:
        house.record(wire.seal(changed, house.key.sign))
    assert caught.value.finding == "unframed"


def join_request(key: Ed25519PrivateKey, token: str) -> bytes:
    fields = {"public_key": key.public_key().public_bytes_raw(), "proof": key.sign(servers.CONTEXT + token.encode())}
    return msgspec.json.encode({"token": token} | {n: base64.b64encode(v).decode() for n, v in fields.items()})


def test_a_server_joins_once_with_its_token(house: House) -> None:
    key, thief = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    with house.store.write() as conn:
        token = servers.add(conn, "khi", "https://khi.example/", 7, "Karachi", NOON)
        assert [item["state"] for item in servers.listed(conn)] == ["joined", "waiting"]
        answer = servers.join(conn, join_request(key, token), NOON + 1, b"k" * 32)
        assert answer == servers.join(conn, join_request(key, token), NOON + 2, b"k" * 32)
        with pytest.raises(EnrolmentRefused, match="used by another server"):
            servers.join(conn, join_request(thief, token), NOON + 3, b"k" * 32)
        (khi, _) = servers.listed(conn)
    assert answer == {"name": "khi", "collector_key": base64.b64encode(b"k" * 32).decode()}
    assert (khi["url"], khi["tests_at_once"], khi["state"]) == ("https://khi.example", 7, "joined")


def test_a_token_that_is_old_or_unknown_or_without_proof_joins_nobody(house: House) -> None:
    key = Ed25519PrivateKey.generate()
    with house.store.write() as conn:
        token = servers.add(conn, "khi", "https://khi.example", 7, "", NOON)
        for request, now_ms, why in (
            (join_request(key, token), NOON + servers.DAY_MS, "expired"),
            (join_request(key, "0" * 32), NOON, "not known"),
            (join_request(key, token).replace(token.encode(), b"1" * 32), NOON, "does not fit"),
            (b"{", NOON, "request"),
        ):
            with pytest.raises(EnrolmentRefused, match=why):
                servers.join(conn, request, now_ms, b"k" * 32)
        assert len(servers.listed(conn)) == 2
        servers.revoke(conn, "pie", NOON)
        with pytest.raises(servers.ServerError, match="was revoked already"):
            servers.add(conn, "pie", "https://pie.example", 5, "", NOON)


# ---------------------------------------------------------------- tests that no reading speaks for

LATER = NOON + MINUTE + server_samples.GRACE_MS


def counted(house: House, now_ms: int = LATER) -> set[str]:
    with house.store.write() as conn:
        return server_results.count_unreported(conn, now_ms, STANDARDS)


def forgotten(house: House) -> int:
    with house.store.write() as conn:
        return server_samples.forget_answered(conn, LATER + 2 * MINUTE)


def details(house: House) -> list[Reason]:
    return [decode_reason(detail) for finding, _, detail in house.findings() if finding == "unreported"]


@pytest.mark.parametrize("told", ["nothing", "timeout", "more", "self-test", "manual", "implausible"])
def test_what_the_server_saw_counts_whatever_the_gateway_says_of_it(house: House, mine, told: str) -> None:
    test = house.grant(mine.device, mine.center)
    house.record(house.sealed(test, mine.device, down=2.1, up=1.0))
    slow = {"download_mbps": 2.1, "capacity_down_mbps": 2.1, "upload_mbps": 1.0, "capacity_up_mbps": 1.0}
    nothing = dict.fromkeys(FIELDS)
    said = {
        "timeout": nothing | {"failure": wire.Failure("timeout", "no answer")},
        "more": {},
        "self-test": slow | {"purpose": "self-test"},
        "manual": slow | {"purpose": "manual"},
        "implausible": slow | {"flags": ["implausible"]},
    }
    if told != "nothing":
        house.told(mine, test, **said[told])
    assert counted(house, LATER - 1) == set()
    assert (house.month(now_ms=LATER - 1)["samples"], details(house)) == (0, [])
    assert counted(house) == {"LHR-1"}
    assert house.flag()[0] == "below"
    assert [(row["samples"], row["met"], row["median"]) for row in [house.month()]] == [(1, 0, 2.1)]
    (why,) = details(house)
    assert (why.params["test"], why.params["down_mbps"]) == (test, 2.1)
    assert counted(house) == set()
    assert len(details(house)) == 1


def test_an_honest_reading_is_the_sample_itself(house: House, mine) -> None:
    test = house.grant(mine.device, mine.center)
    house.record(house.sealed(test, mine.device))
    house.told(mine, test)
    assert counted(house) == set()
    assert (house.month()["samples"], house.findings()) == (1, [])


def test_a_reading_that_comes_after_all_takes_the_place_of_the_servers_figure(house: House, mine) -> None:
    test = house.grant(mine.device, mine.center)
    house.record(house.sealed(test, mine.device))
    counted(house)
    assert (house.month()["samples"], len(details(house))) == (1, 1)
    assert forgotten(house) == 0
    house.told(mine, test, now_ms=LATER + MINUTE, wall_ms=NOON)
    assert forgotten(house) == 1
    assert (house.month()["samples"], details(house)) == (1, [])


def test_a_direction_that_is_left_out_is_the_servers(house: House, mine) -> None:
    test = house.grant(mine.device, mine.center)
    house.record(house.sealed(test, mine.device, up=0.4))
    house.told(mine, test, upload_mbps=None, capacity_up_mbps=None)
    counted(house)
    with house.store.read() as conn:
        rows = build(conn, centers.get(conn, "LHR-1"), "2026-11", STANDARDS, LATER)["criteria"]
    found = {row["criterion"]: (row["samples"], row["met"]) for row in rows}
    assert (found["internet.download"], found["internet.upload"]) == ((1, 1), (1, 0))


def test_what_nobody_could_have_witnessed_is_no_sample(house: House, mine, gateway: Callable) -> None:
    other = gateway(house.store, "LHR-2")
    test = house.grant(mine.device, mine.center)
    house.record(house.sealed(test, other.device))
    house.record(house.sealed(house.grant(mine.device, mine.center), mine.device, witnessed=False))
    house.record(house.sealed(house.grant(mine.device, mine.center), mine.device, min_rtt_ms=0.1))
    late = {"started_ms": NOON + 7 * MINUTE}
    house.record(house.sealed(house.grant(mine.device, mine.center), mine.device, **late), NOON + 8 * MINUTE)
    assert counted(house, LATER + 10 * MINUTE) == set()
    assert house.month()["samples"] == 0
