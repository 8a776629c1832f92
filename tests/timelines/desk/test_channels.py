"""A channel that hangs, from readings to what the others carry meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import sqlalchemy as sa

from collector.desk.alerts.channel import AlertMessage, Channel
from collector.desk.alerts.outbox import Outbox
from collector.store import schema
from tests.helpers.waiting import wait_until
from tests.timelines.plays.desk_play import LOSSY, WELL, DeskPlay

Story = Any
BOTH = ("raised", "cleared")


def test_a_channel_that_hangs_keeps_no_word_from_the_others(story: Story) -> None:
    """It hangs over its first message; the other channel has told of the beginning and of the end."""
    desk = DeskPlay(story)
    let_go, begun, heard = threading.Event(), threading.Event(), list[AlertMessage]()

    def hang(_message: AlertMessage) -> None:
        begun.set()
        let_go.wait(60)

    desk.channels = [Channel("hangs", hang, BOTH, ("en",)), Channel("box", heard.append, BOTH, ("en",))]
    outbox = Outbox(story.store, desk.channels, story.standards, "http://x", lambda: desk.now_ms)

    def send(count: int) -> None:
        outbox.tick()
        wait_until(lambda: len(heard) >= count)

    one = desk.fleet(1)
    desk.plays(
        desk.minutes(one, "09:55", "10:00", WELL),
        desk.minutes(one, "10:00", "10:20", LOSSY),
        desk.minutes(one, "10:20", "10:40", WELL),
        until="10:39",
        then={"10:08": lambda _desk: send(1), "10:39": lambda _desk: send(2)},
    )
    assert [message.title.partition(" ")[0] for message in heard] == ["C-000:"] * 2
    assert begun.is_set()
    with story.store.read() as conn:
        al = schema.alerts.c
        held = list(conn.scalars(sa.select(al.state).where(al.channel == "hangs").order_by(al.id)))
    assert held[0] == "sending"
    let_go.set()
    outbox.stop()
