"""`nabz-collector ingest`: one more process that takes readings, beside `serve`, here or on another machine."""

from __future__ import annotations

import argparse

from agent.common import logs
from collector.commands.console import answers, common_arguments, logged_settings_of
from collector.ingest.workers import work
from collector.run.service import read_standards
from collector.run.tasks import clock_ms

EXAMPLE = "nabz-collector ingest --config /etc/nabz/collector.toml"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    logs.argument(parser)


@answers
def run(options: argparse.Namespace) -> int:
    settings = logged_settings_of(options)
    return work(settings, read_standards(settings), clock_ms)
