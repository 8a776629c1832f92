"""Users who prove their name by a password: who may issue tokens, who may approve gateways. Their accounts, with roles
and scopes, are collector.access.accounts.

As long as nobody has ever been registered who may issue or approve, names are what people give on the command line:
recorded, not proven. From the first of these on a name counts only with its password, also when everybody has been
removed again: removing people must not weaken anything. A process that can write the database or run `nabz-collector
person` is trusted.
"""

from __future__ import annotations

import hashlib
import ipaddress
import threading
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import sqlalchemy as sa

from collector.access import passwords
from collector.store import Store, schema
from collector.store.journal import journaled, leaves

MAX_NAME = 64
May = Literal["issue", "approve"]
MAY: tuple[May, ...] = get_args(May)
Why = Literal[
    "bad_name", "weak", "known", "unknown", "wrong", "too_many", "busy", "not_proven", "may_not", "not_waiting",
    "which_center", "own_token", "maker_not_proven", "bad_role", "no_scope", "last_admin", "no_link", "out_of_scope",
    "wrong_code", "no_token", "no_key", "no_contact", "bad_contact", "bad_device",
    "oidc_away", "oidc_refused", "oidc_unknown",
]  # fmt: skip
Doubt = Literal["nobody", "no_pair"]

TRIES_AN_HOUR, HOUR_MS = 20, 3_600_000
ADDRESS_TRIES_AN_HOUR = 100  # of one group of addresses, which may be an office or a carrier
GROUP_BITS = {4: 24, 6: 56}  # of an address, that its group has in common
BUSY_S = 2.0
_one_at_a_time = threading.Lock()  # a comparison takes 46 MiB


