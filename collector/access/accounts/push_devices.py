"""Devices that take messages of a person by Web Push: what a browser gave for it when the person asked (W3C Push API,
PushSubscription). An endpoint is the address of a push service; whoever has it and the keys can send to the device.

The collector sends to the endpoint, so only known push services count: a person must not make it ask other machines.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec

from agent.common import base64url
from collector.access import users
from collector.access.accounts.policy import Account
from collector.access.users import PersonError
from collector.store import schema, upsert

MAX_DEVICES = 10  # of one person
MAX_ANSWER = 4000  # letters of what a browser gives
MAX_ENDPOINT, MAX_AGENT = 1000, 200
POINT_BYTES, AUTH_BYTES = 65, 16  # RFC 8291: an uncompressed point of P-256, and a secret

_p = schema.push_devices.c


@dataclass(frozen=True)
class PushDevice:
    """A row; `id` is the hash of the endpoint, which is a secret of the device."""

    id: str
    person: str
    endpoint: str
    public_key: bytes
    auth: bytes
    agent: str
    added_ms: int


def parse(answer: str, account: Account, services: Sequence[str], agent: str, now_ms: int) -> PushDevice:
    """Of a PushSubscription as JSON. Raises PersonError."""
    try:
        given = json.loads(answer[:MAX_ANSWER])
        endpoint, keys = str(given["endpoint"]), given["keys"]
        public_key, auth = base64url.decode(str(keys["p256dh"])), base64url.decode(str(keys["auth"]))
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PersonError("bad_device", f"device: cannot be taken ({type(error).__name__}); turn it on again") from None
    if len(public_key) != POINT_BYTES or len(auth) != AUTH_BYTES:
        raise PersonError("bad_device", "device: its keys are of another length than RFC 8291 has; turn it on again")
    if len(endpoint) > MAX_ENDPOINT or not is_service(endpoint, services):
        raise PersonError("bad_device", "device: its push service is none of [alerts] push_services; have it added")
    return PushDevice(id_of(endpoint), account.key, endpoint, public_key, auth, agent[:MAX_AGENT], now_ms)


def is_service(endpoint: str, services: Sequence[str]) -> bool:
    """Whether this is an address at one of these: a host, `*.` and a domain, or a loopback address with its port."""
    try:
        parts = urlsplit(endpoint)
        host, place = parts.hostname or "", parts.netloc
    except ValueError:
        return False
    if not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint or "@" in place:
        return False
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        return False
    return any(place == one or (one.startswith("*.") and place.endswith(one[1:])) for one in services)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def id_of(endpoint: str) -> str:
    return hashlib.sha256(endpoint.encode()).hexdigest()


# ---------------------------------------------------------------- the table


def of_person(conn: sa.Connection, key: str) -> list[PushDevice]:
    """The newest first."""
    rows = conn.execute(sa.select(schema.push_devices).where(_p.person == key).order_by(_p.added_ms.desc(), _p.id))
    devices = []
    for row in rows:
        secrets = {name: base64url.decode(row._mapping[name]) for name in ("public_key", "auth")}
        devices.append(PushDevice(**{**row._mapping, **secrets}))
    return devices


def people(conn: sa.Connection) -> set[str]:
    """The keys of whoever has one."""
    return set(conn.scalars(sa.select(_p.person).distinct()))


def add(conn: sa.Connection, device: PushDevice, account: Account, now_ms: int) -> None:
    """A device is one person's: whoever turned it on last. Raises PersonError."""
    others = [one for one in of_person(conn, account.key) if one.id != device.id]
    if len(others) >= MAX_DEVICES:
        raise PersonError("bad_device", f"device: there are {MAX_DEVICES} already; turn one off first")
    row = {**vars(device), "public_key": base64url.encode(device.public_key), "auth": base64url.encode(device.auth)}
    upsert(conn, schema.push_devices, [row])
    users.record(conn, "push_added", account.name, now_ms, is_proven=True, reason=device.agent)


def remove(conn: sa.Connection, account: Account, device: str, now_ms: int) -> None:
    """One of this account, if it is one."""
    if conn.execute(sa.delete(schema.push_devices).where(_p.id == device, _p.person == account.key)).rowcount:
        users.record(conn, "push_removed", account.name, now_ms, is_proven=True)


def drop(conn: sa.Connection, device: str) -> None:
    """Its push service says that it is gone."""
    conn.execute(sa.delete(schema.push_devices).where(_p.id == device))
