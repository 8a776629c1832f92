"""The queue between changes and channels, in the database, so that a crash neither loses a message nor repeats one.

    waiting ──claimed──▶ sending ──▶ sent
       ▲                    ├─ temporary problem ─▶ waiting, later; failed after the last attempt
       └────────────────────┘─ permanent problem ─▶ failed
                            └─ the collector died ─▶ unsure: perhaps sent, so never sent again

One outbox works on a database at a time. Each channel sends in a thread of its own: one that hangs delays no other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from agent.common.logs import Event
from agent.common.reasons import decode
from agent.common.words import PlainWords, plain
from collector.alerts import news
from collector.alerts.channel import AlertMessage, Channel, SendFailed
from collector.alerts.message import Announcement, message, summary
from collector.flags import machine
from collector.flags.cause import Cause
from collector.outages import gaps
from collector.standard import Standards
from collector.store import Store, schema

NOT_SENT = Event(
    __name__, "warning", "alert_unsent", "an alert could not be sent by a channel", key="channel", fields="alert error"
)

BACKOFF_S = (30, 60, 300, 900, 3600, 7200, 14400)  # after these, the message is given up
BRAKE = 50  # more messages than this within BRAKE_MS become a summary
BRAKE_MS = 600_000
PER_LOOK = 50  # messages of one channel
WAIT_S = 4.0  # for the channels that begin to send; one that hangs is not waited for again
STOP_S = 5.0
PAUSED = ("suspended", "closed")

_ch, _al, _ce = schema.changes.c, schema.alerts.c, schema.centers.c


@dataclass(frozen=True)
class ClaimedMessage:
    """A message claimed for sending."""

    id: int
    channel: str
    message: AlertMessage
    attempts: int


class _Sending:
    """A channel's messages under way, in a thread of their own; `sent` and `error` are final once it has ended."""

    def __init__(self, channel: str, send_next: Callable[[str], bool | None], stopped: threading.Event) -> None:
        self._channel, self._send_next, self._stopped = channel, send_next, stopped
        self.sent = 0
        self.error: BaseException | None = None
        # A daemon: a channel that hangs for ever must not keep the collector from stopping.
        self.thread = threading.Thread(target=self._run, name=f"alerts-{channel}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            for _ in range(PER_LOOK):
                was_sent = None if self._stopped.is_set() else self._send_next(self._channel)
                if was_sent is None:
                    return
                self.sent += was_sent
        except BaseException as error:  # the next look raises it
            self.error = error


def _join(works: Iterable[_Sending], longest_s: float) -> None:
    until_s = time.monotonic() + longest_s
    for work in works:
        work.thread.join(max(0.0, until_s - time.monotonic()))


class Outbox:
    """Looks at the queue now and then; every look begins all that is due, at most PER_LOOK messages of a channel."""

    def __init__(
        self,
        store: Store,
        channels: Sequence[Channel],
        standards: Standards,
        base_url: str,
        clock_ms: Callable[[], int],
    ) -> None:
        self.store, self.standards, self.base_url, self.clock_ms = store, standards, base_url, clock_ms
        self.channels = {channel.name: channel for channel in channels}
        self._sending: dict[str, _Sending] = {}
        self._stopped = threading.Event()

    def use(self, channels: Sequence[Channel]) -> None:
        """From the next look on. Messages of a channel that is no longer there fail when they are due."""
        self.channels = {channel.name: channel for channel in channels}

    def after_start(self) -> int:
        """To be called once before the first look: what was being sent when the last run ended is `unsure`."""
        with self.store.write() as conn:
            return give_up_unsure(conn)

    def look(self) -> int:
        """Queues, lets each channel send one message after the other, and waits for those that begin now. Returns how
        many messages were sent by the channels that are done; raises what one of them failed by."""
        with self.store.write() as conn:
            queue(conn, list(self.channels.values()), self.standards, self.base_url, self.clock_ms())
        idle = [name for name in self._due_channels() if name not in self._sending]
        begun = {name: _Sending(name, self._send_next, self._stopped) for name in idle}
        self._sending |= begun
        _join(begun.values(), WAIT_S)
        ended = [self._sending.pop(name) for name, work in [*self._sending.items()] if not work.thread.is_alive()]
        for error in (work.error for work in ended if work.error is not None):
            raise error
        return sum(work.sent for work in ended)

    def stop(self) -> None:
        """Lets each channel end the message that it sends now; one that hangs is left behind, its message `unsure`."""
        self._stopped.set()
        _join(self._sending.values(), STOP_S)

    def _due_channels(self) -> Sequence[str]:
        with self.store.read() as conn:
            return conn.scalars(_DUE_CHANNELS, {"now_ms": self.clock_ms()}).all()

    def _send_next(self, channel: str) -> bool | None:
        """Whether the channel's next message was sent; None if there is none."""
        with self.store.write() as conn:
            due = claim(conn, self.clock_ms(), channel)
        if due is None:
            return None
        problem = self._send(due)
        with self.store.write() as conn:
            finish(conn, due, problem, self.clock_ms())
        if problem:
            NOT_SENT.log(channel=due.channel, alert=due.id, error=problem)
        return problem is None

    def _send(self, due: ClaimedMessage) -> SendFailed | None:
        channel = self.channels.get(due.channel)
        if channel is None:
            return SendFailed("no channel of this name is configured any more", permanent=True)
        try:
            channel.send(due.message)
        except SendFailed as problem:
            return problem
        return None


# ---------------------------------------------------------------- steps, each inside one transaction


def queue(conn: sa.Connection, channels: Sequence[Channel], standards: Standards, base_url: str, now_ms: int) -> int:
    """Makes messages of the changes that have none yet; returns how many messages.

    With more than BRAKE of them within BRAKE_MS, one summary goes out and the rest wait for the next one.
    """
    rows = conn.execute(_UNQUEUED).all()
    notices = frozenset[str]().union(*(standard.notices for standard in standards.versions))
    loud = [row for row in rows if row.criterion not in notices and row.lifecycle not in PAUSED]
    decided = news.decide(conn, loud, standards, now_ms)
    alerting = (row for row in loud if machine.alerts(row.was, row.now))
    announcements = [_told(row) for row in alerting if decided[row.id] == "tell"]
    recent = conn.scalar(_TOLD_SINCE, {"since_ms": now_ms - BRAKE_MS, "notices": list(notices)}) or 0
    braking = recent + len(announcements) > BRAKE
    held = braking and bool(conn.scalar(_SUMMARIES_SINCE, {"since_ms": now_ms - BRAKE_MS}))
    if not braking:
        announcements = [replace(item, began_ms=_began_ms(conn, item)) for item in announcements]
        announcements = [replace(item, cause=_cause(conn, item, standards, now_ms)) for item in announcements]
    words = _summaries if braking else _messages
    made = (
        []
        if held
        else [row for channel in channels for row in words(announcements, channel, standards, base_url, now_ms)]
    )
    if made:
        conn.execute(sa.insert(schema.alerts), made)
    waits = {item.id for item in announcements} if held else set()
    waits |= {id for id, decision in decided.items() if decision == "wait"}
    over = {id for id, decision in decided.items() if decision == "over"}
    done = [
        {"change": row.id, "now_ms": news.OVER if row.id in over else now_ms} for row in rows if row.id not in waits
    ]
    if done:
        conn.execute(_QUEUED, done)
    return len(made)


def claim(conn: sa.Connection, now_ms: int, channel: str) -> ClaimedMessage | None:
    """The channel's next message, now `sending`; None if there is none, or another worker got there first."""
    row = conn.execute(_NEXT_DUE, {"now_ms": now_ms, "channel": channel}).first()
    if row is None:
        return None
    mine = sa.update(schema.alerts).where(_al.id == row.id, _al.state == "waiting")
    if conn.execute(mine.values(state="sending", attempts=row.attempts + 1)).rowcount != 1:
        return None
    words = AlertMessage(row.title, row.text, "cleared" if row.now == "clear" else "raised")
    return ClaimedMessage(row.id, row.channel, words, row.attempts + 1)


def finish(conn: sa.Connection, due: ClaimedMessage, problem: SendFailed | None, now_ms: int) -> None:
    """Writes how sending went."""
    if problem is None:
        values: dict[str, object] = {"state": "sent", "sent_ms": now_ms, "problem": ""}
    elif problem.permanent or due.attempts > len(BACKOFF_S):
        values = {"state": "failed", "problem": str(problem)}
    else:
        wait_ms = BACKOFF_S[due.attempts - 1] * 1000
        values = {"state": "waiting", "problem": str(problem), "next_ms": now_ms + wait_ms}
    conn.execute(sa.update(schema.alerts).where(_al.id == due.id, _al.state == "sending").values(values))


def give_up_unsure(conn: sa.Connection) -> int:
    problem = "the collector stopped while sending this: look whether it arrived"
    left = sa.update(schema.alerts).where(_al.state == "sending").values(state="unsure", problem=problem)
    return int(conn.execute(left).rowcount)


# ---------------------------------------------------------------- questions


_TOLD = sa.or_(
    sa.and_(_ch.was.in_(("clear", "pending")), _ch.now == "raised"),
    sa.and_(_ch.was.in_(("raised", "recovering")), _ch.now == "clear"),
)
_UNQUEUED = (
    sa.select(schema.changes, _ce.name, _ce.city, _ce.province, _ce.lifecycle)
    .select_from(schema.changes.outerjoin(schema.centers, _ce.center == _ch.center))
    .where(_ch.queued_ms.is_(None))
    .order_by(_ch.id)
)
_TOLD_SINCE = sa.select(sa.func.count()).where(
    _TOLD, _ch.queued_ms > sa.bindparam("since_ms"), _ch.criterion.not_in(sa.bindparam("notices", expanding=True))
)
_SUMMARIES_SINCE = (
    sa.select(sa.func.count())
    .select_from(schema.alerts.join(schema.changes, _ch.id == _al.change))
    .where(_al.kind == "summary", _ch.queued_ms > sa.bindparam("since_ms"))
)
_QUEUED = sa.update(schema.changes).where(_ch.id == sa.bindparam("change")).values(queued_ms=sa.bindparam("now_ms"))
_IS_DUE = sa.and_(_al.state == "waiting", _al.next_ms <= sa.bindparam("now_ms"))
_DUE_CHANNELS = sa.select(_al.channel).where(_IS_DUE).group_by(_al.channel).order_by(sa.func.min(_al.id))
_NEXT_DUE = (
    sa.select(_al.id, _al.channel, _al.title, _al.text, _al.attempts, _ch.now)
    .select_from(schema.alerts.outerjoin(schema.changes, _ch.id == _al.change))
    .where(_IS_DUE, _al.channel == sa.bindparam("channel"))
    .order_by(_al.next_ms, _al.id)
    .limit(1)
)


_LATER = ("began_ms", "cause")  # asked once it is known that a message is made


def _told(row: sa.Row[tuple[object, ...]]) -> Announcement:
    fields = {name: row._mapping[name] for name in Announcement.__dataclass_fields__ if name not in _LATER}
    return Announcement(**fields | {"reason": decode(fields["reason"])})


def _began_ms(conn: sa.Connection, announcement: Announcement) -> int | None:
    """When a flag that is cleared now was raised."""
    if announcement.event == "raised":
        return None
    same = sa.and_(
        _ch.center == announcement.center, _ch.criterion == announcement.criterion, _ch.subject == announcement.subject
    )
    raised = sa.and_(_ch.was.in_(("clear", "pending")), _ch.now == "raised", _ch.id < announcement.id)
    began_ms: int | None = conn.scalar(sa.select(sa.func.max(_ch.at_ms)).where(same, raised))
    return began_ms


def _cause(conn: sa.Connection, announcement: Announcement, standards: Standards, now_ms: int) -> Cause | None:
    """Why a center fell silent: likely while it lasts, and what was found out when it is heard again."""
    standard = standards.at(announcement.at_ms)
    criterion = standard.by_id.get(announcement.criterion) if standard else None
    if criterion is None or criterion.reading != "silence":
        return None
    return (
        gaps.likely(conn, announcement.center, now_ms)
        if announcement.event == "raised"
        else gaps.last(conn, announcement.center)
    )


def _messages(
    announcements: Sequence[Announcement], channel: Channel, standards: Standards, base_url: str, now_ms: int
) -> list[dict[str, object]]:
    wanted = [item for item in announcements if item.event in channel.events]
    return [
        _row(item, channel, message(item, standards.at(item.at_ms), base_url, _words(channel)), now_ms)
        for item in wanted
    ]


def _summaries(
    announcements: Sequence[Announcement], channel: Channel, standards: Standards, base_url: str, now_ms: int
) -> list[dict[str, object]]:
    wanted = [item for item in announcements if item.event in channel.events]
    if not wanted:
        return []
    words = summary(wanted, standards.at(now_ms), base_url, _words(channel))
    return [_row(wanted[-1], channel, words, now_ms, "summary")]


def _words(channel: Channel) -> list[PlainWords]:
    return [plain(lang) for lang in channel.languages]


def _row(
    announcement: Announcement, channel: Channel, words: AlertMessage, now_ms: int, kind: str = "change"
) -> dict[str, object]:
    return {
        "kind": kind,
        "change": announcement.id,
        "center": announcement.center,
        "channel": channel.name,
        "title": words.title,
        "text": words.text,
        "state": "waiting",
        "attempts": 0,
        "next_ms": now_ms,
    }
