"""Writes the references that come from the code; with --check it only says what has fallen behind (`make docs`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from code_pages import commands_page, criteria_page, probes_page, settings_page
from log_page import log_page
from torture_page import torture_page
from wire_pages import asyncapi, wire_page

DOCS = Path(__file__).parent
PAGES: dict[str, Callable[[], str]] = {
    "wire.md": wire_page,
    "asyncapi.yaml": asyncapi,
    "settings.md": settings_page,
    "commands.md": commands_page,
    "criteria.md": criteria_page,
    "probes.md": probes_page,
    "logs.md": log_page,
    "torture.md": torture_page,
}


def main() -> int:
    fresh = {name: page() for name, page in PAGES.items()}
    behind = [name for name, text in fresh.items() if not (DOCS / name).exists() or (DOCS / name).read_text() != text]
    if "--check" in sys.argv[1:]:
        sys.stderr.writelines(f"docs/{name} has fallen behind the code; run `make docs`\n" for name in behind)
        return 1 if behind else 0
    for name in behind:
        (DOCS / name).write_text(fresh[name], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
