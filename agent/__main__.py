"""The `nabz-agent` command."""

from __future__ import annotations

import argparse
import os
import sys

from agent.commands import PROGRAM
from agent.common import command_line


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the thing failed, 2 wrong use or settings."""
    return command_line.run(PROGRAM, argv, _run)


def _run(options: argparse.Namespace) -> int:
    """As root, as the user of the service where one is installed: what root wrote, the service could not use."""
    if os.name != "posix" or os.geteuid() != 0:
        return int(options.run(options))
    from agent.commands import as_service

    return as_service.run(options)


if __name__ == "__main__":
    sys.exit(main())
