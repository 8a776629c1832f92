"""The embedded broker: amqtt in a thread of its own, so that one command runs everything. Any MQTT broker replaces it.

It keeps nothing: no sessions, no retained messages. Whatever it drops is sent again, since only receipts count.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import Coroutine
from typing import Any

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker as Amqtt
from amqtt.contexts import BrokerConfig, ListenerConfig
from amqtt.errors import AMQTTError
from amqtt.errors import BrokerError as AmqttBrokerError
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import OutgoingApplicationMessage, Session

from agent import wire

log = logging.getLogger("nabz.broker")

MAX_PACKET_BYTES = wire.MAX_BATCH_BYTES + 1024  # a full batch, its signature, topic and headers
MAX_CONNECTIONS = 20_000
PLUGINS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
MAX_LEVELS = 6
START_S, CONNECT_S, STOP_S = 10.0, 30.0, 10.0


class BrokerError(Exception):
    """The broker cannot start; one sentence with the thing, the rule and the fix."""


class Broker:
    """Listens on `host`:`port` from `start` to `stop`; port 0 takes a free one, told by `port` afterwards."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)
        self._amqtt: _Amqtt | None = None

    def start(self) -> None:
        """Returns when it listens. Raises BrokerError."""
        self._thread.start()
        try:
            self._do(self._start(), START_S)
        except (AMQTTError, AmqttBrokerError, OSError, TimeoutError) as error:
            self._end_loop()
            where = f"broker {self.host}:{self.port}"
            raise BrokerError(f"{where}: cannot listen ({error}); set [broker] listen to a free address") from None

    def stop(self) -> None:
        try:
            if self._amqtt is not None:
                self._do(self._amqtt.shutdown(), STOP_S)
        except (AMQTTError, AmqttBrokerError, TimeoutError) as error:
            log.warning("the broker did not stop cleanly: %s", error)
        self._end_loop()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    async def _start(self) -> None:
        listener = ListenerConfig(bind=f"{self.host}:{self.port}", max_connections=MAX_CONNECTIONS)
        config = BrokerConfig(listeners={"default": listener}, plugins=dict(PLUGINS))
        amqtt = _Amqtt(config, self._loop)
        await amqtt.start()
        self.port = amqtt.bound_port()
        self._amqtt = amqtt

    def _do(self, work: Coroutine[Any, Any, None], timeout_s: float) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        pending = asyncio.all_tasks(self._loop)
        for task in pending:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_S)


class TooLarge(Exception):
    """A client announced more than the largest packet of the contract."""


def filters_of(topic: str) -> list[str]:
    """Every filter that matches `topic` (MQTT 3.1.1, 4.7); none for a topic of too many levels to be ours."""
    levels = topic.split("/")
    if len(levels) > MAX_LEVELS:
        return []
    found, starts = [], [""]
    for level in levels:
        found += [start + "#" for start in starts]
        starts = [start + choice + "/" for start in starts for choice in (level, "+")]
    return [*found, *(start[:-1] for start in starts), *(start + "#" for start in starts)]


class _Amqtt(Amqtt):  # type: ignore[misc]
    """amqtt with limits on packets and patience, without retained messages, and closing what it opened."""

    def bound_port(self) -> int:
        return int(self._servers["default"].instance.sockets[0].getsockname()[1])

    async def stream_connected(self, reader: StreamReader, writer: StreamWriter, listener_name: str) -> None:
        try:
            await self._client_connected(listener_name, _LimitedReader(reader), StreamWriterAdapter(writer))
        except Exception as error:
            log.warning("a client's session ended: %r", error)
        finally:
            writer.close()

    async def _initialize_client_session(self, *words: Any) -> tuple[BrokerProtocolHandler, Session]:
        """Whatever is wrong with a client's first packet, amqtt is told in the one way that it cleans up after."""
        try:
            return await asyncio.wait_for(super()._initialize_client_session(*words), CONNECT_S)
        except AMQTTError:
            raise
        except Exception as error:
            raise AMQTTError(f"no connection: {error!r}") from error

    async def retain_message(self, *_message: object, **_options: object) -> None:
        """Nothing is retained: amqtt offers each retained message to each client that connects, whatever it wants."""

    async def _publish_retained_messages_for_subscription(self, *_words: object) -> None:
        """As nothing is retained; amqtt asks once for every subscription of everybody at each connect."""

    async def _run_broadcast(self, running_tasks: deque[asyncio.Task[OutgoingApplicationMessage]]) -> None:
        """One message to its subscribers, found by look-up: amqtt compares it with every filter of every client."""
        broadcast = await self._broadcast_queue.get()
        for pattern in filters_of(broadcast["topic"]):
            for session, qos in self._subscriptions.get(pattern, ()):
                handler = self._get_handler(session)
                if handler is not None and session.transitions.state == "connected":
                    sending = handler.mqtt_publish(broadcast["topic"], broadcast["data"], qos, retain=False)
                    running_tasks.append(asyncio.ensure_future(sending))


class _LimitedReader(StreamReaderAdapter):  # type: ignore[misc]
    async def read(self, n: int = -1) -> bytes:
        if n > MAX_PACKET_BYTES:
            raise TooLarge(f"a packet of {n} bytes, the limit is {MAX_PACKET_BYTES}")
        return bytes(await super().read(n))
