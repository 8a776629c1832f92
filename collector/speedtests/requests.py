"""Turns at measurement servers, as rows: wishes in, results noted. `collector.speedtests.scheduler` gives the turns.

Everything happens inside the caller's transaction. A wish repeated is the same row, so asking again changes nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Reason
from agent.common.words import CodedError
from collector.common.messages import Finding, MessageRefused, SpeedRequestReceived
from collector.judging.evaluate import CenterLike, FreshReading
from collector.judging.flags.judge import judge
from collector.register import centers, opening_hours
from collector.register.centers import Center
from collector.speedtests import drawn
from collector.speedtests.policy import (
    DAY_MS,
    DESK_A_DAY,
    MINUTE_MS,
    MOST_WAIT_MS,
    RETESTS_A_DAY,
    TAIL_MS,
    AskReason,
    ServerPlaces,
    TestRequest,
    home,
    may_ask,
)
from collector.standard import Standards
from collector.store import schema

HERE = "collector"  # the measurement server inside the collector
OPEN = ("asked", "granted")
DESK_WAIT_MS = 10 * MINUTE_MS
RETEST_WAIT_MS = 30 * MINUTE_MS
DRAWN_WAIT_MS = 30 * MINUTE_MS
HEARD_MS = 3 * MINUTE_MS  # a center that was heard so lately can be told of its test
RETEST_FRESH_MS = 30 * MINUTE_MS  # an older miss is history: another test now says nothing of then

_g, _s = schema.grants.c, schema.measure_servers.c

Row = dict[str, Any]


NoTurn = Literal["too_many", "no_server", "no_gateway"]


_NO_TURN: Mapping[NoTurn, str] = {
    "too_many": "test.too_many",
    "no_server": "test.no_server",
    "no_gateway": "test.no_gateway",
}


class TestRequestRefused(CodedError):
    """There is no turn to be had."""

    def __init__(self, word: NoTurn, center: str) -> None:
        super().__init__(Reason.of(_NO_TURN[word], center=center, limit=DESK_A_DAY))
        self.word: NoTurn = word


def servers(conn: sa.Connection) -> dict[str, ServerPlaces]:
    """The measurement servers that take tests now, by name."""
    rows = conn.execute(sa.select(_s.name, _s.tests_at_once).where(_s.revoked_ms.is_(None), _s.tests_at_once > 0))
    return {row.name: ServerPlaces(name=row.name, tests_at_once=row.tests_at_once) for row in rows}


def record_own_server(
    conn: sa.Connection, url: str, key: bytes, tests_at_once: int, now_ms: int, *, runs: bool
) -> None:
    """The collector's own measurement server as the settings have it now; one that no longer runs takes no tests."""
    facts: Row = {"url": url, "public_key": key, "tests_at_once": tests_at_once}
    facts["revoked_ms"] = None if runs else now_ms
    table = schema.measure_servers
    known = conn.execute(sa.update(table).where(_s.name == HERE).values(facts)).rowcount
    if not known and runs:
        conn.execute(sa.insert(table).values(name=HERE, joined_ms=now_ms, **facts))


# ---------------------------------------------------------------- a gateway asks


def take(
    conn: sa.Connection, asks: Sequence[SpeedRequestReceived], now_ms: int
) -> list[tuple[str, MessageRefused | None]]:
    """Takes the wishes of gateways; for each a word: ``ask``, ``ask_again`` (changes nothing), or why it is refused."""
    if not asks:
        return []
    known = _owners(conn, {ask.ask.id for ask in asks})
    counts = _asked_today(conn, {ask.device.device for ask in asks}, now_ms)
    choice = list(servers(conn).values())
    words: list[tuple[str, MessageRefused | None]] = []
    rows: list[Row] = []
    for item in asks:
        device, ask = item.device, item.ask
        owner = known.get(ask.id)
        server = home(device.center, choice)
        if owner is not None:
            words.append(
                ("ask_again", None) if owner == device.device else _refused("ask_clone", "refused.ask_clone", item)
            )
        elif (reason := may_ask(ask, counts[device.device], now_ms)) != "ok":
            words.append(("ask_late", None) if reason == "late" else _refused(*_FINDINGS[reason], item))
        elif server is None:
            words.append(("ask_no_server", None))
        else:
            rows.append(
                _row(ask.id, device.center, device.device, server.name, ask.purpose, now_ms) | _wish(ask, now_ms)
            )
            known[ask.id] = device.device
            counts[device.device][ask.purpose] += 1
            words.append(("ask", None))
    if rows:
        conn.execute(sa.insert(schema.grants), rows)
    return words


