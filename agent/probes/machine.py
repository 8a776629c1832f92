"""What tells this machine and its place from others: hashes of its own and its router's hardware address, and whether
it is a virtual machine. No address leaves the building."""

from __future__ import annotations

import hashlib
from pathlib import Path

from agent.seat.identity import is_hypervisor

CONTEXT = "nabz machine 1 "  # what is hashed elsewhere does not match
SHORT = 16  # hexadecimal digits


def own_hash(interface: str | None, root: Path = Path("/")) -> str | None:
    """Of the hardware address of the line's interface; None where it has none."""
    return None if interface is None else _hash(_text(root / "sys/class/net" / interface / "address"))


def router_hash(router: str | None, root: Path = Path("/")) -> str | None:
    """Of the hardware address of the router, as the kernel has resolved it."""
    for line in _text(root / "proc/net/arp").splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 4 and fields[0] == router:
            return _hash(fields[3])
    return None


def hardware(root: Path = Path("/")) -> str | None:
    """``virtual`` or ``physical``; None where the machine does not say."""
    maker = " ".join(_text(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name"))
    if is_hypervisor(maker):
        return "virtual"
    if "hypervisor" in _text(root / "proc/cpuinfo").split():
        return "virtual"
    return "physical" if maker.strip() or _text(root / "proc/device-tree/model") else None


def _hash(address: str) -> str | None:
    plain = address.strip().lower()
    if len(plain) != 17 or set(plain) <= set("0:"):
        return None
    return hashlib.sha256((CONTEXT + plain).encode()).hexdigest()[:SHORT]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except (OSError, ValueError):
        return ""
