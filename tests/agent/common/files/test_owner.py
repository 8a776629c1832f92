"""Commands run as root on an installed gateway leave nothing behind that its service cannot use."""

from __future__ import annotations

import codecs
import concurrent.futures.thread
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.__main__ import main
from agent.common.files import OwnerError, acting_as, foreign_files, service_owner
from agent.diagnostics import doctor
from agent.probes import gateway

NOBODY = pwd.getpwnam("nobody")
# Imported before root steps down: where Python is root's alone, nobody can do so later.
assert gateway
assert doctor
assert concurrent.futures.thread
"x".encode("idna")
"x".encode("ascii").decode("ascii")
codecs.lookup("ascii")
pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """A folder that another user can reach: pytest's own are root's alone."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    return tmp_path


@pytest.fixture
def units(tmp_path: Path) -> Callable[[str], list[Path]]:
    def make(user: str) -> list[Path]:
        (tmp_path / "units").mkdir()
        (tmp_path / "units" / "nabz-agent.service").write_text(f"[Service]\nUser={user}\nGroup={user}\n")
        return [tmp_path / "empty", tmp_path / "units"]

    return make


def owner_name(folder: Path, units: list[Path], *, is_installed: bool = True) -> str | None:
    owner = service_owner(folder, is_installed=is_installed, units=units)
    return owner.name if owner else None


def test_the_folder_says_whose_it_is_and_else_the_unit(tmp_path: Path, units) -> None:
    folder = tmp_path / "state"
    assert owner_name(folder, [tmp_path / "empty"]) is None  # nothing is installed: root is who runs it
    folders = units("nobody")
    assert owner_name(folder, folders) == "nobody"
    assert owner_name(folder, folders, is_installed=False) is None
    folder.mkdir()
    assert owner_name(folder, folders) == "nobody"
    os.chown(folder, pwd.getpwnam("daemon").pw_uid, 1)
    assert owner_name(folder, folders, is_installed=False) == "daemon"


def test_a_unit_whose_user_does_not_exist_is_refused(tmp_path: Path, units) -> None:
    with pytest.raises(OwnerError, match=r"user nabz-nobody of nabz-agent\.service: does not exist"):
        service_owner(tmp_path / "state", is_installed=True, units=units("nabz-nobody"))


def test_what_is_written_is_the_users_and_root_is_root_again(open_path: Path, units) -> None:
    folder = open_path / "state"
    owner = service_owner(folder, is_installed=True, units=units("nobody"))
    with acting_as(owner, folder, make=True):
        (folder / "seat.key").write_bytes(b"k")
        assert foreign_files(folder) == []
    assert (os.geteuid(), os.getegid()) == (0, 0)
    assert [path.stat().st_uid for path in (folder, folder / "seat.key")] == [NOBODY.pw_uid] * 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert foreign_files(folder) == [folder / "seat.key"]


def test_a_folder_that_root_left_behind_is_refused_with_its_fix(tmp_path: Path, units) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    owner = service_owner(folder, is_installed=True, units=units("nobody"))
    with (
        pytest.raises(OwnerError, match=r"belongs to root, and the service runs as nobody; run `chown -R nobody: /"),
        acting_as(owner, folder, make=True),
    ):
        pass


@pytest.mark.parametrize("words", [["seat-key"], ["probe", "gateway"], ["enrol", "http://127.0.0.1:1"]])
def test_every_command_that_root_runs_writes_as_the_folders_user(open_path: Path, words: list[str]) -> None:
    folder = open_path / "state"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    (open_path / "agent.toml").write_text(f'[agent]\nstate_dir = "{folder}"\n')
    given = ["--token-file", str(open_path / "token")] if words[0] == "enrol" else []
    (open_path / "token").write_text("x.y")
    main([*words, *given, "--config", str(open_path / "agent.toml")])
    assert {path.stat().st_uid for path in folder.iterdir()} <= {NOBODY.pw_uid}
    assert os.geteuid() == 0


def test_the_doctor_sees_a_file_that_only_root_can_use(open_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = open_path / "state"
    folder.mkdir(mode=0o700)
    (folder / "seat.key").write_bytes(b"k" * 32)
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    (open_path / "agent.toml").write_text(f'[agent]\nstate_dir = "{folder}"\nstatus_listen = "127.0.0.1:1"\n')
    main(["doctor", "--config", str(open_path / "agent.toml")])
    found = capsys.readouterr().out
    assert f"missing  state folder       {folder}: seat.key belongs to another user than nobody" in found
    assert f"chown -R nobody: {folder}" in found
