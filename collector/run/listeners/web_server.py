"""The web server: uvicorn in a thread, on a listening socket with bounds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from agent.common import tls
from agent.common.errors import describe
from agent.common.tcp import ListeningSocket
from agent.common.threads import join_started
from collector.common.config import ConfigError, HttpSection, Settings
from collector.run.listeners.http_protocol import HEAD_BYTES, bounded_protocol, deadline_loop
from collector.web.live import Hub


class WebServer:
    """uvicorn in a thread. `before_stop` ends what would keep it waiting. With `files` (certificate,
    key) it speaks TLS 1.3 alone. `proxies` are believed in whom they speak for."""

    def __init__(
        self,
        app: FastAPI,
        place: ListeningSocket,
        before_stop: Callable[[], None],
        files: tuple[Path, Path] | None = None,
        limits: HttpSection | None = None,
        proxies: Sequence[str] = (),
    ) -> None:
        limits = limits or HttpSection()
        config = uvicorn.Config(
            app,
            http=bounded_protocol(limits, place),
            ws="none",
            h11_max_incomplete_event_size=HEAD_BYTES,
            log_config=None,
            access_log=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_graceful_shutdown=3,
            server_header=False,
        )
        config.load()
        self._files = files
        self._context = config.ssl = None if files is None else tls.server_context(*files)
        self._server = uvicorn.Server(config)
        self._place, self._limits = place, limits
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._before_stop = before_stop

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: deadline_loop(self._limits)) as runner:
            runner.run(self._server.serve([self._place]))

    def reload(self) -> None:
        """What the files hold now, for every handshake from here on. Raises OSError."""
        if self._context is not None and self._files is not None:
            tls.show(self._context, *self._files)

    def stop(self) -> None:
        self._before_stop()
        self._server.should_exit = True
        join_started(self._thread)

    def is_alive(self) -> bool:
        return self._thread.is_alive()


def web_server(settings: Settings, app: FastAPI, place: ListeningSocket, hub: Hub) -> WebServer:
    """Of the pages, with a certificate of their own where one is named. Raises ConfigError."""
    try:
        return WebServer(app, place, hub.close, settings.web.pair, settings.http, settings.web.proxies)
    except (OSError, ValueError) as error:
        raise ConfigError(f"[web] cert_file: cannot be used ({describe(error)}); name a PEM pair") from None
