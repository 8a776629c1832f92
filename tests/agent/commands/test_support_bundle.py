"""The file for whoever helps from afar: all that is needed, and none of the secrets planted on the gateway."""

from __future__ import annotations

import json
import stat
import tarfile
from pathlib import Path

import pytest

from agent.__main__ import main
from agent.commands.support_bundle import PARTS

PLANTED = ("s3cret-community", "r0uter-community", "file-passphrase-7", "wr1te-community")


@pytest.fixture
def config(tmp_path: Path, free_port: int) -> Path:
    """Settings with a secret in every place that takes one."""
    (tmp_path / "state").mkdir()
    for name, text in (("auth.key", PLANTED[2]), ("write", PLANTED[3])):
        (tmp_path / name).write_text(text)
    (tmp_path / "state" / "signing.key").write_bytes(b"k" * 32)
    file = tmp_path / "agent.toml"
    file.write_text(
        f'[agent]\nstate_dir = "{tmp_path}/state"\nstatus_listen = "127.0.0.1:{free_port}"\n'
        f'[link]\ntarget = "127.0.0.1"\n[seats]\nenabled = false\n'
        f'[speed]\nrouter_community = "{PLANTED[1]}"\n'
        f'[[ups]]\nhost = "127.0.0.1"\nport = 1\nanswer_s = 0.2\ncommunity = "{PLANTED[0]}"\n'
        f'auth_key_file = "{tmp_path}/auth.key"\nwrite_community_file = "{tmp_path}/write"\n'
    )
    return file


def test_it_holds_every_part_and_no_secret(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bundle.tar.gz"
    assert main(["support-bundle", "--config", str(config), "--out", str(out)]) == 0
    assert "read it before you give it away" in capsys.readouterr().out
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with tarfile.open(out) as bundle:
        files = {member.name.removeprefix("nabz-support/"): bundle.extractfile(member) for member in bundle}
        texts = {name: file.read().decode() for name, file in files.items() if file is not None}
    assert texts.keys() == PARTS.keys()
    for secret in (*PLANTED, "k" * 32, (b"k" * 32).hex()):
        assert not [name for name, text in texts.items() if secret in text], secret
    assert json.loads(texts["settings.json"])["file"]["link"]["target"] == "127.0.0.1"
    assert "failed" in json.loads(texts["status.json"]), "no agent runs here, and that is said"


def test_a_place_that_takes_no_file_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["support-bundle", "--config", str(config), "--out", "/proc/nothing"]) == 1
    assert "name another with --out" in capsys.readouterr().err
