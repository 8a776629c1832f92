"""A server comes back from one file: backup, what is in it, what is refused, and the restore on a bare machine."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyrage
import pytest
import sqlalchemy as sa

from collector.__main__ import main
from collector.access.ca import Authority
from collector.access.signing_key import load_or_make
from collector.common.config import load
from collector.recovery import archive, contents, copies, unpacked
from collector.recovery.archive import ArchiveError, Keys
from collector.store import Store, schema
from collector.store.database import existing
from tests.collector.store.test_copies import digest, empty, fill

NOW = 1_795_000_000_000
SECRET, PUBLIC = archive.new_identity()
PHRASE = "seven words are easier to keep than one"


@pytest.fixture
def site(either_store: Store, database_url: str, gateway: Callable[..., object], tmp_path: Path) -> Path:
    """A server's settings: its data folder has keys and an authority, its database readings."""
    data = tmp_path / "old"
    data.mkdir()
    load_or_make(data)
    Authority(data, NOW)
    (data / "web-token").write_text("token")
    (tmp_path / "channel.url").write_text("json://secret@example.org")
    (tmp_path / "agekey").write_text(f"# a comment\n{SECRET}\n")
    fill(either_store, gateway)
    config = tmp_path / "collector.toml"
    config.write_text(
        f'[collector]\ndata_dir = "{data}"\n[database]\nurl = "{database_url}"\n'
        f'[[alerts.channels]]\nname = "c"\nurl_file = "{tmp_path}/channel.url"\n'
        f'[backup]\nfolder = "{tmp_path}/backups"\nrecipients = ["{PUBLIC}"]\nkeep = 2\n'
    )
    return config


def made(config: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["backup", "--config", str(config), "--json"]) == 0
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    return answer


