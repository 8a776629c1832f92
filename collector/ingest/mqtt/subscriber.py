"""From the broker to ingest and back: messages in, one commit for a group of them, then receipts, then PUBACKs.

The order is the promise: a receipt leaves only after the COMMIT of its batch, and the broker is let go of a message
only after that. The broker is a lossy wire all the same: what it loses, gateways send again, as they lack a receipt.
"""

from __future__ import annotations

import itertools
import ssl
import threading
import time
from collections.abc import Callable, Sequence

from paho.mqtt import client as mqtt
from paho.mqtt.reasoncodes import ReasonCode

from agent import wire
from agent.common.errors import describe
from agent.common.logs import Event
from collector.access.tls import TlsError, client_context, refill
from collector.brokers.endpoints import WEBSOCKET_PATH, Address
from collector.common.messages import Message
from collector.ingest.delivery import LONGEST_PAUSE_S, IngestWorker, Unacknowledged
from collector.ingest.mqtt.client import BulkClient
from collector.ingest.transaction import Ingest

CERTIFICATE_UNREADABLE = Event(
    __name__, "error", "broker_certificate_unreadable", "the certificate for a broker cannot be read; the one before "
    "is used", key="broker", fields="error",
)  # fmt: skip
CONNECTED = Event(__name__, "info", "subscribed", "readings come from this broker", key="broker")
DISCONNECTED = Event(
    __name__, "warning", "broker_disconnected", "the session with a broker ended; it is tried again", key="broker",
    fields="code",
)  # fmt: skip
REFUSED = Event(__name__, "error", "broker_refused", "a broker refuses the collector", key="broker", fields="code")
NOT_SUBSCRIBED = Event(
    __name__, "error", "subscription_refused", "a broker refuses the collector's subscription", key="broker",
    fields="code",
)  # fmt: skip
UNSUITABLE = Event(
    __name__, "critical", "broker_unsuitable", "a broker can never serve these settings; this process ends",
    key="broker", fields="error",
)  # fmt: skip
SILENT = Event(
    __name__, "warning", "broker_silent", "nothing comes by this machine of the cluster; the next one is tried",
    key="broker",
)  # fmt: skip
UNSENT = Event(
    __name__, "warning", "receipts_unsent", "receipts are not sent, as the broker is away; gateways send again",
    fields="receipts",
)  # fmt: skip


KEEPALIVE_S = 60
GROUP_NAME = "nabz"  # of the shared subscription
UNSUPPORTED_VERSION, NO_SHARES = 0x84, 0x9E  # MQTT 5, section 2.4
REFUSED_S = 2.0  # until the next machine of a cluster is tried
SILENT_S = 20.0  # of one machine of a cluster: no figure exists, a nation sends 167 batches a second
CONNECT_TIMEOUT_S = 3.0  # receipts wait this long for the broker to be back


