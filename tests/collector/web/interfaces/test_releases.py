"""The collector as the web server of its repository of releases."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from agent.config import UpdateSection
from agent.updates.repository import open_url
from agent.updates.take import look
from collector.store import Store
from tests.collector.remote.updates.signed_repository import PLACE, SignedRepository, now_ms
from tests.collector.web.conftest import Served, serve


def status_of(served: Served, path: str) -> int:
    """Of a path that no client would mend."""
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port), 60) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return int(line.makefile("rb").readline().split()[1])


def test_a_gateway_takes_a_release_from_the_collector(store: Store, standards: Any, tmp_path: Path) -> None:
    ours = SignedRepository.begun(tmp_path / "repository")
    ours.release("0.3.0", b"good" * 1000)
    (tmp_path / "root.json").write_bytes(ours.root())
    state = tmp_path / "state"
    state.mkdir()
    with serve(store, standards, tmp_path, releases=ours.folder) as site:
        section = UpdateSection(url=f"{site.url}/updates", root_file=str(tmp_path / "root.json"))
        assert look(section, state, PLACE, now_ms(), take=True, open_url=open_url).code == "taken"
        (ours.folder / "secret").write_text("x")
        (ours.folder / "metadata" / "link").symlink_to("/etc/passwd")
        for path in ("secret", "staged/root.json", "metadata/../secret", "metadata/%2e%2e/secret", "metadata/link"):
            assert status_of(site, f"/updates/{path}") == 404, path
        assert status_of(site, "/updates/metadata/1.root.json") == 200


@pytest.mark.parametrize("path", ["/updates/metadata/1.root.json", "/updates/", "/updates/metadata"])
def test_without_a_repository_there_is_nothing(served: Served, path: str) -> None:
    assert status_of(served, path) == 404