class PersonError(Exception):
    """Not done: a named reason, and one sentence with the thing, the rule and the fix."""

    def __init__(self, reason: Why, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class Proven:
    """A person who gave their password; `proof` is what a transaction compares with the register once more."""

    name: str
    proof: str


def named(name: str) -> str:
    """A person's name as it is recorded. Raises PersonError."""
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise PersonError("bad_name", f"--by {name[:40]!r}: must be a name of 1 to {MAX_NAME} letters; give yours")
    return name


def key_of(name: str) -> str:
    """The same for every way of writing one name: large, small, wide, with more spaces."""
    return unicodedata.normalize("NFKC", " ".join(name.split())).casefold()


# ---------------------------------------------------------------- the register


def registered(conn: sa.Connection) -> bool:
    """Whether there was ever anybody who may issue or approve: from then on names are proven."""
    table = schema.persons
    return conn.scalar(sa.select(sa.func.count()).select_from(table).where(table.c.had_rights)) != 0


def listing(conn: sa.Connection) -> list[dict[str, object]]:
    """Everybody, also those removed, without what is kept of their passphrases."""
    rows = conn.execute(sa.select(schema.persons).order_by(schema.persons.c.key))
    return [{name: value for name, value in row._mapping.items() if name not in ("key", "kept")} for row in rows]


def add(
    conn: sa.Connection, name: str, kept: str, may: Collection[May], by: str, now_ms: int, *, role: str = "desk",
    scope: str = "{}", is_proven: bool = False,
) -> None:  # fmt: skip
    """A new person, or one who was removed and comes back; `kept` is of `passwords.hash_password`. Raises
    PersonError."""
    name, held = named(name), _row(conn, name)
    if held is not None and held.removed_ms is None:
        raise PersonError("known", f"person {name!r}: is registered already; use `nabz-collector person password`")
    table = schema.persons
    had_rights = bool(may) or (held is not None and held.had_rights)
    row = {"name": name, "kept": kept, "role": role, "scope": scope, "had_rights": had_rights, "oidc": ""}
    row |= {f"may_{item}": item in may for item in MAY}
    since = {"added_ms": now_ms, "added_by": by, "removed_ms": None}
    journaled(conn, table, key_of(name))
    if held is None:
        conn.execute(sa.insert(table).values(key=key_of(name), **row, **since))
    else:
        conn.execute(sa.update(table).where(table.c.key == key_of(name)).values(**row, **since))
    given = " ".join((role, scope, *sorted(may)))
    record(conn, "person_added", by, now_ms, is_proven=is_proven, subject=name, reason=given)


def renew(conn: sa.Connection, name: str, kept: str, by: str, now_ms: int, *, is_proven: bool = False) -> None:
    """Another password for a person; the old one counts no more. Raises PersonError."""
    _change(conn, name, {"kept": kept})
    record(conn, "person_renewed", by, now_ms, is_proven=is_proven, subject=name)


def remove(conn: sa.Connection, name: str, by: str, now_ms: int, *, is_proven: bool = False) -> None:
    """The name proves nothing any more. What was decided stands. Raises PersonError."""
    _change(conn, name, {"removed_ms": now_ms})
    record(conn, "person_removed", by, now_ms, is_proven=is_proven, subject=name)


def _change(conn: sa.Connection, name: str, values: dict[str, object]) -> None:
    table = schema.persons
    journaled(conn, table, key_of(name))
    mine = sa.and_(table.c.key == key_of(name), table.c.removed_ms.is_(None))
    if not conn.execute(sa.update(table).where(mine).values(values)).rowcount:
        raise PersonError("unknown", f"person {name[:40]!r}: is not registered; see `nabz-collector person list`")


def _row(conn: sa.Connection, name: str) -> sa.Row[tuple[object, ...]] | None:
    return conn.execute(sa.select(schema.persons).where(schema.persons.c.key == key_of(name))).one_or_none()


def doubt(conn: sa.Connection) -> Doubt | None:
    """What keeps a second person from being proven: nobody is registered, or no two of whom one may issue tokens and
    another approve."""
    if not registered(conn):
        return "nobody"
    active = [row for row in listing(conn) if row["removed_ms"] is None]
    issue, approve = ({row["name"] for row in active if row[f"may_{may}"]} for may in MAY)
    return None if issue and approve and len(issue | approve) > 1 else "no_pair"


DOUBTS: dict[Doubt, str] = {
    "nobody": "nobody is registered, so names are recorded as given, not proven; use `nabz-collector person add NAME`",
    "no_pair": "no two persons are registered of whom one may issue tokens and another approve, so no gateway can be "
    "let in; use `nabz-collector person add NAME`",
}


# ---------------------------------------------------------------- the proof


def prove(store: Store, name: str, secret: str, now_ms: int, *, counted: bool, address: str = "") -> Proven:
    """The person of this name, whose password `secret` is. Raises PersonError: the same for names that nobody has.

    `counted` guesses are bounded by the hour, name and group of addresses, in the database, so that a restart forgets
    none. A person with access to the collector's files could try the stored hashes anyway: there nothing is counted, so
    nobody is locked out."""
    name = named(name)
    with _alone():
        guesses = _count(store, name, now_ms, address) if counted else ()
        with store.read() as conn:
            row = _row(conn, name)
        known = row is not None and row.removed_ms is None
        if not passwords.verify(secret, row.kept if row is not None and known else passwords.DUMMY_HASH) or row is None:
            raise PersonError("wrong", "name or password: do not fit; try again, or have `person password` run")
        forgive(store, guesses)
        return Proven(row.name, row.kept)


@contextmanager
def _alone() -> Iterator[None]:
    if not _one_at_a_time.acquire(timeout=BUSY_S):
        raise PersonError("busy", "passwords: too many are compared at once; try again in a moment")
    try:
        yield
    finally:
        _one_at_a_time.release()


def _count(store: Store, name: str, now_ms: int, address: str) -> list[int]:
    """Counts a guess before it is compared, so that none of many at once escapes. Returns its rows' ids."""
    bounds = {key_of(name): TRIES_AN_HOUR} | ({f"address {address}": ADDRESS_TRIES_AN_HOUR} if address else {})
    return count_guess(store, bounds, now_ms)


def count_guess(store: Store, bounds: Mapping[str, int], now_ms: int) -> list[int]:
    """Notes a guess against each of these, which may take so many in an hour. Returns its rows' ids, for `forgive`.
    Raises PersonError for one too many."""
    table, ids = schema.wrong_tries, []
    with store.write() as conn:
        conn.execute(sa.delete(table).where(table.c.at_ms <= now_ms - HOUR_MS))
        for name, limit in bounds.items():
            whose = hashlib.sha256(name.encode()).hexdigest()
            held = conn.scalar(sa.select(sa.func.count()).select_from(table).where(table.c.whose == whose)) or 0
            if held >= limit:
                raise PersonError(
                    "too_many",
                    f"password: {limit} wrong ones within an hour; wait, or use the command on the collector",
                )
            key = conn.execute(sa.insert(table).values(whose=whose, at_ms=now_ms)).inserted_primary_key
            assert key is not None
            ids.append(int(key[0]))
    return ids


def forgive(store: Store, guesses: Collection[int]) -> None:
    """They were right."""
    if guesses:
        with store.write() as conn:
            conn.execute(sa.delete(schema.wrong_tries).where(schema.wrong_tries.c.id.in_(list(guesses))))


def address_group(address: str) -> str:
    """The network that an address is counted with: 24 bits of IPv4, 56 of IPv6; empty for what is no address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return ""
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ipaddress.ip_network((ip, GROUP_BITS[ip.version]), strict=False))


def store_anew(conn: sa.Connection, proven: Proven, kept: str) -> None:
    """The same password, hashed as it is today; nothing where it was changed meanwhile."""
    table, key = schema.persons, key_of(proven.name)
    journaled(conn, table, key)
    conn.execute(sa.update(table).where(table.c.key == key, table.c.kept == proven.proof).values(kept=kept))


def check(conn: sa.Connection, name: str, proof: str, may: May) -> bool:
    """Whether the name is proven; False only where nobody was ever registered. Inside the transaction that it allows,
    so that a user removed or renewed meanwhile is refused. Raises PersonError."""
    if not registered(conn):
        return False
    row = _proven(conn, name, proof)
    if not row._mapping[f"may_{may}"]:
        raise PersonError("may_not", f"{name}: may not {may}; another person must, or be added with `--may {may}`")
    return True


def check_name(conn: sa.Connection, name: str, proof: str) -> bool:
    """`check` for what a role allows, not a right. Raises PersonError."""
    return registered(conn) and bool(_proven(conn, name, proof))


def _proven(conn: sa.Connection, name: str, proof: str) -> sa.Row[tuple[object, ...]]:
    row = _row(conn, name)
    if row is None or row.removed_ms is not None or not proof or row.kept != proof:
        fix = "give a name of `nabz-collector person list` and its password"
        raise PersonError("not_proven", f"{name}: is not proven, and names are proven here; {fix}")
    return row


Act = Literal[
    "issued",
    "approved",
    "refused",
    "person_added",
    "person_renewed",
    "person_removed",
    "person_erased",
    "center_erased",
    "story_taken",
    "story_refused",
    "restored",
    "handed_over",
    "logged_in",
    "logged_out",
    "sessions_ended",
    "role_set",
    "oidc_set",
    "factor_added",
    "factor_removed",
    "push_added",
    "push_removed",
    "key_added",
    "key_revoked",
    "contact_set",
    "contact_removed",
    "test_requested",
    "center_added",
    "center_changed",
    "centers_imported",
    "calendar_changed",
    "device_revoked",
    "server_added",
    "server_revoked",
    "incident_worked",
    "routing_changed",
    "channel_tested",
    "window_changed",
    "settings_changed",
    "question_asked",
    "dispute_filed",
    "dispute_file",
    "dispute_test",
    "dispute_decided",
    "dispute_dropped",
    "standard_propose",
    "standard_adopted",
    "visits_published",
    "visits_drawn",
    "inspected",
    "inspection_gone",
]


def newest(conn: sa.Connection, act: Act) -> sa.RowMapping | None:
    """The last time that anybody did this: at_ms, person, reason."""
    d = schema.decisions.c
    query = sa.select(d.at_ms, d.person, d.reason).where(d.act == act).order_by(d.id.desc()).limit(1)
    return conn.execute(query).mappings().one_or_none()


def record(
    conn: sa.Connection, act: Act, by: str, now_ms: int, *, is_proven: bool = False, subject: str = "",
    center: str = "", device: str = "", key_hash: str = "", reason: str = "",
) -> None:  # fmt: skip
    """Who did what, in the transaction that does it; rows are only ever added."""
    about = {"subject": subject, "center": center, "device": device, "key_hash": key_hash, "reason": reason}
    row = {"at_ms": now_ms, "act": act, "person": by, "is_proven": is_proven, **about}
    conn.execute(sa.insert(schema.decisions).values(row))
    if act not in leaves.UNLOGGED:
        leaves.add_rows(conn, "decisions", [row], now_ms)
