"""Settings for brokers of other makes, generated from ours: the same listeners, names, rules and limits. Pure.

What a make cannot do is noted in the file itself, and in docs/developer/brokers.md. What changes by itself stands in
files of its own (`CHANGING`), which a running collector keeps (`collector.brokers.external`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agent import wire
from collector.access.acl import GATEWAY_PUBLISHES, GATEWAY_SUBSCRIBES
from collector.access.people import People
from collector.brokers.listeners import MAX_CONNECTIONS, MAX_PACKET_BYTES
from collector.common.config import EVERYWHERE

IN_FLIGHT = 100  # messages in flight to one client; a gateway has few, a collector many
QUEUED = 100_000  # waiting for one client; what is dropped is sent again, as it has no receipt
QUEUED_BYTES = 256 * 1024 * 1024
IN_FLIGHT_BYTES = 8 * 1024 * 1024  # sent to one client and not acknowledged
PENDING_BYTES = 64 * 1024 * 1024  # for one client on its way: more than IN_FLIGHT of the longest, or NATS ends it
MEMORY_BYTES = 3 * 1024**3  # of the whole: 20,000 sessions of 51 kB, and the queues of services
SUBSCRIPTIONS = 16  # of one session; a gateway has two, a service three


@dataclass(frozen=True, kw_only=True)
class ClusterSite:
    """Of one machine of several that are one broker: `node` is its number, from 1, and its place among `members`."""

    node: int
    members: Sequence[tuple[str, int]]
    password: str

    @property
    def replicas(self) -> int:
        return min(3, len(self.members))


@dataclass(frozen=True, kw_only=True)
class BrokerSite:
    """Where the broker listens, and its accounts. `websocket` may be None. Certificates lie beside the settings."""

    tls: tuple[str, int]
    websocket: tuple[str, int] | None
    people: People
    folder: str
    cluster: ClusterSite | None = None


@dataclass(frozen=True, kw_only=True)
class ChildSite:
    """Of a Mosquitto that is a child of ours: `plain` on loopback without TLS, the others as (protocol, address)."""

    plain: tuple[str, int]
    listeners: Sequence[tuple[str, tuple[str, int]]]
    people: People
    folder: str

    @property
    def places(self) -> list[tuple[str, int]]:
        return [self.plain, *(place for _, place in self.listeners)]


CERTIFICATES = {"ca": "ca.pem", "cert": "server.crt", "key": "server.key", "crl": "crl.pem"}


def mosquitto(site: BrokerSite) -> Mapping[str, str]:
    """File name -> content. Mosquitto 2.0 or newer."""
    listeners = [("mqtt", site.tls)] + ([("websockets", site.websocket)] if site.websocket else [])
    return {"mosquitto.conf": _mosquitto_conf(site, listeners), **mosquitto_people(site.people)}


def _mosquitto_conf(site: BrokerSite, listeners: Sequence[tuple[str, tuple[str, int]]]) -> str:
    return "\n".join(
        [
            "# Made by `nabz-collector broker-config mosquitto`, anew by each run: change Nabz's settings instead.",
            "# A collector that has this folder in [[broker.outside]] keeps `acl` and the certificates by itself; else",
            "# run it daily and after a revocation, and `systemctl reload mosquitto`. A reload ends no session, but a",
            "# revoked gateway can neither send nor receive from then on; such a collector ends its session too. The",
            "# revocation list is not read at the WebSocket listener (2.0.11), so there the file `acl` alone refuses.",
            "# Every worker needs a certificate of its own: two sessions of one put each other out.",
            "# Mosquitto has no rate of messages: who floods is held up by the collector's quotas. What is retained is",
            "# bounded by `acl` to the three topics of each gateway; retain_available false would end its sessions.",
            "per_listener_settings false",
            "allow_anonymous false",
            f"acl_file {site.folder}/acl",
            *_MOSQUITTO_BOUNDS,
            "log_type error",
            "log_type warning",
            "log_type notice",
            *(line for protocol, place in listeners for line in _mosquitto_listener(site.folder, protocol, place)),
            "",
        ]
    )


_MOSQUITTO_BOUNDS = (
    "persistence false",
    f"max_packet_size {MAX_PACKET_BYTES}",
    f"max_inflight_messages {IN_FLIGHT}",
    f"max_queued_messages {QUEUED}",
    f"max_queued_bytes {QUEUED_BYTES}",
    f"max_inflight_bytes {IN_FLIGHT_BYTES}",
    f"memory_limit {MEMORY_BYTES}",
    "max_topic_alias 0",
    "queue_qos0_messages false",
    "sys_interval 0",
    "set_tcp_nodelay true",
)


def mosquitto_child(site: ChildSite, *, is_root: bool) -> str:
    """The content of `mosquitto.conf` for a child of ours. Each listener has rules of its own: at the one on loopback
    everybody may do everything, as at the embedded broker's."""
    host, port = site.plain
    lines = [
        "# Made by the collector at each start: change Nabz's settings instead.",
        "per_listener_settings true",
        *(["user root"] if is_root else []),  # else it would give that up, and with it our folder
        *_MOSQUITTO_BOUNDS,
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type information",  # that it runs
        "log_type notice",
        "connection_messages true",  # from which address each session comes: collector.brokers.session_log
        "",
        f"listener {port} {host}",
        f"max_connections {MAX_CONNECTIONS}",
        "max_qos 1",
        "allow_anonymous true",
    ]
    for protocol, place in site.listeners:
        lines += _mosquitto_listener(site.folder, protocol, place)
        lines += ["allow_anonymous false", f"acl_file {site.folder}/acl"]
    return "\n".join([*lines, ""])


