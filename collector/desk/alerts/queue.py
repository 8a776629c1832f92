"""The steps of the queue between incidents and channels, each inside one transaction: so that a crash neither loses a
message nor repeats one.

    waiting ──claimed──▶ sending ──▶ sent
       ▲                    ├─ temporary problem ─▶ waiting, later; failed after the last attempt
       └────────────────────┘─ permanent problem ─▶ failed
                            └─ no answer in time, or the collector died ─▶ unsure: perhaps sent, so never sent again
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from agent.common.words import PlainWords, plain
from collector.desk import follow
from collector.desk.alerts import breaker, links, sms
from collector.desk.alerts.announcements import announcements_of
from collector.desk.alerts.breaker import Breaker
from collector.desk.alerts.channel import AlertMessage, Channel, SendFailed
from collector.desk.alerts.message import Announcement, message, summary
from collector.desk.incident import ALERTS, ROUTED
from collector.standard import Standards
from collector.standard.criteria import EVERYONE
from collector.store import schema, upsert

BACKOFF_S = (30, 60, 300, 900, 3600, 7200, 14400)  # after these, the message is given up
BRAKE = 50  # more messages than this within BRAKE_MS become a summary
BRAKE_MS = 600_000
LATE_MS = 600_000  # news of what is over by then is not sent any more

_al, _e, _i, _k = schema.alerts.c, schema.incident_events.c, schema.incidents.c, schema.channels.c


@dataclass(frozen=True)
class ClaimedMessage:
    """A message claimed for sending."""

    id: int
    channel: str
    message: AlertMessage
    attempts: int


def is_waiting(conn: sa.Connection) -> bool:
    """Whether there is anything that `queue` would do now; asked without a writer's lock."""
    if conn.execute(follow.UNFOLLOWED.limit(1)).first() is not None:
        return True
    return conn.execute(sa.select(_e.id).where(_e.queued_ms.is_(None)).limit(1)).first() is not None


def queue(conn: sa.Connection, channels: Sequence[Channel], standards: Standards, base_url: str, now_ms: int) -> int:
    """Makes messages of what people are to be told of; returns how many messages.

    With more than BRAKE of them within BRAKE_MS, one summary goes out and the rest wait for the next one.
    """
    follow.follow(conn, standards, now_ms)
    announcements = announcements_of(conn, now_ms)
    if not announcements:
        return 0
    recent = conn.scalar(_TOLD_SINCE, {"since_ms": now_ms - BRAKE_MS}) or 0
    braking = recent + len(announcements) > BRAKE
    if braking and conn.scalar(_SUMMARIES_SINCE, {"since_ms": now_ms - BRAKE_MS}):
        return 0
    words = _summaries if braking else _messages
    shared = [channel for channel in channels if channel.address is None and not channel.is_structured]
    made = [row for channel in shared for row in words(announcements, channel, standards, base_url, now_ms)]
    if made:
        conn.execute(sa.insert(schema.alerts), made)
    conn.execute(_QUEUED, [{"event": item.id, "now_ms": now_ms} for item in announcements])
    return len(made)


def claim(conn: sa.Connection, now_ms: int, channel: str) -> ClaimedMessage | None:
    """The channel's next message, now `sending`; None if there is none, the channel rests, or another worker got there
    first."""
    if not breaker.admits(breaker_of(conn, channel), now_ms):
        return None
    row = conn.execute(_NEXT_DUE, {"now_ms": now_ms, "channel": channel}).first()
    while row is not None and (problem := _outdated(row, now_ms)):
        late = {"state": "failed", "problem": problem}
        conn.execute(sa.update(schema.alerts).where(_al.id == row.id, _al.state == "waiting").values(late))
        row = conn.execute(_NEXT_DUE, {"now_ms": now_ms, "channel": channel}).first()
    if row is None:
        return None
    mine = sa.update(schema.alerts).where(_al.id == row.id, _al.state == "waiting")
    if conn.execute(mine.values(state="sending", attempts=row.attempts + 1)).rowcount != 1:
        return None
    is_over = row.now == "clear" if row.act is None else ROUTED.get(row.act) == "cleared"
    text = links.filled(conn, row.text, row.incident, row.person, now_ms) if row.incident else row.text
    words = AlertMessage(row.title, text, "cleared" if is_over else "raised", row.address, row.facts, row.id)
    return ClaimedMessage(row.id, row.channel, words, row.attempts + 1)


def _outdated(row: Any, now_ms: int) -> str:
    """Why news of a trouble that could not be sent for so long is not sent any more; empty: it is. Urgent words of then
    are wrong now, and whoever was to help need not."""
    if row.act == "escalated" and row.incident_state != "new":
        return "somebody looked after it before this could be sent"
    is_over = row.incident_state in ("resolved", "reviewed")
    late = is_over and ROUTED.get(row.act) == "raised" and now_ms - row.at_ms > LATE_MS
    return "over before it could be sent; its end is told" if late else ""


def finish(conn: sa.Connection, due: ClaimedMessage, problem: SendFailed | None, now_ms: int) -> None:
    """Writes how sending went, and what it says of the channel."""
    known = breaker_of(conn, due.channel)
    if problem is None:
        values: dict[str, object] = {"state": "sent", "sent_ms": now_ms, "problem": ""}
        known = breaker.after_sending(now_ms)
    elif problem.is_unsure:
        values = {"state": "unsure", "problem": str(problem)}
        known = breaker.after_failure(known, str(problem), now_ms)
    elif problem.permanent or due.attempts > len(BACKOFF_S):
        values = {"state": "failed", "problem": str(problem)}
    else:
        wait_ms = BACKOFF_S[due.attempts - 1] * 1000
        values = {"state": "waiting", "problem": str(problem), "next_ms": now_ms + wait_ms}
        known = breaker.after_failure(known, str(problem), now_ms)
    conn.execute(sa.update(schema.alerts).where(_al.id == due.id, _al.state == "sending").values(values))
    upsert(conn, schema.channels, [{"channel": due.channel, **vars(known)}])


