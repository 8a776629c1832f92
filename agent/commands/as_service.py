"""Commands run by root on an installed gateway work as the service's user."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from agent import config_file
from agent.common.files import OwnerError, acting_as, service_owner
from agent.config import AgentSettings

WRITING = frozenset({"run", "enrol", "probe", "seats", "seat-key", "update"})
LOOKING = frozenset({"doctor", "support-bundle"})  # sees what the service sees, and makes nothing


def run(options: argparse.Namespace) -> int:
    """The command's exit code; 1 when root must not write there."""
    try:
        with as_service(options):
            return int(options.run(options))
    except OwnerError as error:
        print(f"nabz-agent: {error}", file=sys.stderr)
        return 1


@contextlib.contextmanager
def as_service(options: argparse.Namespace) -> Iterator[None]:
    """Raises OwnerError. Settings that cannot be read are the command's to name."""
    if options.command not in WRITING | LOOKING:
        yield
        return
    path = getattr(options, "config", None)
    try:
        settings = config_file.load_or_default(path)
    except config_file.SettingsError:
        yield
        return
    folder = settings.state_dir
    owner = service_owner(folder, is_installed=_is_installed(path, folder))
    with acting_as(owner, folder, make=options.command in WRITING):
        yield


def _is_installed(path: str | Path | None, folder: Path) -> bool:
    """Whether the command is about the installed service: by its settings file, or by its state folder."""
    return path is None or Path(path) == config_file.DEFAULT_PATH or folder == AgentSettings().state_dir
