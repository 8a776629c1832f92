"""`nabz-collector listener`: pages or enrolment in a process of its own, so that whoever besieges them takes nothing
from ingest.

Started by `serve` it has that one's listening socket and a pipe to it. Started by itself, beside `serve` on another
machine with the same data folder and PostgreSQL, it listens at its own address and follows the database.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from agent.common.errors import describe
from agent.common.logs import Event
from agent.common.threads import SignalEvent
from collector.access.ca import Authority
from collector.access.server_certs import server_certificates
from collector.access.signing_key import load_or_make
from collector.common.config import ConfigError, Settings
from collector.run import resources, sdnotify, tasks
from collector.run.listeners.child import Kind
from collector.run.listeners.news import CollectorNews, Forwarding
from collector.run.listeners.pipe import ListenerNote, ListenerPipe
from collector.run.listeners.sockets import bind, bounded
from collector.run.listeners.web_server import WebServer, web_server
from collector.run.runtime import PeriodicTask
from collector.run.settings import read_standards
from collector.run.tasks import clock_ms
from collector.store import Store
from collector.store.database import opened
from collector.web.app import build, build_enrolment
from collector.web.health import Health
from collector.web.live import Hub

CERTIFICATE_REFUSED = Event(
    __name__, "error", "listener_certificate_refused", "a certificate cannot be used; the one before it is shown",
    fields="error",
)  # fmt: skip

BEAT_S = 2.0  # between two notes that we are alive
FOLLOW_S = 1.0
FIRST_S = 60.0  # for the collector's first note


def serve(settings: Settings, kind: Kind, passed: Sequence[int] = ()) -> int:
    """Until SIGTERM, SIGINT or the end of whoever started it (0), or until it cannot go on (1). `passed`: the numbers
    of the listening socket and of our end of the pipe. Raises ConfigError, StoreError."""
    stop, hangup = SignalEvent(), SignalEvent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: hangup.set())
    resources.claim()
    listen, key = address(settings, kind)
    with ExitStack() as stack:
        place = socket.socket(fileno=passed[0]) if passed else bind(listen, key)
        store = stack.enter_context(opened(settings, keys=True))
        hub, health = Hub(), Health()
        pipe = None
        if passed:
            news = CollectorNews(hub, health)
            pipe = _pipe(stack, passed[1], news.take, stop.set)
            if kind == "pages":
                news.began.wait(FIRST_S)
        if pipe is None:
            _follow(stack, store, hub)
        else:
            store.on_news = partial(pipe.send, ListenerNote(is_news=True))
            hub = hub if kind == "pages" else Forwarding(pipe.send)
        server = _server(settings, kind, store, hub, health, place)
        stack.callback(server.stop)
        server.start()
        sdnotify.tell("READY=1")
        while not stop.wait(BEAT_S):
            sdnotify.tell("WATCHDOG=1")
            if not server.is_alive():
                return 1
            if pipe is not None:
                pipe.send(ListenerNote())
            if hangup.is_set():
                hangup.clear()
                _reload(server)
    return 0


def address(settings: Settings, kind: Kind) -> tuple[str, str]:
    """Where it listens, and the setting that says so. Raises ConfigError."""
    section, listen = ("web", settings.web.listen) if kind == "pages" else ("enrolment", settings.enrolment.listen)
    if not listen:
        raise ConfigError(f"[{section}] listen: is empty, so there is nowhere to listen; set an address")
    return listen, f"[{section}] listen"


def _pipe(
    stack: ExitStack, number: int, take: Callable[[ListenerNote], None], ended: Callable[[], None]
) -> ListenerPipe:
    pipe = ListenerPipe("collector", socket.socket(fileno=number), take, ended)
    stack.callback(pipe.close)
    pipe.start()
    return pipe


def _follow(stack: ExitStack, store: Store, hub: Hub) -> None:
    """By the database, where nobody gave us a pipe."""
    task = PeriodicTask("follow", FOLLOW_S, tasks.follow_task(store, hub.publish))
    stack.callback(task.stop)
    task.start()


def _server(settings: Settings, kind: Kind, store: Store, hub: Hub, health: Health, place: socket.socket) -> WebServer:
    standards, key = read_standards(settings), load_or_make(settings.data_dir)
    listen = address(settings, kind)[1]
    if kind == "enrolment":
        app = build_enrolment(store, settings, hub, standards=standards, key=key)
        authority = Authority(settings.data_dir, clock_ms(), settings.enrolment.certificate_days)
        own = authority.files("server")
        if not own.cert.exists():
            own = server_certificates(authority, settings, clock_ms())[0].server
        limits = settings.http
        return WebServer(app, bounded(place, listen, limits), hub.close, (own.cert, own.key), limits)
    app = build(store, settings, hub, standards=standards, key=key, health=health)
    return web_server(settings, app, bounded(place, listen, settings.http, settings.web.proxies), hub)


def _reload(server: WebServer) -> None:
    try:
        server.reload()
    except (OSError, ValueError) as error:
        CERTIFICATE_REFUSED.log(error=describe(error))
