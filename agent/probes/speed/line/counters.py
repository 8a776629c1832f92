"""The WAN interface's own counters: what everybody moved over the line while the test ran."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

SIOCGIFHWADDR = 0x8927
ARPHRD_ETHER = 1
ETHERNET_BYTES = 14  # counted by the kernel's counters on Ethernet; a TUN or PPP interface has none


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Bytes received and sent by the interface since it came up."""

    rx: int
    tx: int


@dataclass(frozen=True, kw_only=True)
class Interface:
    """The interface a test goes over. `frame_bytes` is what its counters add to every IP packet; `stepped` counters are
    shown anew only now and then, so that only the moments of their changes count."""

    name: str
    frame_bytes: int
    read: Callable[[], Counters | None]
    stepped: bool = False


def find(wan_interface: str, local_address: str) -> Interface | None:
    """The named one, else the one that has `local_address`. None when there is none, and for the loopback: what it
    carries is no line's business."""
    name = wan_interface or _owner(local_address)
    if name is None or name == "lo" or read(name) is None:
        return None
    return Interface(name=name, frame_bytes=_frame_bytes(name), read=lambda: read(name))


def read(name: str, table: Path = Path("/proc/self/net/dev")) -> Counters | None:
    """None when the interface is not there. /proc/self is of the process's own network namespace; /sys may not be."""
    with contextlib.suppress(OSError):
        return parse(table.read_text(), name)
    counted = psutil.net_io_counters(pernic=True).get(name)
    return None if counted is None else Counters(rx=counted.bytes_recv, tx=counted.bytes_sent)


def parse(table: str, name: str) -> Counters | None:
    """One interface's line of /proc/net/dev (proc(5)): bytes received first, bytes sent ninth."""
    for line in table.splitlines():
        label, colon, numbers = line.partition(":")
        fields = numbers.split()
        if colon and label.strip() == name and len(fields) >= 9:
            return Counters(rx=int(fields[0]), tx=int(fields[8]))
    return None


def _owner(address: str) -> str | None:
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address.partition("%")[0] == address for entry in addresses):
            return name
    return None


def _frame_bytes(name: str) -> int:
    try:
        import fcntl
    except ImportError:
        return ETHERNET_BYTES
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, SIOCGIFHWADDR, struct.pack("256s", name.encode()[:15]))
        except OSError:
            return ETHERNET_BYTES
    (family,) = struct.unpack_from("=H", answer, 16)
    return ETHERNET_BYTES if family == ARPHRD_ETHER else 0
