"""Checks an installation: what it has, what it lacks, and how to correct that. Changes nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from agent import identity
from agent.common.errors import describe
from agent.common.files import foreign_files
from agent.config import AgentSettings
from agent.diagnostics import line, resolver, uplink
from agent.diagnostics.diagnosis import Check, Diagnosis, Installation
from agent.probes import PROBES
from agent.probes.gateway import clock_state
from agent.probes.link import interfaces
from agent.probes.probe import Context, ProbeFailed
from agent.remote import trial
from agent.spool.salvage import try_folder
from agent.uplink import trust
from agent.wire import Reading

__all__ = ["Diagnosis", "diagnose", "file_system"]

REACH_S = 10.0
UPS_S = 8.0
SPARE_BYTES = 64 * 1024 * 1024
ENROL_AGAIN = "enrol again with `nabz-agent enrol URL --force`"
IN_MEMORY = frozenset({"tmpfs", "ramfs"})


def diagnose(settings: AgentSettings) -> Iterator[Diagnosis]:
    """Every finding, as soon as it is made."""
    try:
        installation = Installation(settings, identity.load(settings.state_dir))
    except identity.IdentityError as error:
        installation = Installation(settings, None, error)
    for check in CHECKS:
        yield from check(installation)


def _identity(here: Installation) -> Iterator[Diagnosis]:
    if here.trouble is not None:
        yield Diagnosis(what="identity", detail=here.trouble.what, fix=here.trouble.fix)
    if here.mine is not None:
        yield Diagnosis(what="identity", detail=f"{here.mine.device} of center {here.mine.center} ({here.mine.name})")


def _certificate(here: Installation) -> Iterator[Diagnosis]:
    if here.mine is None or here.mine.tls is None:
        return
    try:
        held = x509.load_pem_x509_certificates(here.mine.tls.cert.read_bytes())[0]
    except (OSError, ValueError) as error:
        fix = ENROL_AGAIN
        yield Diagnosis(what="certificate", detail=f"{here.mine.tls.cert}: cannot be read ({describe(error)})", fix=fix)
        return
    try:
        trust.broker_context(here.mine.tls, trust.TrustedClock())
    except (identity.IdentityError, OSError) as error:
        yield Diagnosis(what="certificate", detail=f"cannot be used: {describe(error)}", fix=ENROL_AGAIN)
        return
    start_s, end_s = held.not_valid_before_utc.timestamp(), held.not_valid_after_utc.timestamp()
    detail = f"holds until {held.not_valid_after_utc:%Y-%m-%d}, renewed half way"
    if not start_s <= time.time() <= end_s:
        detail = f"holds from {held.not_valid_before_utc:%Y-%m-%d} until {held.not_valid_after_utc:%Y-%m-%d}, not today"
        yield Diagnosis(what="certificate", detail=detail, fix=f"start the agent and let {here.mine.url} be reached")
    else:
        yield Diagnosis(what="certificate", detail=detail)


def _remote_settings(here: Installation) -> Iterator[Diagnosis]:
    """What the collector sets over the machine's file, and what became of the last of it."""
    state = trial.read(here.settings.state_dir / trial.FILE)
    if state.in_force is not None:
        keys = ", ".join(
            f"{table}.{key}" for table, keys in sorted(state.in_force.values.items()) for key in sorted(keys)
        )
        kind = "on trial" if state.trial is not None else "in force"
        yield Diagnosis(what="remote settings", detail=f"{kind}: {keys or 'none'} ({state.in_force.digest or 'empty'})")
    if state.why:
        fix = "have the desk correct them (`nabz-collector settings show`)"
        yield Diagnosis(what="remote settings", detail=f"{state.failed or 'empty'} failed: {state.why}", fix=fix)


