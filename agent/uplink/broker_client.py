"""The MQTT client of one session: what paho's thread notices is reported as events; the certificate is judged here."""

from __future__ import annotations

import ssl
from typing import Literal, Protocol

from paho.mqtt.client import Client as AnyClient
from paho.mqtt.client import ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.common.errors import describe
from agent.common.mqtt import Client
from agent.common.tcp import DEAD_MS
from agent.uplink import trust
from agent.uplink.causes import UplinkLost

# Over 30 % loss and 800 ms round trips a connect takes 5 to 120 s, so nothing here gives up early. The kernel tells a
# dead peer sooner than MQTT can (agent.common.tcp).
CONNECT_S = 150.0
REACH_S = 45.0  # of it for the first packets: the kernel repeats them ever more rarely, a new try begins at once
REACH_OF_SEVERAL_S, DEAD_OF_SEVERAL_MS = 15.0, 30_000  # where another broker can be tried
WEBSOCKET_PATH = "/mqtt"

EventName = Literal["connected", "subscribed", "lost", "acknowledged", "message"]


class Emit(Protocol):
    """Called in paho's thread: `lost` comes with an UplinkLost, `message` with an MQTTMessage."""

    def __call__(self, name: EventName, detail: object = None) -> None: ...


class BrokerClient(Client):
    """A session's client, that judges the broker's certificate by the time we trust."""

    def __init__(
        self,
        device: str,
        transport: Literal["tcp", "websockets"],
        clock: trust.TrustedClock,
        connect_s: float,
        *,
        is_one_of_several: bool = False,
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=device,
            clean_session=True,
            reconnect_on_failure=False,
            transport=transport,
        )
        self.clock = clock
        self.ws_set_options(path=WEBSOCKET_PATH)
        reach_s = REACH_OF_SEVERAL_S if is_one_of_several else REACH_S
        self.connect_timeout, self.handshake_s = min(connect_s, reach_s), CONNECT_S
        self.dead_ms = DEAD_OF_SEVERAL_MS if is_one_of_several else DEAD_MS

    def verify(self, connected: ssl.SSLSocket) -> None:
        trust.check_time(connected, self.clock)

    def report(self, emit: Emit) -> None:
        """Has paho's thread call `emit` from now on."""

        def on_connect(
            _client: AnyClient, _data: object, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
        ) -> None:
            refused = UplinkLost("refused", f"the broker refused this gateway: {describe(code)}", code.value)
            emit("lost", refused) if code.is_failure else emit("connected")

        def on_disconnect(
            _client: AnyClient, _data: object, _flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
        ) -> None:
            emit("lost", UplinkLost("ended", f"the session ended: {describe(code)}"))

        def on_subscribe(
            _client: AnyClient, _data: object, _mid: int, codes: list[ReasonCode], _properties: Properties | None
        ) -> None:
            refused = UplinkLost("refused", "the broker refused the subscription to our receipts")
            emit("lost", refused) if any(code.is_failure for code in codes) else emit("subscribed")

        self.on_connect = on_connect
        self.on_disconnect = on_disconnect
        self.on_subscribe = on_subscribe
        self.on_publish = lambda *_args: emit("acknowledged")
        self.on_message = lambda _client, _data, message: emit("message", message)
