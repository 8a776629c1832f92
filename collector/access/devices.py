"""Gateways as the collector knows them: their certificates, and their end.

A revocation is one row. Ingest reads it with each group of messages, so no batch is taken and no receipt given from its
commit on; renewal is refused; the sessions are ended by what runs the broker (`revoked`, `write_crl`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization

from agent.common.reasons import encode
from collector.access import users
from collector.access.ca import Issuer, checked_csr
from collector.access.people import People
from collector.common.messages import DeviceFinding
from collector.store import schema
from collector.store.journal import journaled

DAY_MS = 86_400_000
MAX_LIFE_MS = 400 * DAY_MS  # older certificates are of no more use than none
MAX_A_DAY = 20  # certificates one gateway may have issued in a day: keys do not change that often


class DeviceError(Exception):
    """A request about a gateway cannot be met; one sentence with the thing, the rule and the fix."""


def certificate(conn: sa.Connection, authority: Issuer, device: str, csr_pem: str, now_ms: int) -> str:
    """The PEM chain for the key of this request: the one it has until half of its life, then a new one; at once when a
    rollover has replaced the root of the one it has.

    Raises ca.CsrRefused, or DeviceError when it has had too many today.
    """
    table = schema.certificates
    spki = checked_csr(csr_pem, device).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    key_hash = hashlib.sha256(spki).hexdigest()
    mine = sa.select(table).where(table.c.device == device, table.c.issued_ms > now_ms - MAX_LIFE_MS)
    held = conn.execute(mine.order_by(table.c.issued_ms.desc())).all()
    for row in held:
        young = row.issued_ms <= now_ms < (row.issued_ms + row.expires_ms) // 2
        if row.key_hash == key_hash and young and authority.is_of_newest(row.pem):
            return str(row.pem)
    if sum(row.issued_ms > now_ms - DAY_MS for row in held) >= MAX_A_DAY:
        raise DeviceError(f"gateway {device}: had {MAX_A_DAY} certificates today; keep a key for a certificate's life")
    issued = authority.issue_gateway(csr_pem, device, now_ms)
    pem = issued.cert_pem.decode()
    about = {"serial": issued.serial, "device": device, "key_hash": key_hash, "pem": pem}
    conn.execute(sa.insert(table).values(**about, issued_ms=now_ms, expires_ms=issued.not_after_ms))
    return pem


def of_older_roots(conn: sa.Connection, authority: Issuer, now_ms: int) -> list[str]:
    """Gateways that count and whose every valid certificate is of a root before the newest: to retire that would shut
    them out at brokers. One whose certificate ran out is none of them: it renews at the web listener, which requires
    none."""
    certificates, known = schema.certificates.c, schema.devices.c
    query = (
        sa.select(certificates.device, certificates.pem)
        .join(schema.devices, known.device == certificates.device)
        .where(known.revoked_ms.is_(None), certificates.expires_ms > now_ms)
    )
    held: dict[str, bool] = {}
    for row in conn.execute(query):
        held[row.device] = held.get(row.device, False) or authority.is_of_newest(row.pem)
    return sorted(device for device, is_new in held.items() if not is_new)


def revoke(conn: sa.Connection, device: str, by: str, reason: str, now_ms: int) -> int:
    """Since when this gateway is revoked, in ms; a second time changes nothing. Raises DeviceError."""
    table = schema.devices
    held = conn.execute(sa.select(table.c.revoked_ms).where(table.c.device == device)).one_or_none()
    if held is None:
        raise DeviceError(f"gateway {device[:40]!r}: is not enrolled; see `nabz-collector device list`")
    if held.revoked_ms is not None:
        return int(held.revoked_ms)
    conn.execute(sa.update(table).where(table.c.device == device).values(revoked_ms=now_ms))
    row = {"device": device, "at_ms": now_ms, "revoked_by": by, "reason": reason}
    conn.execute(sa.insert(schema.revocations).values(row))
    journaled(conn, table, device)
    journaled(conn, schema.revocations, device)
    users.record(conn, "device_revoked", by, now_ms, device=device, reason=reason)
    return now_ms


def revoked(conn: sa.Connection, since_ms: int = 0) -> frozenset[str]:
    """The names of all gateways that were revoked at that time or later."""
    table = schema.devices.c
    return frozenset(conn.scalars(sa.select(table.device).where(table.revoked_ms >= since_ms)))


def trusted(conn: sa.Connection) -> list[str]:
    """The names of all gateways that are not revoked, in order."""
    table = schema.devices.c
    return list(conn.scalars(sa.select(table.device).where(table.revoked_ms.is_(None)).order_by(table.device)))


def people(conn: sa.Connection, services: Sequence[str]) -> People:
    """The accounts of a broker."""
    return People(services=services, gateways=trusted(conn), revoked=sorted(revoked(conn)))


def revoked_serials(
    conn: sa.Connection, now_ms: int, put_out: Collection[str] = frozenset()
) -> Sequence[tuple[str, int]]:
    """(serial, since when in ms) of each certificate that has not run out of a gateway that is revoked, or put out."""
    certificates, devices = schema.certificates.c, schema.devices.c
    query = (
        sa.select(certificates.serial, sa.func.coalesce(devices.revoked_ms, certificates.issued_ms))
        .join(schema.devices, devices.device == certificates.device)
        .where(devices.revoked_ms.is_not(None) | devices.device.in_(put_out), certificates.expires_ms > now_ms)
        .order_by(certificates.serial)
    )
    return [(serial, since_ms) for serial, since_ms in conn.execute(query)]


def listing(conn: sa.Connection, center: str = "") -> list[dict[str, object]]:
    """Every gateway, or those of a center: when it joined, when its newest certificate runs out, whether it is out."""
    devices, revocations = schema.devices.c, schema.revocations.c
    expiry = (
        sa.select(sa.func.max(schema.certificates.c.expires_ms))
        .where(schema.certificates.c.device == devices.device)
        .scalar_subquery()
        .label("expires_ms")
    )
    query = (
        sa.select(
            devices.device, devices.center, devices.hostname, devices.version, devices.enrolled_ms, expiry,
            devices.revoked_ms, revocations.revoked_by, revocations.reason,
        )
        .outerjoin_from(schema.devices, schema.revocations, revocations.device == devices.device)
        .order_by(devices.center, devices.enrolled_ms)
    )  # fmt: skip
    return [dict(row._mapping) for row in conn.execute(query.where(devices.center == center) if center else query)]


def record_findings(conn: sa.Connection, findings: Sequence[DeviceFinding], now_ms: int) -> None:
    """Writes the findings of known gateways to the integrity table; others have no center."""
    names = {item.device for item in findings}
    known = schema.devices.c
    query = sa.select(known.device, known.center).where(known.device.in_(names))
    centers = {row.device: row.center for row in conn.execute(query)}
    rows = [
        {
            "at_ms": now_ms,
            "center": centers[item.device],
            "device": item.device,
            "finding": item.finding,
            "detail": encode(item.detail),
        }
        for item in findings
        if item.device in centers
    ]
    if rows:
        conn.execute(sa.insert(schema.integrity), rows)
