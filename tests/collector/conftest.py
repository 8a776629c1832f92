"""What tests of the collector's core share: a gateway that speaks the real wire, and a store on each database."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.access.enrolment import device_name
from collector.common.messages import Message
from collector.register import centers
from collector.store import Store, schema
from tests.collector.empty_stores import empty_store

NOW = 1_795_000_000_000
YEAR_MS = 365 * 86_400_000
ROW = {"name": "Lahore One", "tier": "one", "seats_promised": "20", "opening": "Mon-Sat 09:00-21:00"}


@dataclass
class Gateway:
    """An enrolled gateway: it numbers, chains and signs as a real one does."""

    center: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    spool: str = field(default_factory=lambda: uuid.uuid4().hex)
    next_seq: int = 1
    chain: bytes = wire.GENESIS

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    @property
    def device(self) -> str:
        return device_name(self.public_key)

    def ups(
        self, wall_ms: int = NOW, clock: str = "synced", mono_ms: int | None = None, boot: str = "b", **values
    ) -> bytes:
        """As of a machine that booted a year before NOW, unless `mono_ms` says otherwise."""
        since_ms = max(0, wall_ms - NOW + YEAR_MS) if mono_ms is None else mono_ms
        at = wire.Stamp(wall_ms=wall_ms, mono_ms=since_ms, boot=boot, clock=clock)
        return wire.encode_reading(wire.UpsReading(at=at, **({"output_state": "online"} | values)))

    def batch(self, raws: Sequence[bytes], **changes) -> Message:
        """The next readings of the spool, sealed."""
        sealed = self.sealed(raws, self.next_seq, self.chain, **changes)
        self.next_seq += len(raws)
        self.chain = wire.chain(self.chain, raws)
        return sealed

    def sealed(self, raws: Sequence[bytes], first_seq: int, prev: bytes, **changes) -> Message:
        facts = {"v": 1, "device": self.device, "spool": self.spool, "first_seq": first_seq, "prev": prev.hex()}
        batch = wire.Batch(readings=[msgspec.Raw(raw) for raw in raws], **(facts | changes))
        return Message(wire.batch_topic(self.device), wire.seal(wire.encode(batch), self.key.sign))


@pytest.fixture
def gateway() -> Callable[..., Gateway]:
    """Makes a gateway, enrolled at a center that is registered with it."""

    def make(store: Store, center: str = "LHR-1", **facts: str) -> Gateway:
        made = Gateway(center)
        with store.write() as conn:
            if not centers.some_centers(conn, [center]):
                centers.add(conn, {"center": center, **ROW, **facts}, NOW - 10**9)
            row = {"device": made.device, "center": center, "public_key": made.public_key}
            conn.execute(sa.insert(schema.devices).values(**row, enrolled_ms=NOW - 10**9))
        return made

    return make


@pytest.fixture
def vouch() -> Callable[..., None]:
    """Grants tests to a device, and has the measurement server see these figures: {test id: (down, up)} in Mbit/s."""

    def seen(store: Store, center: str, device: str, tests: dict[str, tuple[float, float]], at_ms: int = NOW) -> None:
        turn = {"center": center, "device": device, "server": "s", "purpose": "routine", "state": "done"}
        times = {"asked_ms": at_ms, "granted_ms": at_ms, "expires_ms": at_ms + 10**12}
        saw = {"server": "s", "device": device, "address": "203.0.113.7", "started_ms": at_ms, "received_ms": at_ms}
        size = {"down_bytes": 10**7, "up_bytes": 10**6, "down_s": 4.0, "up_s": 4.0, "body": b"", "signature": b""}
        rates = [{"test_id": test, "down_mbps": down, "up_mbps": up} for test, (down, up) in tests.items()]
        with store.write() as conn:
            conn.execute(sa.insert(schema.grants), [{"test_id": test, **turn, **times} for test in tests])
            rows = [{**rate, **saw, **size, "witnessed": True, "min_rtt_ms": 20.0} for rate in rates]
            conn.execute(sa.insert(schema.records), rows)

    return seen


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The socket folder of a private PostgreSQL cluster, run by an unprivileged user."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    tools = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not tools:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed; see tests/packages.txt")
        pytest.skip("PostgreSQL is not installed")
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="nabz-pg-", dir=memory()))
    if user:
        shutil.chown(folder, user, user)

    def run(tool: str, *words: str) -> None:
        argv = [str(tools[-1].with_name(tool)), "-D", str(folder / "db"), *words]
        subprocess.run(argv, user=user, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    run("initdb", "--username=nabz", "--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale")
    quick = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c max_connections=60"
    run("pg_ctl", "--silent", "--wait", "--log", str(folder / "log"), "--options", quick, "start")
    yield str(folder)
    run("pg_ctl", "--silent", "--mode", "immediate", "stop")
    shutil.rmtree(folder)


def memory() -> Path | None:
    """Where files need no disk, if this machine has room there."""
    place = Path("/dev/shm")
    return place if place.is_dir() and shutil.disk_usage(place).free > 4 << 30 else None


def statement(folder: str, text: str) -> None:
    admin = sa.create_engine(f"postgresql+psycopg://nabz@/postgres?host={folder}", isolation_level="AUTOCOMMIT")
    with contextlib.closing(admin.raw_connection()) as conn:
        conn.cursor().execute(text)
    admin.dispose()


@pytest.fixture(scope="session")
def with_tables(postgres: str) -> str:
    """A database to make others of, quicker than by making all its tables again."""
    statement(postgres, "CREATE DATABASE with_tables")
    Store.open(f"postgresql+psycopg://nabz@/with_tables?host={postgres}").close()
    return "with_tables"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind; on PostgreSQL with its tables where `either_store` opens it first."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'nabz.db'}"
        return
    folder, name = request.getfixturevalue("postgres"), f"t{uuid.uuid4().hex}"
    is_made = "either_store" in request.fixturenames
    template = request.getfixturevalue("with_tables") if is_made else "template1"
    statement(folder, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield f"postgresql+psycopg://nabz@/{name}?host={folder}"
    statement(folder, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def either_store(database_url: str) -> Iterator[Store]:
    """An empty store on each database."""
    path = database_url.removeprefix("sqlite:///")
    store = Store.open(database_url) if path == database_url else empty_store(Path(path))
    yield store
    store.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    store = empty_store(tmp_path / "nabz.db")
    yield store
    store.close()
