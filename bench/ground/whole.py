"""The whole server side in processes of its own, below one folder on free ports, a fleet enrolled there, and the check.

Everything is real: `nabz-collector serve`, the embedded broker or Mosquitto behind doors of TLS 1.3, SQLite or a
PostgreSQL cluster of its own, identities enrolled by the collector's code with certificates of its authority. The
kernel's own accounts tell what each process cost. PostgreSQL needs root, as it will not run as root itself.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.uplink import enrol as agent_enrol
from bench.ground import outside
from bench.ground.processes import Cost, GroundError, by_program, free_port, now_ms, own, wait
from collector.access import enrolment
from collector.access.ca import Authority
from collector.access.signing_key import load_or_make
from collector.commands.simulation.fleet import SimulatedCenter, make_fleet
from collector.commands.simulation.gateway import Gateway
from collector.commands.simulation.identities import device_of
from collector.commands.simulation.register import register
from collector.common.config import Settings, load
from collector.store import Store, schema

ROOT = Path(__file__).parents[2]


# ---------------------------------------------------------------- databases


@contextmanager
def sqlite(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes] | None]]:
    yield f"sqlite:///{folder}/data/nabz.db", None


@contextmanager
def postgresql(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes] | None]]:
    """A cluster of its own; stopped at once at the end, as nobody needs it any more."""
    tools = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not tools or os.geteuid() != 0:
        raise GroundError("PostgreSQL: needs root and Debian's postgresql; use --database sqlite")
    bin_, data, place = tools[-1].parent, folder / "pg", folder / "socket"
    for item in (data, place):
        item.mkdir(parents=True)
        shutil.chown(item, "postgres", "postgres")
    for item in (folder, *folder.parents[:1]):
        item.chmod(0o755)
    words = ["-D", str(data), "--username=nabz", "--auth=trust", "--encoding=UTF8", "--no-locale"]
    subprocess.run([str(bin_ / "initdb"), *words], user="postgres", check=True, cwd="/", capture_output=True)
    argv = [
        str(bin_ / "postgres"),
        "-D",
        str(data),
        "-c",
        "listen_addresses=",
        "-c",
        f"unix_socket_directories={place}",
    ]
    with (place / "log").open("ab") as log:
        process = subprocess.Popen(argv, user="postgres", cwd="/", stdout=log, stderr=log, start_new_session=True)
    try:
        ready = [str(bin_ / "pg_isready"), "-h", str(place), "-q"]
        wait(lambda: subprocess.run(ready, check=False).returncode == 0, process, "PostgreSQL")
        made = [str(bin_ / "createdb"), "-h", str(place), "-U", "nabz", "nabz"]
        subprocess.run(made, user="postgres", check=True, cwd="/")
        yield f"postgresql+psycopg://nabz@/nabz?host={place}", process
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)


DATABASES = {"sqlite": sqlite, "postgresql": postgresql}


# ---------------------------------------------------------------- who takes part


@dataclass(kw_only=True)
class Member:
    """A gateway of the fleet with its certificate; `context` is made when it is first wanted."""

    gateway: Gateway
    ca: Path
    cert: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.ca)
        context.load_cert_chain(self.cert, self.key)
        return context


def enrolled(settings: Settings, fleet: Sequence[SimulatedCenter], folder: Path, at_ms: int) -> list[Member]:
    """A new gateway for each center, let in at `at_ms` by the collector's own code, without the way over HTTP."""
    folder.mkdir()
    store = Store.open(settings.database_url)
    authority = Authority(settings.data_dir, at_ms, settings.enrolment.certificate_days)
    key = load_or_make(settings.data_dir).public_key().public_bytes_raw()
    facts = enrolment.EnrolmentFacts(
        collector_key=key, broker_host="127.0.0.1", broker_port=1, measure_url="", authority=authority
    )
    tokens = register(store, fleet, at_ms)
    members = []
    with store.write() as conn:
        for center in fleet:
            member, request = _asking(center, tokens[center.code], folder)
            answer = enrolment.enrol(conn, msgspec.json.encode(request), at_ms, facts)
            member.cert.write_text(str(answer["certificate"]))
            member.ca.write_text(str(answer["ca"]))
            member.gateway.nonce = str(answer["nonce"])
            members.append(member)
    store.close()
    return members


