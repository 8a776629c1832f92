"""The `nabz-agent` command: each subcommand is a module of `agent.commands`, loaded only when it is used."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from agent import __version__

COMMANDS = {
    "run": "measure, keep and send until stopped",
    "enrol": "make this gateway's keys and join a center with a one-time token",
    "probe": "measure one thing once, now, and explain it",
    "status": "what the running agent last measured, and what waits to be sent",
    "doctor": "check this installation and say what is missing",
    "seats": "list, approve, accept, forget or rename the seats of this center",
    "seat-key": "print the key that seat PCs of this center use",
}


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the thing failed, 2 wrong use or settings."""
    arguments = sys.argv[1:] if argv is None else argv
    chosen = arguments[0] if arguments and arguments[0] in COMMANDS else None
    parser = argparse.ArgumentParser(
        prog="nabz-agent",
        description="Nabz on a center's gateway.",
        epilog="example: nabz-agent probe link --json",
    )
    parser.add_argument("--version", action="version", version=f"nabz-agent {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module = importlib.import_module(f"agent.commands.{name.replace('-', '_')}")
            subparser.formatter_class = argparse.RawDescriptionHelpFormatter
            subparser.epilog = f"example: {module.EXAMPLE}"
            module.arguments(subparser)
            subparser.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` for example, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(options: argparse.Namespace) -> int:
    """As root, as the user of the service where one is installed: what root wrote, the service could not use."""
    if os.name != "posix" or os.geteuid() != 0:
        return int(options.run(options))
    from agent.commands import as_service

    return as_service.run(options)


if __name__ == "__main__":
    sys.exit(main())
