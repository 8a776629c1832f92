"""What a verification knew at the end of each day, kept so that the next one can go on from there.

A month's row says of each day what was stored (collector.reports.audit.day_contents) and where the replay stood: boots'
clocks, what was held of spools, the digest of what was received. It carries a code that only the collector's key makes
(HMAC, RFC 2104); one that is wrong, or of another program, is as none.
"""

from __future__ import annotations

import hashlib
import hmac
import zlib
from dataclasses import dataclass, field

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent import __version__
from agent.common.reasons import UNREADABLE
from collector.common.sequence_ranges import Range
from collector.ingest.spools import SpoolState
from collector.ingest.times.boot_clocks import BootClocks
from collector.ingest.times.event_time import Ahead
from collector.reports.audit.day_contents import Contents
from collector.reports.audit.replay import Replay
from collector.store import schema, upsert

DAY_MS = 86_400_000
BOOTS = 64  # of a center that are remembered, the newest: one that is older makes all be looked at again
KEY_INFO = b"nabz verified months"

_v = schema.verified_months.c


class ReplayState(msgspec.Struct, frozen=True, array_like=True):
    """Where a replay stood at the end of a day of receipt: (device, boot, its clock) and (device, spool, ranges,
    marks), and the day's own batches with their digest."""

    boots: list[tuple[str, str, Ahead]] = []
    spools: list[tuple[str, str, list[Range], list[tuple[int, int]]]] = []
    batches: int = 0
    sha256: str = hashlib.sha256().hexdigest()

    @property
    def clocks(self) -> BootClocks:
        return BootClocks({(device, boot): ahead for device, boot, ahead in self.boots})

    @property
    def held(self) -> dict[tuple[str, str], SpoolState]:
        return {
            (device, spool): SpoolState([Range(*one) for one in ranges], marks=marks)
            for device, spool, ranges, marks in self.spools
        }


class VerifiedDay(msgspec.Struct, frozen=True, array_like=True):
    """`contents` is the digest of what was stored; empty: nothing was."""

    contents: str
    state: ReplayState


VerifiedDays = dict[int, VerifiedDay]
"""By when the days begin; of every day from the first to the last."""


class _Body(msgspec.Struct):
    version: str
    days: VerifiedDays


@dataclass(frozen=True)
class Start:
    """Where a verification begins that has less than all to look at: `day_ms` is the first day of which something is
    stored otherwise than it was, `before` are the days before it, as they were."""

    day_ms: int
    before: VerifiedDays

    @property
    def begin_ms(self) -> int:
        """From this time of receipt on batches are taken in again: clocks may run ahead of ours."""
        return self.day_ms - DAY_MS

    @property
    def state(self) -> ReplayState:
        return self.before[self.begin_ms - DAY_MS].state


def start_of(known: VerifiedDays, contents: Contents) -> Start | None:
    """Pure. None where all is to be looked at."""
    days = sorted(known)
    if not days:
        return None
    stored = {day_ms: day.contents for day_ms, day in known.items() if day.contents}
    first = min((day for day in stored.keys() | contents if stored.get(day) != contents.get(day)), default=None)
    day_ms = days[-1] + DAY_MS if first is None else min(first, days[-1] + DAY_MS)
    before = {day: known[day] for day in days if day < day_ms}
    return Start(day_ms, before) if day_ms - 2 * DAY_MS in before else None


@dataclass
class DayNotes:
    """States of a replay, taken down as its days end."""

    states: dict[int, ReplayState] = field(default_factory=dict)

    def note(self, day_ms: int, replay: Replay) -> None:
        """To be called when all batches that were received on that day have been taken."""
        replay.finish()
        own = replay.days.get(day_ms)
        boots = [(*key, ahead) for key, ahead in list(replay.boots.known.items())[-BOOTS:]]
        spools = [(*key, list(state.ranges), list(state.marks)) for key, state in replay.spools.items()]
        digest = (own.batches, own.sha256) if own else ()
        self.states[day_ms] = ReplayState(boots, spools, *digest)

    def days(self, first_ms: int, last_ms: int, contents: Contents) -> VerifiedDays:
        """Of each day between these midnights; on one without batches all stood as it did on the day before."""
        by_day, state = {}, ReplayState()
        for day_ms in range(first_ms, last_ms + 1, DAY_MS):
            quiet = ReplayState(state.boots, state.spools)
            state = self.states.get(day_ms, quiet)
            by_day[day_ms] = VerifiedDay(contents.get(day_ms, ""), state)
        return by_day


# ---------------------------------------------------------------- keeping them


def mac_key(collector_key: Ed25519PrivateKey) -> bytes:
    """Drawn from the collector's (HKDF, RFC 5869)."""
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=KEY_INFO)
    return derived.derive(collector_key.private_bytes_raw())


def load(conn: sa.Connection, code: str, month_ms: int, key: bytes) -> VerifiedDays:
    """Empty where there is no row, or one that the key did not make."""
    mine = (_v.center == code) & (_v.from_ms == month_ms)
    row = conn.execute(sa.select(_v.body, _v.mac).where(mine)).one_or_none()
    if row is None or not hmac.compare_digest(bytes(row.mac), _mac(key, code, month_ms, bytes(row.body))):
        return {}
    try:
        content = msgspec.json.decode(zlib.decompress(bytes(row.body)), type=_Body)
    except (zlib.error, *UNREADABLE):  # of an older program
        return {}
    return content.days if content.version == __version__ else {}


def save(conn: sa.Connection, code: str, month_ms: int, days: VerifiedDays, key: bytes, now_ms: int) -> None:
    body = zlib.compress(msgspec.json.encode(_Body(__version__, days)))
    row = {"center": code, "from_ms": month_ms, "verified_ms": now_ms, "body": body}
    upsert(conn, schema.verified_months, [{**row, "mac": _mac(key, code, month_ms, body)}])


def forget(conn: sa.Connection, code: str, month_ms: int) -> None:
    """Something differs: nothing of it counts as verified."""
    conn.execute(sa.delete(schema.verified_months).where((_v.center == code) & (_v.from_ms == month_ms)))


def _mac(key: bytes, code: str, month_ms: int, body: bytes) -> bytes:
    return hmac.digest(key, f"{code} {month_ms} ".encode() + body, "sha256")
