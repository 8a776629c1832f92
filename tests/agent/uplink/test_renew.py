"""A gateway and the collector's real doors: enrolment, renewal, revocation, clocks that are wrong."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509

from agent import identity, validity, wire
from agent.config import AgentSettings
from agent.diagnostics.doctor import Installation, _certificate
from agent.spool.queue import Spool
from agent.uplink import enrol, trust
from agent.uplink.collector_client import CollectorClient, CollectorRefused, CollectorUnreachable
from agent.uplink.renew import ISOLATED_S, Renewal, due_ms, is_due
from agent.uplink.session import Uplink
from collector.access import approvals, devices
from collector.access.ca import Authority
from collector.store import schema
from tests.helpers.collector_side import House

DAY_MS = 86_400_000
YEARS_10 = 3650 * DAY_MS


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path / "collector", stack)


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[House]:
    """Asks for a second person."""
    with ExitStack() as stack:
        yield House(tmp_path / "collector", stack, approval="second_person")


def joined(house: House, state: Path) -> identity.Identity:
    return enrol.enrol(state, house.url, house.token(), now_ms())


def expire(house: House, mine: identity.Identity, state: Path, days: int = 60) -> None:
    """As if the gateway had been away: its certificate ran out `days - 30` days ago."""
    csr = enrol.csr_of(identity.make_tls_key(state), mine.device)
    old = house.authority.issue_gateway(csr, mine.device, now_ms() - days * DAY_MS)
    (state / identity.TLS_CERT_FILE).write_bytes(old.cert_pem)
    with house.store.write() as conn:
        table = schema.certificates.c
        conn.execute(sa.update(schema.certificates).where(table.device == mine.device).values(
            issued_ms=table.issued_ms - days * DAY_MS, expires_ms=table.expires_ms - days * DAY_MS
        ))  # fmt: skip


def held(state: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates((state / identity.TLS_CERT_FILE).read_bytes())[0]


def stamp() -> wire.Stamp:
    return wire.Stamp(wall_ms=now_ms(), mono_ms=1, boot="1a2b3c4d", clock="synced")


@asynccontextmanager
async def linked(
    mine: identity.Identity, state: Path, renewal: Renewal, readings: int = 3
) -> AsyncIterator[tuple[Uplink, Spool]]:
    spool = Spool(state / "spool.db", stamp=stamp)
    raws = [wire.encode_reading(wire.GatewayReading(at=stamp(), cpu_pct=float(n))) for n in range(readings)]
    spool.append(raws, "high", now_ms())
    link = Uplink(
        mine, spool, stamp=stamp, on_task=lambda _task: None, chance=lambda: 0.0, clock=renewal._clock,
        learn_time=renewal.learn_time,
    )  # fmt: skip
    task = asyncio.create_task(link.run())
    try:
        yield link, spool
    finally:
        task.cancel()
        await asyncio.wait([task])
        spool.close()


async def until(true: Callable[[], bool], seconds: float = 60.0) -> float:
    """How long it took, in seconds."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  what is waited for happens in another thread
            await asyncio.sleep(0.02)
    return time.monotonic() - began


def renewal_of(mine: identity.Identity, state: Path) -> Renewal:
    return Renewal(state, mine, trust.TrustedClock(), chance=lambda: 0.5)


# ---------------------------------------------------------------- enrolment


def test_a_gateway_joins_over_the_pinned_root_and_its_readings_arrive(house: House, tmp_path: Path) -> None:
    state = tmp_path / "state"
    mine = joined(house, state)
    assert mine.brokers[0] == identity.BrokerEndpoint("127.0.0.1", house.broker_port, tls=True)
    assert mine.url == house.url
    secrets = (identity.KEY_FILE, identity.TLS_KEY_FILE, identity.TLS_CERT_FILE, identity.IDENTITY_FILE)
    assert {stat.S_IMODE((state / name).stat().st_mode) for name in secrets} == {0o600}

    async def story() -> None:
        async with linked(mine, state, renewal_of(mine, state)) as (_, spool):
            await until(lambda: spool.stats().readings == 0)

    asyncio.run(story())
    assert house.count(schema.readings["gateway"]) == 3


