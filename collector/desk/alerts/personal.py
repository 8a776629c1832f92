"""Messages to persons: what routing decides of each event becomes a row of the queue, in one transaction.

With more than BRAKE messages to one person within BRAKE_MS the next ones are held, and a summary of them goes out now
and then instead.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from agent.common.words import plain
from collector.access.users import key_of
from collector.desk import tables as desk
from collector.desk.alerts import links, sms
from collector.desk.alerts.announcements import EVENTS, announcement_of
from collector.desk.alerts.channel import Channel
from collector.desk.alerts.message import Announcement, held_summary, message
from collector.desk.alerts.queue import BRAKE, BRAKE_MS
from collector.desk.alerts.structured import encoded
from collector.desk.incident import ALERTS, ENDS, ROUTED, Incident
from collector.desk.routing import tables as routing
from collector.desk.routing.decide import (
    ARMING,
    RoutedMessage,
    RoutingBook,
    RoutingDecision,
    channel_for,
    decide,
    escalate,
    latecomers,
)
from collector.desk.routing.directory import book_of, people
from collector.desk.routing.facts import IncidentFacts, PersonalChannel
from collector.standard import Standards
from collector.standard.criteria import EVERYONE
from collector.store import schema

CALLING = ARMING | {"worse", "escalated"}
TOLD = frozenset(
    {*ALERTS, "acknowledged", "assigned", "closed", "noted"}
)  # of what persons hear; a merger is the desk's own affair

TROUBLE = ENDS | set(ALERTS)  # how it goes on; the rest is what people did meanwhile

_al, _e, _i = schema.alerts.c, schema.incident_events.c, schema.incidents.c


def is_waiting(conn: sa.Connection, now_ms: int) -> bool:
    """Whether there is anything that `route` would do now; asked without a writer's lock."""
    if conn.execute(sa.select(_e.id).where(_e.routed_ms.is_(None)).limit(1)).first() is not None:
        return True
    due_ms = routing.next_due_ms(conn)
    if due_ms is not None and due_ms <= now_ms:
        return True
    return bool(routing.widened(conn, now_ms) or _to_sum_up(conn, now_ms))


def route(conn: sa.Connection, channels: Sequence[Channel], standards: Standards, base_url: str, now_ms: int) -> int:
    """Makes messages of what persons are to be told of, and takes the steps whose time has come; how many messages."""
    personal = [PersonalChannel(one.name, one.address) for one in channels if one.address is not None]
    rows = conn.execute(_UNROUTED, {"now_ms": now_ms}).all()
    steps = routing.due_steps(conn, now_ms)
    wider = routing.widened(conn, now_ms)
    if not (rows or steps or wider or _to_sum_up(conn, now_ms)):
        return 0
    desk.lock(conn)
    book = book_of(conn, personal, now_ms)
    writer = MessageWriter(conn, {one.name: one for one in channels}, book, standards, base_url, now_ms)
    for row in rows:
        _route_event(writer, row)
    for (number, armed_ms), pending in steps.items():
        incident = desk.get(conn, number)
        decision = escalate(pending, armed_ms, routing.facts_of(conn, incident, now_ms), book, now_ms)
        routing.mark_done(conn, number, armed_ms, pending, now_ms)
        routing.put(conn, number, armed_ms, decision)
        _escalated(writer, incident, decision)
    for number in wider:
        _latecomers(writer, number)
    if rows:
        conn.execute(_ROUTED, [{"event": row.id, "now_ms": now_ms} for row in rows])
    return writer.write()


_UNROUTED = EVENTS.where(_e.routed_ms.is_(None), _i.hold_ms <= sa.bindparam("now_ms")).order_by(_e.id)
_ROUTED = (
    sa.update(schema.incident_events).where(_e.id == sa.bindparam("event")).values(routed_ms=sa.bindparam("now_ms"))
)


def _route_event(writer: MessageWriter, row: Any) -> None:
    conn, now_ms = writer.conn, writer.now_ms
    is_quiet = row.act in ALERTS and row.queued_ms == desk.QUIET  # people are to sleep, programs are not
    is_for_people = bool(writer.book.routes and writer.book.channels) and row.act in TOLD and not is_quiet
    if not (is_for_people or writer.programs):
        return
    announcement = announcement_of(conn, row)
    writer.add_facts(announcement)
    if not is_for_people:
        return
    incident = desk.get(conn, row.incident)
    facts = routing.facts_of(conn, incident, now_ms)
    decision = decide(row.act, facts, writer.book, now_ms, key_of(row.person) if row.person else "")
    if decision.begun:
        routing.drop_pending(conn, incident.id, now_ms)
    routing.put(conn, incident.id, now_ms, decision)
    writer.add(announcement, facts, decision)


def _latecomers(writer: MessageWriter, number: int) -> None:
    """They are told that it began."""
    conn, now_ms = writer.conn, writer.now_ms
    routing.mark_looked(conn, number, now_ms)
    event = routing.armed_event(conn, number)
    if event is None:
        return
    facts = routing.facts_of(conn, desk.get(conn, number), now_ms)
    row = conn.execute(EVENTS.where(_e.id == event)).one()
    writer.add(announcement_of(conn, row), facts, latecomers(facts, writer.book, now_ms))


