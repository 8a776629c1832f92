"""Maintains the gateways' listeners: certificates, revocations, findings of the broker."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from agent.common.logs import Event
from collector.access import acl, devices, floods, users
from collector.access.ca import Authority
from collector.access.server_certs import server_certificates
from collector.brokers.embedded import EmbeddedBroker
from collector.brokers.endpoints import Address, broker_addresses
from collector.brokers.external import ExternalBroker
from collector.brokers.generated_config import ChildSite
from collector.brokers.listeners import Listener
from collector.brokers.mosquitto import MosquittoChild, chosen
from collector.common.config import ExternalBrokerSection, Settings, split_listen
from collector.judging import place_facts
from collector.register.networks import Network, Networks
from collector.run.runtime import Component, PeriodicTask
from collector.store import Store

UNPROVEN = Event(
    __name__, "warning", "approval_unproven", "two people are to approve each gateway, but need not prove who they are",
    fields="code detail",
)  # fmt: skip
RENEWED = Event(__name__, "info", "own_certificates_renewed", "the collector's own certificates were made anew")

# A revoked gateway is disconnected within this and the time a session takes to end; promised are five minutes.
REVOKED_POLL_S = 10.0
FLOODS_POLL_S = 1.0  # by other workers' findings; this process's own wake it
CERTIFICATES_POLL_S = 60.0
DAY_MS = 86_400_000
RECENT_MS = 7 * DAY_MS  # who may still have a session at an external broker; it can do nothing there in any case
FINDINGS_POLL_S = 5.0


class Reloaded(Protocol):
    def reload(self) -> None:
        """Shows what its certificate's files hold now."""


