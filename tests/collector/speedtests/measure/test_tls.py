"""`nabz-collector measure` with a certificate: what it serves then, and how wrong use is told."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.helpers.authority import TestAuthority
from tests.helpers.processes import child


def command(port: int, *options: str) -> list[str]:
    return [sys.executable, "-m", "collector", "measure", "--listen", f"127.0.0.1:{port}", *options]


def test_the_command_serves_https_with_the_certificate_it_is_given(free_port: int, tmp_path: Path) -> None:
    files = TestAuthority(tmp_path).server("127.0.0.1")
    words = command(free_port, "--tls-cert", str(files.cert), "--tls-key", str(files.key), "--state", str(tmp_path))
    with child(words, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert f"https://127.0.0.1:{free_port}" in server.stderr.readline()
        trust = ssl.create_default_context(cafile=files.ca)
        with urllib.request.urlopen(f"https://127.0.0.1:{free_port}/hello", context=trust, timeout=60) as answer:
            assert json.load(answer)["server"] == "nabz"
        server.send_signal(signal.SIGTERM)
        server.stderr.read()
    assert server.returncode == 0


@pytest.mark.parametrize("given", [["--tls-cert"], ["--tls-key"], ["--tls-cert", "--tls-key"]])
def test_half_a_pair_or_files_that_are_none_are_wrong_use(given: list[str], free_port: int, tmp_path: Path) -> None:
    (tmp_path / "file.pem").write_text("nothing")
    options = [word for name in given for word in (name, str(tmp_path / "file.pem"))]
    done = subprocess.run(command(free_port, *options), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "PEM files" in done.stderr
    assert len(done.stderr.splitlines()) == 1
