"""Where logs bring their heads to a witness: `POST /add-checkpoint` of C2SP tlog-witness, and nothing else."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response

from agent.common.logs import Event
from collector.common.config import HttpSection
from collector.log.submissions import MAX_BYTES, WitnessAnswer
from collector.run import sdnotify
from collector.run.listeners.sockets import bound
from collector.run.listeners.web_server import WebServer

ALIVE_S = 15.0  # between two words to systemd's watchdog
STARTED = Event(
    __name__, "info", "witness_started", "a witness listens for the heads of a log", fields="address",
)  # fmt: skip
ANSWERED = Event(
    __name__, "info", "head_submitted", "a log brought a head to its witness; 200 is cosigned", fields="status answer",
)  # fmt: skip

Answer = Callable[[bytes], WitnessAnswer]


def application(answer: Answer) -> FastAPI:
    """`answer` takes a body of at most MAX_BYTES, one at a time."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_BYTES:
                return Response(f"a submission may have {MAX_BYTES} bytes\n", 413, media_type="text/plain")
        reply = answer(body)  # in the loop's own thread: no two at once
        if reply.status != 200:
            ANSWERED.log(status=reply.status, answer=reply.text.strip())
        return Response(reply.text, reply.status, {"Content-Type": reply.kind})

    return app


def serve(listen: str, answer: Answer, files: tuple[Path, Path] | None) -> None:
    """Until the process is told to end. `files`: certificate and key, where TLS is not somebody else's. Raises
    StoreError, OSError, ValueError."""
    limits, stop = HttpSection(), threading.Event()
    place = bound(listen, "--listen", limits)
    server = WebServer(application(answer), place, lambda: None, files, limits)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server.start()
    host, port = place.getsockname()[:2]
    STARTED.log(address=f"{'https' if files else 'http'}://{f'[{host}]' if ':' in host else host}:{port}")
    sdnotify.tell("READY=1")
    while server.is_alive() and not stop.wait(ALIVE_S):
        sdnotify.tell("WATCHDOG=1")
    sdnotify.tell("STOPPING=1")
    server.stop()