def _state_folder(here: Installation) -> Iterator[Diagnosis]:
    folder = here.settings.state_dir
    kind = file_system(folder, Path("/proc/mounts").read_text("utf-8", "replace"))
    try:
        try_folder(folder)
    except OSError as error:
        fix = f"make it, owned by the agent's user ({_user()}): chown -R {_user()}: {folder}; or set [agent] state_dir"
        yield Diagnosis(what="state folder", detail=f"{folder}: cannot be written durably ({describe(error)})", fix=fix)
        return
    if others := foreign_files(folder):
        detail = f"{folder}: {others[0].name} belongs to another user than {_user()}, who runs the agent"
        yield Diagnosis(what="state folder", detail=detail, fix=f"run `chown -R {_user()}: {folder}`")
        return
    if kind in IN_MEMORY:
        fix = "set [agent] state_dir to a folder on a disk"
        yield Diagnosis(what="state folder", detail=f"{folder} is in memory ({kind}): a power cut empties it", fix=fix)
    else:
        yield Diagnosis(what="state folder", detail=f"{folder} on {kind}, written durably")


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def file_system(folder: Path, mounts: str) -> str:
    """The kind of the file system that holds ``folder``, by /proc/mounts."""
    best, kind = "", "unknown"
    for mount in mounts.splitlines():
        words = mount.split()
        if len(words) >= 3 and folder.is_relative_to(words[1]) and len(words[1]) >= len(best):
            best, kind = words[1], words[2]
    return kind


def _disk(here: Installation) -> Iterator[Diagnosis]:
    folder = here.settings.state_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    wanted = 2 * here.settings.spool.max_mb * 1024 * 1024 + SPARE_BYTES  # a salvage writes the spool once more
    detail = f"{free // 2**20} MB free, {wanted // 2**20} MB wanted"
    yield Diagnosis(what="disk", detail=detail, fix="" if free >= wanted else "free some, or lower [spool] max_mb")


def _ping(_here: Installation) -> Iterator[Diagnosis]:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()
    except OSError as error:
        yield Diagnosis(
            what="ping",
            detail=f"echoes are not allowed ({describe(error)}); latency is measured by TCP connects instead",
            fix='sysctl -w net.ipv4.ping_group_range="0 2147483647", and keep it in /etc/sysctl.d',
        )
    else:
        yield Diagnosis(what="ping", detail="echoes are allowed without privilege")


def _clock(_here: Installation) -> Iterator[Diagnosis]:
    state = clock_state()
    if state.quality == "synced":
        yield Diagnosis(what="clock", detail=f"synchronised, {state.offset_ms or 0:g} ms to correct")
    else:
        fix = "install chrony or enable systemd-timesyncd, and let NTP out"
        yield Diagnosis(what="clock", detail="not synchronised: times are corrected only later", fix=fix)


def _broker(here: Installation) -> Iterator[Diagnosis]:
    if here.mine is not None:
        for endpoint in here.mine.brokers:
            what = "broker by WebSocket" if endpoint.transport == "websockets" else "broker"
            yield reach(what, endpoint.host, endpoint.port, "let this port out of the center's network")


def _interfaces(here: Installation) -> Iterator[Diagnosis]:
    """Every interface that the settings name, by name or pattern."""
    link, present = here.settings.link, interfaces.present()
    named = {
        "[link] primary_interface": [link.primary_interface],
        "[link] failover_interfaces": link.failover_interfaces,
        "[speed] wan_interface": [here.settings.speed.wan_interface],
    }
    for key, wanted in named.items():
        for name in filter(None, wanted):
            interface = interfaces.find(name, present)
            if interface is None:
                fix = f"plug it in or dial up, or correct {key}; there are {', '.join(present)}"
                yield Diagnosis(what="interface", detail=f"{name} of {key} does not exist", fix=fix)
            else:
                yield Diagnosis(what="interface", detail=f"{name} of {key} is {interface}")


def _measure_server(here: Installation) -> Iterator[Diagnosis]:
    url = here.settings.speed.server or (here.mine.measure_url if here.mine else "")
    if not here.settings.speed.enabled or not url:
        return
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    yield reach("measurement server", parts.hostname or "", port, "let this port out, or set [speed] server")


