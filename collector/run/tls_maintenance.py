"""Keeps the doors that gateways come by: their certificates, and who may come no more."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Literal

from fastapi import FastAPI

from agent.common.errors import describe
from agent.common.logs import Event
from collector.access import devices, users
from collector.access.ca import Authority
from collector.access.server_certs import papers
from collector.brokers.embedded import EmbeddedBroker
from collector.brokers.endpoints import Address, broker_addresses
from collector.brokers.external import ExternalBroker
from collector.brokers.listeners import Listener
from collector.config import Settings, split_listen
from collector.run.runtime import Component, PeriodicTask, WebServer
from collector.store import Store, StoreError

UNPROVEN = Event(
    __name__, "warning", "approval_unproven", "two people are to approve each gateway, but need not prove who they are",
    fields="code detail",
)  # fmt: skip
RENEWED = Event(__name__, "info", "own_certificates_renewed", "the collector's own certificates were made anew")

# A revoked gateway is out within this and the time a session takes to end; promised are five minutes.
REVOKED_LOOK_S = 10.0
PAPERS_LOOK_S = 60.0
DAY_MS = 86_400_000
LATELY_MS = 7 * DAY_MS  # whom a broker of another make may still have in a session; there it can do nothing in any case
BREACHES_LOOK_S = 5.0


class TlsMaintenance:
    """Makes the embedded broker and the gateways' web door, and the two parts that look after them."""

    def __init__(self, settings: Settings, store: Store, now_ms: Callable[[], int]) -> None:
        self._settings, self._store, self._now_ms = settings, store, now_ms
        self._authority = Authority(settings.data_dir, now_ms(), settings.enrolment.certificate_days)
        self._own, _ = papers(self._authority, settings, now_ms())
        self._broker: EmbeddedBroker | None = None
        self._door: WebServer | None = None
        self._say_what_is_not_proven()
        self._told: object = None  # what the list of the revoked was last written of
        self._outside = [ExternalBroker(item, self._authority) for item in settings.broker.outside]

    def _say_what_is_not_proven(self) -> None:
        with self._store.read() as conn:
            doubt = users.doubt(conn)
        if doubt and self._settings.enrolment.approval == "second_person":
            UNPROVEN.log(code=doubt, detail=users.DOUBTS[doubt])

    def addresses(self) -> list[Address]:
        """Where the collector listens. Raises ConfigError."""
        return broker_addresses(self._settings, self._own.service)

    def broker(self) -> EmbeddedBroker:
        """The broker inside, with a door for each address that the settings name."""
        broker = self._settings.broker
        listens: tuple[tuple[str, Literal["tcp", "websockets"]], ...] = (
            (broker.tls_listen, "tcp"),
            (broker.websocket_listen, "websockets"),
        )
        doors = [
            Listener(*split_listen(listen), transport, self._own.server) for listen, transport in listens if listen
        ]
        self._broker = EmbeddedBroker(*self._settings.broker_address, doors, broker.services)
        return self._broker

    def parts(self, app: FastAPI, stack: ExitStack) -> list[Component]:
        """What to start once the broker runs. `stack` closes the listening socket. Raises StoreError."""
        parts: list[Component] = [PeriodicTask("revocations", REVOKED_LOOK_S, self.put_out_revoked)]
        if self._broker is not None:
            parts.append(PeriodicTask("breaches", BREACHES_LOOK_S, self.write_breaches))
        if self._settings.enrolment.listen:
            place = stack.enter_context(bound(self._settings.enrolment.listen, "[enrolment] listen"))
            self._door = WebServer(app.state.gateways, place, lambda: None, self._own.server)
            parts.append(self._door)
        return [*parts, PeriodicTask("certificates", PAPERS_LOOK_S, self.renew)]

    def put_out_revoked(self) -> None:
        """Sessions of revoked gateways end, at brokers of other makes too where we keep those."""
        services = self._settings.broker.services
        with self._store.read() as conn:
            people, serials = devices.people(conn, services), devices.revoked_serials(conn, self._now_ms())
            lately = devices.revoked(conn, self._now_ms() - LATELY_MS)
        if self._broker is not None:
            self._broker.refuse(frozenset(people.revoked))
        told = (tuple(serials), self._now_ms() // DAY_MS, self._authority.fingerprint)
        if told != self._told:
            self._authority.write_crl(serials, self._now_ms())
            self._told = told
        for outside in self._outside:
            outside.look(people, lately, self._own.server, self._authority.crl, self._now_ms())

    def write_breaches(self) -> None:
        """What the broker found against gateways becomes a row beside their other doubts."""
        found = self._broker.book.findings() if self._broker is not None else []
        if found:
            with self._store.write() as conn:
                devices.record_findings(conn, found, self._now_ms())

    def renew(self) -> None:
        """Our own certificates, after half of their life or a rollover of the root."""
        _, are_new = papers(self._authority, self._settings, self._now_ms())
        if are_new:
            RENEWED.log()
            for part in (self._broker, self._door):
                if part is not None:
                    part.reload()


def bound(listen: str, key: str) -> socket.socket:
    """A listening socket for uvicorn. Raises StoreError."""
    host, port = split_listen(listen)
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
        )
    except OSError as error:
        raise StoreError(f"{key} {listen}: cannot listen ({describe(error)}); set a free address") from None
