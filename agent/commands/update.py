"""`nabz-agent update`: which program runs here, and which releases there are for it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import ssl
import time

import msgspec

from agent import __version__, config_file, identity
from agent.common import logs
from agent.common.errors import describe
from agent.common.releases import launch
from agent.common.releases.trial import FILE, FOLDER, read
from agent.common.tls import client_context
from agent.config import AgentSettings, UpdateSection
from agent.remote.trial import in_force

EXAMPLE = "nabz-agent update status"
EXAMPLES = {"status": "--json", "check": "", "take": "--json"}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("status", help="the installed program, the release in force, and the one that failed last")
    verbs.add_parser("check", help="look at the repository; nothing is changed")
    verbs.add_parser("take", help="take the release that this gateway may have; it runs from the next start on")
    for verb in verbs.choices.values():
        verb.add_argument("--config", metavar="FILE", help=f"settings (default: {config_file.DEFAULT_PATH})")
        verb.add_argument("--json", action="store_true", help="print facts as JSON")


def run(options: argparse.Namespace) -> int:
    """Exit codes: 0 done, 1 the repository cannot be used, 2 wrong settings."""
    try:
        settings = in_force(config_file.load_or_default(options.config))
        if options.verb == "status":
            return _status(settings, options)
        mine = identity.load(settings.state_dir)
    except (config_file.SettingsError, identity.IdentityError) as error:
        logs.complain(str(error), "nabz-agent")
        return 2
    return _look(settings, mine, options)


def _status(settings: AgentSettings, options: argparse.Namespace) -> int:
    state = read(settings.state_dir / FOLDER / FILE)
    facts = {"version": __version__, **dataclasses.asdict(state)}
    if options.json:
        print(json.dumps(facts))
        return 0
    print(f"this program: {__version__}")
    for name in ("proven", "trial", "failed"):
        release = getattr(state, name)
        why = f" ({state.why})" if name == "failed" and release else ""
        print(f"{name}: {release.version + why if release else '-'}")
    return 0


def _look(settings: AgentSettings, mine: identity.Identity, options: argparse.Namespace) -> int:
    try:
        from agent.updates import repository, take  # costs 30 MB, and needs the extra `updates`
    except ImportError as error:
        logs.complain(f"update: needs the extra `updates` ({describe(error)}); install it", "nabz-agent")
        return 2
    from agent.updates.offers import GatewayPlace

    installed = launch.installed_version(__version__)
    place = GatewayPlace(center=mine.center, device=mine.device, running=__version__, installed=installed)
    try:
        update, context = _source(settings, mine)
        outcome = take.look(
            update, settings.state_dir, place, time.time_ns() // 1_000_000, take=options.verb == "take",
            open_url=repository.opener(context),
        )  # fmt: skip
    except OSError as error:
        logs.complain(f"{settings.state_dir}: cannot be written ({describe(error)})", "nabz-agent")
        return 1
    text = " ".join(filter(None, (outcome.code, outcome.version, outcome.detail)))
    print(json.dumps(dataclasses.asdict(outcome)) if options.json else text)
    return 1 if outcome.code in ("unreachable", "refused") else 0


def _source(settings: AgentSettings, mine: identity.Identity) -> tuple[UpdateSection, ssl.SSLContext | None]:
    """Where releases come from, and who vouches for that server: for the collector, the root of its enrolment."""
    if settings.update.url != "collector":
        return settings.update, None
    context = client_context(mine.tls.ca) if mine.tls else None
    return msgspec.structs.replace(settings.update, url=f"{mine.url.rstrip('/')}/updates"), context
