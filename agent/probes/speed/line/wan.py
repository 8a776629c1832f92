"""Which line carries the center now: the main one, or a metered backup. Judging is pure."""

from __future__ import annotations

from dataclasses import dataclass

from agent.config import LinkSection
from agent.probes.link.route import Route, default_route


@dataclass(frozen=True)
class WanLine:
    """The interface of the default route. `failover` is None while the settings do not name the lines, or
    when there is no route at all."""

    interface: str | None
    failover: bool | None


def line_of(route: Route | None, link: LinkSection) -> WanLine:
    """A line named as a backup is one; so is any other than the main line, where that is named."""
    if route is None:
        return WanLine(None, None)
    if route.interface in link.failover_interfaces:
        return WanLine(route.interface, True)
    if link.primary_interface:
        return WanLine(route.interface, route.interface != link.primary_interface)
    return WanLine(route.interface, False if link.failover_interfaces else None)


def line_now(link: LinkSection) -> WanLine:
    return line_of(default_route(), link)