def _mosquitto_listener(folder: str, protocol: str, place: tuple[str, int]) -> list[str]:
    host, port = place
    files = {word: f"{folder}/{name}" for word, name in CERTIFICATES.items()}
    return [
        "",
        # At the WebSocket listener Mosquitto looks for an interface of that name, and there is none of "0.0.0.0".
        f"listener {port}" if host in EVERYWHERE else f"listener {port} {host}",
        f"protocol {protocol}",
        f"max_connections {MAX_CONNECTIONS}",
        "max_qos 1",
        f"cafile {files['ca']}",
        f"certfile {files['cert']}",
        f"keyfile {files['key']}",
        f"crlfile {files['crl']}",
        "tls_version tlsv1.3",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
    ]


def mosquitto_people(people: People) -> Mapping[str, str]:
    """Patterns hold for everybody, with the common name of the certificate for %u."""
    lines = ["# Made by `nabz-collector broker-config mosquitto`."]
    lines += [f"pattern write {wire.ROOT}/{kind}/%u" for kind in GATEWAY_PUBLISHES]
    lines += [f"pattern read {wire.ROOT}/{kind}/%u" for kind in GATEWAY_SUBSCRIBES]
    for service in people.services:
        lines += ["", f"user {service}"]
        lines += [f"topic read {wire.ROOT}/{kind}/+" for kind in GATEWAY_PUBLISHES]
        lines += [f"topic write {wire.ROOT}/{kind}/+" for kind in GATEWAY_SUBSCRIBES]
    for name in people.revoked:
        lines += ["", f"user {name}", "topic deny #"]
    return {"acl": "\n".join([*lines, ""])}


def nats(site: BrokerSite) -> Mapping[str, str]:
    """File name -> content. NATS server 2.10 or newer; of a cluster one that knows `js_api_timeout` (tested: 2.15)."""
    return {"nats.conf": _nats_conf(site), **nats_people(site.people)}


_NATS_HEAD = (
    "# Made by `nabz-collector broker-config nats`, anew by each run: change Nabz's settings instead.",
    "# NATS has no patterns for permissions: every gateway is a user in `users.conf`. A collector that has",
    "# this folder in [[broker.outside]] keeps it by itself; else run it after each enrolment and revocation,",
    "# then `nats-server --signal reload`. A gateway gone from the list is disconnected at once.",
    "# NATS does not hold client ids against certificates: a gateway that shows another's ends that one's",
    "# session, though it can neither publish nor receive in its name. It reads no revocation list either.",
    "# It has no rate of messages: who floods is held up by the collector's quotas.",
)


