"""`nabz-collector serve`: receive, judge, show and alert until stopped."""

from __future__ import annotations

import argparse

from agent.common import logs
from collector.brokers.embedded import BrokerError
from collector.commands.console import (
    answers,
    common_arguments,
    common_words,
    complain,
    logged_settings_of,
    settings_of,
)
from collector.run.service import serve

EXAMPLE = "nabz-collector serve --config /etc/nabz/collector.toml"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    logs.argument(parser)
    parser.add_argument(
        "--migrate", action="store_true", help="migrate PostgreSQL first, after a copy (SQLite always is)"
    )
    parser.add_argument(
        "--new", action="store_true", help="make a database, key or authority anew where only the others are left"
    )


@answers
def run(options: argparse.Namespace) -> int:
    settings = logged_settings_of(options)
    try:
        return serve(
            settings,
            migrates=options.migrate,
            is_new=options.new,
            child_options=common_words(options),
            read=lambda: settings_of(options),
        )
    except BrokerError as error:
        complain(str(error))
        return 1