def _escalated(writer: MessageWriter, incident: Incident, decision: RoutingDecision) -> None:
    """The step is an event of its own, so that its history says who was told when."""
    sent = [one for one in decision.messages if one.is_sent]
    if not sent:
        return
    detail = Reason.of("incident.escalated", names=[one.name for one in sent][:10], n=len(sent))
    number = desk.record(writer.conn, incident, "escalated", writer.now_ms, detail=detail, quiet=True)
    row = writer.conn.execute(EVENTS.where(_e.id == number)).one()
    announcement = announcement_of(writer.conn, row)
    writer.add_facts(announcement)
    writer.add(announcement, routing.facts_of(writer.conn, incident, writer.now_ms), decision)


def by_another(conn: sa.Connection, channels: Sequence[Channel], number: int, base_url: str, now_ms: int) -> str:
    """The next channel that reaches the person of a message that was given up, and that has it now; empty: none. A
    wrong number is no reason to wait for the plan's next step; no channel is asked twice for one event."""
    row = conn.execute(sa.select(schema.alerts).where(_al.id == number, _al.state == "failed")).first()
    if row is None or row.kind != "person" or row.event is None:
        return ""
    tried = set(conn.scalars(sa.select(_al.channel).where(_al.event == row.event, _al.person == row.person)))
    act = conn.execute(sa.select(_e.act, _e.incident).where(_e.id == row.event)).one()
    left = {one.name: one for one in channels if one.name not in tried and ROUTED.get(act.act) in one.events}
    ways = [PersonalChannel(one.name, one.address) for one in left.values() if one.address is not None]
    person = next((one for one in people(conn) if one.key == row.person), None)
    channel = channel_for(person, ways) if person else None
    if person is None or channel is None:
        return ""
    short = sms.short(row.title, f"{base_url}/incidents/{act.incident}") if left[channel.name].is_short else row.text
    again = {
        **row._mapping, "channel": channel.name, "address": person.addresses[channel.address], "text": short,
        "state": "waiting", "attempts": 0, "next_ms": now_ms, "made_ms": now_ms, "problem": "", "sent_ms": None,
    }  # fmt: skip
    conn.execute(sa.insert(schema.alerts), [{name: value for name, value in again.items() if name != "id"}])
    return channel.name


