"""Which line carries the center now: the main one, or a metered backup. Judging is pure."""

from __future__ import annotations

from dataclasses import dataclass

from agent.config import LinkSection
from agent.probes.link import interfaces
from agent.probes.link.route import Route, default_route


@dataclass(frozen=True)
class WanLine:
    """The interface of the default route. `failover` is None while the settings do not name the lines, or
    when there is no route at all."""

    interface: str | None
    failover: bool | None


def line_of(route: Route | None, link: LinkSection) -> WanLine:
    """A line named as a backup is one; so is any other than the main line, where that is named. The very name counts
    before a pattern or a kind; where both lines are of one kind, the doubtful one is taken for the one that costs."""
    if route is None:
        return WanLine(None, None)
    name = route.interface
    if name in link.failover_interfaces or name == link.primary_interface:
        return WanLine(name, name in link.failover_interfaces)
    if any(interfaces.matches(backup, name) for backup in link.failover_interfaces):
        return WanLine(name, True)
    if link.primary_interface:
        return WanLine(name, not interfaces.matches(link.primary_interface, name))
    return WanLine(name, False if link.failover_interfaces else None)


def line_now(link: LinkSection) -> WanLine:
    return line_of(default_route(), link)