def queue_test(conn: sa.Connection, channel: str, words: AlertMessage, now_ms: int, person: str = "") -> int:
    """A message that is about nothing, to see whether the channel reaches anybody; its number."""
    row = {
        "kind": "test", "change": None, "event": None, "center": EVERYONE, "channel": channel,
        "title": words.title, "text": words.text, "state": "waiting", "attempts": 0, "next_ms": now_ms,
        "made_ms": now_ms, "person": person, "address": words.address,
    }  # fmt: skip
    key = conn.execute(sa.insert(schema.alerts).values(row)).inserted_primary_key
    assert key is not None
    return int(key[0])


def give_up_unsure(conn: sa.Connection) -> int:
    problem = "the collector stopped while sending this: look whether it arrived"
    left = sa.update(schema.alerts).where(_al.state == "sending").values(state="unsure", problem=problem)
    return int(conn.execute(left).rowcount)


def breaker_of(conn: sa.Connection, channel: str) -> Breaker:
    query = sa.select(_k.failures, _k.until_ms, _k.sent_ms, _k.problem).where(_k.channel == channel)
    row = conn.execute(query).first()
    return Breaker() if row is None else Breaker(**row._mapping)


def due_channels(conn: sa.Connection, now_ms: int) -> Sequence[str]:
    """Channels with messages to send, the one that has waited longest first."""
    names = conn.scalars(_DUE_CHANNELS, {"now_ms": now_ms}).all()
    return [name for name in names if breaker.admits(breaker_of(conn, name), now_ms)]


# ---------------------------------------------------------------- questions


_TOLD_SINCE = sa.select(sa.func.count()).where(_e.queued_ms > sa.bindparam("since_ms"), _e.act.in_(list(ALERTS)))
_SUMMARIES_SINCE = (
    sa.select(sa.func.count())
    .select_from(schema.alerts.join(schema.incident_events, _e.id == _al.event))
    .where(_al.kind == "summary", _e.queued_ms > sa.bindparam("since_ms"))
)
_QUEUED = (
    sa.update(schema.incident_events).where(_e.id == sa.bindparam("event")).values(queued_ms=sa.bindparam("now_ms"))
)
_IS_DUE = sa.and_(_al.state == "waiting", _al.next_ms <= sa.bindparam("now_ms"))
_DUE_CHANNELS = sa.select(_al.channel).where(_IS_DUE).group_by(_al.channel).order_by(sa.func.min(_al.id))
_NEXT_DUE = (
    sa.select(
        _al.id,
        _al.channel,
        _al.title,
        _al.text,
        _al.attempts,
        _al.address,
        _al.facts,
        _al.person,
        _e.incident,
        _e.act,
        _e.at_ms,
        schema.changes.c.now,
        _i.state.label("incident_state"),
    )
    .select_from(
        schema.alerts.outerjoin(schema.incident_events, _e.id == _al.event)
        .outerjoin(schema.changes, schema.changes.c.id == _al.change)
        .outerjoin(schema.incidents, _i.id == _e.incident)
    )
    .where(_IS_DUE, _al.channel == sa.bindparam("channel"))
    .order_by(_al.next_ms, _al.id)
    .limit(1)
)


# ---------------------------------------------------------------- rows


def _messages(
    announcements: Sequence[Announcement], channel: Channel, standards: Standards, base_url: str, now_ms: int
) -> list[dict[str, object]]:
    wanted = [item for item in announcements if item.event in channel.events]
    made = [(item, message(item, standards.at(item.at_ms), base_url, _words(channel))) for item in wanted]
    return [_row(item, channel, _shortened(words, item, channel, base_url), now_ms) for item, words in made]


def _summaries(
    announcements: Sequence[Announcement], channel: Channel, standards: Standards, base_url: str, now_ms: int
) -> list[dict[str, object]]:
    wanted = [item for item in announcements if item.event in channel.events]
    if not wanted:
        return []
    words = summary(wanted, standards.at(now_ms), base_url, _words(channel))
    return [_row(wanted[-1], channel, words, now_ms, "summary")]


def _shortened(made: AlertMessage, item: Announcement, channel: Channel, base_url: str) -> AlertMessage:
    if not channel.is_short or item.news is None:
        return made
    return replace(made, text=sms.short(made.title, f"{base_url}/incidents/{item.news.incident.id}"))


def _words(channel: Channel) -> list[PlainWords]:
    return [plain(lang) for lang in channel.languages]


def _row(
    announcement: Announcement, channel: Channel, words: AlertMessage, now_ms: int, kind: str = "change"
) -> dict[str, object]:
    news = announcement.news
    is_group = news is not None and news.incident.is_group
    return {
        "kind": kind,
        "change": announcement.change,
        "event": announcement.id,
        "center": EVERYONE if is_group else announcement.center,
        "channel": channel.name,
        "title": words.title,
        "text": words.text,
        "state": "waiting",
        "attempts": 0,
        "next_ms": now_ms,
        "made_ms": now_ms,
    }
