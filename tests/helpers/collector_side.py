"""The collector's side that gateways meet, whole, on free ports: broker, door, ingest, one clock."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa

from agent import wire
from collector.access.ca import Authority
from collector.access.enrolment import format_token, issue_token
from collector.access.signing_key import load_or_make
from collector.common.config import Settings
from collector.ingest.mqtt.subscriber import Address, Subscriber
from collector.ingest.transaction import Ingest
from collector.register import centers
from collector.run.listeners.sockets import bound
from collector.run.listeners.web_server import WebServer
from collector.run.tls_maintenance import TlsMaintenance
from collector.store import Store
from collector.web.app import build
from collector.web.live import Hub
from tests.collector.standard.timeless import timeless_standards
from tests.helpers.ports import free_ports

ROW = {"name": "One", "tier": "one", "seats_promised": "20", "opening": "always"}


class House:
    """`shift_ms` is how far the collector's clock is from this machine's. To a gateway whose certificates were made
    before, a jump of the collector's clock is a jump of its own the other way."""

    def __init__(self, folder: Path, stack: ExitStack, again: House | None = None, **enrolment: object) -> None:
        """`again` was there before, and is stopped: its files and ports are used. `kind` is of [broker]."""
        kind = enrolment.pop("kind", "embedded")
        self.shift_ms = 0
        folder.mkdir(exist_ok=again is not None)
        self.broker_port, self.door_port, plain = free_ports(3)
        if again is not None:
            self.broker_port, self.door_port = again.broker_port, again.door_port
        self.settings = Settings.model_validate(
            {
                "collector": {"data_dir": folder},
                "broker": {"listen": f"127.0.0.1:{plain}", "tls_listen": f"127.0.0.1:{self.broker_port}", "kind": kind},
                "enrolment": {"listen": f"127.0.0.1:{self.door_port}", **enrolment},
            }
        )
        self.store = Store.open(f"sqlite:///{folder / 'nabz.db'}")
        stack.callback(self.store.close)
        self.authority = Authority(folder, self.now_ms())
        self.keeper = TlsMaintenance(self.settings, self.store, self.now_ms)
        key, hub = load_or_make(folder), Hub()
        self.app = build(self.store, self.settings, hub, standards=timeless_standards(), key=key, now=self.now_ms)
        self.broker = self.keeper.broker()
        self.ingest = Ingest(self.store, key, lambda _conn, _group, _now: 0)
        listener = Subscriber(Address("127.0.0.1", plain), self.ingest, lambda _touched: None, self.now_ms)
        self.keeper.floods = lambda: frozenset(wire.device_of(topic) for topic in listener.floods())
        listener.on_flood(self.keeper.flood_watch.wake)
        place = stack.enter_context(bound(self.settings.enrolment.listen, "[enrolment] listen", self.settings.http))
        web = WebServer(self.app.state.gateways, place, lambda: None, self.keeper.pair, self.settings.http)
        self.keeper.listener = web
        for part in (self.broker, listener, web, *self.keeper.parts()):
            stack.callback(part.stop)
            part.start()
        if again is None:
            with self.store.write() as conn:
                centers.add(conn, {"center": "LHR-1", **ROW}, self.now_ms())

    @property
    def url(self) -> str:
        return self.settings.enrolment_url

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.shift_ms

    def token(self, by: str = "Ali") -> str:
        with self.store.write() as conn:
            secret = issue_token(conn, "LHR-1", self.now_ms(), 3600, by)
        return format_token(secret, self.authority)

    def count(self, table: sa.Table) -> int:
        with self.store.read() as conn:
            return int(conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
