"""`nabz-collector contact`: whom to call about which centers."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from typing import Literal

from collector.access.accounts import contacts
from collector.access.accounts.policy import Account
from collector.access.users import PersonError
from collector.commands.console import (
    acting,
    answers,
    complain,
    none_yet,
    say,
    scope_arguments,
    scope_of,
    scope_text,
    settings_of,
    table,
    verb_arguments,
    who_argument,
)
from collector.store.database import existing

EXAMPLE = (
    "nabz-collector contact set company LESCO --telephone 118 --province Punjab --district Lahore\n"
    '         nabz-collector contact set provider PTCL --person "NOC" --telephone "042 1234567" --hours always'
)
EXAMPLES = {
    "list": "--json",
    "set": 'provider PTCL --telephone "+92 51 0000000" --lang en',
    "remove": "3",
}
HEADS = (
    "id",
    "kind",
    "name",
    "who answers",
    "telephone",
    "whatsapp",
    "telegram",
    "e-mail",
    "language",
    "hours",
    "centers",
)
GIVEN: tuple[Literal["person", "telephone", "whatsapp", "telegram", "email", "hours"], ...] = (
    "person", "telephone", "whatsapp", "telegram", "email", "hours",
)  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", help="all contacts")
    kept = verbs.add_parser("set", help="adds a contact, or changes the one that --id names")
    kept.add_argument("kind", choices=contacts.KINDS, help="what it is the contact of")
    kept.add_argument("name", metavar="NAME", help="of an owner or provider as the register writes it")
    for name in GIVEN:
        kept.add_argument(f"--{name}", default="", metavar="TEXT")
    kept.add_argument("--lang", default="en", choices=contacts.LANGS, help="language (default: en)")
    kept.add_argument("--id", type=int, default=0, metavar="NUMBER", help="of the contact that is changed")
    scope_arguments(kept)
    gone = verbs.add_parser("remove", help="the contact goes")
    gone.add_argument("id", type=int, metavar="NUMBER", help="see `contact list`")
    for verb in (kept, gone):
        who_argument(verb)
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return _list(options) if options.verb == "list" else _change(options)
    except PersonError as error:
        complain(str(error))
        return 1


def _list(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        entries = contacts.everyone(conn)
    cells = [
        [it.id, it.kind, it.name, it.person, it.telephone, it.whatsapp, it.telegram, it.email, it.lang,
         it.hours, scope_text(it.scope)]
        for it in entries
    ]  # fmt: skip
    say(json.dumps([contact.row() for contact in entries]) if options.json else table(HEADS, cells, none_yet(EXAMPLE)))
    return 0


def _change(options: argparse.Namespace) -> int:
    """Whoever may run this command is trusted with all centers."""
    now_ms, account = time.time_ns() // 1_000_000, Account(acting(options), "admin")
    with existing(settings_of(options)) as store, store.write() as conn:
        if options.verb == "remove":
            contacts.remove(conn, options.id, account, now_ms)
            facts: dict[str, object] = {"id": options.id, "removed": True}
        else:
            given = {name: str(getattr(options, name)) for name in ("kind", "name", "lang", *GIVEN)}
            contact = dataclasses.replace(contacts.parse(given, scope_of(options)), id=options.id)
            number = contacts.keep(conn, contact, account, now_ms)
            facts = dataclasses.replace(contact, id=number).row()
    say(json.dumps(facts) if options.json else f"contact {facts['id']}: {'removed' if 'removed' in facts else 'kept'}")
    return 0
