"""Whom the embedded broker found flooding is let in nowhere for a while, and it is a finding."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.agent.uplink.test_renew import joined
from tests.collector.brokers.test_mosquitto import findings, is_let_in, wait
from tests.helpers.collector_side import House


def test_whose_records_of_tls_were_too_many_is_put_out(tmp_path: Path) -> None:
    with ExitStack() as stack:
        house = House(tmp_path / "collector", stack)
        mine, other = (joined(house, tmp_path / name) for name in ("one", "two"))
        assert is_let_in(house, mine)
        house.broker.book.flood(mine.device)
        wait(lambda: (mine.device, "flood") in findings(house))
        assert not is_let_in(house, mine)
        assert is_let_in(house, other)
