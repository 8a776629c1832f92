"""Questions that the desk may put to a gateway: those of this list, and no other. An answer has no secrets.

Nothing is changed by a question, but that one of them starts the agent anew. A question is answered once; said again,
its answer is, for either may have been lost.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from agent import wire
from agent.common.errors import describe
from agent.common.logs import Event
from agent.config import AgentSettings
from agent.diagnostics.redact import cleaned, secrets_of
from agent.probes.link import ping
from agent.probes.link.trace import trace

ANSWERED = Event(
    __name__, "info", "question_answered", "a question of the desk was answered", key="question", fields="asked_by"
)
UNKNOWN = Event(
    __name__, "warning", "question_refused", "a question that is on no list is not answered", key="question",
    fields="asked_by",
)  # fmt: skip

KEPT = 16  # answers, to be said again
WITHIN_S = 50.0
CUT = "\n[cut]"
FRESH_S = 300.0  # an agent that has run for less is not started anew: a restart that was asked for is asked for once
RESTART_S = 5.0  # for the answer to be sent
TRACE_HOPS, TRACE_TRIES, TRACE_S = 20, 3, 3.0


@dataclass(frozen=True, kw_only=True)
class AnswerSources:
    """What answers are made of. ``probe`` measures one kind now, ``spool`` is what waits to be sent, ``log`` the last
    lines of it. ``up_s`` is how long the agent has run, ``restart`` starts it anew, ``host`` is the collector's."""

    settings: AgentSettings
    probe: Callable[[str], Awaitable[Sequence[wire.Reading]]]
    spool: Callable[[], Mapping[str, object]]
    log: Callable[[], Sequence[str]]
    host: str = ""
    up_s: Callable[[], float] = lambda: 0.0
    restart: Callable[[], None] = lambda: None


Answer = Callable[[AnswerSources], Awaitable[object]]


async def _doctor(sources: AnswerSources) -> object:
    from agent.diagnostics import doctor  # costs memory only where somebody asks

    diagnoses = await asyncio.to_thread(lambda: list(doctor.diagnose(sources.settings)))
    return [{"what": one.what, "ok": one.ok, "detail": one.detail, "fix": one.fix} for one in diagnoses]


async def _log(sources: AnswerSources) -> object:
    return list(sources.log())


async def _spool(sources: AnswerSources) -> object:
    return dict(sources.spool())


async def _settings(sources: AnswerSources) -> object:
    return msgspec.to_builtins(sources.settings)


async def _trace(sources: AnswerSources) -> object:
    family, address = await ping.resolve(sources.host)
    routers = await trace(family, address, TRACE_HOPS, TRACE_TRIES, TRACE_S)
    hops = [{"hop": one.ttl, "address": one.address, "rtts_ms": [*one.rtts_ms]} for one in routers]
    return {"to": sources.host, "address": address[0], "hops": hops}


async def _restart(sources: AnswerSources) -> object:
    up_s = sources.up_s()
    if up_s < FRESH_S:
        return {"started_s_ago": round(up_s)}
    asyncio.get_running_loop().call_later(RESTART_S, sources.restart)
    return {"restarts_in_s": RESTART_S}


def _probe(kind: str) -> Answer:
    async def measured(sources: AnswerSources) -> object:
        return [json.loads(wire.encode_reading(reading)) for reading in await sources.probe(kind)]

    return measured


ANSWERS: Mapping[str, Answer] = {
    "doctor": _doctor,
    "log": _log,
    "restart": _restart,
    "settings": _settings,
    "spool": _spool,
    "trace": _trace,
    **{kind: _probe(kind) for kind in ("link", "ups", "seats", "gateway")},
}


class AnswerQueue:
    """Answers one question after the other; ``send`` carries an answer to the collector, or loses it."""

    def __init__(self, sources: AnswerSources, send: Callable[[str, str], None]) -> None:
        self._sources, self._send = sources, send
        self._answers: OrderedDict[str, str] = OrderedDict()
        self._waiting: asyncio.Queue[wire.Question] = asyncio.Queue(maxsize=4)

    def ask(self, question: wire.Question) -> None:
        """One too many is dropped: the collector repeats it."""
        if question.id in self._answers:
            self._send(question.id, self._answers[question.id])
        elif question.kind not in ANSWERS:
            UNKNOWN.log(question=question.kind, asked_by=question.asked_by)
        elif not self._waiting.full():
            self._waiting.put_nowait(question)

    async def run(self) -> None:
        while True:
            question = await self._waiting.get()
            if question.id not in self._answers:
                self._answers[question.id] = await answer(question.kind, self._sources)
                while len(self._answers) > KEPT:
                    self._answers.popitem(last=False)
                ANSWERED.log(question=question.kind, asked_by=question.asked_by)
            self._send(question.id, self._answers[question.id])


async def answer(kind: str, sources: AnswerSources) -> str:
    """JSON without secrets, cut to what a message carries. What cannot be found out is said so."""
    try:
        async with asyncio.timeout(WITHIN_S):
            content = await ANSWERS[kind](sources)
    except Exception as error:  # the desk asks because something is broken here
        content = {"failed": describe(error)}
    known = await asyncio.to_thread(secrets_of, sources.settings)
    text = json.dumps(cleaned(content, known), ensure_ascii=False, indent=1, default=str)
    return text if len(text) <= wire.MAX_ANSWER_CHARS else text[: wire.MAX_ANSWER_CHARS - len(CUT)] + CUT
