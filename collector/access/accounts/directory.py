"""The register of persons as accounts: their role and scope, the first admin, and the log-in by name and password."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from collector.access import passwords, users
from collector.access.accounts.policy import ROLES, Account, Role, allowed
from collector.access.users import PersonError
from collector.common.scope import EVERYWHERE, PARTS, Scope, decode
from collector.register import centers
from collector.store import Store, schema
from collector.store.journal import journaled

MAX_IDENTITY = 300
RIGHTS: Mapping[Role, Sequence[users.May]] = {"operator": (), "desk": users.MAY, "auditor": (), "admin": ()}


@dataclass(frozen=True)
class Person:
    """A row of the register."""

    account: Account
    may: tuple[users.May, ...]
    added_ms: int
    added_by: str
    removed_ms: int | None
    oidc: str = ""


def _person(row: sa.RowMapping) -> Person:
    account = Account(row["name"], row["role"], decode(row["scope"]), row["key"])
    may = tuple(item for item in users.MAY if row[f"may_{item}"])
    return Person(account, may, row["added_ms"], row["added_by"], row["removed_ms"], row["oidc"])


def everybody(conn: sa.Connection) -> list[Person]:
    """Also those removed, by name."""
    rows = conn.execute(sa.select(schema.persons).order_by(schema.persons.c.key)).mappings()
    return [_person(row) for row in rows]


def removed_keys(conn: sa.Connection) -> frozenset[str]:
    """Of those who have no account any more."""
    gone = schema.persons.c.removed_ms.is_not(None)
    return frozenset(conn.scalars(sa.select(schema.persons.c.key).where(gone)))


def account_of(conn: sa.Connection, name: str) -> Account | None:
    """The account of that name, however it is written; None for a name that nobody has, or has no more."""
    table = schema.persons
    mine = (table.c.key == users.key_of(name), table.c.removed_ms.is_(None))
    row = conn.execute(sa.select(table).where(*mine)).mappings().one_or_none()
    return _person(row).account if row else None


def check_may(conn: sa.Connection, name: str, proof: str, action: str, center: str = "") -> bool:
    """Whether the name is proven, by its password, and its role and scope allow this at a center; False only where
    names are not proven here. Inside the transaction that it allows. Raises PersonError, centers.CenterError."""
    place = centers.get(conn, center) if center else None
    if not users.check_name(conn, name, proof):
        return False
    if not allowed(account_of(conn, name), action, place):
        about = f"this for {center}" if center else "this"
        raise PersonError("may_not", f"{name}: may not do {about}; somebody with the role that may must")
    return True


def has_admin(conn: sa.Connection) -> bool:
    table = schema.persons
    mine = (table.c.role == "admin", table.c.removed_ms.is_(None))
    return conn.scalar(sa.select(sa.func.count()).select_from(table).where(*mine)) != 0


def check(role: str, scope: Scope) -> Role:
    """The role, if an account can be it within this scope. Raises PersonError."""
    if role not in ROLES:
        raise PersonError("bad_role", f"role {role[:40]!r}: must be one of {', '.join(ROLES)}; give one of them")
    if role == "operator" and scope.is_all:
        raise PersonError("no_scope", "operator: has centers of their own; give --owner, --district or --province")
    if role == "admin" and not scope.is_all:
        raise PersonError("no_scope", "admin: is for the whole programme; leave the scope out, or take the role desk")
    return next(item for item in ROLES if item == role)


def unknown_places(conn: sa.Connection, scope: Scope) -> list[str]:
    """The named owners, districts and provinces that no center of the register has: perhaps misspelt."""
    places = []
    for name in PARTS:
        known = set(conn.scalars(sa.select(schema.centers.c[name]).distinct()))
        places += [f"{name} {value!r}" for value in sorted(getattr(scope, name)) if value not in known]
    return places


# ---------------------------------------------------------------- changes


def add(
    conn: sa.Connection, name: str, kept: str, role: Role, scope: Scope, by: str, now_ms: int,
    may: Sequence[users.May] | None = None, *, is_proven: bool = False,
) -> None:  # fmt: skip
    """A new account, or one that was removed and comes back; `kept` is of `passwords.hash_password`. Raises
    PersonError."""
    check(role, scope)
    rights, text = RIGHTS[role] if may is None else may, scope.encode()
    users.add(conn, name, kept, rights, by, now_ms, role=role, scope=text, is_proven=is_proven)


def set_role(
    conn: sa.Connection, name: str, role: Role, scope: Scope, by: str, now_ms: int, *, is_proven: bool = False
) -> None:
    """Another role or scope; what the person may issue and approve is as before. Raises PersonError."""
    check(role, scope)
    table, before = schema.persons, account_of(conn, name)
    if before is None:
        raise PersonError("unknown", f"person {name[:40]!r}: is not registered; see `nabz-collector person list`")
    _keep_one_admin(conn, before, role)
    journaled(conn, table, before.key)
    conn.execute(sa.update(table).where(table.c.key == before.key).values(role=role, scope=scope.encode()))
    was = f"{role} {scope.encode()}, was {before.role} {before.scope.encode()}"
    users.record(conn, "role_set", by, now_ms, is_proven=is_proven, subject=before.name, reason=was)


def set_identity(
    conn: sa.Connection, name: str, identity: str, by: str, now_ms: int, *, is_proven: bool = False
) -> None:
    """Who a person is at the issuer of log-ins (accounts.oidc.identity); empty: nobody. Raises PersonError."""
    table, account = schema.persons, account_of(conn, name)
    if account is None:
        raise PersonError("unknown", f"person {name[:40]!r}: is not registered; see `nabz-collector person list`")
    if len(identity) > MAX_IDENTITY or not identity.isprintable():
        raise PersonError("bad_name", f"identity: must have up to {MAX_IDENTITY} letters; copy it from the issuer")
    if identity and (other := account_of_identity(conn, [identity])) is not None and other.key != account.key:
        raise PersonError("known", f"{identity}: is {other.name}'s already; take it away there first")
    journaled(conn, table, account.key)
    conn.execute(sa.update(table).where(table.c.key == account.key).values(oidc=identity))
    users.record(conn, "oidc_set", by, now_ms, is_proven=is_proven, subject=account.name, reason=identity)


def account_of_identity(conn: sa.Connection, identities: Sequence[str]) -> Account | None:
    """The account of the first of these that is anybody's."""
    table = schema.persons
    for identity in filter(None, identities):
        mine = (table.c.oidc == identity, table.c.removed_ms.is_(None))
        row = conn.execute(sa.select(table).where(*mine)).mappings().first()
        if row is not None:
            return _person(row).account
    return None


