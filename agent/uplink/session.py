"""Carries the spool to the collector over MQTT 3.1.1, and forgets nothing but what the collector has committed.

The broker is a lossy wire (design P1): a PUBACK only says that a broker has it. A batch is forgotten on a receipt
sealed by the collector's key whose chain is our own; without one in time it is offered again. What goes out next, and
why, is decided in `agent.uplink.window`; here is the session around it. Retry towards the collector lives only here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
from paho.mqtt.client import MQTTMessage

from agent import __version__, pack, wire
from agent.common.causes import UplinkCause
from agent.common.errors import describe
from agent.common.logs import Event
from agent.common.mqtt import Client
from agent.common.threads import finished, post
from agent.identity import BrokerEndpoint, Identity, IdentityError
from agent.spool import proof
from agent.spool.queue import Spool
from agent.spool.record import Group, Ident
from agent.uplink import trust
from agent.uplink.batch import batch_of
from agent.uplink.broker_client import CONNECT_S, BrokerClient, EventName
from agent.uplink.causes import UplinkLost, cause_of, explained
from agent.uplink.endpoints import Endpoints, Failure, failure_of, format_endpoint
from agent.uplink.inflight import InFlightBatches
from agent.uplink.keepalive import IDENTIFIER_REJECTED, Keepalives
from agent.uplink.receipts import ReceiptWitness, is_other_history
from agent.uplink.window import BACKOFF_MIN_S, STABLE_S, InFlight, Send, Wait, backoff_s, failures_after, next_step

CONNECTED = Event(__name__, "info", "broker_connected", "connected to a broker", key="broker")
SESSION_ENDED = Event(
    __name__, "warning", "broker_session_ended", "no session with the broker, or it ended; the next try follows",
    key="broker", fields="cause error",
)  # fmt: skip
CLOCK_CHECKED = Event(
    __name__, "warning", "clock_checked", "a broker's certificate is outside its dates by this clock, which was "
    "compared with the collector's", fields="is_right",
)  # fmt: skip
CLOCK_UNCHECKED = Event(
    __name__, "warning", "clock_unchecked", "a broker's certificate is outside its dates by this clock, and the "
    "collector cannot be asked for the time", fields="error",
)  # fmt: skip
MESSAGE_REFUSED = Event(
    __name__, "debug", "message_refused", "a message that the collector did not seal, or that breaks the contract",
    key="topic", fields="error",
)  # fmt: skip
WANTED_AGAIN = Event(
    __name__, "warning", "readings_wanted_again", "the collector lacks readings that it had receipted; they are sent "
    "again", key="spool", fields="readings",
)  # fmt: skip
DISPUTED = Event(
    __name__, "error", "batch_disputed", "the collector holds other readings under these numbers; ours are kept and "
    "offered again", key="spool", fields="first_seq last_seq",
)  # fmt: skip

LIVE_MS = 150_000  # readings this close to the newest go ahead of the backlog
MAX_PACE_S = 600.0

# With batches out and not even a PUBACK back, somebody in between only pretends. To try another broker costs little.
SILENT_S, SILENT_OF_SEVERAL_S = 150.0, 30.0
ANSWER_OF_SEVERAL_S = 15.0  # once TLS stands: a machine without its cluster's majority takes sessions and is silent


# ---------------------------------------------------------------- the session


@dataclass
class UplinkView:
    """The uplink's state for the status page and the doctor."""

    state: Literal["connected", "connecting", "off"] = "off"
    cause: UplinkCause | None = None  # why not, and in a sentence
    detail: str = ""
    last_receipt_ms: int | None = None
    standing: tuple[int, wire.CenterStanding] | None = None  # of the center, and when it was heard
    counts: Counter[str] = field(default_factory=Counter)  # sent, receipted, set_aside, disputed, refused, overdue


SessionEvent = tuple[EventName | Literal["readings"], object]


