"""`nabz-collector gateway`: all gateways at once: how far they are, and which need somebody's hand."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import sqlalchemy as sa

from agent.common.errors import describe
from collector.access.ca import Authority
from collector.access.enrolment import format_token, issue_token, page_name
from collector.access.users import PersonError
from collector.commands.console import (
    acting,
    answers,
    clock_ms,
    complain,
    proof_of,
    say,
    settings_of,
    table,
    verb_arguments,
    who_argument,
)
from collector.commands.token import token_ttl_s
from collector.common.config import Settings
from collector.register import centers
from collector.register.centers import CenterError
from collector.remote import funnel, prepared
from collector.store.database import existing

EXAMPLE = "nabz-collector gateway funnel --json"
EXAMPLES = {"funnel": "--json", "prepare": "--batch 20 --province Sindh --out sheets --ttl 30d"}
SECOND_MS, DAY_MS = 1000, 86_400_000


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("funnel", help="centers registered, invited, enrolled, reporting, complete, silent, by province")
    prepared = verbs.add_parser(
        "prepare", help="folders for new gateways: address and one-time token, and a sheet with a QR for the installer"
    )
    chosen = prepared.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--center", action="append", metavar="CODE", help="for this center; repeatable")
    chosen.add_argument("--batch", type=int, metavar="N", help="for the next N centers without gateway or open token")
    prepared.add_argument("--province", metavar="NAME", help="of this province alone")
    prepared.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder below for each center")
    prepared.add_argument("--ttl", type=token_ttl_s, default=30 * 86_400, metavar="TIME", help="24h, 7d (default: 30d)")
    prepared.add_argument("--replaces", action="store_true", help="revoke a center's gateways so far once it joined")
    who_argument(prepared)
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    return _prepare(options) if options.verb == "prepare" else _funnel(options)


def _prepare(options: argparse.Namespace) -> int:
    settings, now_ms = settings_of(options), clock_ms()
    try:
        by = acting(options)
        with existing(settings, keys=True) as store:
            proof = proof_of(store, by, now_ms)
            authority = Authority(settings.data_dir, now_ms, settings.enrolment.certificate_days)
            with store.write() as conn:
                codes = options.center or prepared.next_centers(conn, options.batch, options.province, now_ms)
                gateways = [_gateway(conn, settings, authority, code, options, by, proof) for code in codes]
        folders = [prepared.write_folder(options.out, gateway) for gateway in gateways]
        _warn_of_address(settings)
    except (CenterError, PersonError, OSError) as error:
        complain(describe(error))
        return 1
    if options.json:
        say(json.dumps([{"center": one.center, "page": one.page} for one in gateways]))
    else:
        rows = [(one.center, folder, one.page) for one, folder in zip(gateways, folders, strict=True)]
        say(table(("center", "folder", "installer's page"), rows))
    return 0


def _warn_of_address(settings: Settings) -> None:
    if not settings.web_is_reached:
        complain(
            f"the sheets send telephones to {settings.web_url}, which no other machine reaches: set [web] public_url, "
            "and prepare these gateways again"
        )


def _gateway(
    conn: sa.Connection, settings: Settings, authority: Authority, code: str, options: argparse.Namespace, by: str,
    proof: str,
) -> prepared.PreparedGateway:  # fmt: skip
    """Raises CenterError or PersonError."""
    secret = issue_token(conn, code, clock_ms(), options.ttl, by, proof=proof, replaces=options.replaces)
    return prepared.PreparedGateway(
        center=code,
        name=centers.get(conn, code).name,
        url=settings.enrolment_url,
        token=format_token(secret, authority),
        page=f"{settings.web_url}/i/{page_name(secret)}",
        needs_approval=settings.enrolment.approval == "second_person",
        desk_telephone=settings.web.desk_telephone,
    )


def _funnel(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        stats = funnel.survey(conn, time.time_ns() // 1_000_000)
    if options.json:
        troubles = [dataclasses.asdict(trouble) for trouble in stats.troubles]
        facts = {"provinces": stats.provinces, "total": stats.total, "versions": stats.versions, "troubles": troubles}
        say(json.dumps(facts))
        return 0
    rows = [(province or "(none)", counts) for province, counts in sorted(stats.provinces.items())]
    cells = [(name, *(counts[stage] for stage in funnel.STAGES)) for name, counts in [*rows, ("all", stats.total)]]
    say(table(("province", *funnel.STAGES), cells))
    if stats.versions:
        say("\n" + table(("version", "gateways"), sorted(stats.versions.items())))
    if stats.troubles:
        lines = [(one.center, one.device, one.kind, _text(one)) for one in stats.troubles]
        say("\n" + table(("center", "device", "trouble", "what"), lines))
    return 0


def _text(trouble: funnel.GatewayTrouble) -> str:
    match trouble.kind:
        case "drift":
            return f"its clock is {trouble.value / SECOND_MS:+.0f} s from ours"
        case "certificate":
            return f"its certificate ends in {trouble.value / DAY_MS:.1f} days"
        case _:
            return f"{trouble.value} readings wait to be sent"
