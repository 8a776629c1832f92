"""What the desk may ask a gateway: the list, the answers, and the secrets that are in none of them."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent import wire
from agent.common import logs
from agent.config import AgentSettings, AgentTable, SpeedSection, UpsSection
from agent.diagnostics.questions import ANSWERS, RESTART_S, AnswerQueue, AnswerSources, answer
from agent.diagnostics.recent import LINES, RecentLines
from agent.diagnostics.redact import GONE, redacted, secrets_of
from collector.remote.questions import KINDS
from tests.helpers.waiting import until

PLANTED = {"community": "s3cret-community", "router": "r0uter-community", "file": "file-passphrase-7"}
SIGNING = bytes(range(32))


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    """Of a gateway with a secret in every place."""
    (tmp_path / "ups-auth.key").write_text(PLANTED["file"] + "\n")
    (tmp_path / "signing.key").write_bytes(SIGNING)
    ups = UpsSection(host="192.0.2.9", community=PLANTED["community"], auth_key_file=str(tmp_path / "ups-auth.key"))
    speed = SpeedSection(router_community=PLANTED["router"])
    return AgentSettings(agent=AgentTable(state_dir=str(tmp_path)), speed=speed, ups=[ups])


def sources(settings: AgentSettings, lines: Sequence[str] = ()) -> AnswerSources:
    async def probe(kind: str) -> list[wire.Reading]:
        at = wire.Stamp(wall_ms=1, mono_ms=1, boot="b", clock="synced")
        return [wire.KINDS[kind].struct(at=at, failure=wire.Failure("timeout", f"community={PLANTED['community']}"))]

    return AnswerSources(
        settings=settings, probe=probe, spool=lambda: {"waiting": 7}, log=lambda: list(lines), host="127.0.0.1"
    )


def test_the_collector_asks_what_gateways_answer() -> None:
    assert set(KINDS) == set(ANSWERS)


@pytest.mark.parametrize("kind", sorted(set(ANSWERS) - {"doctor"}))
def test_no_answer_has_a_secret(kind: str, settings: AgentSettings) -> None:
    lines = [f"{secret} in a line" for secret in PLANTED.values()]
    lines += [SIGNING.hex(), base64.b64encode(SIGNING).decode(), "http://user:hunter22@host/", "password=hunter22"]
    text = asyncio.run(answer(kind, sources(settings, lines)))
    for secret in (*PLANTED.values(), SIGNING.hex(), base64.b64encode(SIGNING).decode(), "hunter22"):
        assert secret not in text, secret
    assert json.loads(text)


def test_the_secrets_are_found_where_they_are_kept(settings: AgentSettings) -> None:
    assert set(PLANTED.values()) <= secrets_of(settings)
    assert "public" not in secrets_of(AgentSettings(agent=settings.agent, ups=[UpsSection(host="192.0.2.9")]))


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN EC PRIVATE KEY-----\nhunter22\n-----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter22",
        "smtp://me:hunter22@mail.example",
        "Authorization: Bearer hunter22",
        'passphrase = "hunter22"',
        '{"token": "hunter22"}',
        "API_KEY: hunter22",
    ],
)
def test_what_is_written_as_a_secret_goes_whoever_wrote_it(text: str) -> None:
    assert "hunter22" not in redacted(text, ())
    assert GONE in redacted(text, ())


def test_an_answer_is_cut_to_what_a_message_carries(settings: AgentSettings) -> None:
    text = asyncio.run(answer("log", sources(settings, ["آ" * 300] * 1000)))
    ask = wire.Ask(v=1, device="g", id="q", want="answer", purpose="desk", answer=text, expires_ms=1)
    assert len(wire.encode(ask)) <= wire.MAX_ASK_BYTES
    assert text.endswith("[cut]")


def test_a_question_is_answered_once_said_again_when_repeated_and_not_answered_when_it_is_on_no_list(
    settings: AgentSettings, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []
    sent: list[tuple[str, str]] = []

    async def play() -> None:
        plain = sources(settings)
        counted = AnswerSources(
            settings=settings, probe=plain.probe, log=plain.log, spool=lambda: {"calls": calls.append("spool")}
        )
        desk = AnswerQueue(counted, lambda question, text: sent.append((question, text)))
        task = asyncio.create_task(desk.run())
        desk.ask(wire.Question(id="q-1", kind="rm -rf", asked_by="Mallory"))
        desk.ask(wire.Question(id="q-2", kind="spool", asked_by="Ayesha"))
        await until(lambda: len(sent) == 1)
        desk.ask(wire.Question(id="q-2", kind="spool", asked_by="Ayesha"))
        await until(lambda: len(sent) == 2)
        task.cancel()

    caplog.set_level("INFO")
    asyncio.run(play())
    assert (calls, sent[0]) == (["spool"], sent[1])
    assert "question=rm -rf" in caplog.text.replace('"', "")
    assert "asked_by=Ayesha" in caplog.text


def test_a_restart_is_done_once_after_its_answer_and_not_by_an_agent_that_has_just_started(
    settings: AgentSettings,
) -> None:
    restarts: list[str] = []

    async def asked(up_s: float) -> Any:
        mine = dataclasses.replace(sources(settings), up_s=lambda: up_s, restart=lambda: restarts.append("now"))
        text = await answer("restart", mine)
        assert not restarts, "the answer is sent first"
        return json.loads(text)

    async def play() -> None:
        assert await asked(299) == {"started_s_ago": 299}
        assert await asked(301) == {"restarts_in_s": RESTART_S}
        await until(lambda: restarts == ["now"])

    asyncio.run(play())


def test_a_trace_names_where_it_goes(settings: AgentSettings) -> None:
    found = json.loads(asyncio.run(answer("trace", sources(settings))))
    assert (found["to"], found["address"], found["hops"]) == ("127.0.0.1", "127.0.0.1", [])


def test_what_breaks_is_an_answer(settings: AgentSettings) -> None:
    async def broken(_kind: str) -> Any:
        raise RuntimeError("the probe is broken")

    plain = sources(settings)
    text = asyncio.run(answer("link", AnswerSources(settings=settings, probe=broken, spool=plain.spool, log=plain.log)))
    assert json.loads(text) == {"failed": "the probe is broken"}


def test_the_last_lines_are_kept_and_only_while_they_are_wanted() -> None:
    recent, log = RecentLines(), logging.getLogger("test.recent")
    with logs.also_to(recent):
        for number in range(LINES + 5):
            log.warning("line\n%d", number)
        recent.emit(logging.LogRecord("test.recent", logging.WARNING, "", 1, "too %d %d", (1,), None))
    log.warning("after")
    lines = recent.lines()
    assert len(lines) == LINES
    assert lines[-2].endswith(f"warning test.recent: line {LINES + 4}")
    assert lines[-1].endswith("too %d %d")
