"""`nabz-collector broker-config`: complete settings for a broker of another make, with its certificates."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from agent.common.errors import describe
from collector.access import devices
from collector.access.ca import Authority
from collector.access.server_certs import server_certificates
from collector.access.signing_key import cluster_password, load_or_make
from collector.brokers.external import certificates, write
from collector.brokers.generated_config import MAKES, BrokerSite, ClusterSite, Make
from collector.commands.console import answers, common_arguments, complain, say, settings_of
from collector.common.config import ConfigError, Settings, split_listen
from collector.store.database import existing

EXAMPLE = "nabz-collector broker-config mosquitto --out /etc/mosquitto/nabz"
DEFAULT_LISTEN = "0.0.0.0:8883"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("make", choices=sorted(MAKES), help="which broker")
    parser.add_argument(
        "--cluster",
        type=_members,
        metavar="HOST:PORT,…",
        help="NATS on several machines: where each listens for the others",
    )
    parser.add_argument("--node", type=int, metavar="N", help="which of --cluster this one is, from 1")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default: below data_dir)")


@answers
def run(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    folder: Path = (options.out or settings.data_dir / options.make).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cluster = _cluster(options)
        names = [*_certificates(settings, folder), *_settings(settings, options.make, folder, cluster)]
    except OSError as error:
        complain(f"--out {folder}: cannot be written ({describe(error)}); name a folder of your own")
        return 1
    say("\n".join(str(folder / name) for name in names))
    return 0


def _members(text: str) -> list[tuple[str, int]]:
    """Raises ValueError, which argparse reports."""
    return [split_listen(item) for item in text.split(",")]


def _cluster(options: argparse.Namespace) -> ClusterSite | None:
    """Its password is still to come. Raises ConfigError."""
    if options.cluster is None and options.node is None:
        return None
    if options.make != "nats":
        raise ConfigError(f"--cluster: {options.make} has no clusters; name each in [broker] also, or take nats")
    if options.cluster is None or options.node is None or not 1 <= options.node <= len(options.cluster):
        raise ConfigError("--node: is the number of one of --cluster; name both")
    if len(options.cluster) < 3:
        raise ConfigError("--cluster: two machines cannot outvote one that is lost; name three or more")
    return ClusterSite(node=options.node, members=options.cluster, password="")


def _settings(settings: Settings, make: Make, folder: Path, cluster: ClusterSite | None) -> list[str]:
    broker = settings.broker
    if cluster is not None:
        cluster = replace(cluster, password=cluster_password(load_or_make(settings.data_dir)))
    with existing(settings) as store, store.read() as conn:
        people = devices.people(conn, settings.services)
    site = BrokerSite(
        tls=split_listen(broker.tls_listen or DEFAULT_LISTEN),
        websocket=split_listen(broker.websocket_listen) if broker.websocket_listen else None,
        people=people,
        folder=str(folder),
        cluster=cluster,
    )
    files = {name: text.encode() for name, text in MAKES[make](site).items()}
    write(folder, files)
    return list(files)


def _certificates(settings: Settings, folder: Path) -> list[str]:
    """Copies, as the broker runs as a user of its own; the key is readable to its owner and group alone."""
    now_ms = time.time_ns() // 1_000_000
    with existing(settings, keys=True) as store, store.read() as conn:
        authority = Authority(settings.data_dir, now_ms, settings.enrolment.certificate_days)
        own = server_certificates(authority, settings, now_ms)[0].server
        revoked = authority.write_crl(devices.revoked_serials(conn, now_ms), now_ms)
    copies = certificates(own, revoked)
    write(folder, copies)
    return list(copies)