class Uplink:
    """One session at a time, for as long as `run` runs. ``on_task`` gets each new task of the collector once."""

    def __init__(
        self,
        identity: Identity,
        spool: Spool,
        *,
        stamp: Callable[[], wire.Stamp],
        on_task: Callable[[wire.Task], None],
        now_s: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        endpoint_file: Path | None = None,
        proof_file: Path | None = None,
        connect_s: float = CONNECT_S,
        clock: trust.TrustedClock | None = None,
        receipt_clock: trust.TrustedClock | None = None,
        learn_time: Callable[[], None] | None = None,
        refusal: Callable[[], str] = lambda: "",
        settings: Callable[[], wire.SettingsReport | None] = lambda: None,
    ) -> None:
        self.view = UplinkView()
        self._identity = identity
        self._spool = spool
        self._stamp = stamp
        self._on_task = on_task
        self._now_s = now_s
        self._chance = chance
        self._events: asyncio.Queue[SessionEvent] = asyncio.Queue()
        self._in_flight = InFlightBatches()
        self._connect_s = connect_s
        self._clock = clock or trust.TrustedClock()
        self._receipt_clock = receipt_clock or trust.TrustedClock()  # set by receipts; tasks expire by it, not by ours
        self._learn_time = learn_time  # fetches the collector's time; blocking; raises OSError
        self._refusal = refusal  # the code with which the collector last refused this gateway a certificate
        self._settings = settings  # which of the collector's settings are in force
        self._young_ends = 0  # sessions in a row that the broker ended soon
        self._endpoints = Endpoints(identity.brokers, endpoint_file)
        self._keepalives = Keepalives()
        self._proven = False  # the collector has answered in this session
        self._packs = False  # and reads packed batches
        self._nonce = identity.nonce
        self._proof_file, self._witness = proof_file, ReceiptWitness(*proof.load(proof_file))
        self._last_receipt = proof.LastReceipt(proof_file, now_s)
        self._witness.recall(self._last_receipt.read(), identity.is_collectors)
        self._unanswered_s: float | None = None  # when the first batch went out since the broker's last packet
        self._receipt_s = now_s()
        self._tasks_seen: deque[str] = deque(maxlen=256)
        self._urgent: deque[Ident] = deque(maxlen=16)
        self._wake = asyncio.Event()
        self._connected_client: Client | None = None

    def readings_waiting(self, urgent: Ident | None = None) -> None:
        """The spool has something new; ``urgent`` names the group that goes ahead of everything."""
        if urgent is not None:
            self._urgent.append(urgent)
            self._wake.set()
        self._events.put_nowait(("readings", None))

    def send_ask(self, ask: wire.Ask) -> None:
        """Sends a test request with the newest nonce. Without a session it is lost: the sender repeats it."""
        if self._connected_client is not None and self.view.state == "connected":
            body = wire.encode(msgspec.structs.replace(ask, nonce=self._nonce))
            self._connected_client.publish(
                wire.ask_topic(self._identity.device), wire.seal(body, self._identity.sign), qos=1
            )

    def move(self, brokers: Sequence[BrokerEndpoint]) -> None:
        """Other brokers from now on: a session at one no longer listed ends, and so does a pause."""
        gone = self._endpoints.replace(brokers)
        self._wake.set()
        if gone:
            self._events.put_nowait(("lost", UplinkLost("moved", "the collector names other brokers")))

    def since_receipt_s(self) -> float:
        """Seconds since the last receipt, or since the start, by ``now_s``."""
        return self._now_s() - self._receipt_s

    async def run(self) -> None:
        """Connects, sends, reconnects; ends only when cancelled, and then with a DISCONNECT."""
        failures = 0
        while True:
            connected_s: float | None = None
            self._proven, self._packs, shorter = False, False, False
            failure: Failure = "other"
            self._unanswered_s = None
            client = self._client(self._endpoints.current)
            try:
                await self._connect(client, self._endpoints.current)
                connected_s = self._now_s()
                await self._run_session(client)
            except (UplinkLost, IdentityError, OSError, ValueError) as error:
                self.view.cause = self._cause_of(error, connected_s)
                failure = failure_of(error, self._silent_s())
                self.view.detail = f"{format_endpoint(self._endpoints.current)}: {describe(error)}"
                SESSION_ENDED.log(broker=format_endpoint(self._endpoints.current), cause=self.view.cause, error=error)
                if isinstance(error, UplinkLost) and error.code == IDENTIFIER_REJECTED:
                    shorter = self._keepalives.refused(self._endpoints.current)
                if trust.is_about_time(error):
                    await self._learn_time_again()
            finally:
                was_connected = self.view.state == "connected"
                self.view.state, self._connected_client = "off", None
                self._last_receipt.keep(self._witness.newest)
                await finished(self._leave, client, was_connected)
                self._in_flight.begin()
            if shorter:
                await self._pause(BACKOFF_MIN_S)
                continue
            lasted_s = None if connected_s is None else self._now_s() - connected_s
            failures = failures_after(failures, lasted_s)
            if failure == "silent" or (failures and not self._proven):
                self._endpoints.failed(failure)
            await self._pause(backoff_s(failures, self._chance(), len(self._endpoints)))

    def _cause_of(self, error: Exception, connected_s: float | None) -> UplinkCause:
        """Why this session ended, or did not begin (`connected_s` None)."""
        cause = cause_of(error)
        if connected_s is not None:
            is_young = cause == "ended" and self._now_s() - connected_s < STABLE_S
            self._young_ends = self._young_ends + 1 if is_young else 0
        is_expired = trust.is_expired(self._identity.tls, self._clock)
        return explained(cause, is_expired=is_expired, refusal=self._refusal(), young_ends=self._young_ends)

    async def _learn_time_again(self) -> None:
        """The broker's certificate failed for its dates alone: compares this clock with the collector's."""
        try:
            if self._learn_time is not None:
                await asyncio.to_thread(self._learn_time)
                CLOCK_CHECKED.log(is_right=self._clock.is_wall)
        except OSError as error:
            CLOCK_UNCHECKED.log(error=error)

    async def _pause(self, seconds: float) -> None:
        """Between two sessions. A last-gasp reading cuts it short, as it may be the last, and so do other brokers."""
        await asyncio.sleep(min(seconds, BACKOFF_MIN_S))
        try:
            async with asyncio.timeout(max(0.0, seconds - BACKOFF_MIN_S)):
                await self._wake.wait()
        except TimeoutError:
            return
        if not self._urgent:
            self._wake.clear()

    async def _connect(self, client: BrokerClient, endpoint: BrokerEndpoint) -> None:
        """Raises UplinkLost, IdentityError, or OSError when the broker is not reached; TimeoutError if it is silent."""
        self.view.state = "connecting"
        identity = self._identity
        if endpoint.tls:
            client.tls_set_context(await asyncio.to_thread(trust.broker_context, identity.tls, self._clock))
        async with asyncio.timeout(self._connect_s):
            await asyncio.to_thread(client.connect, endpoint.host, endpoint.port, self._keepalives.of(endpoint))
        client.loop_start()
        await self._expect("connected")
        client.subscribe([(wire.receipt_topic(identity.device), 1), (wire.task_topic(identity.device), 1)])
        await self._expect("subscribed")
        client.publish(wire.presence_topic(identity.device), self._presence("online"), qos=1, retain=True)
        self._connected_client = client
        self.view.state, self.view.cause, self.view.detail = "connected", None, ""
        CONNECTED.log(broker=format_endpoint(endpoint))

    async def _expect(self, expected: str) -> None:
        patience_s = min(self._connect_s, ANSWER_OF_SEVERAL_S) if self._endpoints.are_several else self._connect_s
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    name, detail = await self._events.get()
                    if name == expected:
                        return
                    if isinstance(detail, UplinkLost):
                        raise detail
        except TimeoutError:
            raise TimeoutError(f"the broker did not answer `{expected}` within {patience_s:g} s") from None

    async def _run_session(self, client: Client) -> None:
        """Sends what may be sent and handles what is received, until the session is lost."""
        while True:
            until_s = await self._send_all(client)
            try:
                async with asyncio.timeout(None if until_s is None else max(0.01, until_s - self._now_s())):
                    name, detail = await self._events.get()
            except TimeoutError:
                continue
            if isinstance(detail, UplinkLost):
                raise detail
            if name in ("acknowledged", "message"):
                self._unanswered_s = None
            if isinstance(detail, MQTTMessage):
                await self._handle_message(detail.topic, bytes(detail.payload))

    async def _send_all(self, client: Client) -> float | None:
        """Sends until there is a reason to wait; returns until when (monotonic seconds; None: until an event)."""
        while True:
            now_s = self._now_s()
            self._expire(now_s)
            fresh, backlog = await asyncio.to_thread(self._waiting, self._in_flight.idents())
            step = next_step(self._in_flight.flow, list(self._in_flight), fresh, backlog, now_s, self._urgent)
            if isinstance(step, Wait):
                return min((at_s for at_s in (step.until_s, self._silent_at_s) if at_s is not None), default=None)
            self._send(client, step, now_s)

    def _waiting(self, skip: set[Ident]) -> tuple[list[Group], list[Group]]:
        """The newest and the oldest groups not in flight. Live means close in time to the newest reading."""
        since_ms = self._spool.head().wall_ms - LIVE_MS
        return self._spool.newest(skip, since_ms), self._spool.oldest(skip)

    def _send(self, client: Client, step: Send, now_s: float) -> None:
        live = step.reason != "backlog"
        body = batch_of(
            step.groups,
            device=self._identity.device,
            nonce=self._nonce,
            live=live,
            proof=self._witness.shown,
            settings=self._settings(),
        )
        sealed = pack.pack(body, self._identity.sign(body)) if self._packs else wire.seal(body, self._identity.sign)
        client.publish(wire.batch_topic(self._identity.device), sealed, qos=1)
        self._in_flight.sent(step, now_s)
        self._unanswered_s = now_s if self._unanswered_s is None else self._unanswered_s
        if step.reason == "last_gasp":
            self._urgent.remove(step.groups[0].ident)
            self._wake.clear()
        self.view.counts["sent"] += 1

    def _expire(self, now_s: float) -> None:
        """Overdue batches may be sent again, perhaps divided otherwise; a session with a silent broker ends."""
        overdue = self._in_flight.overdue(now_s)
        self.view.counts["overdue"] += len(overdue)
        self._packs &= not overdue  # an older collector may stand there by now
        if self._silent_at_s is not None and now_s >= self._silent_at_s:
            raise UplinkLost("silent", f"nothing received from the broker for {self._silent_s():.0f} s")

    @property
    def _silent_at_s(self) -> float | None:
        """When the broker has not answered what was sent for so long that the session ends."""
        patience_s = SILENT_OF_SEVERAL_S if self._endpoints.are_several else SILENT_S
        return None if self._unanswered_s is None else self._unanswered_s + patience_s

    def _silent_s(self) -> float:
        """How long the broker has not answered what was sent."""
        return 0.0 if self._unanswered_s is None else self._now_s() - self._unanswered_s

    # ------------------------------------------------------------ messages from the collector

    async def _handle_message(self, topic: str, payload: bytes) -> None:
        """Only what the collector's pinned key has sealed counts."""
        try:
            body, signature = wire.unseal(payload, wire.MAX_SMALL_BYTES)
            if not self._identity.is_collectors(body, signature):
                raise wire.WireError("not sealed by the collector this gateway is enrolled with")
            if topic == wire.receipt_topic(self._identity.device):
                await self._handle_receipt(wire.decode_receipt(body), payload)
            elif topic == wire.task_topic(self._identity.device):
                self._handle_task(wire.decode_task(body))
        except wire.WireError as error:
            self.view.counts["refused"] += 1
            MESSAGE_REFUSED.log(topic=topic, error=error)

    async def _handle_receipt(self, receipt: wire.Receipt, sealed: bytes) -> None:
        if receipt.v != wire.VERSION or receipt.device != self._identity.device:
            raise wire.WireError("the receipt is for another device or version")
        self._nonce = receipt.nonce or self._nonce
        key = (receipt.spool, receipt.first_seq, receipt.last_seq)
        ours = await asyncio.to_thread(self._spool.forget, *key, receipt.chain)
        batch = self._in_flight.receipted(key, min(receipt.pace_ms / 1000, MAX_PACE_S), self._now_s())
        if ours:
            self._proven, self._receipt_s = True, self._now_s()
            self._packs = receipt.packing >= pack.FORMAT
            self.view.last_receipt_ms = self._stamp().wall_ms
            self.view.counts["receipted"] += 1
            if receipt.standing is not None:
                self.view.standing = (receipt.at_ms, receipt.standing)
            self.view.counts["set_aside"] += receipt.outcome == "set_aside"
            if waiting := await asyncio.to_thread(self._offer_again, receipt):
                WANTED_AGAIN.log(spool=receipt.spool, readings=waiting)
            if self._witness.learn(receipt, sealed):
                await asyncio.to_thread(proof.save, self._proof_file, self._witness.proof, self._witness.epoch)
            if self._last_receipt.is_due:
                await asyncio.to_thread(self._last_receipt.keep, self._witness.newest)
            if is_other_history(receipt) and receipt.spool == self._spool.head().spool:
                await asyncio.to_thread(self._spool.renumber)
            if batch is not None:
                self._learn(receipt, batch)
            await asyncio.to_thread(self._endpoints.worked)
        elif batch is not None:
            self._dispute(receipt, batch)

    def _offer_again(self, receipt: wire.Receipt) -> int:
        """What the collector had and has no more waits again; returns how many readings do."""
        waiting = self._spool.learn_epoch(receipt.epoch) if receipt.epoch else 0
        if receipt.lacks:
            waiting += self._spool.want_again(receipt.spool, receipt.lacks)
        return waiting

    def _learn(self, receipt: wire.Receipt, batch: InFlight) -> None:
        """A receipt was made after its batch was sent, which bounds its time; for a batch sent twice it is unknown
        after which sending."""
        if not batch.tries:
            self._receipt_clock.learn(receipt.at_ms, round((self._now_s() - batch.sent_s) * 1000))
        self._in_flight.done(batch)

    def _dispute(self, receipt: wire.Receipt, batch: InFlight) -> None:
        """The collector holds other readings under these numbers: ours are kept, and sent again ever more rarely."""
        self.view.counts["disputed"] += 1
        DISPUTED.log(spool=receipt.spool, first_seq=receipt.first_seq, last_seq=receipt.last_seq)
        self._in_flight.failed(batch)

    def _handle_task(self, task: wire.Task) -> None:
        if task.v != wire.VERSION or task.device != self._identity.device:
            raise wire.WireError("the task is for another device or version")
        if not self._receipt_clock.has_learnt:
            raise wire.WireError("the time is not known from a receipt yet, so the task may have expired")
        if task.expires_ms <= self._receipt_clock.now_ms() or task.id in self._tasks_seen:
            raise wire.WireError("the task has expired or was taken before")
        self._tasks_seen.append(task.id)
        self._on_task(task)

    # ------------------------------------------------------------ paho's thread

    def _client(self, endpoint: BrokerEndpoint) -> BrokerClient:
        """A new client for each session, so that paho repeats nothing of an old one."""
        loop = asyncio.get_running_loop()
        events = self._events = asyncio.Queue()  # a session's own: late events of an old one do not end a new one

        def emit(name: EventName, detail: object = None) -> None:
            post(loop, events.put_nowait, (name, detail))

        client = BrokerClient(
            self._identity.device, endpoint.transport, self._clock, self._connect_s,
            is_one_of_several=self._endpoints.are_several,
        )  # fmt: skip
        client.report(emit)
        client.will_set(wire.presence_topic(self._identity.device), self._presence("offline"), qos=1, retain=True)
        return client

    def _presence(self, state: Literal["online", "offline"]) -> bytes:
        presence = wire.Presence(
            v=wire.VERSION, device=self._identity.device, state=state, boot=self._stamp().boot, version=__version__
        )
        return wire.encode(presence)

    def _leave(self, client: BrokerClient, was_connected: bool) -> None:
        """Blocks for at most a few seconds."""
        if was_connected and client.is_connected():
            client.publish(wire.presence_topic(self._identity.device), self._presence("offline"), qos=1, retain=True)
        client.leave()
