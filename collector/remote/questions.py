"""Questions to gateways: a list that nobody can add to from outside, who asked, and the answer, once.

A question is a signed task that ends: it is sent until its answer has come, or its time is over.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.common.messages import Message, printable
from collector.register import centers
from collector.store import Store, schema

KINDS = ("doctor", "gateway", "link", "log", "restart", "seats", "settings", "spool", "trace", "ups")
WAIT_MS = 10 * 60_000  # for the gateway's next contact
AGAIN_MS = 20_000
A_DAY, DAY_MS = 100, 86_400_000
KEPT = 20  # of a center, on its page

_q, _d, _s, _p = schema.questions.c, schema.devices.c, schema.device_settings.c, schema.pulse.c


class QuestionRefused(Exception):
    """It is not asked; one sentence with the thing, the rule and the fix."""


@dataclass(frozen=True, kw_only=True)
class AskedQuestion:
    """`answered_ms` is None until there is an answer; past `expires_ms` there will be none."""

    question: str
    center: str
    device: str
    kind: str
    asked_by: str
    asked_ms: int
    expires_ms: int
    answered_ms: int | None
    answer: str


def ask(conn: sa.Connection, code: str, kind: str, by: str, now_ms: int) -> str:
    """Asks the gateway of a center that was heard last; returns the question's id, the same while one of this kind is
    open. Raises QuestionRefused, or centers.CenterError."""
    if kind not in KINDS:
        raise QuestionRefused(f"question {kind[:40]!r}: is on no list; there are: {', '.join(KINDS)}")
    center = centers.get(conn, code)
    is_open = _q.answered_ms.is_(None) & (_q.expires_ms > now_ms)
    held = conn.scalar(sa.select(_q.question).where(_q.center == center.code, _q.kind == kind, is_open))
    if held is not None:
        return str(held)
    recent = sa.select(sa.func.count()).where(_q.center == center.code, _q.asked_ms > now_ms - DAY_MS)
    if (conn.scalar(recent) or 0) >= A_DAY:
        raise QuestionRefused(f"center {code}: was asked {A_DAY} questions within a day; wait")
    row: dict[str, object] = {"question": secrets.token_hex(16), "center": center.code, "kind": kind}
    row |= {"device": _gateway(conn, center.code), "asked_by": printable(by, 100)}
    row |= {"asked_ms": now_ms, "expires_ms": now_ms + WAIT_MS}
    conn.execute(sa.insert(schema.questions).values(row))
    return str(row["question"])


def _gateway(conn: sa.Connection, code: str) -> str:
    """Of a center's gateways the one heard last, if its program answers questions."""
    heard = sa.select(_p.device).where(_p.center == code).scalar_subquery()
    query = sa.select(_d.device, _s.digest).outerjoin(
        schema.device_settings, sa.and_(_s.device == _d.device, _s.center == _d.center)
    )
    row = conn.execute(
        query.where(_d.center == code, _d.revoked_ms.is_(None)).order_by(
            (_d.device == heard).desc(), _d.enrolled_ms.desc()
        )
    ).first()
    if row is None:
        raise QuestionRefused(f"center {code}: has no gateway; see `nabz-collector token {code}`")
    if row.digest is None:
        raise QuestionRefused(
            f"center {code}: its gateway was not heard yet, or is older than 0.3; install a newer one"
        )
    return str(row.device)


def take(conn: sa.Connection, device: str, answer: wire.Ask, now_ms: int) -> str:
    """Notes an answer of this gateway: `answer`; or `answer_again`, `answer_late` or `answer_unasked`, which change
    nothing: a question is answered once, in time, and by the one that it was put to."""
    mine = (_q.question == answer.id) & (_q.device == device)
    row = conn.execute(sa.select(_q.answered_ms, _q.expires_ms).where(mine)).one_or_none()
    if row is None:
        return "answer_unasked"
    if row.answered_ms is not None:
        return "answer_again"
    if row.expires_ms + WAIT_MS < now_ms:
        return "answer_late"
    text = "".join(
        sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in answer.answer
    )
    conn.execute(sa.update(schema.questions).where(mine).values(answer=text, answered_ms=now_ms))
    return "answer"


def by_id(conn: sa.Connection, question: str) -> AskedQuestion:
    return _question(conn.execute(sa.select(schema.questions).where(_q.question == question)).one())


def of_center(conn: sa.Connection, code: str) -> list[AskedQuestion]:
    """The newest of a center, the last one first."""
    query = sa.select(schema.questions).where(_q.center == code).order_by(_q.asked_ms.desc()).limit(KEPT)
    return [_question(row) for row in conn.execute(query)]


def _question(row: sa.Row[Any]) -> AskedQuestion:
    return AskedQuestion(**row._mapping)


class QuestionSender:
    """`publish` sends tasks and says whether it could. `look` is to be called every second or so."""

    def __init__(
        self,
        store: Store,
        key: Ed25519PrivateKey,
        publish: Callable[[Sequence[Message]], bool],
        now_ms: Callable[[], int],
    ) -> None:
        self._store, self._key, self._publish, self._now_ms = store, key, publish, now_ms
        self._sent_ms: dict[str, int] = {}

    def look(self) -> int:
        """Returns how many questions it sent."""
        now_ms = self._now_ms()
        query = sa.select(schema.questions).where(_q.answered_ms.is_(None), _q.expires_ms > now_ms)
        with self._store.read() as conn:
            waiting = [_question(row) for row in conn.execute(query)]
        self._sent_ms = {one.question: self._sent_ms.get(one.question, 0) for one in waiting}
        due = [one for one in waiting if now_ms - self._sent_ms[one.question] >= AGAIN_MS]
        if not due or not self._publish([self._task(one) for one in due]):
            return 0
        self._sent_ms |= {one.question: now_ms for one in due}
        return len(due)

    def _task(self, one: AskedQuestion) -> Message:
        """Each has an id of its own: a gateway takes every task once, and says an answer again that was lost."""
        task = wire.Task(
            v=wire.VERSION,
            device=one.device,
            id=secrets.token_hex(16),
            do="question",
            question=wire.Question(id=one.question, kind=one.kind, asked_by=one.asked_by),
            expires_ms=one.expires_ms,
        )
        return Message(wire.task_topic(one.device), wire.seal(wire.encode(task), self._key.sign))
