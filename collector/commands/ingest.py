"""`nabz-collector ingest`: one more process that takes readings, beside `serve`, here or on another machine."""

from __future__ import annotations

import argparse

from agent.common import logs
from collector.commands.console import answers, common_arguments, logged_settings_of
from collector.common.config import ConfigError
from collector.ingest.workers import work
from collector.run.settings import read_standards
from collector.run.tasks import clock_ms

EXAMPLE = "nabz-collector ingest --config /etc/nabz/collector.toml"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument(
        "--worker", type=int, default=1, metavar="N", help="its number, from 2 to [ingest] workers: it then has a "
        "certificate of its own at the broker, where two sessions of one put each other out",
    )  # fmt: skip
    logs.argument(parser)


@answers
def run(options: argparse.Namespace) -> int:
    settings = logged_settings_of(options)
    if not 1 <= options.worker <= settings.ingest.workers and options.worker != 1:
        raise ConfigError(f"--worker {options.worker}: must be from 1 to [ingest] workers; set that to as many")
    return work(settings, read_standards(settings), clock_ms, options.worker)
