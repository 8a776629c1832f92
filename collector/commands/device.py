"""`nabz-collector device`: gateways with their certificates, and their revocation."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence

from collector.access import devices
from collector.access.accounts import directory
from collector.access.ca import Authority
from collector.access.users import PersonError
from collector.acts import stories as acts
from collector.acts.person import ActingPerson
from collector.acts.stories import StoryError
from collector.commands.console import (
    acting,
    answers,
    complain,
    moment,
    none_yet,
    proof_of,
    say,
    settings_of,
    table,
    verb_arguments,
    who_argument,
)
from collector.common.config import Settings
from collector.ingest import stories, taking
from collector.store.database import existing, held_keys

EXAMPLE = "nabz-collector device revoke g0123456789abcdef --reason 'stolen from the center'"
EXAMPLES = {
    "list": "--center LHR-0001",
    "revoke": 'gw-lhr-1 --reason "stolen"',
    "stories": "--json",
    "take": 'gw-lhr-1 0123456789abcdef --reason "the disk was restored"',
    "refuse": 'gw-lhr-1 0123456789abcdef --reason "a clone"',
}
STORY = ("center", "device", "spool", "batches", "first_ms", "last_ms", "state", "decided_by", "reason")
SHOWN = ("device", "center", "hostname", "enrolled_ms", "expires_ms", "revoked_ms", "reason")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listed = verbs.add_parser("list", help="every gateway, or those of one center")
    listed.add_argument("--center", default="", metavar="CODE")
    revoked = verbs.add_parser("revoke", help="nothing of it is taken any more, and its session ends")
    revoked.add_argument("device", metavar="DEVICE")
    revoked.add_argument("--reason", required=True, metavar="TEXT", help="recorded")
    who_argument(revoked)
    verbs.add_parser("stories", help="what a gateway's name signed besides what is held: by a clone, a restored image")
    for name, word in (("take", "what nothing else has filled is filed"), ("refuse", "it stays out")):
        decided = verbs.add_parser(name, help=f"decide about a second story: {word}")
        decided.add_argument("device", metavar="DEVICE")
        decided.add_argument("spool", metavar="SPOOL")
        decided.add_argument("--reason", required=True, metavar="TEXT", help="recorded")
        who_argument(decided)
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    verbs = {"list": _list, "revoke": _revoke, "stories": _stories, "take": _decide, "refuse": _decide}
    return verbs[options.verb](options)


def _stories(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = stories.held(conn)
    cells = [[moment(row[name]) if name.endswith("_ms") else str(row[name] or "") for name in STORY] for row in rows]
    say(json.dumps(rows) if options.json else table([name.removesuffix("_ms") for name in STORY], cells))
    return 0


def _decide(options: argparse.Namespace) -> int:
    now_ms, decision = time.time_ns() // 1_000_000, acts.DECISIONS[options.verb]
    try:
        by = acting(options)
        with existing(settings_of(options).as_keeper) as store:
            proof = proof_of(store, by, now_ms)
            with store.write() as conn:
                center = acts.center_of(conn, options.device, options.spool)
                is_proven = directory.check_may(conn, by, proof, "story.decide", center)
                who = ActingPerson(name=by, now_ms=now_ms, is_proven=is_proven)
                acts.decide(conn, options.device, options.spool, decision, options.reason, who)
                count = taking.file(conn, options.device, options.spool, now_ms) if decision == "taken" else 0
    except (PersonError, StoryError) as error:
        complain(str(error))
        return 2
    facts = {"device": options.device, "spool": options.spool, "center": center, "state": decision, "readings": count}
    text = f"{options.device} {options.spool}: {decision} by {by}; {count} readings of {center} filed"
    say(json.dumps(facts) if options.json else text)
    return 0


def _list(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        rows = devices.listing(conn, options.center)
    cells = [[moment(row[name]) if name.endswith("_ms") else row[name] or "" for name in SHOWN] for row in rows]
    heads = [name.removesuffix("_ms") for name in SHOWN]
    joined = none_yet("nabz-collector token LHR-014")
    say(json.dumps(rows) if options.json else table(heads, cells, joined))
    return 0


def _revoke(options: argparse.Namespace) -> int:
    """The list of revoked certificates is written at once, as a broker of another make may run without us."""
    settings, now_ms = settings_of(options), time.time_ns() // 1_000_000
    try:
        by = acting(options)
        with existing(settings) as store:
            with store.write() as conn:
                since_ms = devices.revoke(conn, options.device, by, options.reason, now_ms)
            with store.read() as conn:
                serials = devices.revoked_serials(conn, now_ms)
    except (devices.DeviceError, PersonError) as error:
        complain(str(error))
        return 1
    crl = _crl(settings, serials, now_ms)
    facts = {"device": options.device, "revoked_ms": since_ms, "by": by, "crl": crl}
    words = (
        f"{options.device}: revoked; nothing of it is taken from now on, and a running collector ends its session\n"
        f"so at brokers in [[broker.outside]]; at others run `nabz-collector broker-config` and reload them ({crl})"
    )
    say(json.dumps(facts) if options.json else words)
    return 0


def _crl(settings: Settings, serials: Sequence[tuple[str, int]], now_ms: int) -> str:
    """The list's file; empty on a machine that is not the authority's: a running collector writes it there."""
    if not held_keys(settings.data_dir):
        return ""
    return str(Authority(settings.data_dir, now_ms).write_crl(serials, now_ms))