def _wish(ask: wire.Ask, now_ms: int) -> Row:
    slot = "".join(letter if letter.isprintable() else "?" for letter in ask.slot)
    until_ms = min(ask.expires_ms, now_ms + MOST_WAIT_MS)
    return {"slot": slot, "expected_bytes": ask.expected_bytes, "expires_ms": until_ms}


def _refused(finding: Finding, code: str, request: SpeedRequestReceived) -> tuple[str, MessageRefused]:
    reason = Reason.of(code, device=request.device.device, field="purpose", word=request.ask.purpose)
    return finding, MessageRefused(finding, reason, request.device.device)


_FINDINGS: Mapping[AskReason, tuple[Finding, str]] = {
    "bad_id": ("ask_bad_id", "refused.ask_bad_id"),
    "not_yours": ("ask_not_yours", "refused.ask_not_yours"),
    "too_big": ("ask_too_big", "refused.ask_too_big"),
    "too_many": ("ask_too_many", "refused.ask_too_many"),
}


def _owners(conn: sa.Connection, ids: set[str]) -> dict[str, str]:
    rows = conn.execute(sa.select(_g.test_id, _g.device).where(_g.test_id.in_(sorted(ids))))
    return {row.test_id: row.device for row in rows}


def _asked_today(conn: sa.Connection, devices: set[str], now_ms: int) -> dict[str, Counter[str]]:
    by_device: dict[str, Counter[str]] = {device: Counter() for device in devices}
    count = sa.func.count().label("number")
    query = sa.select(_g.device, _g.purpose, count).where(_g.device.in_(sorted(devices)), _g.asked_ms > now_ms - DAY_MS)
    for row in conn.execute(query.group_by(_g.device, _g.purpose)):
        by_device[row.device][row.purpose] = row.number
    return by_device


def _row(test_id: str, center: str, device: str, server: str, purpose: str, now_ms: int) -> Row:
    return {
        "test_id": test_id,
        "center": center,
        "device": device,
        "server": server,
        "purpose": purpose,
        "asked_ms": now_ms,
        "state": "asked",
    }


# ---------------------------------------------------------------- the desk asks


def ask_for(conn: sa.Connection, code: str, now_ms: int) -> str:
    """The desk's wish for a test of a center; returns its id, which is the same until that test has ended.

    Raises TurnRefused, or centers.CenterError when there is no such center.
    """
    center = centers.get(conn, code)
    mine = (_g.center == center.code) & (_g.purpose == "desk")
    held = conn.scalar(sa.select(_g.test_id).where(mine, _g.state.in_(OPEN)))
    if held is not None:
        return str(held)
    recent = sa.select(sa.func.count()).select_from(schema.grants).where(mine, _g.asked_ms > now_ms - DAY_MS)
    if (conn.scalar(recent) or 0) >= DESK_A_DAY:
        raise TestRequestRefused("too_many", code)
    server = home(center.code, list(servers(conn).values()))
    if server is None:
        raise TestRequestRefused("no_server", code)
    row = _row(secrets.token_hex(16), center.code, _gateway(conn, center), server.name, "desk", now_ms)
    conn.execute(sa.insert(schema.grants).values(row | {"expires_ms": now_ms + DESK_WAIT_MS}))
    return str(row["test_id"])


