"""A real Prometheus of Debian scrapes `/metrics` with an API key and answers a question about it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from collector.access.accounts import api_keys
from collector.common.scope import EVERYWHERE
from collector.store import schema
from tests.helpers.ports import free_port
from tests.helpers.waiting import wait_until

PROGRAM = shutil.which("prometheus")
NOW_MS = 1_795_000_000_000
CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: nabz
  authorization: {{credentials: "{key}"}}
  static_configs: [{{targets: ["{target}"]}}]
"""


def answered(url: str) -> list[Any]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return list(json.loads(answer.read())["data"]["result"])
    except OSError:
        return []


@pytest.mark.slow
def test_prometheus_scrapes_the_collector(served, cast, tmp_path: Path) -> None:
    if PROGRAM is None:
        assert "CI" not in os.environ, "prometheus is to be installed"
        pytest.skip("prometheus is not installed; see tests/packages.sh")
    cast.insert(served.store, schema.centers, [cast.center_row(f"C-{number}", number) for number in range(3)])
    with served.store.write() as conn:
        key = api_keys.add(conn, "prometheus", "auditor", EVERYWHERE, 90, "Root", NOW_MS)
    target = served.url.removeprefix("http://")
    (tmp_path / "prometheus.yml").write_text(CONFIG.format(key=key, target=target))
    port = free_port()
    words = [
        PROGRAM, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    process = subprocess.Popen(words)
    question = f"http://127.0.0.1:{port}/api/v1/query?query=sum(nabz_centers)"
    try:
        wait_until(lambda: [one["value"][1] for one in answered(question)] == ["3"])
    finally:
        process.terminate()
        process.wait(20)