class MessageWriter:
    """Collects the rows of one transaction, with their words, and writes them."""

    def __init__(
        self, conn: sa.Connection, channels: Mapping[str, Channel], book: RoutingBook, standards: Standards,
        base_url: str, now_ms: int,
    ) -> None:  # fmt: skip
        self.conn, self.channels, self.book, self.now_ms = conn, channels, book, now_ms
        self._standards, self._base_url = standards, base_url
        self._rows: list[dict[str, object]] = []
        self._newest: list[tuple[int, int, list[str]]] = []
        self.programs = [one for one in channels.values() if one.is_structured]

    def add_facts(self, announcement: Announcement) -> None:
        """One message to every channel that programs read, whatever the storm."""
        if not self.programs:
            return
        standard = self._standards.at(announcement.at_ms)
        made = message(announcement, standard, self._base_url, [plain()])
        facts = encoded(announcement, self._base_url)
        for channel in self.programs:
            if announcement.event in channel.events:
                row = _common(announcement, channel.name, (made.title, made.text), self.now_ms)
                self._rows.append({**row, "kind": "change", "facts": facts})

    def add(self, announcement: Announcement, facts: IncidentFacts, decision: RoutingDecision) -> None:
        known: dict[tuple[object, ...], tuple[str, str]] = {}
        before = [one.person for one in decision.messages if one.is_sent and one.reason.code == "route.told_before"]
        if before and announcement.news and announcement.news.act in TROUBLE:
            self._newest.append((facts.id, announcement.id, before))
        for one in decision.messages:
            if not one.is_sent or announcement.event not in self.channels[one.channel].events:
                continue
            own = self._own(announcement, facts, one)
            centers = own.news.centers if own.news else ()
            key = (one.lang, centers, encode(one.reason))
            if key not in known:
                known[key] = self._words(own, one)
            self._rows.append(_row(own, one, self._with_link(own, one, known[key]), self.now_ms))

    def _with_link(self, own: Announcement, one: RoutedMessage, words: tuple[str, str]) -> tuple[str, str]:
        """With the place of a link to acknowledge by, while somebody is looked for; the short form is that alone."""
        (title, text), news, link = words, own.news, ""
        if news is not None and news.incident.state == "new" and news.act in CALLING:
            link = links.place(self._base_url)
        if self.channels[one.channel].is_short and news is not None:
            return title, sms.short(title, link or f"{self._base_url}/incidents/{news.incident.id}")
        lang = plain(one.lang)
        return title, f"{text}\n{lang('alert.ack', url=lang.ltr(link))}" if link else text

    def _own(self, announcement: Announcement, facts: IncidentFacts, one: RoutedMessage) -> Announcement:
        """With the centers that this person may know of."""
        news, person = announcement.news, self.book.people[one.person]
        if news is None or not news.centers:
            return announcement
        mine = {home.code for home in facts.centers if person.concerns(home)}
        centers = tuple(code for code in news.centers if code in mine)
        return replace(announcement, news=replace(news, centers=centers))

    def _words(self, announcement: Announcement, one: RoutedMessage) -> tuple[str, str]:
        words = plain(one.lang)
        made = message(announcement, self._standards.at(announcement.at_ms), self._base_url, [words])
        return made.title, f"{made.text}\n{words('route.why', reason=words.reason(one.reason))}"

    def write(self) -> int:
        """How many messages, those that are held too."""
        rows = list(_braked(self.conn, self._rows, self.now_ms))
        if rows:
            self.conn.execute(sa.insert(schema.alerts), rows)
        for newest in self._newest:
            self._take_back(*newest)
        summaries = [self._summary(person, held) for person, held in _to_sum_up(self.conn, self.now_ms).items()]
        if summaries:
            self.conn.execute(sa.insert(schema.alerts), summaries)
        return len(rows) + len(summaries)

    def _take_back(self, incident: int, event: int, people: Sequence[str]) -> None:
        """Older news of it that waits until their hours begin: they read how it is then, not all that it was."""
        older = sa.select(_e.id).where(_e.incident == incident, _e.id < event)
        waits = (_al.state == "waiting") & (_al.attempts == 0) & (_al.next_ms > self.now_ms)
        mine = sa.update(schema.alerts).where(waits, _al.event.in_(older), _al.person.in_(people))
        self.conn.execute(mine.values(state="failed", problem="newer news of it came before it could be sent"))

    def _summary(self, person: str, held: Sequence[Any]) -> dict[str, object]:
        """One message in place of those that were held, by the channel of the last one."""
        mine = sa.update(schema.alerts).where(_al.id.in_([row.id for row in held]))
        self.conn.execute(mine.values(state="summed"))
        known = self.book.people.get(person)
        words = held_summary([row.title for row in held], self._base_url, plain(known.lang if known else "en"))
        last = held[-1]
        return {
            "kind": "summary", "change": None, "event": None, "center": EVERYONE, "channel": last.channel,
            "title": words.title, "text": words.text, "state": "waiting", "attempts": 0, "next_ms": self.now_ms,
            "made_ms": self.now_ms, "person": person, "address": last.address, "why": "",
        }  # fmt: skip


def _row(own: Announcement, one: RoutedMessage, words: tuple[str, str], now_ms: int) -> dict[str, object]:
    row = _common(own, one.channel, words, now_ms)
    about = {"person": one.person, "address": one.address, "why": encode(one.reason)}
    return {**row, "kind": "person", **about, "next_ms": one.due_ms or now_ms}


def _common(own: Announcement, channel: str, words: tuple[str, str], now_ms: int) -> dict[str, object]:
    title, text = words
    is_group = own.news is not None and own.news.incident.is_group
    return {
        "change": own.change, "event": own.id, "center": EVERYONE if is_group else own.center, "channel": channel,
        "title": title, "text": text, "state": "waiting", "attempts": 0, "next_ms": now_ms, "made_ms": now_ms,
        "person": "", "address": "", "why": "", "facts": "",
    }  # fmt: skip


# ---------------------------------------------------------------- the brake


def _braked(conn: sa.Connection, rows: Sequence[dict[str, object]], now_ms: int) -> Iterator[dict[str, object]]:
    """With the state `held` from each person's 51st message within ten minutes on."""
    people = sorted({str(row["person"]) for row in rows})
    mine = _al.person.in_(people) & (_al.made_ms > now_ms - BRAKE_MS)
    count = sa.select(_al.person, sa.func.count()).where(mine).group_by(_al.person)
    counted = Counter({str(person): int(number) for person, number in conn.execute(count)} if people else {})
    for row in rows:
        person = str(row["person"])
        counted[person] += 1
        yield {**row, "state": "held"} if person and counted[person] > BRAKE else row


def _to_sum_up(conn: sa.Connection, now_ms: int) -> dict[str, list[Any]]:
    """{person: messages held} of those who got no summary within BRAKE_MS."""
    columns = (_al.id, _al.person, _al.channel, _al.address, _al.title)
    rows = conn.execute(sa.select(*columns).where(_al.state == "held").order_by(_al.id)).all()
    by_person = defaultdict[str, list[Any]](list)
    for row in rows:
        by_person[row.person].append(row)
    if not by_person:
        return {}
    recent = (_al.kind == "summary") & _al.person.in_(list(by_person)) & (_al.made_ms > now_ms - BRAKE_MS)
    resting = set(conn.scalars(sa.select(_al.person).where(recent)))
    return {person: held for person, held in by_person.items() if person not in resting}