def _gateway(conn: sa.Connection, center: Center) -> str:
    """The center's gateway; of several, the one heard last."""
    d, p = schema.devices.c, schema.pulse.c
    heard = sa.select(p.device).where(p.center == center.code).scalar_subquery()
    query = sa.select(d.device).where(d.center == center.code, d.revoked_ms.is_(None))
    device = conn.scalar(query.order_by((d.device == heard).desc(), d.enrolled_ms.desc()).limit(1))
    if device is None:
        raise TestRequestRefused("no_gateway", center.code)
    return str(device)


# ---------------------------------------------------------------- the collector draws


def draw(conn: sa.Connection, secret: bytes, slots: Sequence[str], now_ms: int) -> int:
    """Grants-to-be for the drawn tests that are due of centers that are heard; returns how many are new."""
    p, d = schema.pulse.c, schema.devices.c
    heard = sa.select(p.center, p.device).join(schema.devices, (d.device == p.device) & (d.center == p.center))
    rows = conn.execute(heard.where(p.heard_ms > now_ms - HEARD_MS, d.revoked_ms.is_(None)))
    gateways = {row.center: row.device for row in rows}
    tests = {test.test_id: test for test in drawn.due(secret, gateways, drawn.slots_of(now_ms, slots), now_ms)}
    for test_id in conn.scalars(sa.select(_g.test_id).where(_g.test_id.in_(list(tests)))):
        del tests[test_id]
    choice = list(servers(conn).values())
    new = [
        _row(test.test_id, test.center, gateways[test.center], server.name, "routine", now_ms)
        | {"slot": test.slot, "expires_ms": now_ms + DRAWN_WAIT_MS}
        for test in tests.values()
        if (server := home(test.center, choice)) is not None
    ]
    if new:
        conn.execute(sa.insert(schema.grants), new)
    return len(new)


def ask_witnessed(conn: sa.Connection, code: str, test_id: str, until_ms: int, now_ms: int) -> bool:
    """A test before a witness, at another server than the center's usual one if there is one. False where its gateway
    is not heard, or no server takes tests."""
    p = schema.pulse.c
    device = conn.scalar(sa.select(p.device).where(p.center == code, p.heard_ms > now_ms - HEARD_MS))
    choice = list(servers(conn).values())
    usual = home(code, choice)
    server = home(code, choice, avoid=usual.name) if usual else None
    if device is None or server is None:
        return False
    row = _row(test_id, code, str(device), server.name, "retest", now_ms)
    ends_ms = min(until_ms, now_ms + RETEST_WAIT_MS)
    conn.execute(sa.insert(schema.grants).values(row | {"expires_ms": ends_ms, "reason": "witnessed"}))
    return True


# ---------------------------------------------------------------- readings come


def record_group(
    conn: sa.Connection, group: Sequence[tuple[CenterLike, Sequence[FreshReading]]], standards: Standards, now_ms: int
) -> set[str]:
    """Notes what a transaction's speed readings mean for turns; returns the centers with news.

    1. A result ends its turn.
    2. A fresh routine result that misses a criterion is checked once, at another server if there is one.
    """
    touched = set()
    for center, fresh in group:
        for reading in fresh:
            if isinstance(reading.reading, wire.SpeedReading):
                ended = _end(conn, reading.reading, reading.id.partition(" ")[0], now_ms)
                if (
                    _is_fresh_miss(reading, center, standards, now_ms) and _retest(conn, center, reading, now_ms)
                ) or ended:
                    touched.add(center.code)
    return touched


def _end(conn: sa.Connection, reading: wire.SpeedReading, device: str, now_ms: int) -> bool:
    """A result of a test came from the gateway whose turn it was; a late one ends an expired turn properly."""
    mine = (_g.test_id == reading.test_id) & (_g.device == device) & _g.granted_ms.is_not(None)
    done = {"state": "done", "reason": "no_figure" if reading.failure else "result", "closed_ms": now_ms}
    over = sa.update(schema.grants).where(mine, _g.state.in_(("granted", "expired"))).values(done)
    return bool(reading.test_id) and bool(conn.execute(over).rowcount)