def _asking(center: SimulatedCenter, token: str, folder: Path) -> tuple[Member, dict[str, object]]:
    key, tls_key = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    device = device_of(key)
    place = folder / f"{device}.key"
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    place.write_bytes(tls_key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    gateway = Gateway(center=center, key=key, device=device, spool=uuid.uuid4().hex)
    member = Member(gateway=gateway, ca=folder / "ca.pem", cert=folder / f"{device}.crt", key=place)
    return member, agent_enrol.enrolment_request(token, key, tls_key)


def heard_before(url: str, gateways: Sequence[Gateway], at_ms: int) -> None:
    """The centers were last heard then: what comes next closes a gap."""
    rows = [
        {"center": item.center.code, "device": item.device, "first_ms": at_ms, "heard_ms": at_ms, "due_ms": at_ms}
        for item in gateways
    ]
    with closing(Store.open(url)) as store, store.write() as conn:
        conn.execute(sa.insert(schema.pulse), rows)


# ---------------------------------------------------------------- the ground


@dataclass
class Ground:
    """Open it with `ground`. `processes` by name; `doors` are the ports of each broker's listener for gateways, and
    `brokers` what starts those beside the collector."""

    folder: Path
    settings: Settings
    config: Path
    doors: list[int]
    members: list[Member]
    brokers: list[list[str]] = field(default_factory=list)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def collector_key(self) -> bytes:
        return load_or_make(self.settings.data_dir).public_key().public_bytes_raw()

    @property
    def tls(self) -> int:
        return self.doors[0]

    def start_broker(self, number: int) -> None:
        process = self.start(broker_name(number), self.brokers[number])
        wait(partial(outside.listens, self.doors[number]), process, f"a broker (see {self.folder})")

    def start(self, name: str, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True, cwd=ROOT)
        self.processes[name] = process
        return process

    def serve(self, *words: str) -> None:
        """Starts the collector and returns when it answers."""
        process = self.start("collector", [sys.executable, "-m", "collector", *(words or ("serve",)), *self.named])
        wait(self._healthy, process, f"the collector (see {self.folder}/collector.log)")

    @property
    def named(self) -> tuple[str, str]:
        return "--config", str(self.config)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.settings.web_url}/healthz", timeout=1):
                return True
        except OSError:
            return False

    def stop(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def ground(
    folder: Path,
    count: int,
    *,
    broker: str = "embedded",
    database: str = "sqlite",
    at_ms: int | None = None,
    is_whole: bool = False,
    brokers: int = 1,
    workers: int = 1,
) -> Iterator[Ground]:
    """Everything but the collector runs; `count` gateways are enrolled, at `at_ms` or now. `broker`:
    embedded or tended, of the collector's own, or mosquitto or nats, beside it, so many of them as `brokers` says.
    `is_whole`: enrolment and measurement have listeners too. Raises GroundError."""
    with ExitStack() as stack:
        url, process = stack.enter_context(DATABASES[database](folder))
        doors = [free_port() for _ in range(brokers)]
        config = folder / "collector.toml"
        config.write_text(_settings(folder, url, broker, doors, workers, is_whole))
        settings = load(config)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        members = enrolled(settings, make_fleet(count, 1), folder / "fleet", at_ms or now_ms())
        made = Ground(folder, settings, config, doors, members)
        if process is not None:
            made.processes["database"] = process
        try:
            if broker in outside.PROGRAMS:
                devices = [member.gateway.device for member in members]
                made.brokers = outside.commands(broker, settings, doors, devices, folder)
                for number in range(brokers):
                    made.start_broker(number)
            yield made
        finally:
            for name in ("flood", "collector", *map(broker_name, range(brokers))):
                made.stop(name)


def _settings(folder: Path, url: str, broker: str, doors: Sequence[int], workers: int, is_whole: bool) -> str:
    kind = "mosquitto" if broker == "tended" else "embedded"
    inside = f'url = "embedded"\nkind = "{kind}"\n{_listen()}tls_listen = "127.0.0.1:{doors[0]}"\n'
    return (
        f'[collector]\ndata_dir = "{folder}/data"\nlog_level = "warning"\n[database]\nurl = "{url}"\n'
        f"[web]\n{_listen()}[ingest]\nworkers = {workers}\n[broker]\n"
        + (outside.section(broker, doors) if broker in outside.PROGRAMS else inside)
        + "[measure]\n"
        + (f"{_listen()}[enrolment]\n{_listen()}" if is_whole else "enabled = false\n")
    )


def _listen() -> str:
    return f'listen = "127.0.0.1:{free_port()}"\n'


def broker_name(number: int) -> str:
    return "broker" if number == 0 else f"broker {number + 1}"


# ---------------------------------------------------------------- what it cost


def costs(made: Ground) -> dict[str, Cost]:
    """By process, the fleet's own among them; a Mosquitto that is the collector's child by itself."""
    found = {"fleet": own()}
    for name, process in made.processes.items():
        programs = by_program(process.pid)
        tended = programs.pop("mosquitto", None) if name == "collector" else None
        rest = programs.values()
        found[name] = Cost(sum(part.cpu_s for part in rest), sum(part.rss_bytes for part in rest))
        if tended is not None:
            found["mosquitto"] = tended
    return found


# ---------------------------------------------------------------- the check


@dataclass(frozen=True)
class Held:
    """Readings. `broken`: gateways whose held bytes do not chain to their own end."""

    promised: int
    held: int
    lost: int
    doubled: int
    rows: int
    broken: int

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.broken) and self.rows == self.promised


def check(database: str, promises: Mapping[str, tuple[int, bytes]]) -> Held:
    """Every promise (spool -> last number and the chain there) against what the database holds, byte for byte."""
    store = Store.open(database)
    held = lost = doubled = broken = rows = 0
    with store.read() as conn:
        for spool, (last, chain) in promises.items():
            found, twice = _readings(conn, spool)
            held, doubled = held + len(found), doubled + twice
            lost += sum(1 for seq in range(1, last + 1) if seq not in found)
            whole = [found[seq] for seq in range(1, last + 1) if seq in found]
            broken += wire.chain(wire.GENESIS, whole) != chain
        for table in schema.readings.values():
            rows += int(conn.scalar(sa.select(sa.func.count()).where(table.c.spool.in_(list(promises)))) or 0)
    store.close()
    return Held(sum(last for last, _ in promises.values()), held, lost, doubled, rows, broken)


def _readings(conn: sa.Connection, spool: str) -> tuple[dict[int, bytes], int]:
    table = schema.evidence.c
    found: dict[int, bytes] = {}
    doubled = 0
    device = sa.select(schema.spools.c.device).where(schema.spools.c.spool == spool).scalar_subquery()
    query = sa.select(table.body, table.fresh).where(table.device == device, table.spool == spool)
    for body, fresh in conn.execute(query.order_by(table.first_seq)):
        batch = wire.decode_batch(body)
        for first, last in json.loads(fresh):
            for seq in range(first, last + 1):
                doubled += seq in found
                found[seq] = bytes(batch.readings[seq - batch.first_seq])
    return found, doubled
