"""Writes the references that come from the code. Run by `make docs`; a test fails when a page has fallen behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from code_pages import commands_page, criteria_page, probes_page, settings_page
from wire_pages import asyncapi, wire_page

DOCS = Path(__file__).parent
PAGES: dict[str, Callable[[], str]] = {
    "wire.md": wire_page,
    "asyncapi.yaml": asyncapi,
    "settings.md": settings_page,
    "commands.md": commands_page,
    "criteria.md": criteria_page,
    "probes.md": probes_page,
}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
