"""The second proof of an account: codes by the time (TOTP, RFC 6238), 6 digits every 30 s.

The secret that a code is made of has to be read again, so it is stored sealed (AES-256-GCM) under a key that is derived
from the collector's own, which is not in the database. A code counts once.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass

import pyotp
import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from collector.access import users
from collector.access.accounts.policy import Account
from collector.access.users import PersonError
from collector.store import Store, schema
from collector.store.journal import journaled

STEP_S = 30
DRIFT_STEPS = 1  # a telephone's clock may be so far off
CODES_AN_HOUR = 10
ISSUER = "Nabz"
NONCE_BYTES = 12


class Seal:
    """Secrets sealed for the database."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        derive = HKDF(SHA256(), 32, salt=None, info=b"nabz second factors")
        self._cipher = AESGCM(derive.derive(key.private_bytes_raw()))

    def seal(self, secret: str, owner: str) -> str:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, secret.encode(), owner.encode())).decode()

    def unseal(self, sealed: str, owner: str) -> str | None:
        """None for what another key sealed, or for another person."""
        raw = base64.b64decode(sealed)
        try:
            return self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], owner.encode()).decode()
        except InvalidTag:
            return None


@dataclass(frozen=True)
class NewSecret:
    """Shown once, as letters and as the address of a QR code (`otpauth://…`)."""

    letters: str
    address: str


def listing(conn: sa.Connection, account: Account) -> list[sa.RowMapping]:
    """The confirmed second proofs of an account, the oldest first."""
    table = schema.second_factors
    mine = (table.c.person == account.key, table.c.confirmed_ms.is_not(None), table.c.removed_ms.is_(None))
    return list(conn.execute(sa.select(table).where(*mine).order_by(table.c.added_ms)).mappings())


def begin(conn: sa.Connection, seal: Seal, account: Account, now_ms: int) -> NewSecret:
    """A new secret, which counts once a code of it has been given. An earlier one that was never confirmed counts for
    nothing any more."""
    table = schema.second_factors
    open_ones = (table.c.person == account.key, table.c.confirmed_ms.is_(None), table.c.removed_ms.is_(None))
    conn.execute(sa.update(table).where(*open_ones).values(removed_ms=now_ms))
    letters = pyotp.random_base32()
    row = {"person": account.key, "factor": secrets.token_hex(8), "kind": "totp", "name": "", "counter": 0}
    conn.execute(sa.insert(table).values(**row, secret=seal.seal(letters, account.key), added_ms=now_ms))
    return NewSecret(letters, pyotp.TOTP(letters).provisioning_uri(name=account.name, issuer_name=ISSUER))


def confirm(store: Store, seal: Seal, account: Account, code: str, now_ms: int) -> None:
    """From now on a log-in of this account needs a code. Raises PersonError."""
    table = schema.second_factors
    open_ones = (table.c.person == account.key, table.c.confirmed_ms.is_(None), table.c.removed_ms.is_(None))
    factor = _spend(store, seal, account, open_ones, code, now_ms)
    with store.write() as conn:
        journaled(conn, table, account.key, factor)
        mine = (table.c.person == account.key, table.c.factor == factor)
        conn.execute(sa.update(table).where(*mine).values(confirmed_ms=now_ms))
        users.record(conn, "factor_added", account.name, now_ms, is_proven=True, reason="totp")


def prove(store: Store, seal: Seal, account: Account, code: str, now_ms: int) -> None:
    """Raises PersonError for a code that does not fit, or was given before."""
    table = schema.second_factors
    confirmed = (table.c.person == account.key, table.c.confirmed_ms.is_not(None), table.c.removed_ms.is_(None))
    _spend(store, seal, account, confirmed, code, now_ms)


def remove(conn: sa.Connection, account: Account, by: str, now_ms: int, *, proven: bool = True) -> int:
    """All second proofs of this account; returns how many there were."""
    rows, table = listing(conn, account), schema.second_factors
    for row in rows:
        journaled(conn, table, account.key, row["factor"])
        mine = (table.c.person == account.key, table.c.factor == row["factor"])
        conn.execute(sa.update(table).where(*mine).values(removed_ms=now_ms))
        users.record(
            conn, "factor_removed", by, now_ms, is_proven=proven, subject=account.name, reason=row["kind"]
        )  # fmt: skip
    return len(rows)


def _spend(
    store: Store, seal: Seal, account: Account, where: tuple[sa.ColumnElement[bool], ...], code: str, now_ms: int
) -> str:
    """The factor whose code this is, its step noted so that the code counts no second time. Raises PersonError."""
    guesses = users.count_guess(store, {f"code {account.key}": CODES_AN_HOUR}, now_ms)
    table = schema.second_factors
    with store.write() as conn:
        for row in conn.execute(sa.select(table).where(*where, table.c.kind == "totp")):
            letters = seal.unseal(row.secret, account.key)
            step = None if letters is None else step_of(letters, code, now_ms, after=row.counter)
            if step is not None:
                mine = (table.c.person == account.key, table.c.factor == row.factor)
                conn.execute(sa.update(table).where(*mine).values(counter=step))
                factor = str(row.factor)
                break
        else:
            raise PersonError("wrong_code", "code: does not fit, or was used; wait for the next one")
    users.forgive(store, guesses)
    return factor


def step_of(letters: str, code: str, now_ms: int, *, after: int) -> int | None:
    """The step of 30 s whose code this is, near now and later than `after`; None if there is none."""
    code, newest = "".join(code.split()), now_ms // 1000 // STEP_S
    totp = pyotp.TOTP(letters)
    for step in range(newest - DRIFT_STEPS, newest + DRIFT_STEPS + 1):
        expected = totp.at(step * STEP_S)
        if step > after and hmac.compare_digest(expected.encode(), code.encode(errors="replace")):
            return step
    return None
