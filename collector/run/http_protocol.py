"""uvicorn with deadlines: for a TLS handshake, for the head of a request and for its body. It has none of its own."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from collector.config import HttpSection

HEAD_BYTES = 16 * 1024
Phase = Literal["head", "body"]
PHASES: dict[Any, Phase] = {h11.IDLE: "head", h11.SEND_BODY: "body"}  # by what the client still has to send


class DeadlineLoop(asyncio.SelectorEventLoop):
    """Ends a TLS handshake after `handshake_s`; uvicorn has no setting for it, and asyncio waits a minute."""

    handshake_s = 60.0

    async def create_server(self, *words: Any, **options: Any) -> asyncio.Server:
        if options.get("ssl"):
            options["ssl_handshake_timeout"] = self.handshake_s
        return await super().create_server(*words, **options)


def deadline_loop(limits: HttpSection) -> asyncio.AbstractEventLoop:
    loop = DeadlineLoop()
    loop.handshake_s = limits.handshake_s
    return loop


def bounded_protocol(limits: HttpSection) -> type[asyncio.Protocol]:
    """uvicorn's protocol of HTTP/1.1 with the deadlines of `limits`."""
    allowed_s: dict[Phase, float] = {"head": limits.head_s, "body": limits.body_s}

    class BoundedProtocol(H11Protocol):
        """A connection that is late is closed unanswered: who sends so slowly waits for no sentence."""

        _phase: Phase | None = None
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._set_deadline(None)

        def _watch(self) -> None:
            phase = PHASES.get(self.conn.their_state)
            if phase != self._phase:
                self._set_deadline(phase)

        def _set_deadline(self, phase: Phase | None) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
            self._phase = phase
            self._deadline = self.loop.call_later(allowed_s[phase], self._end) if phase else None

        def _end(self) -> None:
            if PHASES.get(self.conn.their_state) == self._phase:
                self.transport.abort()

    return BoundedProtocol