def _nats_conf(site: BrokerSite) -> str:
    tls = _block(
        "tls",
        [
            *(f"{word}_file: {json.dumps(f'{site.folder}/{CERTIFICATES[word]}')}" for word in ("ca", "cert", "key")),
            'min_version: "1.3"',
            "verify_and_map: true",
            'timeout: "59s"',
        ],
    )
    # A subscription waits for the election of who keeps it, 4 to 9 s after a machine died; NATS waits for 5.
    copies = [f"stream_replicas: {site.cluster.replicas}", 'js_api_timeout: "12s"'] if site.cluster else []
    bounds = [f"max_ack_pending: {IN_FLIGHT}", "reject_qos2_publish: true"]
    listeners = _block("mqtt", [_listen(site.tls), *tls, *bounds, *copies])
    if site.websocket:
        listeners += _block("websocket", [_listen(site.websocket), *tls, "compression: false"])
    stored = ["max_file_store: 4GB", f"max_memory_store: {QUEUED_BYTES}"]
    return "\n".join(
        [
            *_NATS_HEAD,
            f"server_name: nabz-{site.cluster.node}" if site.cluster else "server_name: nabz",
            'listen: "127.0.0.1:4222"',
            f"max_payload: {MAX_PACKET_BYTES}",
            f"max_connections: {MAX_CONNECTIONS}",
            f"max_subscriptions: {SUBSCRIPTIONS}",
            f"max_pending: {PENDING_BYTES}",
            'write_deadline: "10s"',
            *(_patience() if site.cluster else []),
            *_block("jetstream", [f"store_dir: {json.dumps(f'{site.folder}/store')}", *stored]),
            *(_nats_cluster(site.cluster) if site.cluster else []),
            *listeners,
            'include "users.conf"',
            "",
        ]
    )


def _patience() -> list[str]:
    """A machine that is cut off is a peer for 60 to 90 s else (pings each 30 s, two of them missing), and what is asked
    of it waits. MQTT's own sessions have MQTT's pings."""
    return ['ping_interval: "4s"', "ping_max: 2"]


def _nats_cluster(cluster: ClusterSite) -> list[str]:
    """The machines talk among themselves without TLS, by a password: on a network of their own."""
    password, (host, port) = json.dumps(cluster.password), cluster.members[cluster.node - 1]
    routes = [f"nats://nabz:{cluster.password}@{host}:{port}" for host, port in cluster.members]
    authorization = f'authorization: {{user: "nabz", password: {password}, timeout: 10}}'
    return _block("cluster", ["name: nabz", _listen((host, port)), authorization, f"routes: {json.dumps(routes)}"])


def nats_people(people: People) -> Mapping[str, str]:
    users = [_nats_user(name, GATEWAY_SUBSCRIBES, GATEWAY_PUBLISHES, "*") for name in people.services]
    users += [_nats_user(name, GATEWAY_PUBLISHES, GATEWAY_SUBSCRIBES, name) for name in people.gateways]
    listed = ["users: [", *(f"  {user}" for user in users), "]"]
    return {"users.conf": "\n".join([*_block("authorization", ['timeout: "59s"', *listed]), ""])}


def _listen(place: tuple[str, int]) -> str:
    return f'listen: "{place[0]}:{place[1]}"'


def _block(name: str, lines: Sequence[str]) -> list[str]:
    return [f"{name} {{", *(f"  {line}" for line in lines), "}"]


def _nats_user(name: str, publishes: Sequence[str], subscribes: Sequence[str], whose: str) -> str:
    """NATS writes the levels of a topic with full stops. `$MQTT.sub` carries its own deliveries of QoS 1."""
    root = wire.ROOT.replace("/", ".")
    publish = [f"{root}.{kind}.{whose}" for kind in publishes]
    subscribe = [f"{root}.{kind}.{whose}" for kind in subscribes] + ["$MQTT.sub.>"]
    rules = {"publish": {"allow": publish}, "subscribe": {"allow": subscribe}}
    return f"{{user: {json.dumps(f'CN={name}')}, permissions: {json.dumps(rules)}}}"


Make = Literal["mosquitto", "nats"]
MAKES: dict[Make, Callable[[BrokerSite], Mapping[str, str]]] = {"mosquitto": mosquitto, "nats": nats}
CHANGING: dict[Make, Callable[[People], Mapping[str, str]]] = {"mosquitto": mosquitto_people, "nats": nats_people}
