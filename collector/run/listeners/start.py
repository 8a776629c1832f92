"""The listeners of people and of enrolling gateways as `serve` starts them: in its own process, or each in one of its
own. Addresses are bound first, so that one that is taken is named before anything else begins."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.common import tls
from agent.common.errors import describe
from collector.common.config import ConfigError, Settings
from collector.run.listeners.child import TICK_S, ListenerProcess, Relay
from collector.run.listeners.pipe import ListenerNote
from collector.run.listeners.sockets import bind, bounded
from collector.run.runtime import Component, PeriodicTask, Tended
from collector.standard import Standards
from collector.store import Store
from collector.web.health import Health

CERTIFICATE_INTERVAL_S = 3600.0  # between two looks whether the pages' certificate is another

Start = Callable[[Component], None]
StartChild = Callable[[Tended], None]


class Gateways(Protocol):
    """Who keeps the certificate by which gateways know us: `pair` are its files, `listener` shows them."""

    listener: Any

    @property
    def pair(self) -> tuple[Path, Path]: ...


class Listeners(Protocol):
    on_news: Callable[[], None]  # people are to be told of something

    def publish(self, codes: Collection[str]) -> None:
        """These centers have news. Any thread."""

    def start(self, start: Start, start_child: StartChild, gateways: Gateways) -> None: ...

    def reload(self) -> None:
        """The pages show what their certificate's files hold now. Raises OSError."""


class InProcess:
    """Both in this process: the fewest megabytes."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        standards: Standards,
        key: Ed25519PrivateKey,
        health: Health,
        stack: ExitStack,
        _words: Sequence[str] = (),
    ) -> None:
        from collector.web.app import build  # of no use to who has them elsewhere, and 30 MB
        from collector.web.live import Hub

        self._settings, self._stack = settings, stack
        self.on_news: Callable[[], None] = lambda: None
        self._place = stack.enter_context(bind(settings.web.listen, "[web] listen"))
        self._hub = Hub()
        self._app = build(store, settings, self._hub, standards=standards, key=key, health=health)

    def publish(self, codes: Collection[str]) -> None:
        self._hub.publish(codes)

    def start(self, start: Start, _start_child: StartChild, gateways: Gateways) -> None:
        """Raises ConfigError, StoreError."""
        from collector.run.listeners.web_server import WebServer, web_server

        settings, limits = self._settings, self._settings.http
        place = self._stack.enter_context(bounded(self._place, "[web] listen", limits, settings.web.proxies))
        self._pages = web_server(settings, self._app, place, self._hub)
        start(self._pages)
        if settings.web.pair is not None:
            start(PeriodicTask("web certificate", CERTIFICATE_INTERVAL_S, self._pages.reload))
        if settings.enrolment.listen:
            place = bounded(bind(settings.enrolment.listen, "[enrolment] listen"), "[enrolment] listen", limits)
            self._stack.enter_context(place)
            gateways.listener = WebServer(self._app.state.gateways, place, lambda: None, gateways.pair, limits)
            start(gateways.listener)

    def reload(self) -> None:
        self._pages.reload()


class SplitProcesses:
    """Each in a process of its own, tended like every child. `words` are the options with which it finds the same
    settings."""

    def __init__(
        self,
        settings: Settings,
        _store: Store,
        _standards: Standards,
        _key: Ed25519PrivateKey,
        health: Health,
        stack: ExitStack,
        words: Sequence[str] = (),
    ) -> None:
        self._settings, self._words = settings, words
        self.on_news: Callable[[], None] = lambda: None
        self._relay = Relay(health)
        self._web = stack.enter_context(bind(settings.web.listen, "[web] listen"))
        self._gateways: socket.socket | None = None
        if settings.enrolment.listen:
            self._gateways = stack.enter_context(bind(settings.enrolment.listen, "[enrolment] listen"))
        try:
            _check_pair(settings)
        except (OSError, ValueError) as error:
            raise ConfigError(f"[web] cert_file: cannot be used ({describe(error)}); name a PEM pair") from None

    def publish(self, codes: Collection[str]) -> None:
        self._relay.publish(codes)

    def start(self, start: Start, start_child: StartChild, gateways: Gateways) -> None:
        self._pages = ListenerProcess("pages", self._words, self._web, self._take)
        start_child(self._pages)
        if self._settings.web.pair is not None:
            start(PeriodicTask("web certificate", CERTIFICATE_INTERVAL_S, self._pages.reload))
        if self._gateways is not None:
            gateways.listener = ListenerProcess("enrolment", self._words, self._gateways, self._take)
            start_child(gateways.listener)
        self._relay.listeners = [self._pages]
        start(PeriodicTask("pages", TICK_S, self._relay.tick))

    def reload(self) -> None:
        _check_pair(self._settings)
        self._pages.reload()

    def _take(self, note: ListenerNote) -> None:
        self._relay.publish(note.centers)
        if note.is_news:
            self.on_news()


def _check_pair(settings: Settings) -> None:
    """Raises OSError, ValueError."""
    if settings.web.pair is not None:
        tls.server_context(*settings.web.pair)
