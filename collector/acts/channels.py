"""A message about nothing by one channel of the settings, to see whether it arrives: few of them, and recorded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import sqlalchemy as sa

from agent.common.words import plain
from collector.access import users
from collector.access.users import key_of
from collector.acts.person import ActingPerson
from collector.common.config import Settings
from collector.desk.alerts import queue
from collector.desk.alerts.channel import AlertMessage, address_kind
from collector.desk.alerts.lists import ALERT_STATES
from collector.desk.routing.directory import people
from collector.desk.routing.plans import MAX_SHOWN, RoutingError
from collector.desk.routing.recipients import AddressKind
from collector.store import schema

MOST = 5  # tests of one channel within WITHIN_MIN
WITHIN_MIN = 10
MINUTE_MS = 60_000

_al = schema.alerts.c


class ChannelFacts(NamedTuple):
    """A channel of the settings, without what sends. `address`: the kind that it needs of a person, if any."""

    name: str
    address: AddressKind | None
    languages: tuple[str, ...]


def channels_of(config: Settings) -> tuple[ChannelFacts, ...]:
    """All, in the order of the settings. Raises ConfigError."""
    channels = config.alerts.channels
    return tuple(ChannelFacts(one.name, address_kind(one.secret_url()), one.languages) for one in channels)


def send_test(conn: sa.Connection, channels: Iterable[ChannelFacts], name: str, person: str, who: ActingPerson) -> int:
    """Puts it into the outbox; its number. `person` gets it on a channel that sends to persons. Raises RoutingError."""
    channel = next((one for one in channels if one.name == name), None)
    if channel is None:
        raise RoutingError("channel.none", text=name[:MAX_SHOWN])
    chosen = next((one for one in people(conn) if one.key == key_of(person)), None) if channel.address else None
    address = chosen.addresses.get(channel.address, "") if chosen and channel.address else ""
    if channel.address and not address:
        raise RoutingError("channel.no_address", "person", text=person[:MAX_SHOWN], kind=channel.address)
    if _tests_since(conn, name, who.now_ms - WITHIN_MIN * MINUTE_MS) >= MOST:
        raise RoutingError("channel.often", text=name[:MAX_SHOWN], n=MOST, minutes=WITHIN_MIN)
    words = plain(chosen.lang if chosen else channel.languages[0])
    message = AlertMessage(words("alerts.test.title"), words("alerts.test.text"), address=address)
    key = chosen.key if chosen else ""
    users.record(
        conn, "channel_tested", who.name, who.now_ms, is_proven=who.is_proven, subject=f"channel {name}", reason=key
    )  # fmt: skip
    return queue.queue_test(conn, name, message, who.now_ms, key)


def _tests_since(conn: sa.Connection, name: str, since_ms: int) -> int:
    """By the index of what is due: a message is due when it is made, or later."""
    recent = sa.and_(_al.state.in_(ALERT_STATES), _al.next_ms > since_ms)
    mine = sa.and_(_al.kind == "test", _al.channel == name, _al.made_ms > since_ms)
    return conn.scalar(sa.select(sa.func.count()).where(recent, mine)) or 0