def test_whoever_stands_in_between_gets_no_token(house: House, tmp_path: Path) -> None:
    """Another collector's door at the address: its root has not the token's fingerprint."""
    with ExitStack() as stack:
        other = House(tmp_path / "other", stack)
        token = house.token()
        for _ in range(5):
            with pytest.raises(enrol.EnrolFailed, match="no root with the token's fingerprint"):
                enrol.enrol(tmp_path / "state", other.url, token, now_ms())
        assert other.count(schema.devices) == other.count(schema.certificates) == 0


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("{secret}", "give the whole token, with its fingerprint"),
        ("{secret}.{short}", "cut short or mistyped"),
        ("{secret}.zz", "cut short or mistyped"),
        (".{short}", "is empty"),
    ],
)
def test_a_token_without_its_whole_fingerprint_is_not_sent(house: House, tmp_path: Path, token: str, why: str) -> None:
    secret, _, fingerprint = house.token().partition(".")
    with pytest.raises(enrol.EnrolFailed, match=why):
        enrol.enrol(tmp_path, house.url, token.format(secret=secret, short=fingerprint[:-1]), now_ms())
    assert house.count(schema.devices) == 0


def test_plain_http_is_for_loopback_or_whoever_insists() -> None:
    with pytest.raises(CollectorUnreachable, match="plain http shows the token"):
        CollectorClient("http://192.0.2.1:8480").post("/api/v1/enrol", {}, dict)


def test_the_installer_waits_for_a_second_person(strict: House, tmp_path: Path) -> None:
    lines: list[str] = []

    def approve(_seconds: float) -> None:
        with strict.store.write() as conn:
            device = str(approvals.waiting(conn)[0]["device"])
            approvals.decide(conn, device, "approved", "Bina", now_ms())

    waiting = enrol.ApprovalWait(notify=lines.append, sleep=approve)
    mine = enrol.enrol(tmp_path, strict.url, strict.token(), now_ms(), waiting=waiting)
    assert mine.tls is not None
    assert len(lines) == 1
    assert "waits for approval by another person than Ali" in lines[0]
    device = lines[0].partition("gateway ")[2].partition(" ")[0]
    shown = lines[0].rpartition(": ")[2]
    assert (len(shown.replace(" ", "")), shown.replace(" ", "")[:16]) == (64, device[1:])


def test_an_installer_does_not_wait_for_ever_and_may_come_again(strict: House, tmp_path: Path) -> None:
    token, clock, naps = strict.token(), [0.0], []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        clock[0] += seconds

    waiting = enrol.ApprovalWait(timeout_s=600, sleep=sleep, now_s=lambda: clock[0], chance=lambda: 1.0)
    with pytest.raises(enrol.EnrolFailed, match="for 600 s by now; run this again once it is given"):
        enrol.enrol(tmp_path, strict.url, token, now_ms(), waiting=waiting)
    assert naps[:3] == [2.0, 3.0, 4.5]
    assert max(naps) == 60.0
    with strict.store.write() as conn:
        approvals.decide(conn, str(approvals.waiting(conn)[0]["device"]), "approved", "Bina", now_ms())
    assert enrol.enrol(tmp_path, strict.url, token, now_ms()).tls is not None


# ---------------------------------------------------------------- renewal


