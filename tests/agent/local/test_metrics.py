"""A real Prometheus of Debian scrapes a gateway's agent at its local page."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.local import status
from agent.local.board import Board, StatusView
from agent.wire import LinkReading, Stamp
from tests.helpers.programs.prometheus import scraping

NOW_MS = 1_795_000_000_000


@pytest.mark.slow
def test_a_real_prometheus_scrapes_the_agent(tmp_path: Path) -> None:
    board = Board()
    at = Stamp(wall_ms=NOW_MS, mono_ms=0, boot="b", clock="synced")
    board.note(LinkReading(at=at, rtt_median_ms=23.4, loss_pct=0.0))
    view = StatusView(
        now_ms=NOW_MS, started_ms=NOW_MS - 5000, version="1.0", uplink="connected", spool_readings=12, last=board.last
    )

    def scraped(port: int) -> None:
        with scraping(tmp_path, f"127.0.0.1:{port}") as prometheus:
            prometheus.wait_for("nabz_agent_spool_readings", "12")
            prometheus.wait_for('nabz_agent_reading{figure="rtt_median_ms"}', "23.4")

    async def story() -> None:
        async with await status.serve("127.0.0.1:0", lambda: view) as server:
            await asyncio.to_thread(scraped, server.sockets[0].getsockname()[1])

    asyncio.run(story())