def _is_fresh_miss(fresh: FreshReading, center: CenterLike, standards: Standards, now_ms: int) -> bool:
    standard = standards.at(fresh.at_ms)
    routine = isinstance(fresh.reading, wire.SpeedReading) and fresh.reading.purpose == "routine"
    if standard is None or not routine or now_ms - fresh.at_ms > RETEST_FRESH_MS:
        return False
    is_open = opening_hours.is_open(opening_hours.parse(center.opening, standard.tz, center.rules), fresh.at_ms)
    criteria = (item for item in standard.by_reading.get("speed", ()) if is_open or item.when == "always")
    return any(judge(item, fresh.reading, center, fresh.witness).word == "below" for item in criteria)


def _retest(conn: sa.Connection, center: CenterLike, missed: FreshReading, now_ms: int) -> bool:
    """One wish a miss: its id is drawn from the reading's, so that a second look at the same miss finds it."""
    test_id = "r" + hashlib.sha256(missed.id.encode()).hexdigest()[:31]
    mine = (_g.center == center.code) & (_g.purpose == "retest")
    recent = sa.select(sa.func.count()).select_from(schema.grants).where(mine, _g.asked_ms > now_ms - DAY_MS)
    known = conn.scalar(sa.select(_g.test_id).where(_g.test_id == test_id))
    if known is not None or (conn.scalar(recent) or 0) >= RETESTS_A_DAY:
        return False
    choice = servers(conn)
    before = _server_of(conn, missed.reading, center.code, choice)
    server = home(center.code, list(choice.values()), avoid=before)
    if server is None:
        return False
    row = _row(test_id, center.code, missed.id.partition(" ")[0], server.name, "retest", now_ms)
    why = "retest_same_server" if server.name == before else "retest_elsewhere"
    conn.execute(sa.insert(schema.grants).values(row | {"expires_ms": now_ms + RETEST_WAIT_MS, "reason": why}))
    return True


def _server_of(conn: sa.Connection, reading: wire.Reading, center: str, choice: Mapping[str, ServerPlaces]) -> str:
    """The name of the server a result was measured at: as its turn has it, or the center's usual one."""
    test_id = getattr(reading, "test_id", None) or ""
    granted = conn.scalar(sa.select(_g.server).where(_g.test_id == test_id))
    usual = home(center, list(choice.values()))
    return str(granted) if granted else usual.name if usual else ""


# ---------------------------------------------------------------- for the pacer and for pages


def open_turns(conn: sa.Connection, now_ms: int) -> list[TestRequest]:
    """What the pacer decides on: all that wait or run, and those that have just ended."""
    names = ("test_id", "device", "server", "purpose", "asked_ms", "expires_ms", "state", "closed_ms")
    query = sa.select(*(_g[name] for name in names))
    just_ended = query.where(_g.closed_ms > now_ms - TAIL_MS, _g.state == "done")
    rows = [*conn.execute(query.where(_g.state.in_(OPEN))), *conn.execute(just_ended)]
    return [TestRequest(**row._mapping) for row in rows]


def newest(conn: sa.Connection, center: str) -> sa.RowMapping | None:
    """The newest turn of a center that people asked for or a miss did, as `by_id`."""
    query = _WITH_FIGURES.where(_g.center == center, _g.purpose.in_(("desk", "retest")))
    return conn.execute(query.order_by(_g.asked_ms.desc(), _g.test_id).limit(1)).mappings().one_or_none()


def by_id(conn: sa.Connection, test_id: str) -> sa.RowMapping | None:
    """A turn as its row has it, with `download_mbps`, `upload_mbps` and `failure` (JSON) of its result."""
    return conn.execute(_WITH_FIGURES.where(_g.test_id == test_id).limit(1)).mappings().one_or_none()


_speed = schema.readings["speed"].c
_WITH_FIGURES = sa.select(schema.grants, _speed.download_mbps, _speed.upload_mbps, _speed.failure).outerjoin(
    schema.readings["speed"], (_speed.test_id == _g.test_id) & (_speed.device == _g.device)
)