def remove(conn: sa.Connection, name: str, by: str, now_ms: int, *, is_proven: bool = False) -> None:
    """The name opens nothing any more. Raises PersonError, also for the last admin."""
    if (before := account_of(conn, name)) is not None:
        _keep_one_admin(conn, before, None)
        conn.execute(sa.delete(schema.sessions).where(schema.sessions.c.person == before.key))
        conn.execute(sa.delete(schema.push_devices).where(schema.push_devices.c.person == before.key))
    users.remove(conn, name, by, now_ms, is_proven=is_proven)


def _keep_one_admin(conn: sa.Connection, account: Account, role: Role | None) -> None:
    table = schema.persons
    others = (table.c.role == "admin", table.c.removed_ms.is_(None), table.c.key != account.key)
    is_last = account.role == "admin" and role != "admin"
    if is_last and not conn.scalar(sa.select(sa.func.count()).select_from(table).where(*others)):
        raise PersonError("last_admin", f"{account.name}: is the only admin; make another one first")


def set_password(
    conn: sa.Connection, name: str, kept: str, by: str, now_ms: int, *, session: str = "", is_proven: bool = False
) -> None:
    """Another password; every session ends but this one (its hash). Raises PersonError."""
    users.renew(conn, name, kept, by, now_ms, is_proven=is_proven)
    table = schema.sessions
    mine = (table.c.person == users.key_of(name), table.c.token_hash != session)
    conn.execute(sa.delete(table).where(*mine))


# ---------------------------------------------------------------- log-in


def log_in(store: Store, name: str, password: str, now_ms: int, address: str) -> Account:
    """The account whose password this is. One that is stored as programs of before did is stored anew.

    Raises PersonError: the same for names that nobody has, and bounded by account and by group of addresses.
    """
    proven = users.prove(store, name, password, now_ms, counted=True, address=address)
    with store.write() as conn:
        account = account_of(conn, proven.name)
        if account is None:
            raise PersonError("wrong", "name or password: do not fit; try again")
        if passwords.is_outdated(proven.proof):
            users.store_anew(conn, proven, passwords.hash_password(password))
    return account


def claim(store: Store, name: str, password: str, now_ms: int, address: str) -> Account:
    """The first admin, by whoever holds the one-time link: a new person, or one of before by their password. Raises
    PersonError, passwords.Weak."""
    with store.read() as conn:
        known = account_of(conn, users.named(name))
    if known is None:
        passwords.judge(password)
        kept = passwords.hash_password(password)
    else:
        log_in(store, name, password, now_ms, address)
    with store.write() as conn:
        if has_admin(conn):
            raise PersonError("no_link", "link: has been used; log in with a name and a password")
        by = users.named(name)
        if known is None:
            add(conn, name, kept, "admin", EVERYWHERE, by, now_ms, is_proven=True)
        else:
            set_role(conn, name, "admin", EVERYWHERE, by, now_ms, is_proven=True)
        account = account_of(conn, name)
    assert account is not None
    return account
