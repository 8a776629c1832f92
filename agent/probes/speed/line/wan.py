"""Which line carries the center now: the main one, or a metered backup. Judging is pure."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass

from agent.config import LinkSection
from agent.probes.link.route import Route, default_route

# PPP sessions, modems and USB tethering: after a reconnect ppp0 may be ppp1. Ports of Ethernet and Wi-Fi keep theirs.
NUMBERED = re.compile(r"(ppp|pppoe-wan|wwan|usb|rmnet|rmnet_data|ccmni)\d+")


@dataclass(frozen=True)
class WanLine:
    """The interface of the default route. `failover` is None while the settings do not name the lines, or
    when there is no route at all."""

    interface: str | None
    failover: bool | None


def line_of(route: Route | None, link: LinkSection) -> WanLine:
    """A line named as a backup is one; so is any other than the main line, where that is named. A name that fits
    exactly goes before one that fits as a pattern or by its kind."""
    if route is None:
        return WanLine(None, None)
    name = route.interface
    if name in link.failover_interfaces or name == link.primary_interface:
        return WanLine(name, name in link.failover_interfaces)
    if any(fits(name, entry) for entry in link.failover_interfaces):
        return WanLine(name, True)
    if link.primary_interface:
        return WanLine(name, not fits(name, link.primary_interface))
    return WanLine(name, False if link.failover_interfaces else None)


def fits(name: str, named: str) -> bool:
    """Whether an interface is the one of the settings: by its name, a pattern (``wlx*``), or, of those that the system
    numbers anew each time they come up, by its kind."""
    if fnmatch.fnmatchcase(name, named):
        return True
    kinds = [NUMBERED.fullmatch(text) for text in (name, named)]
    return all(kinds) and len({kind[1] for kind in kinds if kind}) == 1


def line_now(link: LinkSection) -> WanLine:
    return line_of(default_route(), link)
