"""uvicorn with deadlines: for a TLS handshake, for the head of a request and for its body. It has none of its own.

Heads that a proxy in front could read otherwise are refused here too: h11 alone takes them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.common.tcp import ListeningSocket
from agent.common.tcp.http_server import HttpRefused, refuse_ambiguous
from collector.access.tls import shrink_buffers
from collector.common.config import HttpSection

HEAD_BYTES = 16 * 1024
Phase = Literal["head", "body", "reading"]
PHASES: dict[Any, Phase] = {h11.IDLE: "head", h11.SEND_BODY: "body"}  # by what the client still has to send
BLANK_LINE = re.compile(rb"\n\r?\n")  # what h11 takes for the end of a head


class DeadlineLoop(asyncio.SelectorEventLoop):
    """Ends a TLS handshake after `handshake_s`; uvicorn has no setting for it, and asyncio waits a minute."""

    handshake_s = 60.0

    async def create_server(self, *words: Any, **options: Any) -> asyncio.Server:
        if options.get("ssl"):
            options["ssl_handshake_timeout"] = self.handshake_s
        return await super().create_server(*words, **options)


def deadline_loop(limits: HttpSection) -> asyncio.AbstractEventLoop:
    shrink_buffers()
    loop = DeadlineLoop()
    loop.handshake_s = limits.handshake_s
    return loop


class StrictConnection(h11.Connection):
    """Refuses a head that could be understood in two ways."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self.their_state is h11.IDLE:
            received, _ = self.trailing_data
            end = BLANK_LINE.search(received)
            try:
                refuse_ambiguous(received[: end.end()] if end else b"")
            except HttpRefused as error:
                raise h11.RemoteProtocolError(error.why, error.status) from None
        return super().next_event()


class BoundedProtocol(H11Protocol):
    """A connection that is late is closed unanswered: who sends so slowly waits for no sentence. So is one whose
    client does not read its answer."""

    allowed_s: Mapping[Phase, float]  # seconds for each phase
    place: ListeningSocket  # learns who waits for its client

    _phase: Phase | None = None
    _deadline: asyncio.TimerHandle | None = None
    _fileno = -1

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.conn = StrictConnection(h11.SERVER, self.config.h11_max_incomplete_event_size or HEAD_BYTES)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._fileno = transport.get_extra_info("socket").fileno()
        self._watch()

    def data_received(self, data: bytes) -> None:
        self.place.pay(self._fileno, len(data))
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._set_phase("reading")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._set_phase(PHASES.get(self.conn.their_state))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._fileno = -1
        self._set_phase(None)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():  # once the rest of the answer is read
            self._set_phase("reading")
        else:
            self._watch()

    def send_400_response(self, msg: str) -> None:
        """A body may break off while its request is answered: that gets one answer, and ours is not mixed with it."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _watch(self) -> None:
        phase = PHASES.get(self.conn.their_state)
        if phase != self._phase and self._phase != "reading":
            self._set_phase(phase)

    def _set_phase(self, phase: Phase | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._phase = phase
        self._deadline = self.loop.call_later(self.allowed_s[phase], self._end) if phase else None
        if phase is None:
            self.place.serve(self._fileno)
        else:
            self.place.wait(self._fileno)

    def _end(self) -> None:
        if self._phase == "reading" or PHASES.get(self.conn.their_state) == self._phase:
            self.transport.abort()


def bounded_protocol(limits: HttpSection, place: ListeningSocket) -> type[asyncio.Protocol]:
    """uvicorn's protocol of HTTP/1.1 with the deadlines of `limits`; uvicorn makes one of this class a connection."""
    allowed_s = {"head": limits.head_s, "body": limits.body_s, "reading": limits.body_s}
    return type("LimitedProtocol", (BoundedProtocol,), {"allowed_s": allowed_s, "place": place})
