"""The embedded broker: amqtt in a thread of its own, so that one command runs everything. Any MQTT broker replaces it.

It keeps nothing: no sessions, no retained messages. Whatever it drops is sent again, since only receipts count. Behind
a TLS listener a client is identified by its certificate, has one session, and may publish and subscribe to what
`access` allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from asyncio import StreamReader, StreamWriter
from asyncio.trsock import TransportSocket
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any
from weakref import WeakValueDictionary

from amqtt.broker import Broker as Amqtt
from amqtt.broker import Server
from amqtt.contexts import Action, BrokerConfig, ListenerConfig, ListenerType
from amqtt.errors import AMQTTError
from amqtt.errors import BrokerError as AmqttBrokerError
from amqtt.mqtt.connack import NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import OutgoingApplicationMessage, Session
from amqtt.utils import gen_client_id
from websockets.asyncio.server import ServerConnection

from agent.common.errors import describe
from agent.common.logs import Event
from agent.common.tcp import ListeningSocket, listening, watch_peer
from agent.common.threads import LoopEnded, LoopThread
from collector.access import acl
from collector.access.tls import TlsError, common_name, refill, server_context, shrink_buffers
from collector.brokers.listeners import (
    BACKLOG,
    HANDSHAKE_TIMEOUT_S,
    MAX_CONNECTIONS,
    MAX_UNACKNOWLEDGED,
    Budget,
    Budgeted,
    HeldConnection,
    LimitedReader,
    Listener,
    WebSocketReader,
    WebSocketWriter,
    Writer,
    open_tcp,
    open_websockets,
)
from collector.brokers.sessions import NAME, GatewayHandler, filters_of

NOT_STOPPED = Event(
    __name__, "warning", "broker_not_stopped", "the embedded broker did not stop cleanly", fields="error"
)
SESSION_BROKEN = Event(
    __name__, "warning", "client_session_broken", "a client's session at the embedded broker ended with an error",
    key="listener", fields="error",
)  # fmt: skip
CLIENT_EJECTED = Event(
    __name__, "warning", "client_ejected", "the session of a client that may not be connected any more ends",
    key="device", fields="code",
)  # fmt: skip

PLUGINS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
REFUSED_FILTER = 0x80  # MQTT 3.1.1, section 3.9.3
START_S, STOP_S = 10.0, 10.0
EXPIRY_POLL_S = 5.0  # between checks for sessions whose certificate has expired

# Attributes of a session; `LOCK` only while it begins.
UNTIL_S, FILTERS, LOCK = "nabz.until_s", "nabz.filters", "nabz.lock"


class BrokerError(Exception):
    """The broker cannot start; one sentence with the thing, the rule and the fix."""


class EmbeddedBroker:
    """Listens from `start` to `stop`. The first is `host`:`port`, without TLS; an empty host means none.
    Port 0 takes a free one, see `port` and `ports` afterwards. `book` counts what was refused.
    """

    def __init__(
        self, host: str, port: int, own_listeners: Sequence[Listener] = (), services: Collection[str] = acl.SERVICES
    ) -> None:
        self._own_listeners = [*([Listener(host, port)] if host else []), *own_listeners]
        self.host = self._own_listeners[0].host
        self.ports = [listener.port for listener in self._own_listeners]
        self.book = acl.Book(time.monotonic)
        self._services = frozenset(services)
        self._loop = LoopThread("broker")
        self._amqtt: _Amqtt | None = None

    @property
    def port(self) -> int:
        return self.ports[0]

    def start(self) -> None:
        """Returns when it listens. Raises BrokerError."""
        shrink_buffers()
        self._loop.start()
        try:
            self._loop.do(self._start, START_S)
        except TlsError as error:
            raise BrokerError(str(error)) from None
        except (AMQTTError, AmqttBrokerError, OSError, TimeoutError, LoopEnded) as error:
            where = ", ".join(listener.where for listener in self._own_listeners)
            raise BrokerError(
                f"broker {where}: cannot listen ({describe(error)}); set [broker] listen to a free address"
            ) from None
        finally:
            if self._amqtt is None:
                self._loop.stop(STOP_S)

    def stop(self) -> None:
        """At any time, and again."""
        amqtt, self._amqtt = self._amqtt, None
        try:
            if amqtt is not None:
                self._loop.do(amqtt.shutdown, STOP_S)
        except (AMQTTError, AmqttBrokerError, TimeoutError, LoopEnded) as error:
            NOT_STOPPED.log(error=error)
        finally:
            self._loop.stop(STOP_S)

    def is_alive(self) -> bool:
        return self._loop.is_alive()

    def refuse(self, names: Collection[str]) -> None:
        """From now on clients with certificates of these names are refused, and connected ones are disconnected."""
        refused = frozenset(names)
        self._do(lambda amqtt: amqtt.refuse(refused))

    def reload(self) -> None:
        """Reads the listeners' certificates again. Raises tls.TlsError; the old ones serve on then."""
        self._do(lambda amqtt: amqtt.reload())

    def _do(self, work: Callable[[_Amqtt], Coroutine[Any, Any, None]]) -> None:
        """Nothing while there is no broker, or when it stops meanwhile."""
        amqtt = self._amqtt
        if amqtt is not None:
            with contextlib.suppress(LoopEnded):
                self._loop.do(lambda: work(amqtt), STOP_S)

    async def _start(self) -> None:
        amqtt = _Amqtt(self._own_listeners, self._services, self.book, asyncio.get_running_loop())
        await amqtt.start()
        self.ports = amqtt.bound_ports()
        self._amqtt = amqtt


