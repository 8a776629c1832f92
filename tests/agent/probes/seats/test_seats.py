"""The seats probe: inside the agent by its roll, outside it by the status page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config import AgentSettings, AgentTable
from agent.local import http, lan, status
from agent.probes.probe import Context, ProbeFailed
from agent.probes.seats.registry import Registry
from agent.probes.seats.seats import probe
from agent.seat.snapshot import Snapshot
from agent.wire import SeatsReading

SAID = Snapshot(id="s0123456789abcdef", name="SEAT-01", at_ms=0, nonce="0" * 32)


def outside(address: str) -> Context:
    return Context(settings=AgentSettings(agent=AgentTable(status_listen=address)), deadline_s=5.0)


def test_inside_the_agent_the_roll_is_called() -> None:
    roll = Registry(None, lan.mono_ms())
    roll.take(SAID, lan.mono_ms())
    (reading,) = asyncio.run(probe(Context(settings=AgentSettings(), deadline_s=5.0, registry=roll)))
    assert isinstance(reading, SeatsReading)
    assert (reading.known, reading.healthy) == (1, 1)


def test_an_empty_roll_is_a_reading_of_no_seats() -> None:
    (reading,) = asyncio.run(probe(Context(settings=AgentSettings(), deadline_s=5.0, registry=Registry(None))))
    assert isinstance(reading, SeatsReading)
    assert reading.known == 0


def test_just_after_a_start_silence_is_not_yet_missing(tmp_path: Path) -> None:
    before = Registry(tmp_path)
    before.take(SAID, 0)
    before.save()
    context = Context(settings=AgentSettings(), deadline_s=5.0, registry=Registry(tmp_path, lan.mono_ms()))
    with pytest.raises(ProbeFailed, match="settling"):
        asyncio.run(probe(context))


def ask(view: Callable[[], status.StatusView]) -> SeatsReading:
    async def story() -> SeatsReading:
        async with await status.serve("127.0.0.1:0", view) as server:
            (reading,) = await probe(outside(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))
            assert isinstance(reading, SeatsReading)
            return reading

    return asyncio.run(story())


def test_outside_the_agent_its_page_is_asked() -> None:
    seats = SeatsReading(known=3, healthy=2, missing=1)
    assert ask(lambda: status.StatusView(now_ms=1, started_ms=0, version="1", last={"seats": seats})) == seats


def test_an_agent_that_has_not_called_the_roll_says_so() -> None:
    with pytest.raises(ProbeFailed, match="no_reading"):
        ask(lambda: status.StatusView(now_ms=1, started_ms=0, version="1"))


def test_no_agent_is_said_in_one_line(free_port: int) -> None:
    with pytest.raises(ProbeFailed, match="no agent answers"):
        asyncio.run(probe(outside(f"127.0.0.1:{free_port}")))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"last":{"seats":{"known":-1}}}', b'{"last":{"seats":7}}'])
def test_another_program_on_that_port_is_not_believed(body: bytes) -> None:
    async def other(_request: http.HttpRequest) -> http.HttpAnswer:
        return http.HttpAnswer(status=200, body=body)

    async def story() -> None:
        async with await http.serve("127.0.0.1:0", other, http.HttpLimits()) as server:
            with pytest.raises(ProbeFailed):
                await probe(outside(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))

    asyncio.run(story())


def test_what_speaks_no_http_is_not_believed() -> None:
    async def other(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ready\r\n")
        writer.close()

    async def story() -> None:
        async with await asyncio.start_server(other, "127.0.0.1", 0) as server:
            with pytest.raises(ProbeFailed):
                await probe(outside(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))

    asyncio.run(story())
