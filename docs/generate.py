"""Writes the references that come from the code. Run by `make docs`; a test fails when a page has fallen behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wire_pages import asyncapi, wire_page

DOCS = Path(__file__).parent
PAGES: dict[str, Callable[[], str]] = {
    "wire.md": wire_page,
    "asyncapi.yaml": asyncapi,
}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
