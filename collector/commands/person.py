"""`nabz-collector person`: who may log in, as what and where, and who may issue tokens and let gateways in."""

from __future__ import annotations

import argparse
import json
import time

import sqlalchemy as sa

from agent.common.files import asked_secret
from collector.access import passwords, users
from collector.access.accounts import directory, erasure, oidc, second_factors, sessions
from collector.access.accounts.directory import Person
from collector.access.accounts.policy import ROLES, Account
from collector.commands.console import (
    acting,
    answers,
    common_arguments,
    complain,
    moment,
    none_yet,
    say,
    scope_arguments,
    scope_of,
    scope_text,
    settings_of,
    table,
    who_argument,
)
from collector.store.database import existing, opened

EXAMPLE = (
    'nabz-collector person add Ayesha --role desk --district "Lahore"\n'
    '         nabz-collector person add Bilal --role operator --owner "Bint-e-Hawa Trust" --ask\n'
    "         nabz-collector person end-sessions Ayesha"
)
EXAMPLES = {
    "list": "",
    "add": '"Amina Khan" --role desk --district Lahore --ask',
    "password": '"Amina Khan" --ask',
    "role": '"Amina Khan" --role auditor',
    "oidc": '"Amina Khan" --email amina@example.pk',
    "end-sessions": '"Amina Khan"',
    "remove-factor": '"Amina Khan"',
    "remove": '"Amina Khan"',
    "erase": '"Amina Khan"',
}
HEADS = ("name", "role", "centers", "may", "added", "by", "removed")
DONE = {
    "add": "registered",
    "password": "has a new password, and every session has ended",
    "role": "has that role now",
    "oidc": "is known to the issuer of log-ins as that",
    "end-sessions": "has no sessions any more",
    "remove-factor": "logs in without a second proof now",
    "remove": "removed",
    "erase": "is forgotten as far as proofs allow; see docs/privacy.md",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", help="everybody, and what they may do")
    added = verbs.add_parser("add", help="a person; from the first one who may issue or approve on, names are proven")
    added.add_argument(
        "--may", action="append", choices=users.MAY, help="issue tokens, or approve gateways (default: both for desk)"
    )
    verbs.add_parser("password", help="another password for a person; the old one and all sessions end")
    role = verbs.add_parser("role", help="another role, or other centers")
    role.add_argument("--role", required=True, choices=ROLES, help="what the person is")
    issuer = verbs.add_parser("oidc", help="who a person is at the issuer of [oidc]; without an option nobody")
    whose = issuer.add_mutually_exclusive_group()
    whose.add_argument("--email", default="", metavar="ADDRESS", help="as the issuer has verified it")
    whose.add_argument("--sub", default="", metavar="NAME", help="the issuer's own name for the person")
    added.add_argument("--role", default="desk", choices=ROLES, help="what the person is (default: desk)")
    verbs.add_parser("end-sessions", help="logs a person out everywhere")
    verbs.add_parser("remove-factor", help="turns off the second proof of whoever lost the telephone")
    verbs.add_parser("remove", help="the name opens nothing any more; what was decided stands")
    verbs.add_parser("erase", help="forgets whoever asks for it: password, second proofs, log-ins, how to reach them")
    for verb in DONE:
        verbs.choices[verb].add_argument("name", metavar="NAME")
        who_argument(verbs.choices[verb])
    for made in (added, role):
        scope_arguments(made)
    for verb in ("add", "password"):
        verbs.choices[verb].add_argument(
            "--ask", action="store_true", help="ask for the password, instead of making and printing one"
        )
    for made in verbs.choices.values():
        common_arguments(made)
        made.add_argument("--json", action="store_true", help="print facts as JSON")


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return _list(options) if options.verb == "list" else _change(options)
    except users.PersonError as error:
        complain(str(error))
    except passwords.Weak as error:
        complain(str(error))
    return 1


def _list(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        people, doubt = directory.everybody(conn), users.doubt(conn)
    if doubt:
        complain(users.DOUBTS[doubt])
    cells = [
        [person.account.name, person.account.role, scope_text(person.account.scope), ", ".join(person.may),
         moment(person.added_ms), person.added_by, moment(person.removed_ms)]
        for person in people
    ]  # fmt: skip
    say(json.dumps([_facts(person) for person in people]) if options.json else table(HEADS, cells, none_yet(EXAMPLE)))
    return 0


def _facts(person: Person) -> dict[str, object]:
    account = person.account
    may = {f"may_{item}": item in person.may for item in users.MAY}
    since = {"added_ms": person.added_ms, "added_by": person.added_by, "removed_ms": person.removed_ms}
    return {"name": account.name, "role": account.role, "scope": account.scope.parts, **may, **since}


def _change(options: argparse.Namespace) -> int:
    now_ms, by, name = time.time_ns() // 1_000_000, acting(options), users.named(options.name)
    makes = options.verb in ("add", "password")
    secret = _secret(name, asks=options.ask) if makes else ""
    kept = passwords.hash_password(secret) if makes else ""
    with opened(settings_of(options).as_keeper) as store, store.write() as conn:
        if options.verb == "add":
            _add(conn, options, name, kept, by, now_ms)
        else:
            _act(conn, options, name, kept, by, now_ms)
    _tell(options, name, secret if makes and not options.ask else "")
    return 0


def _add(conn: sa.Connection, options: argparse.Namespace, name: str, kept: str, by: str, now_ms: int) -> None:
    """Raises PersonError."""
    scope = scope_of(options)
    directory.add(conn, name, kept, options.role, scope, by, now_ms, options.may)
    for place in directory.unknown_places(conn, scope):
        complain(f"{place}: no center of the register has it; look whether it is written as there")


def _act(conn: sa.Connection, options: argparse.Namespace, name: str, kept: str, by: str, now_ms: int) -> None:
    """Raises PersonError."""
    if options.verb == "erase":
        erasure.erase(conn, name, by, now_ms)
        return
    account = _known(conn, name)
    match options.verb:
        case "password":
            directory.set_password(conn, name, kept, by, now_ms)
        case "role":
            directory.set_role(conn, name, options.role, scope_of(options), by, now_ms)
        case "oidc":
            identity = oidc.identity("email", options.email) or oidc.identity("sub", options.sub)
            directory.set_identity(conn, name, identity, by, now_ms)
        case "end-sessions":
            sessions.end_all(conn, account, by, now_ms, proven=False)
        case "remove-factor":
            second_factors.remove(conn, account, by, now_ms, proven=False)
        case _:
            directory.remove(conn, name, by, now_ms)


def _known(conn: sa.Connection, name: str) -> Account:
    account = directory.account_of(conn, name)
    if account is None:
        raise users.PersonError("unknown", f"person {name!r}: is not registered; see `nabz-collector person list`")
    return account


def _secret(name: str, *, asks: bool) -> str:
    if not asks:
        return passwords.make()
    secret = asked_secret(f"New password of {name}: ")
    passwords.judge(secret)
    if asked_secret("Once more: ") != secret:
        raise passwords.Weak("password: differs the second time; give the same twice")
    return secret


def _tell(options: argparse.Namespace, name: str, made: str) -> None:
    facts = {"name": name, "did": options.verb, **({"password": made} if made else {})}
    text = f"{name}: {DONE[options.verb]}"
    if made:
        text += f"\npassword, shown this once and stored nowhere: {made}"
    say(json.dumps(facts) if options.json else text)
