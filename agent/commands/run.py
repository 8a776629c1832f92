"""`nabz-agent run`: measure, keep and send until stopped."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from agent import config_file, identity

EXAMPLE = "nabz-agent run --config /etc/nabz/agent.toml"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help=f"settings (default: {config_file.DEFAULT_PATH}, if it is there)"
    )


def run(options: argparse.Namespace) -> int:
    try:
        settings = config_file.load_or_default(options.config)
        mine = identity.load(settings.state_dir)
        with identity.sole_user(settings.state_dir):
            begin_log(settings.agent.log_level)
            from agent import service

            service.run(settings, mine)
    except config_file.SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except identity.IdentityError as error:
        print(f"nabz-agent: {error}", file=sys.stderr)
        return 1 if isinstance(error, identity.StateBusy) else 2
    return 0


def begin_log(level: str) -> None:
    """One line an event on stderr; the journal has its own clock, a terminal gets ours."""
    form = "%(levelname)s %(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=level.upper(), format=form)
