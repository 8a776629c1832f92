"""`nabz-collector work`: the jobs of upkeep, archive, audit and messages on one more machine."""

from __future__ import annotations

import argparse

from agent.common import logs
from collector.commands.console import answers, common_arguments, common_words, logged_settings_of

EXAMPLE = "nabz-collector work --config /etc/nabz/collector.toml"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    logs.argument(parser)


@answers
def run(options: argparse.Namespace) -> int:
    from collector.run.upkeep.worker import work  # slow to load

    return work(logged_settings_of(options), common_words(options))
