"""`nabz-agent run`: measure, keep and send until stopped."""

from __future__ import annotations

import argparse
from functools import partial

from agent import config_file, identity
from agent.common import logs
from agent.config import AgentSettings

EXAMPLE = "nabz-agent run --config /etc/nabz/agent.toml"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help=f"settings (default: {config_file.DEFAULT_PATH}, if it is there)"
    )
    logs.argument(parser)


def run(options: argparse.Namespace) -> int:
    logs.start("info", options.log_format)  # until the settings are known
    try:
        settings = config_file.load_or_default(options.config)
        mine = identity.load(settings.state_dir)
        with identity.sole_user(settings.state_dir):
            from agent import service

            service.run(settings, mine, on_start=partial(_start_log, options.log_format, mine))
    except config_file.SettingsError as error:
        logs.complain(str(error))
        return 2
    except identity.IdentityError as error:
        logs.complain(str(error), "nabz-agent")
        return 1 if isinstance(error, identity.StateBusy) else 2
    return 0


def _start_log(form: logs.Format | None, mine: identity.Identity, settings: AgentSettings) -> None:
    context = {"center": mine.center, "device": mine.device}
    logs.start(settings.agent.log_level, form or settings.agent.log_format, context=context)
