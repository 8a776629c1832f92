"""Pictures of the pages for docs/screens, of 1,000 centers: `make screens` draws them anew and says what they weigh.

Needs Debian's Chromium.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bench.pages.browser import CHROMIUM, FLAGS, served

FOLDER = Path(__file__).parent / "screens"
MOST_BYTES = 600_000
DESKTOP, PHONE = {"width": 1200, "height": 600}, {"width": 360, "height": 740}
WHOLE = {"width": 1200, "height": 1240}  # a center with its charts
# name: (path, role, language, colours, window, what is waited for)
SCREENS = {
    "list": ("/", "admin", "en-GB", "light", DESKTOP, ".live[data-live=on]"),
    "list-urdu": ("/?lang=ur", "admin", "ur-PK", "dark", DESKTOP, ".live[data-live=on]"),
    "map": ("/map", "admin", "en-GB", "light", DESKTOP, "#map[data-drawn]"),
    "center": ("/centers/{code}?range=7d", "admin", "en-GB", "dark", WHOLE, "#charts canvas >> nth=3"),
    "mine": ("/mine", "operator", "ur-PK", "light", PHONE, ".live[data-live=on]"),
}


def settled(page: Page) -> None:
    """Until fonts are there and nothing moves any more."""
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(1500)


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), 1000) as site, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        for name, (path, role, locale, scheme, window, ready) in SCREENS.items():
            context = browser.new_context(base_url=site["url"], locale=locale, color_scheme=scheme, viewport=window)
            context.add_cookies([{"name": "nabz_session", "value": site["cookies"][role], "url": site["url"]}])
            page = context.new_page()
            page.goto(path.format(code=site["codes"][0]))
            page.locator(ready).first.wait_for()
            settled(page)
            page.screenshot(path=FOLDER / f"{name}.png")
            context.close()
        browser.close()
    weights = {path.name: path.stat().st_size for path in sorted(FOLDER.glob("*.png"))}
    sys.stdout.write("\n".join(f"{name:16} {size / 1000:6.0f} KB" for name, size in weights.items()) + "\n")
    return int(sum(weights.values()) > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