class _Amqtt(Amqtt):  # type: ignore[misc]
    """amqtt with listeners, names and limits of ours, without retained messages, and closing what it opened."""

    def __init__(
        self,
        own_listeners: Sequence[Listener],
        services: frozenset[str],
        book: acl.Book,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        # amqtt wants an address in text for each listener; ours are opened by `_start_listeners` below.
        listeners = {
            ("default" if number == 0 else f"listener-{number}"): ListenerConfig(
                type=ListenerType.TCP if listener.transport == "tcp" else ListenerType.WS, bind=listener.where
            )
            for number, listener in enumerate(own_listeners)
        }
        super().__init__(BrokerConfig(listeners=listeners, plugins=dict(PLUGINS)), loop)
        self._own_listeners = dict(zip(listeners, own_listeners, strict=True))
        self._services = services
        self._book = book
        self._contexts: dict[str, ssl.SSLContext | None] = {}
        self._places: dict[str, ListeningSocket] = {}
        self._refused: frozenset[str] = frozenset()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # to begin a session of a name
        self._expiring: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ listeners

    async def _start_listeners(self) -> None:
        try:
            for name, listener in self._own_listeners.items():
                await self._open(name, listener)
        except BaseException:  # cancelled, as it took too long, among them
            for server in self._servers.values():
                await server.close_instance()
            raise
        self._expiring = asyncio.create_task(self._expire_sessions())

    async def _open(self, name: str, listener: Listener) -> None:
        context = self._contexts[name] = server_context(listener.tls) if listener.tls else None
        place = self._places[name] = await listening(listener.host, listener.port, listener.limits, BACKLOG)
        if listener.transport == "tcp":
            opened = await open_tcp(place, context, self._connection_handler(self.stream_connected, name))
        else:
            opened = await open_websockets(place, context, self._connection_handler(self.ws_connected, name))
        self._servers[name] = Server(name, opened, MAX_CONNECTIONS)

    @staticmethod
    def _connection_handler(connected: Callable[..., Coroutine[Any, Any, None]], name: str) -> Callable[..., Any]:
        async def handle(*connection: object) -> None:
            await connected(*connection, listener_name=name)

        return handle

    async def reload(self) -> None:
        for name, context in self._contexts.items():
            files = self._own_listeners[name].tls
            if context is not None and files is not None:
                refill(context, files.ca, files.cert, files.key)

    def bound_ports(self) -> list[int]:
        opened = [self._servers[name].instance for name in self._own_listeners]
        return [int(next(iter(item.sockets)).getsockname()[1]) for item in opened]

    async def shutdown(self) -> None:
        """Whatever becomes of the sessions, the ports are free: nobody is accepted from the beginning on."""
        if self._expiring is not None:
            self._expiring.cancel()
        for place in self._places.values():
            place.accept_no_more()
        await asyncio.sleep(0)
        for server in self._servers.values():
            server.instance.close()
        await super().shutdown()

    async def stream_connected(self, reader: StreamReader, writer: StreamWriter, listener_name: str) -> None:
        held = self._watch(writer.get_extra_info("socket"), listener_name)
        try:
            await self._client_connected(listener_name, LimitedReader(held, reader), Writer(writer))
        except Exception as error:
            SESSION_BROKEN.log(listener=listener_name, error=error)
        finally:
            writer.close()

    async def ws_connected(self, websocket: ServerConnection, listener_name: str) -> None:
        held = self._watch(websocket.transport.get_extra_info("socket"), listener_name)
        try:
            await self._client_connected(listener_name, WebSocketReader(held, websocket), WebSocketWriter(websocket))
        except Exception as error:
            SESSION_BROKEN.log(listener=listener_name, error=error)

    def _watch(self, line: TransportSocket | None, listener_name: str) -> HeldConnection | None:
        if line is None or line.fileno() < 0:
            return None
        watch_peer(line)
        return HeldConnection(self._places[listener_name], line.fileno())

    # ------------------------------------------------------------ who may connect

    async def _initialize_client_session(
        self, reader: Any, writer: Any, *_address: object
    ) -> tuple[BrokerProtocolHandler, Session]:
        """Whatever is wrong with a client's first packet, amqtt gets the one exception that it cleans up after."""
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                handler, session = await GatewayHandler.init_from_connect(reader, writer, self.plugins_manager)
                handler.book = self._book
                await self._authorize(session, writer)
                self._begin(session, reader)
        except AMQTTError:
            raise
        except Exception as error:
            raise AMQTTError(f"no connection: {describe(error)}") from error
        session.client_id = session.client_id or gen_client_id()
        session.clean_session, session.parent = True, 0  # no session outlives its connection
        return handler, session

    async def _handle_client_session(self, reader: Any, writer: Any, session: Session, *more: Any) -> None:
        """Of one name one session begins at a time: of two that come at once the second must find the first, and amqtt
        cannot end one that has only half begun."""
        lock = session.attributes[LOCK] = self._locks.setdefault(session.client_id, asyncio.Lock())
        await lock.acquire()
        try:
            await self._take_over(session)
            await super()._handle_client_session(reader, writer, session, *more)
        finally:
            self._release_lock(session)
            if reader.held is not None and reader.held.is_flood and self._is_gateway(session):
                self._book.flood(session.attributes[NAME])

    async def _client_message_loop(self, session: Session, handler: BrokerProtocolHandler) -> None:
        self._release_lock(session)
        await super()._client_message_loop(session, handler)

    @staticmethod
    def _release_lock(session: Session) -> None:
        if lock := session.attributes.pop(LOCK, None):
            lock.release()

    async def _authorize(self, session: Session, writer: Any) -> None:
        """The client must be identified before anything is done in its name. Raises AMQTTError."""
        inside: ssl.SSLObject | None = session.ssl_object
        if inside is None:
            return
        certificate = inside.getpeercert() or {}
        name = common_name(certificate)
        why = acl.refusal(name, self._services, session.client_id or "", session.will_topic)
        if not why and name in self._refused:
            why = f"{name} is revoked"
        if why:
            self._book.refuse_session(name, str(session.remote_address), why)
            await ConnackPacket.build(0, NOT_AUTHORIZED).to_stream(writer)
            raise AMQTTError(why)
        session.attributes[NAME] = name
        if name not in self._services:
            self._book.begin_session(name, str(session.remote_address))
        session.attributes[UNTIL_S] = ssl.cert_time_to_seconds(str(certificate["notAfter"]))

    def _begin(self, session: Session, reader: Budgeted) -> None:
        """Every gateway has a budget; a collector has many gateways' receipts to send."""
        is_gateway = self._is_gateway(session)
        if is_gateway:
            reader.budget = Budget()
        if reader.held is not None:
            reader.held.serve(is_gateway=is_gateway)

    def _is_gateway(self, session: Session) -> bool:
        return session.attributes.get(NAME, "") not in {"", *self._services}

    def _is_behind(self, session: Session) -> bool:
        """A gateway that does not read what it gets is given no more: amqtt holds each message until it has been
        written, and without end. A receipt comes again with its batch."""
        return len(session.inflight_out) >= MAX_UNACKNOWLEDGED and self._is_gateway(session)

    async def _take_over(self, session: Session) -> None:
        """One name, one session: the newest. amqtt would leave the old connection open."""
        old, handler = self._sessions.get(session.client_id, (None, None))
        if old is None:
            return
        if old.transitions.state == "connected" and (name := session.attributes.get(NAME)):
            self._book.take_over(name, str(old.remote_address), str(session.remote_address))
        await self._end(session.client_id, old, handler)

    async def _end(self, client_id: str, session: Session, handler: BrokerProtocolHandler) -> None:
        self._sessions.pop(client_id, None)
        await self._del_all_subscriptions(session)
        if isinstance(handler.writer, Writer | WebSocketWriter):
            handler.writer.abort()
        await handler.handle_connection_closed()
        await handler.stop()
        session.clear_queues()

    async def refuse(self, names: frozenset[str]) -> None:
        self._refused = names
        await self._disconnect_if(lambda session: session.attributes.get(NAME) in names, "revoked")

    async def _expire_sessions(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_POLL_S)
            now_s = time.time()
            await self._disconnect_if(
                lambda session: session.attributes.get(UNTIL_S, now_s) < now_s,  # noqa: B023  used up at once
                "certificate_expired",
            )

    async def _disconnect_if(self, unwanted: Callable[[Session], bool], why: str) -> None:
        for client_id, (session, handler) in list(self._sessions.items()):
            if unwanted(session) and LOCK not in session.attributes:  # else at the next check
                CLIENT_EJECTED.log(device=session.attributes[NAME], code=why)
                await self._end(client_id, session, handler)

    # ------------------------------------------------------------ who may publish and subscribe

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        name = session.attributes.get(NAME)
        if action == Action.RECEIVE:
            return True
        if name is None:
            return not topic.startswith("$")  # there is nothing of the broker's own to hear
        action_name: acl.Action = "publish" if action == Action.PUBLISH else "subscribe"
        if acl.may(name, self._services, action_name, topic):
            return True
        self._book.refuse(name, action_name, topic)
        return False

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        """The answer to one filter; of refused ones nothing is kept, as a client may send them without end."""
        code: int = await super().add_subscription(subscription, session)
        if code != REFUSED_FILTER:
            session.attributes.setdefault(FILTERS, set()).add(subscription[0])
        return code

    async def _del_all_subscriptions(self, session: Session) -> None:
        """The session's own: amqtt would search those of all sessions."""
        for pattern in session.attributes.pop(FILTERS, set()):
            self._del_subscription(pattern, session)
            if not self._subscriptions.get(pattern, True):
                del self._subscriptions[pattern]

    async def retain_message(self, *_message: object, **_options: object) -> None:
        """Nothing is retained: amqtt offers each retained message to each client that connects, whatever it wants."""

    async def _publish_retained_messages_for_subscription(self, *_words: object) -> None:
        """As nothing is retained; amqtt does this for every subscription of all sessions at each connect."""

    async def _run_broadcast(self, running_tasks: deque[asyncio.Task[OutgoingApplicationMessage]]) -> None:
        """One message to its subscribers, found by look-up: amqtt compares it with every filter of every client."""
        broadcast = await self._broadcast_queue.get()
        for pattern in filters_of(broadcast["topic"]):
            for session, qos in self._subscriptions.get(pattern, ()):
                handler = self._get_handler(session)
                if handler is not None and session.transitions.state == "connected" and not self._is_behind(session):
                    sending = handler.mqtt_publish(broadcast["topic"], broadcast["data"], qos, retain=False)
                    running_tasks.append(asyncio.ensure_future(sending))
