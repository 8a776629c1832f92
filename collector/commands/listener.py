"""`nabz-collector listener`: the pages, or enrolment, in a process of its own, beside `serve`, here or elsewhere."""

from __future__ import annotations

import argparse

from agent.common import logs
from collector.commands.console import answers, common_arguments, logged_settings_of

EXAMPLE = "nabz-collector listener pages --config /etc/nabz/collector.toml"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=("pages", "enrolment"), help="what it serves")
    common_arguments(parser)
    logs.argument(parser)
    parser.add_argument("--sockets", type=int, nargs=2, default=(), help=argparse.SUPPRESS)  # from `serve`


@answers
def run(options: argparse.Namespace) -> int:
    settings = logged_settings_of(options)
    from collector.run.listeners.process import serve  # of no use to the other commands, and slow to load

    return serve(settings, options.kind, options.sockets)
