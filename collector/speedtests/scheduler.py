"""Gives turns at measurement servers: decides, writes, and then tells the gateway with a task that holds its token.

A task is said again while its test may still begin: the broker is a lossy wire, and gateways take each id once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.common.logs import Event
from collector.common.messages import Message
from collector.speedtests import challenges, fetches, requests
from collector.speedtests.drawn import PREFIX
from collector.speedtests.measure import token
from collector.speedtests.policy import HOLD_MS, MOST_BYTES, START_MS, Decision, TestRequest, decide
from collector.store import Store, nonces, schema

ENDED = Event(
    __name__, "info", "test_requests_ended", "requests for a test at a measurement server ended", key="code",
    fields="requests",
)  # fmt: skip

MISSED = Event(
    __name__, "warning", "challenges_missed", "gateways that were heard did not answer a question", fields="centers"
)

AGAIN_MS = 20_000

_g, _s = schema.grants.c, schema.measure_servers.c


class TestScheduler:
    """`publish` sends tasks and says whether it could, `notify` is told the centers whose turn moved.

    `look` is to be called every second, `draw` every minute: it draws tests of `slots`, each HH:MM-HH:MM, by `secret`.
    """

    def __init__(
        self,
        store: Store,
        key: Ed25519PrivateKey,
        publish: Callable[[Sequence[Message]], bool],
        notify: Callable[[set[str]], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._store, self._key, self._publish, self._notify, self._now_ms = store, key, publish, notify, now_ms
        self._told: dict[str, int] = {}

    def look(self) -> Counter[str]:
        """Decides once over all open turns; returns how many moved, by reason. Nothing is written when none does."""
        now_ms = self._now_ms()
        with self._store.read() as conn:
            known, moving = _decided(conn, now_ms)
        moved = self._move(now_ms) if moving else []
        if moved or any(turn.state == "granted" for turn in known):
            self._tell(now_ms)
        return Counter(decision.reason for decision in moved)

    def draw(self, secret: bytes, slots: Sequence[str]) -> int:
        """Puts the drawn tests that are due into the queue; returns how many."""
        with self._store.write() as conn:
            return requests.draw(conn, secret, slots, self._now_ms())

    def challenge(self, secret: bytes) -> list[str]:
        """Asks gateways at moments drawn by `secret`, and settles what they were asked; returns who missed one."""
        now_ms = self._now_ms()
        with self._store.write() as conn:
            missed = challenges.settle(conn, now_ms)
            challenges.ask(conn, secret, now_ms)
            open_tasks = challenges.tasks(conn, nonces.current(conn, now_ms), now_ms)
        self._send(open_tasks)
        if missed:
            MISSED.log(centers=len(missed))
        return missed

    def fetch(self, secret: bytes, fetch_mb: int) -> int:
        """Tells gateways to fetch a file at moments drawn by `secret`; returns how many were told now."""
        now_ms = self._now_ms()
        with self._store.write() as conn:
            fetches.settle(conn, now_ms)
            fetches.draw(conn, secret, fetch_mb, now_ms)
            open_tasks = fetches.tasks(conn, nonces.current(conn, now_ms), now_ms)
        self._send(open_tasks)
        return len(open_tasks)

    def _send(self, tasks: Sequence[wire.Task]) -> None:
        if tasks:
            sealed = [(task.device, wire.seal(wire.encode(task), self._key.sign)) for task in tasks]
            self._publish([Message(wire.task_topic(device), payload) for device, payload in sealed])

    def _move(self, now_ms: int) -> list[Decision]:
        """Decides again, alone with the database, and writes what moved."""
        with self._store.write() as conn:
            _, moved = _decided(conn, now_ms)
            for item in moved:
                conn.execute(sa.update(schema.grants).where(_g.test_id == item.test_id).values(_after(item, now_ms)))
            ids = [item.test_id for item in moved]
            touched = set(conn.scalars(sa.select(_g.center).where(_g.test_id.in_(ids))))
        self._notify(touched)
        for reason, number in sorted(Counter(item.reason for item in moved if item.state != "granted").items()):
            ENDED.log(code=reason, requests=number)
        return moved

    def _tell(self, now_ms: int) -> None:
        """Tasks of turns that were just given, and of those whose test could still begin and was not told lately."""
        query = (
            sa.select(schema.grants, _s.url)
            .join(schema.measure_servers, _s.name == _g.server)
            .where(_g.state == "granted", _g.granted_ms > now_ms - START_MS)
        )
        with self._store.read() as conn:
            rows = list(conn.execute(query))
        self._told = {row.test_id: self._told.get(row.test_id, 0) for row in rows}
        due = [row for row in rows if now_ms - self._told[row.test_id] >= AGAIN_MS]
        if not due:
            return
        with self._store.write() as conn:
            nonce = nonces.current(conn, now_ms)
        if self._publish([self._task(row, nonce) for row in due]):
            self._told |= {row.test_id: now_ms for row in due}

    def _task(self, row: sa.Row[tuple[object, ...]], nonce: str) -> Message:
        until_ms = row.granted_ms + START_MS
        claims = token.Claims(
            test=row.test_id,
            device=row.device,
            server=row.server,
            expires_ms=until_ms,
            max_bytes=MOST_BYTES,
            purpose=row.purpose,
        )
        task = wire.Task(
            v=wire.VERSION,
            device=row.device,
            id=row.test_id,
            do="speed",
            purpose=row.purpose,
            nonce=nonce,
            token=token.make(claims, self._key.sign),
            server=row.url,
            slot=row.slot if row.test_id.startswith(PREFIX) else "",
            expires_ms=until_ms,
        )
        return Message(wire.task_topic(row.device), wire.seal(wire.encode(task), self._key.sign))


def _decided(conn: sa.Connection, now_ms: int) -> tuple[list[TestRequest], list[Decision]]:
    """The open turns, and the decisions that change one of them."""
    known = requests.open_turns(conn, now_ms)
    was = {turn.test_id: turn.state for turn in known}
    decisions = decide(known, requests.servers(conn), now_ms)
    return known, [decision for decision in decisions if decision.state != was[decision.test_id]]


def _after(decision: Decision, now_ms: int) -> dict[str, object]:
    if decision.state == "granted":
        return {"state": "granted", "granted_ms": now_ms, "expires_ms": now_ms + HOLD_MS}
    return {"state": decision.state, "closed_ms": now_ms, "reason": decision.reason}
