"""The `nabz-collector` command."""

from __future__ import annotations

import sys

from agent.common import command_line
from collector.commands import PROGRAM


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the thing failed, 2 wrong use or settings."""
    return command_line.run(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
