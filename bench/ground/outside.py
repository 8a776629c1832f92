"""Brokers beside the collector, by the settings that Nabz makes for them: Mosquittos or a NATS cluster."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from bench.ground.processes import GroundError, free_port, now_ms
from collector.access.ca import Authority
from collector.access.people import People
from collector.access.server_certs import server_certificates
from collector.brokers import generated_config
from collector.brokers.generated_config import BrokerSite, ClusterSite
from collector.common.config import Settings

# Make -> program, its file of settings, and what makes that.
PROGRAMS = {
    "mosquitto": ("mosquitto", "mosquitto.conf", generated_config.mosquitto),
    "nats": ("nats-server", "nats.conf", generated_config.nats),
}
LOOPBACK = "127.0.0.1"


def section(make: str, ports: Sequence[int]) -> str:
    """The lines of `[broker]` by which the collector finds them."""
    first, *also = [f"mqtts://{LOOPBACK}:{port}" for port in ports]
    return f'url = "{first}"\nalso = {also}\n' + ("cluster = true\n" if make == "nats" and also else "")


def commands(
    make: str, settings: Settings, ports: Sequence[int], gateways: Sequence[str], folder: Path
) -> list[list[str]]:
    """Writes a folder of settings for each port and returns what starts its broker. Raises GroundError."""
    program, file, files_of = PROGRAMS[make]
    tool = shutil.which(program, path=f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}:/usr/sbin")
    if tool is None:
        raise GroundError(f"{program}: is not installed; install it, or use --broker embedded")
    authority = Authority(settings.data_dir, now_ms())
    members = [(LOOPBACK, free_port()) for _ in ports] if make == "nats" and len(ports) > 1 else []
    password, argvs = secrets.token_hex(16), []
    for number, port in enumerate(ports, start=1):
        place = folder / f"{make}-{number}"
        _certificates(authority, settings, place)
        site = BrokerSite(
            tls=(LOOPBACK, port),
            websocket=None,
            people=People(services=settings.services, gateways=gateways),
            folder=str(place),
            cluster=ClusterSite(node=number, members=members, password=password) if members else None,
        )
        for name, text in files_of(site).items():
            (place / name).write_text(_of_one_machine(name, text))
        argvs.append([tool, "-c", str(place / file)])
    return argvs


def listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), 1).close()
    except OSError:
        return False
    return True


def _certificates(authority: Authority, settings: Settings, place: Path) -> None:
    place.mkdir()
    server = server_certificates(authority, settings, now_ms())[0].server
    for word, source in (("ca", server.ca), ("cert", server.cert), ("key", server.key)):
        shutil.copyfile(source, place / generated_config.CERTIFICATES[word])
    shutil.copyfile(authority.write_crl([], now_ms()), place / generated_config.CERTIFICATES["crl"])


def _of_one_machine(name: str, text: str) -> str:
    """A root's Mosquitto would give that up, and with it the folder of this run; NATS servers share this machine."""
    if name == "mosquitto.conf":
        return text + "user root\n"
    return text.replace(f"{LOOPBACK}:4222", f"{LOOPBACK}:{free_port()}")
