"""Routes: which incidents go by which escalation plan. Every route that fits applies. Pure; routes are data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from agent.common.center_time import TZ
from collector.common.scope import EVERYWHERE, Scope
from collector.desk.routing.facts import IncidentFacts
from collector.desk.routing.plans import EXAMPLE, MAX_SHOWN, Plan, RoutingError
from collector.desk.symptoms import SEVERITIES, Family
from collector.register.opening_hours import DayRule, is_open, parse
from collector.standard.criteria import Severity

FAMILIES: tuple[Family, ...] = get_args(Family)
LANGS = ("", "en", "ur")


@dataclass(frozen=True)
class AlertRoute:
    """One row. An incident fits if some center of it is in the scope, it is at least so severe and of one of the
    families (none: every one), and now is within the hours (empty: always)."""

    id: int = 0
    scope: Scope = EVERYWHERE
    severity: Severity = "info"
    families: tuple[Family, ...] = ()
    hours: str = ""
    lang: str = ""
    plan: str = EXAMPLE

    def fits(self, incident: IncidentFacts, now_ms: int, days: tuple[DayRule, ...] = ()) -> bool:
        if SEVERITIES.index(incident.severity) < SEVERITIES.index(self.severity):
            return False
        if self.families and incident.family not in self.families:
            return False
        if not self.scope.is_all and not any(self.scope.includes(center) for center in incident.centers):
            return False
        return not self.hours or is_open(parse(self.hours, TZ, days), now_ms)


def check(route: AlertRoute, plans: Mapping[str, Plan], *, families: Iterable[str] = ()) -> AlertRoute:
    """The route with these families, as people wrote them. Raises RoutingError."""
    wanted = tuple(family for family in FAMILIES if family in set(families))
    if strangers := sorted(set(families) - set(FAMILIES)):
        raise RoutingError("routing.no_family", "family", text=strangers[0][:MAX_SHOWN], names=" ".join(FAMILIES))
    if route.severity not in SEVERITIES:
        text = route.severity[:MAX_SHOWN]
        raise RoutingError("routing.no_severity", "severity", text=text, names=" ".join(SEVERITIES))
    if route.lang not in LANGS:
        raise RoutingError("routing.no_lang", "lang", text=route.lang[:MAX_SHOWN])
    if route.plan not in plans:
        raise RoutingError("routing.no_plan", "plan", text=route.plan[:MAX_SHOWN])
    if route.hours:
        check_hours(route.hours)
    return AlertRoute(route.id, route.scope, route.severity, wanted, route.hours, route.lang, route.plan)


def check_hours(text: str) -> None:
    """Raises RoutingError."""
    try:
        parse(text)
    except ValueError:
        raise RoutingError("routing.bad_hours", "hours", text=text[:MAX_SHOWN]) from None