def reach(what: str, host: str, port: int, fix: str) -> Diagnosis:
    """Whether a TCP connection comes about."""
    try:
        connect(host, port)
    except OSError as error:
        return Diagnosis(what=what, detail=f"{host}:{port} cannot be reached ({describe(error)})", fix=fix)
    return Diagnosis(what=what, detail=f"{host}:{port} answers")


def _ups(here: Installation) -> Iterator[Diagnosis]:
    if not here.settings.ups:
        return
    try:
        readings = asyncio.run(_ups_readings(here.settings))
    except (ProbeFailed, TimeoutError) as error:
        yield Diagnosis(what="ups", detail=describe(error), fix="correct the [[ups]] tables")
        return
    for reading in readings:
        if reading.failure is None:
            yield Diagnosis(what="ups", detail=f"{reading.subject}: answers")
        else:
            fix = "try `nabz-agent probe ups --explain`"
            yield Diagnosis(what="ups", detail=f"{reading.subject}: {reading.failure.detail}", fix=fix)


async def _ups_readings(settings: AgentSettings) -> Sequence[Reading]:
    async with asyncio.timeout(UPS_S):
        return await PROBES["ups"](Context(settings=settings, deadline_s=UPS_S))


def _trap_listener(here: Installation) -> Iterator[Diagnosis]:
    """Without it a cut is seen at the next poll; with it, at once."""
    address = here.settings.power.trap_listen
    if not address:
        return
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as listener:
        try:
            listener.bind((host.strip("[]"), int(port)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                yield Diagnosis(what="trap listener", detail=f"{address} listens")
            else:
                fix = "set [power] trap_listen to an address of this machine and a port of 1024 or above"
                yield Diagnosis(what="trap listener", detail=f"{address}: {describe(error)}", fix=fix)
            return
    fix = "start the agent; point the UPS card's traps at this port, and open it for the LAN in the firewall"
    yield Diagnosis(what="trap listener", detail=f"nobody listens on {address}", fix=fix)


def _agent(here: Installation) -> Iterator[Diagnosis]:
    host, _, port = here.settings.agent.status_listen.rpartition(":")
    at = f"{host}:{port}"
    if is_taken(host, int(port)):
        yield Diagnosis(what="agent", detail=f"runs; its page is at http://{at}")
    else:
        yield Diagnosis(what="agent", detail="does not run", fix="systemctl enable --now nabz-agent")


def _seat_listener(here: Installation) -> Iterator[Diagnosis]:
    if not here.settings.seats.enabled:
        return
    host, _, port = here.settings.seats.listen.rpartition(":")
    if is_taken(host, int(port)):
        yield Diagnosis(what="seat listener", detail=f"{host}:{port} listens")
    else:
        fix = "start the agent; open this port for the LAN in the firewall"
        yield Diagnosis(what="seat listener", detail=f"nobody listens on {host}:{port}", fix=fix)


def is_taken(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    reachable = "127.0.0.1" if host in ("", "0.0.0.0") else host.strip("[]")  # noqa: S104  compared, not bound
    try:
        connect(reachable, port)
    except OSError:
        return False
    return True


def connect(host: str, port: int) -> None:
    """Makes a TCP connection and ends it. Raises OSError."""
    with socket.create_connection((host, port), REACH_S) as made:
        # On one machine a connection to a port of nobody's can meet itself (RFC 9293, simultaneous open).
        if made.getsockname() == made.getpeername():
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


CHECKS: tuple[Check, ...] = (
    _identity, _certificate, _remote_settings, _state_folder, _disk, _ping, _clock, _interfaces, resolver.check,
    _broker, uplink.session, _measure_server, uplink.servers, line.check, _ups, _agent, _seat_listener, _trap_listener,
)  # fmt: skip
