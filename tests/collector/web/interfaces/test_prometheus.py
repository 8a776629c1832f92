"""A real Prometheus of Debian scrapes `/metrics` with an API key and answers a question about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.access.accounts import api_keys
from collector.common.scope import EVERYWHERE
from collector.store import schema
from tests.helpers.programs.prometheus import scraping

NOW_MS = 1_795_000_000_000


@pytest.mark.slow
def test_prometheus_scrapes_the_collector(served, cast, tmp_path: Path) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row(f"C-{number}", number) for number in range(3)])
    with served.store.write() as conn:
        key = api_keys.add(conn, "prometheus", "auditor", EVERYWHERE, 90, "Root", NOW_MS)
    with scraping(tmp_path, served.url.removeprefix("http://"), key) as prometheus:
        prometheus.wait_for("sum(nabz_centers)", "3")
