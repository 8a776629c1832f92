"""Messages to whoever runs a center, put into the outbox in the transaction of what they are about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from agent.common.words import plain
from collector.common.config import ConfigError, Settings
from collector.desk.alerts.channel import address_kind
from collector.desk.routing import directory
from collector.desk.routing.decide import channel_for
from collector.desk.routing.facts import PersonalChannel
from collector.register.centers import Center
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
    rows = list(_rows(conn, board, center, (title, text), path, now_ms))
    if rows:
        conn.execute(sa.insert(schema.alerts), rows)
    return len(rows)


def _rows(
    conn: sa.Connection, board: NoticeBoard, center: Center, reasons: tuple[Reason, Reason], path: str, now_ms: int
) -> Iterable[dict[str, object]]:
    for person in directory.people(conn):
        channel = channel_for(person, board.channels)
        if channel is None or person.role not in ROLES or not person.concerns(center):
            continue
        words = plain(person.lang)
        title, text = map(words.reason, reasons)
        yield {
            "kind": "notice", "change": None, "event": None, "center": center.code, "channel": channel.name,
            "title": title, "text": f"{text}\n{words.ltr(board.base_url + path)}", "state": "waiting", "attempts": 0,
            "next_ms": now_ms, "made_ms": now_ms, "person": person.key, "address": person.addresses[channel.address],
            "why": encode(Reason.of("route.operator")),
        }  # fmt: skip
