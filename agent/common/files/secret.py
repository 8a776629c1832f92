"""Secrets as people give them to commands: at a prompt, on standard input or in a file.

Never as an argument: every user of a machine sees those, and shells, unit files and journals keep them.
"""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from agent.common.files.text_file import read_text


def asked_secret(prompt: str, file: Path | None = None) -> str:
    """From `file` when it is given, else from the terminal without an echo, or one line of standard input. Raises
    OSError or ValueError for a file that cannot be read."""
    if file is not None:
        return read_text(file).strip()
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    return sys.stdin.readline().rstrip("\r\n")


def on_command_line(what: str, fix: str) -> str:
    """The sentence for a secret that stands among the arguments."""
    return (
        f"{what} does not belong on a command line, where every user of this machine sees it and shells keep it; {fix}"
    )