class Subscriber:
    """One MQTT session that feeds a worker; `shared` with those of other workers, each message goes to one of them.

    While the database is away the session is closed, so that memory stays bounded and the broker keeps nothing for us:
    gateways keep it."""

    def __init__(
        self,
        address: Address,
        ingest: Ingest,
        notify: Callable[[set[str]], None],
        now_ms: Callable[[], int],
        client_id: str = "nabz-collector",
        *,
        shared: bool = False,
        others: Sequence[Address] = (),
    ) -> None:
        """`others` are further machines of the same broker: each session is at the next one."""
        self._address, self._next = address, itertools.cycle([address, *others])
        self._share = f"$share/{GROUP_NAME}/" if shared else ""
        self._client_id = client_id
        self._client: BulkClient | None = None
        self._worker = IngestWorker(ingest, self._publish_receipts, notify, now_ms, self._pause, self._look)
        self._several, self._heard_s = bool(others), time.monotonic()
        self.connected = threading.Event()
        self.refused = ""  # why this broker can never do, in a sentence

    def start(self) -> None:
        """Returns at once; connects, and connects again, in the background. Raises TlsError, and does not run then."""
        client = self._make_client()
        self._worker.start()
        self._connect(client)

    def stop(self) -> None:
        self._worker.stop()
        self._disconnect()

    def is_alive(self) -> bool:
        return self._worker.is_alive() and not self.refused

    def age_s(self) -> float:
        """Seconds that messages in hand wait for their commit."""
        return self._worker.age_s()

    @property
    def committed_ms(self) -> int | None:
        """When messages of it were last committed; None: not yet."""
        return self._worker.committed_ms

    def floods(self) -> frozenset[str]:
        """The topics of those who flooded since the last call."""
        return self._worker.floods()

    def on_flood(self, wake: Callable[[], None]) -> None:
        """`wake` is called, in any thread, when `floods` has news."""
        self._worker.on_flood = wake

    @property
    def readings(self) -> int:
        """Readings taken since the start."""
        return self._worker.readings

    def _make_client(self) -> BulkClient:
        client = BulkClient(
            lambda topic, payload, mid: self._receive(client, Message(topic, payload), mid),
            client_id=self._client_id,
            transport=self._address.transport,
            protocol=mqtt.MQTTv5 if self._share else mqtt.MQTTv311,
        )
        client.max_inflight_messages_set(0)  # receipts need not wait for each other
        client.reconnect_delay_set(1, int(LONGEST_PAUSE_S))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        if self._address.username:
            client.username_pw_set(self._address.username, self._address.password)
        client.ws_set_options(path=WEBSOCKET_PATH)
        client.place = self._place
        if self._address.tls:
            context = client_context(self._address.ca, self._address.cert, self._address.key)
            client.tls_set_context(context)
            client.on_pre_connect = lambda *_args: self._refresh(context)
        return client

    def _place(self) -> tuple[str, int]:
        self._address = next(self._next)
        return self._address.host, self._address.port

    def _refresh(self, context: ssl.SSLContext) -> None:
        """Certificates are renewed while sessions last; a new session shows the newest."""
        try:
            refill(context, self._address.ca, self._address.cert, self._address.key)
        except TlsError as error:
            CERTIFICATE_UNREADABLE.log(broker=self._address.where, error=error)

    def _connect(self, client: BulkClient) -> None:
        self._client = client
        # No property of MQTT 5 is set, so that amqtt can read the packet and refuse the version.
        client.connect_async(self._address.host, self._address.port, KEEPALIVE_S)
        client.loop_start()

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.leave()
            self._client = None
        self.connected.clear()

    def publish(self, messages: Sequence[Message]) -> bool:
        """Sends them to gateways; False when the broker is away. Any thread."""
        # paho would let a message overtake the CONNECT of a session that is just being made.
        client = self._client if self.connected.wait(CONNECT_TIMEOUT_S) else None
        if client is None:
            return False
        for message in messages:
            client.publish(message.topic, message.payload, qos=1)
        return True

    def _publish_receipts(self, receipts: Sequence[Message]) -> None:
        if not self.publish(receipts):
            UNSENT.log(receipts=len(receipts))

    def _pause(self, paused: bool) -> None:
        self._disconnect()
        if not paused:
            self._connect(self._make_client())

    def _look(self) -> None:
        """Leaves a machine over which nothing comes: cut off from the others, it still answers us."""
        client, silent_s = self._client, time.monotonic() - self._heard_s
        if not self._several or client is None or not client.is_connected() or silent_s < SILENT_S:
            return
        SILENT.log(broker=self._address.where)
        self._disconnect()
        self._connect(self._make_client())

    def _on_connect(
        self, client: mqtt.Client, _data: object, _flags: mqtt.ConnectFlags, reason: ReasonCode, _more: object
    ) -> None:
        if reason.is_failure:
            REFUSED.log(broker=self._address.where, code=describe(reason))
            if self._share and reason.value == UNSUPPORTED_VERSION:
                self._refuse("does not speak MQTT 5")
            return
        self._heard_s = time.monotonic()
        client.subscribe([(self._share + topic, 1) for topic in (wire.batch_topic("+"), wire.ask_topic("+"))])

    def _on_subscribe(
        self, _client: mqtt.Client, _data: object, _mid: int, reasons: Sequence[ReasonCode], _more: object
    ) -> None:
        if refused := [reason for reason in reasons if reason.is_failure]:
            NOT_SUBSCRIBED.log(broker=self._address.where, code=describe(refused[0]))
            self._heard_s -= SILENT_S - REFUSED_S
            if self._share and refused[0].value == NO_SHARES:
                self._refuse("has no shared subscriptions")
            return
        self.connected.set()
        CONNECTED.log(broker=self._address.where)

    def _refuse(self, why: str) -> None:
        fix = "set [ingest] workers = 1 and shared = false, or use a broker that has them (Mosquitto 2, EMQX, HiveMQ …)"
        self.refused = f"broker {self._address.where}: {why}, which several ingest workers need; {fix}"
        UNSUITABLE.log(broker=self._address.where, error=self.refused)

    def _on_disconnect(
        self, _client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _more: object
    ) -> None:
        self.connected.clear()
        if reason.is_failure:
            DISCONNECTED.log(broker=self._address.where, code=describe(reason))

    def _receive(self, client: BulkClient, message: Message, mid: int) -> None:
        # A PUBACK that comes too late for its session is harmless: only receipts make gateways forget.
        self._heard_s = time.monotonic()
        self._worker.offer(Unacknowledged(message, lambda: client.acknowledge(mid)))