class TlsMaintenance:
    """Makes the embedded broker and the gateways' web listener, and the tasks that maintain them."""

    def __init__(self, settings: Settings, store: Store, now_ms: Callable[[], int]) -> None:
        self._settings, self._store, self._now_ms = settings, store, now_ms
        self.floods: Callable[[], frozenset[str]] = frozenset  # who flooded since the last call; set once ingest runs
        self.flood_watch = PeriodicTask("floods", FLOODS_POLL_S, self.disconnect_floods)
        self._put_out: frozenset[str] = frozenset()
        self._changing = threading.Lock()
        self._authority = Authority(settings.data_dir, now_ms(), settings.enrolment.certificate_days)
        self._own, _ = server_certificates(self._authority, settings, now_ms())
        self._broker: EmbeddedBroker | None = None
        self._book: acl.Book | None = None  # of our own broker, whichever it is
        self.listener: Reloaded | None = None  # of enrolment, once there is one
        self._warn_if_unproven()
        self._listed: object = None  # what the revocation list was last written from
        networks = settings.measure.networks
        self._networks = Networks(networks) if networks else None
        self._outside = [ExternalBroker(item, self._authority) for item in settings.broker.outside]

    def _warn_if_unproven(self) -> None:
        with self._store.read() as conn:
            doubt = users.doubt(conn)
        if doubt and self._settings.enrolment.approval == "second_person":
            UNPROVEN.log(code=doubt, detail=users.DOUBTS[doubt])

    def addresses(self) -> list[Address]:
        """Where the collector listens. Raises ConfigError."""
        return broker_addresses(self._settings, self._own.service)

    def broker(self) -> EmbeddedBroker | MosquittoChild:
        """The broker of ours, with a listener for each address of the settings. Raises ConfigError."""
        broker = self._settings.broker
        if program := chosen(broker):
            return self._mosquitto(program)
        listens: tuple[tuple[str, Literal["tcp", "websockets"]], ...] = (
            (broker.tls_listen, "tcp"),
            (broker.websocket_listen, "websockets"),
        )
        listeners = [
            Listener(*split_listen(listen), transport, self._own.server) for listen, transport in listens if listen
        ]
        self._broker = EmbeddedBroker(*self._settings.broker_address, listeners, self._settings.services)
        self._book = self._broker.book
        return self._broker

    def _mosquitto(self, program: str) -> MosquittoChild:
        """Its access list is kept as that of a broker elsewhere."""
        broker, now_ms = self._settings.broker, self._now_ms()
        listens = (("mqtt", broker.tls_listen), ("websockets", broker.websocket_listen))
        folder = (self._settings.data_dir / "mosquitto").absolute()
        with self._store.read() as conn:
            people = devices.people(conn, self._settings.services)
            self._authority.write_crl(devices.revoked_serials(conn, now_ms), now_ms)
        site = ChildSite(
            plain=self._settings.broker_address,
            listeners=[(protocol, split_listen(listen)) for protocol, listen in listens if listen],
            people=people,
            folder=str(folder),
        )
        child = MosquittoChild(program, folder, site, self._own.server, self._authority.crl)
        self._book = child.book
        if broker.tls_listen:
            url = f"mqtts://127.0.0.1:{split_listen(broker.tls_listen)[1]}"
            kept = ExternalBrokerSection(make="mosquitto", url=url, folder=folder, reload=("SIGHUP",))
            self._outside.append(ExternalBroker(kept, self._authority, run=child.hang_up))
        return child

    @property
    def pair(self) -> tuple[Path, Path]:
        """The certificate and key by which gateways know us."""
        return self._own.server.cert, self._own.server.key

    def parts(self) -> list[Component]:
        """What to start once the broker runs."""
        revocations = PeriodicTask("revocations", REVOKED_POLL_S, self.disconnect_revoked)
        parts: list[Component] = [revocations, self.flood_watch]
        if self._book is not None:
            parts.append(PeriodicTask("breaches", FINDINGS_POLL_S, self.record_findings))
        return [*parts, PeriodicTask("certificates", CERTIFICATES_POLL_S, self.renew)]

    def disconnect_revoked(self) -> None:
        """Sessions of revoked gateways end, and for a while those of who floods, at brokers of other makes too where we
        keep those."""
        with self._changing:
            self._disconnect(frozenset())

    def disconnect_floods(self) -> None:
        """At once whom this process noticed: to write its finding may wait for a commit of ingest. Whom another worker
        noticed has its finding already."""
        with self._changing:
            noticed = self._book.floods() if self._book is not None else frozenset()  # by our own broker
            if new := (self.floods() | noticed) - self._put_out:
                self._disconnect(new)
                with self._store.write() as conn:
                    floods.record(conn, new, self._now_ms())
            elif self._settings.ingest.shares:
                with self._store.read() as conn:
                    is_news = floods.current(conn, self._now_ms()) != self._put_out
                if is_news:
                    self._disconnect(frozenset())

    def _disconnect(self, new: frozenset[str]) -> None:
        """Whoever is revoked, has flooded lately or is one of these."""
        now_ms = self._now_ms()
        with self._store.read() as conn:
            people = devices.people(conn, self._settings.services)
            self._put_out = (floods.current(conn, now_ms) | new) & {*people.gateways, *people.revoked}
            serials = devices.revoked_serials(conn, now_ms, self._put_out)
            recent = devices.revoked(conn, now_ms - RECENT_MS) | self._put_out
        people = dataclasses.replace(people, revoked=sorted({*people.revoked, *self._put_out}))
        if self._book is not None:
            self._book.put_out = frozenset(people.revoked)
        if self._broker is not None:
            self._broker.refuse(frozenset(people.revoked))
        self._list_revoked(serials, now_ms)
        for outside in self._outside:
            outside.update(people, recent, self._own.server, self._authority.crl, now_ms)

    def _list_revoked(self, serials: Sequence[tuple[str, int]], now_ms: int) -> None:
        listed = (tuple(serials), now_ms // DAY_MS, self._authority.fingerprint)
        if listed != self._listed:
            self._authority.write_crl(serials, now_ms)
            self._listed = listed

    def record_findings(self) -> None:
        """Findings of the broker about gateways become rows beside the others."""
        sessions = self._book.sessions() if self._book is not None else []
        if sessions:
            if self._networks is not None:
                self._networks.refresh()
            with self._store.write() as conn:
                place_facts.record_sightings(conn, "session", sessions, self._now_ms(), self._network_of)
        findings = self._book.findings() if self._book is not None else []
        if findings:
            with self._store.write() as conn:
                devices.record_findings(conn, findings, self._now_ms())

    def _network_of(self, address: str) -> Network | None:
        return self._networks.of(address) if self._networks is not None else None

    def renew(self) -> None:
        """Our own certificates, after half of their life or a rollover of the root."""
        _, are_new = server_certificates(self._authority, self._settings, self._now_ms())
        if are_new:
            RENEWED.log()
            for part in (self._broker, self.listener):
                if part is not None:
                    part.reload()
