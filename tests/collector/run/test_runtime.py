"""Whatever the collector is made of can be stopped at any stage: before it began, half-way, running, again."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI

from collector.access.signing_key import load_or_make
from collector.brokers.embedded import BrokerError, EmbeddedBroker
from collector.brokers.endpoints import Address
from collector.common.config import ConfigError, Settings
from collector.ingest.mqtt.subscriber import Subscriber
from collector.ingest.transaction import Ingest
from collector.run.listeners.web_server import WebServer
from collector.run.runtime import Component, PeriodicTask, Subprocess
from collector.run.service import Running
from collector.store import Store
from tests.helpers.ports import free_ports
from tests.helpers.waiting import PATIENCE_S, wait_until


def web(_folder: Path, stack: ExitStack) -> Component:
    place = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    return WebServer(FastAPI(), place, lambda: None)


def broker(_folder: Path, _stack: ExitStack) -> Component:
    return EmbeddedBroker("127.0.0.1", 0)


def subscriber(folder: Path, stack: ExitStack) -> Component:
    store = Store.open(f"sqlite:///{folder / 'nabz.db'}")
    stack.callback(store.close)
    ingest = Ingest(store, load_or_make(folder), lambda _conn, _group, _now: 0)
    return Subscriber(Address("127.0.0.1", free_ports(1)[0]), ingest, lambda _codes: None, lambda: 0)


def periodic(_folder: Path, _stack: ExitStack) -> Component:
    return PeriodicTask("look", 3600, lambda: None)


def child(_folder: Path, _stack: ExitStack) -> Component:
    return Subprocess("standard", ["broker", "--listen", "127.0.0.1:0"])


@pytest.fixture(params=[web, broker, subscriber, periodic, child], ids=lambda make: make.__name__)
def component(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Component]:
    with ExitStack() as stack:
        yield request.param(tmp_path, stack)


def test_it_is_stopped_before_it_began(component: Component) -> None:
    component.stop()
    component.stop()


def test_it_is_stopped_at_once_and_again(component: Component) -> None:
    component.start()
    component.stop()
    component.stop()
    assert isinstance(component, Subprocess) or not component.is_alive()


ENDS = {
    "task": "from collector.run.runtime import PeriodicTask as Task; Task('look', 3600, lambda: None).start()",
    "ingest": "from collector.ingest.delivery import IngestWorker; IngestWorker(0, print, print, print).start()",
    "web": "import socket; from fastapi import FastAPI; from collector.run.listeners.web_server import WebServer; "
    "WebServer(FastAPI(), socket.create_server(('127.0.0.1', 0)), print).start()",
}


@pytest.mark.parametrize("what", ENDS)
def test_a_process_that_breaks_ends_though_nobody_has_stopped_its_threads(what: str) -> None:
    """So that systemd starts it again, instead of keeping one that only looks alive."""
    words = [sys.executable, "-c", f"{ENDS[what]}; raise ValueError('a bug')"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "ValueError: a bug" in done.stderr


# ---------------------------------------------------------------- the web server


class Stage:
    """An application whose lifespan goes on only when told."""

    def __init__(self) -> None:
        self.come, self.go, self.gone = threading.Event(), threading.Event(), threading.Event()
        self.app = FastAPI(lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        self.come.set()
        await asyncio.to_thread(self.go.wait, PATIENCE_S)
        yield
        self.gone.set()


def test_a_web_server_that_is_stopped_while_it_starts_ends_its_application() -> None:
    stage = Stage()
    with socket.create_server(("127.0.0.1", 0)) as place:
        server = WebServer(stage.app, place, lambda: None)
        server.start()
        assert stage.come.wait(PATIENCE_S)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        stage.go.set()
        stopping.join(PATIENCE_S)
        assert not server.is_alive()
        assert stage.gone.is_set()


# ---------------------------------------------------------------- the broker


def test_a_broker_that_cannot_listen_leaves_no_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        broker = EmbeddedBroker("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(BrokerError, match="cannot listen"):
            broker.start()
        assert not broker.is_alive()
        broker.stop()


def test_a_broker_that_has_stopped_is_told_of_revocations_in_vain_and_at_once() -> None:
    broker = EmbeddedBroker("127.0.0.1", 0)
    broker.refuse(["g0123456789abcdef"])
    broker.start()
    broker.stop()
    broker.refuse(["g0123456789abcdef"])
    broker.reload()


def test_a_broker_may_be_told_of_revocations_in_the_moment_it_stops() -> None:
    failed: list[BaseException] = []
    broker = EmbeddedBroker("127.0.0.1", 0)
    broker.start()
    done = threading.Event()

    def keep_telling() -> None:
        try:
            while not done.is_set():
                broker.refuse([])
        except BaseException as error:
            failed.append(error)

    telling = [threading.Thread(target=keep_telling) for _ in range(8)]
    for thread in telling:
        thread.start()
    broker.stop()
    done.set()
    for thread in telling:
        thread.join(60)
        assert not thread.is_alive()
    assert failed == []


# ---------------------------------------------------------------- the whole


def settings(folder: Path, **more: object) -> Settings:
    web, plain = free_ports(2)
    sections: dict[str, object] = {
        "collector": {"data_dir": folder},
        "web": {"listen": f"127.0.0.1:{web}"},
        "broker": {"listen": f"127.0.0.1:{plain}"},
        "measure": {"enabled": False},
    }
    return Settings.model_validate(sections | more)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_a_collector_whose_listener_cannot_begin_ends_what_had_begun(tmp_path: Path) -> None:
    """The first of two brokers is fine; of the second the CA is no CA. The listener at the first has begun by then."""
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("nothing")
    before = threads()
    with socket.create_server(("127.0.0.1", 0)) as place:
        fine = f"mqtt://127.0.0.1:{place.getsockname()[1]}"
        two = {"url": fine, "also": ["mqtts://127.0.0.1:2"], "ca_file": str(nonsense)}
        with pytest.raises(ConfigError, match=r"ca\.pem"), ExitStack() as stack:
            Running(settings(tmp_path, broker=two), stack)
    wait_until(lambda: threads() <= before, "threads that nobody ended")
