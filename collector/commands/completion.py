"""`nabz-collector completion`: what a shell needs to complete commands, verbs and options."""

from __future__ import annotations

import argparse

import shtab

from agent.commands import PROGRAM as AGENT
from agent.common.command_line import parser_of
from collector.commands import PROGRAM as COLLECTOR
from collector.commands.console import say

EXAMPLE = "nabz-collector completion bash > ~/.local/share/bash-completion/completions/nabz-collector"
PROGRAMS = {program.name: program for program in (COLLECTOR, AGENT)}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS, help="the shell that will read it")
    parser.add_argument(
        "--program",
        choices=tuple(PROGRAMS),
        default=COLLECTOR.name,
        help="which command (nabz-collector)",
    )


def run(options: argparse.Namespace) -> int:
    say(shtab.complete(parser_of(PROGRAMS[options.program], [], whole=True), options.shell))
    return 0
