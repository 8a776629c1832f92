"""`nabz-agent run`: measure, keep and send until stopped."""

from __future__ import annotations

import argparse
from functools import partial

from agent import __version__, config_file, identity, memory
from agent.common import logs
from agent.common.releases import launch
from agent.common.releases.trial import FOLDER
from agent.config import AgentSettings
from agent.probes.boot import boot_id

EXAMPLE = "nabz-agent run --config /etc/nabz/agent.toml"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help=f"settings (default: {config_file.DEFAULT_PATH}, if it is there)"
    )
    logs.argument(parser)


def run(options: argparse.Namespace) -> int:
    memory.share_one_arena()
    logs.start("info", options.log_format)  # until the settings are known
    try:
        settings = config_file.load_or_default(options.config)
        mine = identity.load(settings.state_dir)
        launch.enter(settings.state_dir / FOLDER, "agent.__main__", _words(options), __version__, boot_id())
        with identity.sole_user(settings.state_dir):
            from agent import service

            words = launch.command("agent.__main__", "update", "take", "--json", *_config(options))
            begin = partial(_start_log, options.log_format, mine)
            is_replaced = service.run(settings, mine, on_start=begin, take=words)
    except config_file.SettingsError as error:
        logs.complain(str(error), "nabz-agent")
        return 2
    except identity.IdentityError as error:
        logs.complain(str(error), "nabz-agent")
        return 1 if isinstance(error, identity.StateBusy) else 2
    if is_replaced:
        launch.again()
    return 0


def _words(options: argparse.Namespace) -> list[str]:
    form = ["--log-format", options.log_format] if options.log_format else []
    return ["run", *_config(options), *form]


def _config(options: argparse.Namespace) -> list[str]:
    return ["--config", str(options.config)] if options.config else []


def _start_log(form: logs.Format | None, mine: identity.Identity, settings: AgentSettings) -> None:
    context = {"center": mine.center, "device": mine.device}
    logs.start(settings.agent.log_level, form or settings.agent.log_format, context=context)
