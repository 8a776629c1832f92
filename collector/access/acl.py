"""Who may publish and subscribe to what on the broker, and the embedded broker's record of breaches.

One table holds for every broker: the embedded one evaluates it, the settings of others are generated from it. A name is
the common name of a client certificate that our CA signed.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from agent import wire
from agent.common.logs import Event
from agent.common.reasons import Reason
from collector.common.messages import DeviceFinding, printable

CLIENT_REFUSED = Event(
    __name__, "warning", "client_refused", "a client is refused by the embedded broker; further tries are counted",
    key="name", fields="address reason",
)  # fmt: skip
TOPIC_REFUSED = Event(
    __name__, "warning", "topic_refused", "a client may not publish to a topic; further tries are counted",
    key="device", fields="topic",
)  # fmt: skip

QOS_REFUSED = Event(
    __name__, "warning", "qos_refused", "a client published with another quality of service than 1; its session ends",
    key="name", fields="qos",
)  # fmt: skip

Action = Literal["publish", "subscribe"]

GATEWAY = re.compile(r"g[0-9a-f]{16}")
GATEWAY_PUBLISHES, GATEWAY_SUBSCRIBES = ("up", "ask", "presence"), ("receipt", "task")
SERVICES = ("nabz-collector",)

# A line that broke makes a gateway come back while its old session still seems alive, now and then. Two machines with
# one key replace each other without end.
FLAPS, FLAPS_S = 4, 900.0
MAX_BOOK = 20_000  # names in the book; past that the oldest is let go


def may(name: str, services: Collection[str], action: Action, topic: str) -> bool:
    """Whether the holder of certificate `name` may publish to this topic, or subscribe with this filter."""
    root, _, rest = topic.partition(wire.ROOT + "/")
    kind, _, whose = rest.partition("/")
    if root or not whose:
        return False
    if name in services:
        return (
            kind in (GATEWAY_SUBSCRIBES if action == "publish" else GATEWAY_PUBLISHES)
            and "/" not in whose
            and whose != "#"
        )
    return kind in (GATEWAY_PUBLISHES if action == "publish" else GATEWAY_SUBSCRIBES) and whose == name


def refusal(name: str, services: Collection[str], client_id: str, will_topic: str | None) -> str:
    """Why this certificate may not open this session; empty when it may."""
    if name in services:
        # Workers that share one certificate differ after a full stop; a gateway's name has none.
        named = client_id == name or client_id.startswith(f"{name}.")
    else:
        named = GATEWAY.fullmatch(name) is not None and client_id == name
    if not named:
        return f"certificate of {name[:64]!r} does not fit client id {client_id[:64]!r}"
    if will_topic is not None and not may(name, services, "publish", will_topic):
        return f"{name} left a will for {will_topic[:80]!r}, which it may not publish to"
    return ""


@dataclass
class Book:
    """What was refused by the embedded broker. Times are seconds of the clock that `now_s` reads."""

    now_s: Callable[[], float]
    put_out: Collection[str] = frozenset()  # whose sessions the collector ends by a moment's one of its own
    counts: Counter[str] = field(default_factory=Counter)  # refused_session, _publish, _filter, _qos; takeover, flood
    refused: Counter[str] = field(default_factory=Counter)  # refused publishes, by name
    _refusals: Counter[str] = field(default_factory=Counter)
    _takeovers: dict[str, deque[tuple[float, str]]] = field(default_factory=dict)
    _sessions: dict[tuple[str, str], None] = field(default_factory=dict)  # (gateway, address), in order
    _floods: set[str] = field(default_factory=set)
    _findings: deque[DeviceFinding] = field(default_factory=lambda: deque(maxlen=1000))

    def refuse_session(self, name: str, address: str, why: str) -> None:
        """The first of each name is logged; the others are counted."""
        self.counts["refused_session"] += 1
        self._refusals[name] += 1
        if self._refusals[name] == 1:
            CLIENT_REFUSED.log(name=name, address=address, reason=why)
        if len(self._refusals) > MAX_BOOK:
            self._refusals.clear()

    def refuse_qos(self, name: str, qos: int) -> None:
        """`name` published with another quality of service than the contract's; its session ends."""
        self.counts["refused_qos"] += 1
        QOS_REFUSED.log(name=name, qos=qos)

    def refuse(self, name: str, action: Action, topic: str) -> None:
        """Of publishes the first of each name is logged and a finding; subscriptions, which change nothing and are
        answered, are only counted."""
        self.counts["refused_publish" if action == "publish" else "refused_filter"] += 1
        if action == "subscribe":
            return
        self.refused[name] += 1
        if len(self.refused) > MAX_BOOK:
            self.refused.clear()
        if self.refused[name] == 1:
            reason = Reason.of("refused.publish", device=name, topic=printable(topic, 80))
            self._findings.append(DeviceFinding(name, "forbidden_topic", reason))
            TOPIC_REFUSED.log(device=name, topic=topic)

    def take_over(self, name: str, old: str, new: str) -> None:
        """A new session of `name` from address `new` ended one from `old` that was alive."""
        if name in self.put_out:
            return
        self.counts["takeover"] += 1
        takeovers = self._takeovers.setdefault(name, deque(maxlen=FLAPS))
        takeovers.append((self.now_s(), new))
        if len(self._takeovers) > MAX_BOOK:
            del self._takeovers[next(iter(self._takeovers))]
        if len(takeovers) == FLAPS and takeovers[-1][0] - takeovers[0][0] <= FLAPS_S:
            addresses = sorted({old} | {address for _, address in takeovers})
            span_s = takeovers[-1][0] - takeovers[0][0]
            # From one address it may still be a line that breaks again and again.
            reason = Reason.of("refused.takeovers", n=FLAPS, span_s=round(span_s), addresses=", ".join(addresses))
            self._findings.append(DeviceFinding(name, "clone" if len(addresses) > 1 else "flapping", reason))
            takeovers.clear()

    def flood(self, name: str) -> None:
        """A gateway sent far more than its share."""
        self.counts["flood"] += 1
        self._floods.add(name)

    def floods(self) -> frozenset[str]:
        """Those since the last call."""
        floods, self._floods = self._floods, set()
        return frozenset(floods)

    def begin_session(self, name: str, address: str) -> None:
        """A session of a gateway that was let in."""
        if name in self.put_out:
            return
        self._sessions[name, address] = None
        if len(self._sessions) > MAX_BOOK:
            del self._sessions[next(iter(self._sessions))]

    def sessions(self) -> list[tuple[str, str]]:
        """(gateway, address) of those that began since the last call."""
        taken, self._sessions = self._sessions, {}  # first: another thread may add one meanwhile
        return list(taken)

    def findings(self) -> list[DeviceFinding]:
        """Those since the last call."""
        taken = []
        while self._findings:
            taken.append(self._findings.popleft())
        return taken
