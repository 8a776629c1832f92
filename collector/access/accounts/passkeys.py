"""Passkeys as second proof (WebAuthn, W3C): a key pair in a telephone, PC or stick, which signs for this site alone.

A challenge is drawn from the session's cookie, which is 256 random bits: it is the session's alone, and one that logs
in ends with its use. Browsers offer passkeys to names, not to IP addresses.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import sqlalchemy as sa

from collector.access import users
from collector.access.accounts.policy import Account
from collector.access.accounts.second_factors import CODES_AN_HOUR, ISSUER, listing
from collector.access.users import PersonError
from collector.store import Store, schema
from collector.store.journal import journaled

KIND = "passkey"
MAX_ANSWER = 20_000  # letters of a browser's answer
MAX_PASSKEYS = 10


@dataclass(frozen=True)
class Party:
    """This site as passkeys know it: the name of its host, and the origin of its pages."""

    host: str
    origin: str


def party_of(web_url: str) -> Party | None:
    """None for a site whose address has no name."""
    parts = urlsplit(web_url)
    try:
        ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return Party(parts.hostname, f"{parts.scheme}://{parts.netloc}") if parts.hostname else None
    return None


def challenge(purpose: Literal["add", "prove"], cookie: str) -> bytes:
    return hashlib.sha256(f"nabz-passkey-{purpose}\0{cookie}".encode(errors="replace")).digest()


def of_account(conn: sa.Connection, account: Account) -> list[sa.RowMapping]:
    return [row for row in listing(conn, account) if row["kind"] == KIND]


def options_to_add(party: Party, account: Account, known: Sequence[sa.RowMapping], nonce: bytes) -> str:
    """What a browser is given to make a passkey (PublicKeyCredentialCreationOptions as JSON)."""
    from webauthn import base64url_to_bytes, generate_registration_options, options_to_json
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

    return options_to_json(
        generate_registration_options(
            rp_id=party.host,
            rp_name=ISSUER,
            user_name=account.name,
            user_id=hashlib.sha256(account.key.encode()).digest(),
            challenge=nonce,
            exclude_credentials=[PublicKeyCredentialDescriptor(base64url_to_bytes(row["factor"])) for row in known],
        )
    )


def add(conn: sa.Connection, party: Party, account: Account, nonce: bytes, answer: str, now_ms: int) -> None:
    """The passkey that a browser made. Raises PersonError."""
    from webauthn import verify_registration_response
    from webauthn.helpers import bytes_to_base64url
    from webauthn.helpers.exceptions import WebAuthnException

    if len(answer) > MAX_ANSWER or len(of_account(conn, account)) >= MAX_PASSKEYS:
        raise PersonError(
            "wrong_code", f"passkey: is too long, or there are {MAX_PASSKEYS} already; turn them off first"
        )
    try:
        made = verify_registration_response(
            credential=answer, expected_challenge=nonce, expected_rp_id=party.host, expected_origin=party.origin
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        raise PersonError("wrong_code", f"passkey: cannot be taken ({type(error).__name__}); try again") from None
    factor, table = bytes_to_base64url(made.credential_id), schema.second_factors
    if len(factor) > 255 or conn.scalar(sa.select(table.c.factor).where(table.c.factor == factor)):
        raise PersonError("wrong_code", "passkey: is in use already; take another")
    row = {"person": account.key, "factor": factor, "kind": KIND, "name": "", "counter": made.sign_count}
    times = {"added_ms": now_ms, "confirmed_ms": now_ms}
    journaled(conn, table, account.key, factor)
    conn.execute(sa.insert(table).values(**row, **times, secret=bytes_to_base64url(made.credential_public_key)))
    users.record(conn, "factor_added", account.name, now_ms, is_proven=True, reason=KIND)


def options_to_prove(party: Party, known: Sequence[sa.RowMapping], nonce: bytes) -> str:
    """What a browser is given to sign with one of these (PublicKeyCredentialRequestOptions as JSON)."""
    from webauthn import base64url_to_bytes, generate_authentication_options, options_to_json
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

    return options_to_json(
        generate_authentication_options(
            rp_id=party.host,
            challenge=nonce,
            allow_credentials=[PublicKeyCredentialDescriptor(base64url_to_bytes(row["factor"])) for row in known],
        )
    )


def prove(store: Store, party: Party, account: Account, nonce: bytes, answer: str, now_ms: int) -> None:
    """That the browser holds one of the account's passkeys. Raises PersonError."""
    from webauthn import base64url_to_bytes, verify_authentication_response
    from webauthn.helpers import bytes_to_base64url, parse_authentication_credential_json
    from webauthn.helpers.exceptions import WebAuthnException

    guesses = users.count_guess(store, {f"code {account.key}": CODES_AN_HOUR}, now_ms)
    table = schema.second_factors
    with store.write() as conn:
        try:
            given = parse_authentication_credential_json(answer[:MAX_ANSWER])
            factor = bytes_to_base64url(given.raw_id)
            row = next(row for row in of_account(conn, account) if row["factor"] == factor)
            signed = verify_authentication_response(
                credential=given,
                expected_challenge=nonce,
                expected_rp_id=party.host,
                expected_origin=party.origin,
                credential_public_key=base64url_to_bytes(row["secret"]),
                credential_current_sign_count=row["counter"],
            )
        except (WebAuthnException, StopIteration, ValueError, TypeError, KeyError) as error:
            raise PersonError("wrong_code", f"passkey: does not fit ({type(error).__name__}); try again") from None
        mine = (table.c.person == account.key, table.c.factor == factor)
        conn.execute(sa.update(table).where(*mine).values(counter=signed.new_sign_count))
    users.forgive(store, guesses)
