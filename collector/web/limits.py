"""The longest body of a request, held to before any form is parsed: a parser would spool a large one to the disk."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Answers 413 by Content-Length, and by count where that is not given; nothing more is read then."""

    def __init__(self, app: ASGIApp, limit_bytes: int, others: Mapping[str, int] | None = None) -> None:
        """`others` are those of paths that match a pattern whole."""
        self._app, self._limit_bytes = app, limit_bytes
        self._others = [(re.compile(pattern), limit) for pattern, limit in (others or {}).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")  # the server has refused what is no number
        path = scope["path"]
        limit_bytes = next((limit for one, limit in self._others if one.fullmatch(path)), self._limit_bytes)
        if int(length) > limit_bytes:
            await self._refusal(limit_bytes)(scope, receive, send)
            return
        await _Counted(self._app, limit_bytes, receive, send).answer(scope, self._refusal(limit_bytes))

    def _refusal(self, limit_bytes: int) -> JSONResponse:
        sentence = f"body: is over the limit of {limit_bytes} bytes; send less ([http] body_bytes, [audit] bundle_mb)"
        return JSONResponse({"error": sentence}, 413, headers={"connection": "close"})


class _Counted:
    """One request whose body is counted as it comes."""

    def __init__(self, app: ASGIApp, limit_bytes: int, receive: Receive, send: Send) -> None:
        self._app, self._left_bytes, self._receive, self._send = app, limit_bytes, receive, send
        self._has_begun = self._is_over = self._is_gone = False

    async def answer(self, scope: Scope, refusal: JSONResponse) -> None:
        try:
            await self._app(scope, self._read, self._write)
        except Exception:  # what was made of a body that broke off is no fault of ours, and no line in the log
            if not (self._is_over or self._is_gone):
                raise
        if self._is_over and not self._has_begun:
            await refusal(scope, self._receive, self._send)

    async def _read(self) -> Message:
        if self._is_over:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._is_gone = message["type"] == "http.disconnect"
        self._left_bytes -= len(message.get("body", b""))
        self._is_over = self._left_bytes < 0
        return {"type": "http.disconnect"} if self._is_over else message

    async def _write(self, message: Message) -> None:
        """What the application says of a body it was not given is not the answer."""
        if self._is_over and not self._has_begun:
            return
        self._has_begun = True
        await self._send(message)
