"""Messages to whoever runs a center, and to holders of reports that were superseded: put into the outbox in the
transaction of what they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from agent.common.words import plain
from collector.access.users import key_of
from collector.common import months
from collector.common.config import ConfigError, Settings
from collector.desk.alerts.channel import address_kind
from collector.desk.routing import directory
from collector.desk.routing.decide import channel_for
from collector.desk.routing.facts import PersonalChannel
from collector.desk.routing.recipients import Recipient
from collector.register.centers import Center
from collector.reports import revisions
from collector.store import schema

ROLES = ("operator", "contact")  # who runs centers: accounts, and contacts of operators and owners


@dataclass(frozen=True)
class NoticeBoard:
    """How operators are told: the channels that send to persons, and the address of the pages."""

    channels: tuple[PersonalChannel, ...] = ()
    base_url: str = ""


def personal_channels(config: Settings) -> tuple[PersonalChannel, ...]:
    """Those of the settings that send to persons, in their order. Raises ConfigError."""
    kinds = ((channel.name, address_kind(channel.secret_url())) for channel in config.alerts.channels)
    return tuple(PersonalChannel(name, kind) for name, kind in kinds if kind is not None)


def board_of(config: Settings) -> NoticeBoard:
    """A channel whose secret cannot be read tells nobody: what was decided holds all the same."""
    try:
        channels = personal_channels(config)
    except ConfigError:
        channels = ()
    return NoticeBoard(channels, config.web_url)


def tell(
    conn: sa.Connection, board: NoticeBoard, center: Center, title: Reason, text: Reason, path: str, now_ms: int
) -> int:
    """One message to each person who runs this center and can be reached, in their language; returns how many."""
    persons = [one for one in directory.people(conn) if one.role in ROLES and one.concerns(center)]
    return _queue(conn, _rows(board, persons, center.code, (title, text), path, now_ms))


def tell_holders(conn: sa.Connection, board: NoticeBoard, code: str, from_ms: int, number: int, now_ms: int) -> int:
    """One message to each person who was given an older revision of the month's report, now that this one is closed;
    returns how many. Who has no account and no contact under the name that was recorded cannot be reached."""
    given: dict[str, int] = {}
    for row in revisions.recipients_of(conn, code, from_ms):
        key = key_of(row["person"])
        given[key] = max(row["revision"], given.get(key, 0))
    older: dict[int, list[Recipient]] = defaultdict(list)
    for person in directory.people(conn) if given else ():
        held = given.get(person.key) or given.get(key_of(person.name))
        if held is not None and held < number:
            older[held].append(person)
    month, path, count = months.named(from_ms), f"/centers/{code}#months", 0
    for held, persons in older.items():
        title = Reason.of("notice.superseded", center=code, month=month)
        text = Reason.of("notice.superseded.text", center=code, month=month, held=held, number=number)
        count += _queue(conn, _rows(board, persons, code, (title, text), path, now_ms))
    return count


def _queue(conn: sa.Connection, rows: Iterable[dict[str, object]]) -> int:
    alerts = list(rows)
    if alerts:
        conn.execute(sa.insert(schema.alerts), alerts)
    return len(alerts)


def _rows(
    board: NoticeBoard, persons: Iterable[Recipient], code: str, reasons: tuple[Reason, Reason], path: str, now_ms: int
) -> Iterable[dict[str, object]]:
    for person in persons:
        channel = channel_for(person, board.channels)
        if channel is None:
            continue
        words = plain(person.lang)
        title, text = map(words.reason, reasons)
        yield {
            "kind": "notice", "change": None, "event": None, "center": code, "channel": channel.name,
            "title": title, "text": f"{text}\n{words.ltr(board.base_url + path)}", "state": "waiting", "attempts": 0,
            "next_ms": now_ms, "made_ms": now_ms, "person": person.key, "address": person.addresses[channel.address],
            "why": encode(Reason.of("route.operator")),
        }  # fmt: skip
