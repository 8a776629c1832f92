"""A real Prometheus of Debian that scrapes one address every second."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.ports import free_port
from tests.helpers.waiting import wait_until

PROGRAM = shutil.which("prometheus")
CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: nabz
  authorization: {{credentials: "{key}"}}
  static_configs: [{{targets: ["{target}"]}}]
"""


class Prometheus:
    """`values` are those of a query, as text."""

    def __init__(self, url: str) -> None:
        self._url = url

    def values(self, query: str) -> list[str]:
        try:
            asked = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
            with urllib.request.urlopen(asked, timeout=5) as answer:
                return [one["value"][1] for one in json.loads(answer.read())["data"]["result"]]
        except OSError:
            return []

    def wait_for(self, query: str, *values: str) -> None:
        wait_until(lambda: self.values(query) == list(values), query)


@contextmanager
def scraping(folder: Path, target: str, key: str = "unused") -> Iterator[Prometheus]:
    """`target` is HOST:PORT; the test is skipped where there is no Prometheus."""
    if PROGRAM is None:
        assert "CI" not in os.environ, "prometheus is to be installed"
        pytest.skip("prometheus is not installed; see tests/packages.sh")
    (folder / "prometheus.yml").write_text(CONFIG.format(key=key, target=target))
    port = free_port()
    words = [
        PROGRAM, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    process = subprocess.Popen(words)
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)
