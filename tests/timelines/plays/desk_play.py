"""What the desk is told in a story: `plays` goes minute by minute as the collector does, with the desk behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from agent.wire import LinkReading, UpsReading
from collector.access.accounts import directory
from collector.access.accounts.contacts import keep, parse
from collector.access.accounts.policy import Account
from collector.common.scope import Scope
from collector.desk import settle, tables
from collector.desk.alerts import personal, queue
from collector.desk.alerts.channel import Channel
from collector.desk.incident import Incident
from collector.store import schema

Story = Any  # the fixture's class lives in conftest.py, which cannot be imported by name
MINUTE_MS = 60_000
WELL = LinkReading(rtt_median_ms=40.0, jitter_ms=3.0, loss_pct=0.0, fault_place="none")
LOSSY = LinkReading(rtt_median_ms=40.0, jitter_ms=3.0, loss_pct=40.0, fault_place="isp")
MAINS = UpsReading(output_state="online", battery_replace=False, battery_status="normal", runtime_s=3600.0)
BATTERY = UpsReading(output_state="battery", battery_replace=False, battery_status="normal", runtime_s=1800.0)
DRY = UpsReading(output_state="battery", battery_replace=False, battery_status="low", runtime_s=100.0)


class DeskPlay:
    """A story's desk with one channel in English."""

    def __init__(self, story: Story, base_url: str = "http://x") -> None:
        self.story, self.base_url = story, base_url
        self.channel = Channel("box", lambda _message: None, ("raised", "cleared"), ("en",))
        self.sms = Channel("sms", lambda _message: None, ("raised", "cleared"), ("en",), "telephone")
        self.channels = [self.channel, self.sms]
        self.now_ms = 0

    def fleet(self, count: int, prefix: str = "C", **facts: object) -> list[str]:
        codes = [f"{prefix}-{number:03}" for number in range(count)]
        for code in codes:
            self.story.add_center(code, opening="always", **facts)
        return codes

    def minutes(self, codes: Iterable[str], first: str, end: str, *readings: object) -> list[Any]:
        return [item for code in codes for item in self.story.every_minute(first, end, *readings, center=code)]

    def kept(self, codes: Iterable[str], first: str, end: str, *readings: object) -> list[Any]:
        """Readings of each of these minutes that are heard when the line is back."""
        minutes = range(ms(self.story, first), ms(self.story, end), MINUTE_MS)
        clocks = [self.story.clock(minute) for minute in minutes]
        return [
            item for code in codes for when in clocks for item in self.story.at(end, *readings, taken=when, center=code)
        ]

    def plays(self, *parts: Iterable[Any], until: str, then: dict[str, Any] | None = None) -> None:
        """`then`: what a person does at a time, given this play."""
        arrivals = sorted((item for part in parts for item in part), key=lambda item: item.received_ms)
        acts = {ms(self.story, when): act for when, act in (then or {}).items()}
        by_minute: dict[int, list[Any]] = {}
        for arrival in arrivals:
            by_minute.setdefault(arrival.received_ms // MINUTE_MS, []).append(arrival)
        first_ms = self.now_ms + MINUTE_MS if self.now_ms else arrivals[0].received_ms
        for now_ms in range(first_ms, ms(self.story, until) + 1, MINUTE_MS):
            self.now_ms = now_ms
            self.story._minute(now_ms, by_minute.get(now_ms // MINUTE_MS, []))
            self.look()
            if now_ms in acts:
                acts[now_ms](self)
                self.look()

    def look(self) -> None:
        channels, standards = self.channels, self.story.standards
        with self.story.store.write() as conn:
            queue.queue(conn, channels, standards, self.base_url, self.now_ms)
            settle.settle(conn, standards, self.now_ms)
            queue.queue(conn, channels, standards, self.base_url, self.now_ms)
            personal.route(conn, channels, standards, self.base_url, self.now_ms)

    def has_contact(self, name: str, telephone: str, district: str) -> None:
        """Of the company that gives a district its power."""
        contact = parse(
            {"kind": "company", "name": name, "telephone": telephone}, Scope(district=frozenset({district}))
        )
        with self.story.store.write() as conn:
            keep(conn, contact, Account("Root", "admin", key="root"), 1)

    def has_account(self, name: str, role: str, scope: Scope | None = None, **facts: str) -> None:
        """With a telephone of their own."""
        with self.story.store.write() as conn:
            directory.add(conn, name, "-", role, scope or Scope(), "Root", 1)  # type: ignore[arg-type]
            contact = parse({"kind": "person", "name": name, "telephone": "+923001234567", **facts}, Scope())
            keep(conn, contact, Account("Root", "admin", key="root"), 1)

    def messages(self, person: str = "") -> list[tuple[str, str]]:
        """(time, title) of all that a person was told; without one, of what the shared channel carried."""
        rows = self._alerts(person)
        return [(self.story.clock(row.next_ms), row.title) for row in rows]

    def texts(self, person: str = "") -> list[str]:
        return [row.text for row in self._alerts(person)]

    def _alerts(self, person: str) -> list[Any]:
        al = schema.alerts.c
        mine = (al.person == person) & (al.state != "held") & (al.state != "summed")
        with self.story.store.read() as conn:
            return list(conn.execute(sa.select(schema.alerts).where(mine).order_by(al.id)))

    def incidents(self, *, merged: bool = False) -> list[Incident]:
        with self.story.store.read() as conn:
            found = tables.some(conn, sa.true())
        return [one for one in found if merged or one.state != "merged"]

    def acts(self, number: int) -> list[str]:
        with self.story.store.read() as conn:
            return [row["act"] for row in tables.events(conn, number)][::-1]


def ms(story: Story, text: str) -> int:
    return story.at(text, WELL)[0].received_ms