def test_a_certificate_is_renewed_after_half_its_life_within_a_tenth(house: House, tmp_path: Path) -> None:
    joined(house, tmp_path)
    certificate = validity.of_file(tmp_path / identity.TLS_CERT_FILE)
    start = int(held(tmp_path).not_valid_before_utc.timestamp() * 1000)
    life = int(held(tmp_path).not_valid_after_utc.timestamp() * 1000) - start
    assert due_ms(certificate, 0.0) == start + life // 2
    assert due_ms(certificate, 1.0) == start + int(life * 0.6)
    assert [is_due(certificate, 0.0, start + at) for at in (-1, 0, life // 2 - 1, life // 2)] == [
        True,
        False,
        False,
        True,
    ]


def test_a_gateway_that_was_away_for_two_months_renews_and_its_readings_arrive(house: House, tmp_path: Path) -> None:
    mine = joined(house, tmp_path)
    expire(house, mine, tmp_path)
    renewal = renewal_of(mine, tmp_path)

    async def story() -> None:
        async with linked(mine, tmp_path, renewal, readings=50) as (link, spool):
            await until(lambda: link.view.counts["sent"] > 0 or "expired" in link.view.detail or link.view.detail != "")
            assert spool.stats().readings == 50
            assert await asyncio.to_thread(renewal.poll)
            await until(lambda: spool.stats().readings == 0, 30)

    asyncio.run(story())
    assert held(tmp_path).not_valid_after_utc.timestamp() * 1000 > now_ms()
    assert house.count(schema.readings["gateway"]) == 50
    assert not renewal.poll()


@pytest.mark.row(33)
def test_a_renewal_is_refused_after_revocation_and_the_old_certificate_stays(house: House, tmp_path: Path) -> None:
    mine = joined(house, tmp_path)
    expire(house, mine, tmp_path)
    before = held(tmp_path)
    with house.store.write() as conn:
        devices.revoke(conn, mine.device, "Ali", "stolen", now_ms())
    with pytest.raises(CollectorRefused) as refused:
        renewal_of(mine, tmp_path).poll()
    assert (refused.value.status, refused.value.code) == (403, "enrol.revoked")
    assert held(tmp_path) == before


def test_a_gateway_that_knows_only_the_old_root_renews_and_learns_the_new(house: House, tmp_path: Path) -> None:
    mine = joined(house, tmp_path)
    expire(house, mine, tmp_path)
    house.authority.rollover(now_ms())
    house.keeper.renew()
    assert renewal_of(mine, tmp_path).poll()
    assert (tmp_path / identity.CA_FILE).read_bytes() == house.authority.root_pem
    assert house.authority.root_pem.count(b"BEGIN") == 2


def moved_house(house: House, mine: identity.Identity, state: Path, alone: list[float]) -> tuple[Renewal, list[Uplink]]:
    """A renewal whose uplink is the one in the list, once there is one."""
    links: list[Uplink] = []
    renewal = Renewal(
        state,
        mine,
        trust.TrustedClock(),
        chance=lambda: 0.0,
        since_receipt_s=lambda: alone[0],
        move=lambda brokers: links[0].move(brokers),
    )
    return renewal, links


def test_a_gateway_whose_brokers_have_moved_asks_after_an_hour_and_goes_there_at_once(
    house: House, tmp_path: Path
) -> None:
    mine = joined(house, tmp_path)
    gone = replace(mine, brokers=[identity.BrokerEndpoint("127.0.0.1", 9, tls=True)])
    alone = [ISOLATED_S - 1]
    renewal, links = moved_house(house, gone, tmp_path, alone)

    async def story() -> float:
        async with linked(gone, tmp_path, renewal) as (link, spool):
            links.append(link)
            assert not await asyncio.to_thread(renewal.poll)
            await until(lambda: link.view.detail != "")
            assert spool.stats().readings == 3
            alone[0] = ISOLATED_S
            task = asyncio.create_task(renewal.run())
            try:
                return await until(lambda: spool.stats().readings == 0, 30)
            finally:
                task.cancel()
                await asyncio.wait([task])

    print(f"delivered {asyncio.run(story()):.2f} s after it asked")
    assert list(identity.load(tmp_path).brokers) == list(mine.brokers)
    assert identity.load(tmp_path).broker_port == house.broker_port
    assert not renewal._is_isolated()


def test_a_session_at_a_broker_that_is_no_longer_named_ends_and_one_that_is_stays(house: House, tmp_path: Path) -> None:
    mine = joined(house, tmp_path)
    elsewhere = identity.BrokerEndpoint("127.0.0.1", 9, tls=True)

    async def story() -> None:
        async with linked(mine, tmp_path, renewal_of(mine, tmp_path)) as (link, spool):
            await until(lambda: spool.stats().readings == 0)
            link.move([elsewhere, *mine.brokers])
            await asyncio.sleep(0.3)
            assert (link.view.state, link.view.detail) == ("connected", "")
            link.move([elsewhere])
            await until(lambda: link.view.state != "connected")
            assert "the collector names other brokers" in link.view.detail

    asyncio.run(story())


def test_one_that_stays_alone_asks_again_only_after_another_hour(house: House, tmp_path: Path) -> None:
    alone = [0.0]
    renewal, _ = moved_house(house, joined(house, tmp_path), tmp_path, alone)
    minutes = []
    for minute in range(0, 241, 10):
        alone[0] = minute * 60.0
        minutes += [minute] if renewal._is_isolated() else []
    assert minutes == [60, 120, 180, 240]
    alone[0] = 0.0
    assert not renewal._is_isolated()
    alone[0] = 3599.0
    assert not renewal._is_isolated()


def test_the_doctor_says_until_when_the_certificate_holds(house: House, tmp_path: Path) -> None:
    mine = joined(house, tmp_path)
    here = Installation(AgentSettings(), mine, "")
    (finding,) = _certificate(here)
    assert (finding.ok, finding.detail) == (
        True,
        f"holds until {held(tmp_path).not_valid_after_utc:%Y-%m-%d}, renewed half way",
    )
    expire(house, mine, tmp_path)
    (finding,) = _certificate(here)
    assert not finding.ok
    assert finding.detail.endswith("not today")
    (tmp_path / identity.TLS_CERT_FILE).write_bytes(b"rubbish")
    (finding,) = _certificate(here)
    assert "cannot be read" in finding.detail


# ---------------------------------------------------------------- revocation


@pytest.mark.row(33)
def test_a_revoked_gateways_session_ends_and_nothing_of_it_is_taken(house: House, tmp_path: Path) -> None:
    mine = joined(house, tmp_path)
    renewal = renewal_of(mine, tmp_path)

    async def story() -> None:
        async with linked(mine, tmp_path, renewal) as (link, spool):
            await until(lambda: spool.stats().readings == 0)
            with house.store.write() as conn:
                devices.revoke(conn, mine.device, "Ali", "stolen", now_ms())
            raw = wire.encode_reading(wire.GatewayReading(at=stamp(), cpu_pct=99.0))
            spool.append([raw], "high", now_ms())
            link.readings_waiting()
            await asyncio.to_thread(house.keeper.disconnect_revoked)
            await until(lambda: link.view.state != "connected")
            await asyncio.sleep(2.5)  # it tries again, and is not let in
            assert link.view.state != "connected"
            assert spool.stats().readings == 1

    asyncio.run(story())
    assert house.count(schema.readings["gateway"]) == 3


@pytest.mark.slow
def test_a_revocation_by_command_ends_the_session_within_five_minutes(house: House, tmp_path: Path) -> None:
    """Nobody helps: the part that looks does. Prints how long it took."""
    took = []
    for number in range(5):
        state = tmp_path / f"state-{number}"
        mine = joined(house, state)

        async def story(mine: identity.Identity = mine, state: Path = state) -> None:
            async with linked(mine, state, renewal_of(mine, state)) as (link, spool):
                await until(lambda: spool.stats().readings == 0)
                with house.store.write() as conn:
                    devices.revoke(conn, mine.device, "Ali", "stolen", now_ms())
                took.append(await until(lambda: link.view.state != "connected", 300))

        asyncio.run(story())
    print("seconds from revocation to the session's end:", sorted(round(item, 2) for item in took))
    assert max(took) < 300


# ---------------------------------------------------------------- clocks


@pytest.mark.row(16)
@pytest.mark.parametrize("shift_ms", [YEARS_10, -60 * DAY_MS], ids=["gateway-behind", "gateway-ahead"])
def test_a_gateway_whose_clock_is_wrong_learns_the_time_and_its_readings_arrive(
    house: House, tmp_path: Path, shift_ms: int
) -> None:
    mine = joined(house, tmp_path)
    house.shift_ms = shift_ms
    house.keeper.renew()  # all that the gateway meets is now of another time than its own
    renewal = renewal_of(mine, tmp_path)

    async def story() -> float:
        async with linked(mine, tmp_path, renewal) as (_, spool):
            return await until(lambda: spool.stats().readings == 0, 60)

    assert asyncio.run(story()) < 60
    assert abs(renewal._clock.now_ms() - house.now_ms()) < 5000
    assert not renewal._clock.is_wall


@pytest.mark.control("nobody is asked for the time", row=16)
def test_a_gateway_that_asks_nobody_for_the_time_stays_out(house: House, tmp_path: Path) -> None:
    mine = joined(house, tmp_path)
    house.shift_ms = YEARS_10
    house.keeper.renew()
    with closing(Spool(tmp_path / "spool.db", stamp=stamp)) as spool:
        link = Uplink(mine, spool, stamp=stamp, on_task=lambda _task: None, chance=lambda: 0.0)

        async def story() -> None:
            running = asyncio.create_task(link.run())
            await until(lambda: "certificate is not yet valid" in link.view.detail)
            with pytest.raises(TimeoutError):
                await until(lambda: link.view.state == "connected", 2.5)  # two more tries
            running.cancel()
            await asyncio.wait([running])

        asyncio.run(story())


@pytest.mark.row(16)
def test_by_the_signed_time_a_server_that_ran_out_is_still_refused(house: House, tmp_path: Path) -> None:
    """The stolen key of a server whose certificate has run out, and a relay to the true collector's time."""
    mine = joined(house, tmp_path)
    files = house.authority.files("server")
    issued = house.authority.issue_server(["127.0.0.1"], now_ms() - 60 * DAY_MS)
    house.authority.keep("server", issued)
    assert house.keeper.listener is not None
    house.keeper.listener.reload()
    assert files.cert.read_bytes() == issued.cert_pem
    client = CollectorClient(mine.url, mine.tls.ca, mine.collector_key)
    with pytest.raises(CollectorUnreachable, match="not valid at the collector's own time"):
        client.post("/api/v1/renew", {}, dict)
    clock = trust.TrustedClock(wall=lambda: 0)  # woke in 1970
    with pytest.raises(CollectorUnreachable, match="not valid at the collector's own time"):
        CollectorClient(mine.url, mine.tls.ca, mine.collector_key, clock=_learnt(clock)).post("/api/v1/renew", {}, dict)


def _learnt(clock: trust.TrustedClock) -> trust.TrustedClock:
    clock.learn(now_ms())
    assert not clock.is_wall
    return clock


def test_a_time_that_another_key_signed_is_not_believed(house: House, tmp_path: Path) -> None:
    mine = joined(house, tmp_path)
    clock = trust.TrustedClock()
    with pytest.raises(CollectorUnreachable, match="not signed by the collector of this gateway"):
        CollectorClient(mine.url, mine.tls.ca, bytes(32), clock=clock).learn_time()
    assert clock.is_wall


def test_another_authority_is_refused_whatever_the_clock_says(house: House, tmp_path: Path) -> None:
    mine = joined(house, tmp_path)
    (tmp_path / "wrong.pem").write_bytes(Authority(tmp_path / "stranger", now_ms()).root_pem)
    for clock in (trust.TrustedClock(), _learnt(trust.TrustedClock(wall=lambda: 0))):
        with pytest.raises(CollectorUnreachable, match="not of the collector that was pinned"):
            CollectorClient(mine.url, tmp_path / "wrong.pem", mine.collector_key, clock=clock).post(
                "/api/v1/renew", {}, dict
            )


def test_the_learnt_time_goes_on_with_the_monotonic_clock_and_ends_when_the_wall_clock_is_set() -> None:
    wall, boot = [0], [1000]
    clock = trust.TrustedClock(wall=lambda: wall[0], boot=lambda: boot[0])
    clock.learn(1_795_000_000_000)
    boot[0] += 60_000
    assert clock.now_ms() == 1_795_000_060_000
    assert not clock.is_wall
    wall[0] = 1_795_000_050_000
    assert clock.is_wall


def test_of_a_time_that_was_true_a_while_ago_no_more_is_learnt_than_it_says() -> None:
    boot = [1000]
    clock = trust.TrustedClock(wall=lambda: 0, boot=lambda: boot[0])
    found = []
    for at_ms, within_ms in ((50_000, 8_000), (52_000, 8_000), (49_000, 8_000), (40_000, 8_000), (40_000, 0)):
        clock.learn(at_ms, within_ms)
        found.append(clock.now_ms())
    assert found == [50_000, 52_000, 52_000, 48_000, 40_000]
