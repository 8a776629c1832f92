"""One cause, one incident, one message: stories from readings to what the desk is told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.timelines.desk_play import BATTERY, DRY, MAINS, WELL, DeskPlay

Story = Any


@pytest.fixture
def desk(story: Story) -> DeskPlay:
    return DeskPlay(story)


def test_a_feeder_of_twelve_is_two_messages(desk: DeskPlay) -> None:
    """Twelve of forty centers lose their mains for 25 minutes; their batteries give out one after the other."""
    twelve = desk.fleet(12, "F", feeder="LESCO F-7", city="Lahore", district="Lahore", isp="PTCL")
    others = desk.fleet(28, "O", feeder="LESCO F-8", city="Lahore", district="Lahore", isp="PTCL")
    died = [
        item
        for number, code in enumerate(twelve)
        for item in [
            *desk.minutes([code], "10:00", f"10:0{2 + number % 4}", WELL, BATTERY),
            *desk.minutes([code], f"10:0{2 + number % 4}", f"10:0{4 + number % 4}", WELL, DRY),
        ]
    ]
    desk.plays(
        desk.minutes(others, "09:45", "10:50", WELL, MAINS),
        desk.minutes(twelve, "09:45", "10:00", WELL, MAINS),
        died,
        desk.minutes(twelve, "10:25", "10:50", WELL, MAINS),
        until="10:49",
    )
    assert len(desk.messages()) == 2
