"""What began and ended while nothing could be sent is history; what still stands is told at once (promise P5)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from agent.wire import LinkReading, SpeedReading
from collector.desk.alerts import queue as outbox
from collector.desk.alerts.channel import Channel
from collector.store import schema

Story = Any
MINUTE_MS = 60_000
WELL = LinkReading(rtt_median_ms=40.0, jitter_ms=3.0, loss_pct=0.0, fault_place="none")
SLOW, FAST = (
    SpeedReading(download_mbps=rate, upload_mbps=90.0, server="s", engine="librespeed", test_id="t")
    for rate in (0.5, 900.0)
)
LOSSY = LinkReading(rtt_median_ms=40.0, jitter_ms=3.0, loss_pct=40.0, fault_place="none")


class Desk:
    """Looks at the queue each minute, as the outbox does, and keeps what it would send."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.channel = Channel("box", lambda _message: None, ("raised", "cleared"), ("en",))

    def look(self, now_ms: int) -> None:
        with self.story.store.write() as conn:
            outbox.queue(conn, [self.channel], self.story.standards, "http://x", now_ms)

    def told(self) -> list[tuple[str, str, int]]:
        """(criterion, state, how long after it happened, in minutes) of each message."""
        ch, al = schema.changes.c, schema.alerts.c
        query = sa.select(ch.criterion, ch.now, ch.at_ms, al.next_ms).join_from(
            schema.alerts, schema.changes, ch.id == al.change
        )
        with self.story.store.read() as conn:
            rows = conn.execute(query.order_by(al.id)).all()
        return [
            (r.criterion, r.now, (r.next_ms - r.at_ms) // MINUTE_MS) for r in rows if r.criterion != "presence.silent"
        ]

    def queued_ms(self) -> list[int]:
        ch = schema.changes.c
        query = sa.select(ch.queued_ms).where(ch.now == "raised", ch.criterion != "presence.silent")
        with self.story.store.read() as conn:
            return list(conn.scalars(query))


def minutes(story: Story, desk: Desk, *parts: Any, until: str) -> None:
    arrivals = sorted((item for part in parts for item in part), key=lambda item: item.received_ms)
    start_ms = arrivals[0].received_ms
    end_ms = story_ms(until)
    for now_ms in range(start_ms, end_ms + 1, MINUTE_MS):
        story._minute(now_ms, [arrival for arrival in arrivals if now_ms <= arrival.received_ms < now_ms + MINUTE_MS])
        desk.look(now_ms)


def story_ms(text: str) -> int:
    hours, minute = text.split(":")
    return 1_769_972_400_000 + (int(hours) * 60 + int(minute)) * MINUTE_MS


def kept(story: Story, received: str, first: int, last: int, reading: LinkReading) -> list[Any]:
    """Readings of each minute of the day from `first` to before `last`, delivered only then."""
    return [
        item
        for at in range(first, last)
        for item in story.at(received, reading, taken=story.clock(story_ms("0:00") + at * MINUTE_MS))
    ]


def results_kept(story: Story, *results: tuple[str, SpeedReading]) -> list[Any]:
    """Speed tests of an outage, delivered at its end."""
    return [item for taken, reading in results for item in story.at("12:00", reading, taken=taken)]


def test_a_trouble_that_began_and_ended_offline_sends_nothing(story: Story) -> None:
    desk = Desk(story)
    slow = [(f"10:{minute}", SLOW) for minute in (10, 20, 30, 40)]
    fast = [(f"11:{minute}", FAST) for minute in (10, 20, 30)]
    minutes(
        story, desk, story.every_minute("09:00", "10:00", WELL), results_kept(story, *slow, *fast),
        story.every_minute("12:00", "12:40", WELL), until="12:40",
    )  # fmt: skip
    assert [row.now for row in story.changes("internet.download")] == ["pending", "raised", "recovering", "clear"]
    assert desk.told() == []


def test_an_old_trouble_that_no_later_reading_ends_is_told_when_all_is_in(story: Story) -> None:
    desk = Desk(story)
    slow = [(f"11:{minute}", SLOW) for minute in (10, 20, 30, 40)]
    minutes(
        story, desk, story.every_minute("09:00", "10:00", WELL), results_kept(story, *slow),
        story.every_minute("12:00", "12:10", WELL), until="12:10",
    )  # fmt: skip
    assert [(criterion, now) for criterion, now, _ in desk.told()] == [("internet.download", "raised")]
    assert desk.queued_ms() == [story_ms("12:01")]


def test_a_trouble_that_still_stands_is_told_when_its_live_reading_has_spoken(story: Story) -> None:
    desk = Desk(story)
    minutes(
        story, desk, story.every_minute("09:00", "10:00", WELL), kept(story, "12:00", 660, 720, LOSSY),
        story.every_minute("12:00", "12:20", LOSSY), until="12:20",
    )  # fmt: skip
    assert [(criterion, now) for criterion, now, _ in desk.told()] == [("internet.loss", "raised")]


def test_a_live_trouble_is_told_within_the_minute(story: Story) -> None:
    desk = Desk(story)
    minutes(
        story,
        desk,
        story.every_minute("09:00", "10:00", WELL),
        story.every_minute("10:00", "10:40", LOSSY),
        until="10:40",
    )
    assert desk.told() == [("internet.loss", "raised", 0)]
