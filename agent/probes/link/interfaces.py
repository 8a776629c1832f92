"""Which interface a setting means: by its name, by a pattern such as `wwan*`, or by its kind.

The kernel numbers what is dialled or plugged in anew each time: ppp0 comes back as ppp1. Such a name stands for its
kind; a card's (eth0, enp3s0) for that card alone.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from fnmatch import fnmatchcase

from agent.probes.link.route import Route

DIALLED = frozenset({"ppp", "pppoe-wan", "wwan", "usb", "rmnet", "rmnet_data", "ccmni", "lte", "bnep", "tun"})
PATTERN_SIGNS = frozenset("*?[")


def is_pattern(wanted: str) -> bool:
    return not PATTERN_SIGNS.isdisjoint(wanted)


def kind_of_interface(name: str) -> str | None:
    """``ppp`` of ppp0; None of a card's own name."""
    kind = name.rstrip("0123456789")
    return kind if kind in DIALLED else None


def matches(wanted: str, interface: str) -> bool:
    """Whether ``interface`` is what the setting ``wanted`` names, exactly or by pattern or kind."""
    if wanted == interface or (is_pattern(wanted) and fnmatchcase(interface, wanted)):
        return True
    kind = kind_of_interface(wanted)
    return kind is not None and kind == kind_of_interface(interface)


def find(wanted: str, present: Iterable[str]) -> str | None:
    """The interface that ``wanted`` names among those there are: that of the very name first."""
    names = sorted(name for name in present if matches(wanted, name))
    return wanted if wanted in names else next(iter(names), None)


def present() -> list[str]:
    """The names of the interfaces that this machine has now."""
    return [name for _, name in socket.if_nameindex()]


def counted(named: str, route: Route | None) -> str | None:
    """The interface whose counters are read: the one the settings name, as it is called now, or the default route's.
    One that is named and not there counts nothing."""
    if not named:
        return route.interface if route else None
    return find(named, present()) or named
