"""`nabz-collector ca`: the certificate authority inside: what is trusted, and a new root without a lock-out."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from collector.access import devices
from collector.access.ca import Authority
from collector.commands.console import answers, complain, say, settings_of, verb_arguments
from collector.common.config import Settings
from collector.store.database import existing, opened

EXAMPLE = "nabz-collector ca retire --dry-run"
EXAMPLES = {
    "show": "",
    "rollover": "",
    "retire": "--dry-run",
    "issue": "broker --server --output certificates",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("show", help="the roots that are trusted, as PEM")
    verbs.add_parser("rollover", help="a new root issues from now on, vouched for by the old; both are trusted")
    retire = verbs.add_parser("retire", help="trust the newest root alone, once no gateway depends on another")
    retire.add_argument("--dry-run", action="store_true", help="only say which gateways it would shut out")
    retire.add_argument("--force", action="store_true", help="even so: they renew by themselves within hours")
    issue = verbs.add_parser("issue", help="a certificate for another service of ours at a broker, or for a broker")
    issue.add_argument("name", metavar="NAME", help="a service's name, or with --server the broker's host name")
    issue.add_argument("--server", action="store_true", help="for a server that is reached by NAME")
    issue.add_argument("--output", type=Path, required=True, metavar="DIR", help="where NAME.crt and NAME.key go")
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    settings, now_ms = settings_of(options), time.time_ns() // 1_000_000
    reach = existing if options.verb in ("show", "retire") else opened  # what reads makes neither database nor root
    with reach(settings, keys=True):  # a lost authority is no reason for a new one
        authority = Authority(settings.data_dir, now_ms, settings.enrolment.certificate_days)
    words = ""
    if options.verb == "retire" and (code := _kept_from_it(settings, authority, options, now_ms)) is not None:
        return code
    if options.verb == "rollover":
        authority.rollover(now_ms)
        words = "a new root issues from now on; gateways learn it at their next renewal, and both are trusted"
    elif options.verb == "retire":
        words = (
            f"roots put aside: {authority.retire()}; restart the collector and brokers of other makes\n"
            "a gateway that was away and knows only those still renews: the cross certificate stays in use"
        )
    elif options.verb == "issue":
        words = f"written to {_issue(authority, options, now_ms)}"
    facts = {"fingerprint": authority.fingerprint, "trusted_pem": authority.root_pem.decode()}
    say(
        json.dumps(facts) if options.json else words or f"{facts['trusted_pem']}newest: SHA-256 {authority.fingerprint}"
    )
    return 0


def _kept_from_it(settings: Settings, authority: Authority, options: argparse.Namespace, now_ms: int) -> int | None:
    """The exit code when nothing is to be retired: because of whom, or as it was only asked."""
    with opened(settings) as store, store.read() as conn:
        dependent = devices.of_older_roots(conn, authority, now_ms)
    if options.dry_run:
        words = "\n".join([*dependent, f"gateways it would shut out: {len(dependent)}"])
        say(json.dumps({"shut_out": dependent}) if options.json else words)
        return 0
    if dependent and not options.force:
        some = ", ".join(dependent[:3]) + (" …" if len(dependent) > 3 else "")
        complain(
            f"ca retire: {len(dependent)} gateways ({some}) hold a valid certificate of an older root and would be "
            f"shut out; wait {settings.enrolment.certificate_days} days from the rollover, or give --force"
        )
        return 1
    return None


def _issue(authority: Authority, options: argparse.Namespace, now_ms: int) -> Path:
    folder: Path = options.output
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    given = (
        authority.issue_server([options.name], now_ms)
        if options.server
        else authority.issue_service(options.name, now_ms)
    )
    for suffix, content in (("crt", given.cert_pem), ("key", given.key_pem or b""), ("ca.pem", authority.root_pem)):
        path = folder / f"{options.name}.{suffix}"
        path.touch(mode=0o600)
        path.write_bytes(content)
    return folder
