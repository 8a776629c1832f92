"""A session tried once: whether a broker lets this gateway in and lets it hear its receipts. Nothing is published."""

from __future__ import annotations

import queue

from agent import wire
from agent.common.errors import describe
from agent.identity import BrokerEndpoint, Identity
from agent.uplink import trust
from agent.uplink.broker_client import BrokerClient, EventName
from agent.uplink.causes import UplinkLost
from agent.uplink.keepalive import IDENTIFIER_REJECTED, Keepalives

PATIENCE_S = 20.0


def try_session(mine: Identity, endpoint: BrokerEndpoint, patience_s: float = PATIENCE_S) -> int:
    """Connects, subscribes to receipts, leaves; returns the keepalive that the broker allowed, seconds. Only while no
    agent runs: the broker ends the older of two sessions. Raises UplinkLost, IdentityError, OSError."""
    keepalives = Keepalives()
    while True:
        try:
            _session(mine, endpoint, keepalives.of(endpoint), patience_s)
            return keepalives.of(endpoint)
        except UplinkLost as error:
            if error.code != IDENTIFIER_REJECTED or not keepalives.refused(endpoint):
                raise


def _session(mine: Identity, endpoint: BrokerEndpoint, keepalive_s: int, patience_s: float) -> None:
    events: queue.Queue[tuple[EventName, object]] = queue.Queue()
    clock = trust.TrustedClock()
    client = BrokerClient(mine.device, endpoint.transport, clock, patience_s)
    client.report(lambda name, detail=None: events.put((name, detail)))
    if endpoint.tls:
        client.tls_set_context(trust.broker_context(mine.tls, clock))
    try:
        client.connect(endpoint.host, endpoint.port, keepalive_s)
        client.loop_start()
        _expect(events, "connected", patience_s, is_tls=endpoint.tls)
        client.subscribe([(wire.receipt_topic(mine.device), 1), (wire.task_topic(mine.device), 1)])
        _expect(events, "subscribed", patience_s, is_tls=False)
    finally:
        client.leave()


def _expect(
    events: queue.Queue[tuple[EventName, object]], expected: EventName, patience_s: float, *, is_tls: bool
) -> None:
    try:
        name, detail = events.get(timeout=patience_s)
    except queue.Empty:
        raise TimeoutError(f"the broker did not answer `{expected}` within {patience_s:g} s") from None
    if isinstance(detail, UplinkLost):
        if is_tls and detail.cause == "ended":  # in TLS 1.3 a server refuses a certificate after the handshake
            raise UplinkLost("refused", f"the broker refused this gateway's certificate ({describe(detail)})")
        raise detail
    if name != expected:
        raise UplinkLost("ended", f"the broker answered `{name}` where `{expected}` was awaited")