def test_all_of_a_server_comes_back_on_a_bare_machine(
    site: Path, either_store: Store, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, old = digest(either_store), tmp_path / "old"
    file = Path(str(made(site, capsys)["file"]))
    assert b"CREATE TABLE" not in file.read_bytes()
    assert "PRIVATE" not in file.read_bytes().decode("latin-1")
    (tmp_path / "channel.url").unlink()
    site.rename(tmp_path / "gone.toml")
    new, other = tmp_path / "new", empty(database_url, tmp_path)
    words = ["--data", str(new), "--database", other, "--identity", str(tmp_path / "agekey"), "--json"]
    config = tmp_path / "etc" / "collector.toml"
    assert main(["restore", str(tmp_path / "backups"), "--config", str(config), *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ready"], answer["config"]) == (True, str(config))
    for name in ("collector.key", "web-token", "ca/root-1.pem", "ca/root-1.key"):
        assert (new / name).read_bytes() == (old / name).read_bytes()
        assert (new / name).stat().st_mode & 0o077 == 0
    settings = load(config)
    assert settings.data_dir == new
    assert settings.alerts.channels[0].secret_url() == "json://secret@example.org"
    with closing(Store.open(other)) as restored:
        after = digest(restored)
        assert {name for name in before if after[name] != before[name]} <= {"about", "restores"}
        assert restored.epoch != either_store.epoch


def test_a_server_that_lives_is_put_aside_only_on_request(
    site: Path, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, old = str(made(site, capsys)["file"]), tmp_path / "old"
    key = (old / "collector.key").read_bytes()
    words = ["--config", str(site), "--identity", str(tmp_path / "agekey"), "--database", empty(database_url, tmp_path)]
    assert main(["restore", file, *words]) == 1
    assert "is of a server that lives here" in capsys.readouterr().err
    assert main(["restore", file, *words, "--dry-run"]) == 0
    assert main(["restore", file, *words, "--force"]) == 0
    (aside,) = old.glob("before-restore-*")
    assert (aside / "collector.key").read_bytes() == (old / "collector.key").read_bytes() == key


@pytest.mark.row(50)
def test_a_restore_that_cannot_end_leaves_the_server_that_lives_as_it_was(
    site: Path, either_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A database that is not empty, a place that takes no file: found when the rest is in place already."""
    file, old = str(made(site, capsys)["file"]), tmp_path / "old"
    where = str(either_store.url.render_as_string(False)) if either_store.parted else f"sqlite:///{tmp_path}/other.db"
    (tmp_path / "other.db.part").mkdir()
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    new_config = ["--config", str(tmp_path / "new.toml"), "--data", str(old)]
    for config in (["--config", str(site)], new_config):
        words = [*config, "--identity", str(tmp_path / "agekey"), "--database", where, "--force"]
        assert main(["restore", file, *words]) == 1
        assert {path: path.read_bytes() for path in before} == before
        assert sorted(path.name for path in old.glob("*restore*")) == []
        assert not (tmp_path / "new.toml").exists()
    with existing(load(site), keys=True):
        pass


@pytest.mark.row(54)
def test_a_full_disk_is_not_taken_for_a_bad_backup(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The process may write no file as large as the database, which a disk without room answers much alike."""
    (tmp_path / "old" / "web-token").write_bytes(random.Random(1).randbytes(1_000_000))  # more than a pipe holds
    file = str(made(site, capsys)["file"])
    words = [file, "--identity", str(tmp_path / "agekey"), "--data", str(tmp_path / "new"), "--dry-run"]
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
    argv = [sys.executable, "-c", f"{limit}from collector.__main__ import main; sys.exit(main())", "restore", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be written (File too large); make room" in done.stderr
    assert not list((tmp_path / "new").iterdir())


def test_a_machine_whose_clock_is_not_set_yet_restores_nothing(
    site: Path, either_store: Store, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would say that the restore was in 1970, and charge centers for what the collector lost."""
    file = tmp_path / "one.backup"
    ahead_ms = time.time_ns() // 1_000_000 + 3_600_000
    copies.make(either_store, load(site), site, file, Keys(recipients=(PUBLIC,)), ahead_ms)
    words = ["restore", str(file), "--identity", str(tmp_path / "agekey"), "--data", str(tmp_path / "new")]
    words += ["--config", str(tmp_path / "none.toml"), "--database", empty(database_url, tmp_path)]
    assert main(words) == 1
    assert "set this machine's clock" in capsys.readouterr().err
    assert not (tmp_path / "new" / "collector.key").exists()
    assert main([*words, "--dry-run"]) == 0
    assert main([*words, "--force"]) == 0


KILLED = """
import os, sys
from pathlib import Path
from collector.common.config import load
from collector.recovery import archive, copies, server
settings = load(Path(sys.argv[1]))
keys = archive.Keys(identities=(copies.own_identity(settings.data_dir),))
folder = Path(sys.argv[3])
folder.mkdir()
unpacked = server.unpack(Path(sys.argv[2]), keys, folder)
server.install(unpacked, settings, None, 1, lambda share: os._exit(9))
"""


@pytest.mark.row(50)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL's tool tells no progress
def test_no_collector_starts_where_a_restore_was_killed(
    site: Path, either_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would make a key, an authority or tables of its own, which no gateway trusts."""
    file, old = str(made(site, capsys)["file"]), tmp_path / "old"
    key = (old / "collector.key").read_bytes()
    either_store.close()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(site), file, str(tmp_path / "part")], check=False)
    assert killed.returncode == 9
    for words in (["serve", "--new"], ["center", "list"]):
        assert main([*words, "--config", str(site)]) == 1
        assert "a restore was cut short" in capsys.readouterr().err
    words = ["--config", str(site), "--identity", str(tmp_path / "agekey"), "--force"]
    assert main(["restore", file, *words]) == 0
    assert (old / "collector.key").read_bytes() == key
    with existing(load(site), keys=True):
        pass


def test_what_a_killed_restore_had_unpacked_is_removed_and_not_what_another_unpacks(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from collector.recovery.unpacked import unpacking_folder
with unpacking_folder(Path(sys.argv[1])) as folder:
    (folder / "keys").mkdir()
    (folder / "keys" / "collector.key").write_bytes(b"secret")
    print("unpacked", flush=True)
    sys.stdin.read()
"""
    argv = [sys.executable, "-c", program, str(tmp_path)]
    (tmp_path / "restore-notes").mkdir()  # somebody's own
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"unpacked\n"
        assert unpacked.remove_left(tmp_path) == []
        first.kill()
    (left,) = tmp_path.glob(f"{unpacked.PREFIX}*/keys/collector.key")
    with unpacked.unpacking_folder(tmp_path) as folder:
        assert folder.is_dir()
        assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["restore-notes"]


def said(words: list[str], typed: str) -> tuple[int, str]:
    """The exit code and errors of a command to which this is typed."""
    argv = [sys.executable, "-m", "collector", *words]
    done = subprocess.run(argv, input=f"{typed}\n", capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_a_passphrase_opens_it_too_and_another_does_not(site: Path, database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "one.backup"
    assert said(["backup", str(file), "--config", str(site), "--passphrase"], PHRASE)[0] == 0
    words = ["restore", str(file), "--data", str(tmp_path / "new"), "--database", empty(database_url, tmp_path)]
    words += ["--config", str(tmp_path / "none.toml"), "--passphrase"]
    code, error = said(words, "another passphrase")
    assert (code, "the passphrase does not fit" in error) == (1, True)
    assert not (tmp_path / "new" / "collector.key").exists()
    assert said(words, PHRASE)[0] == 0
    assert load(tmp_path / "none.toml").data_dir == tmp_path / "new"


def test_old_backups_go_when_a_new_one_is_whole_and_nothing_else_does(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    for number in range(4):
        (folder / copies.name_at(NOW + number * 3_600_000)).write_bytes(b"old")
    (folder / "nabz-notes.backup").write_text("mine")
    assert main(["backup", "--config", str(site), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert len(plan["deleted"]) == 3
    assert len(copies.listed(folder)) == 4
    answer = made(site, capsys)
    assert len(copies.listed(folder)) == 2
    assert (folder / "nabz-notes.backup").exists()
    assert len(answer["deleted"]) == 3  # type: ignore[arg-type]
    assert not list(folder.glob("*.part"))


def test_a_damaged_or_strange_archive_is_refused_and_leaves_nothing(
    site: Path, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Path(str(made(site, capsys)["file"])).read_bytes()
    other, new = empty(database_url, tmp_path), tmp_path / "new"
    chance = random.Random(1)
    flipped = bytearray(whole)
    flipped[chance.randrange(1000, len(whole))] ^= 1
    for number, content in enumerate((whole[:-1], whole[: len(whole) // 2], bytes(flipped), whole + b"x", whole[:30])):
        file = tmp_path / f"{number}.backup"
        file.write_bytes(content)
        words = ["--identity", str(tmp_path / "agekey"), "--data", str(new), "--database", other]
        assert main(["restore", str(file), "--config", str(tmp_path / "none"), *words]) == 1, number
        assert "Traceback" not in capsys.readouterr().err
        assert list(new.iterdir()) == []
    with closing(Store.attach(other)) as store, store.read() as conn:
        assert sa.inspect(conn).get_table_names() == []


@pytest.mark.row(43)
@pytest.mark.parametrize("name", ["../out", "/etc/x", "data/../../x", "data/.ssh", "a" * 600, "data/x\n"])
def test_names_that_lead_out_of_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:gz") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    file = tmp_path / "x.backup"
    file.write_bytes(pyrage.encrypt(plain.getvalue(), [pyrage.x25519.Recipient.from_str(PUBLIC)]))
    taken: list[str] = []
    with pytest.raises(ArchiveError, match="which is no part of a backup"):
        archive.read(file, Keys(identities=(SECRET,)), lambda name, _content: taken.append(name))
    assert taken == []


@pytest.mark.row(43)
def test_a_link_is_no_part_of_a_backup(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:gz") as tar:
        entry = tarfile.TarInfo("data/x")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
    file = tmp_path / "x.backup"
    file.write_bytes(pyrage.encrypt(plain.getvalue(), [pyrage.x25519.Recipient.from_str(PUBLIC)]))
    with pytest.raises(ArchiveError, match="which is no part of a backup"):
        archive.read(file, Keys(identities=(SECRET,)), lambda *_: None)


def test_what_is_not_read_back_whole_gets_no_name(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, _ = archive.new_identity()
    made(site, capsys)
    (tmp_path / "old" / contents.BACKUP_KEY).write_text("no key")
    assert main(["backup", str(tmp_path / "x.backup"), "--config", str(site)]) == 1
    assert "is no secret key" in capsys.readouterr().err
    assert not list(tmp_path.glob("x.backup*"))
    assert other


def test_without_anybody_to_read_it_the_database_alone_is_written_with_a_word(
    sqlite_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(sqlite_store)
    assert main(["backup", str(tmp_path / "x"), "--database", url, "--data", str(tmp_path)]) == 0
    assert "cannot bring a server back" in capsys.readouterr().err
    assert main(["backup", "--database", url, "--data", str(tmp_path)]) == 2
    with sqlite_store.read() as conn:
        assert contents.facts(conn)["rows"]["devices"] == 0  # type: ignore[index]
    assert schema.about.name == "about"


def test_a_pair_of_keys_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key"
    assert main(["backup", "--new-key", str(file), "--json"]) == 0
    public = json.loads(capsys.readouterr().out)["recipient"]
    assert archive.public_of(file.read_text()) == public
    assert main(["backup", "--new-key", str(file)]) == 1
    assert "is not overwritten" in capsys.readouterr().err
