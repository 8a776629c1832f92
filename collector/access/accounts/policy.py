"""Who may do what: one table of actions, and everything it does not name is denied. No I/O.

An action names the roles that may, what it is about, and the routes that are it. What an account may not see at all
does not exist for it: the pages answer 404 outside of its scope, and 403 where only its role is in the way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from collector.common.scope import EVERYWHERE, Located, Scope

Role = Literal["operator", "desk", "auditor", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
About = Literal[
    "anybody",  # served without an account
    "half",  # of an account whose second proof is still missing
    "own",  # an account's own things
    "center",  # the one center that the path names
    "centers",  # a list or a stream, of which an account gets what is in its scope
    "programme",  # all of Nabz: for accounts without a scope
]


@dataclass(frozen=True)
class Account:
    """Whoever asks: a person, or an API key. `key` is a person's in the register, and empty for API keys."""

    name: str
    role: Role
    scope: Scope = EVERYWHERE
    key: str = ""


@dataclass(frozen=True)
class Rule:
    """`routes` are "METHOD /path/{part}"; `by_key` says whether an API key may, too."""

    roles: tuple[Role, ...]
    about: About
    routes: tuple[str, ...] = ()
    by_key: bool = False


ALL: tuple[Role, ...] = ROLES
DESK: tuple[Role, ...] = ("desk", "admin")
OFFICERS: tuple[Role, ...] = ("desk", "auditor", "admin")
AUDIT: tuple[Role, ...] = ("auditor", "admin")
ADMIN: tuple[Role, ...] = ("admin",)

SECOND_PROOF: tuple[Role, ...] = ("desk", "admin")  # of whom a second proof is expected, and can be required
POLICY: Mapping[str, Rule] = {
    "open": Rule(
        (), "anybody",
        ("GET /login", "POST /login", "POST /login/first", "GET /login/oidc", "GET /login/oidc/back",
         "GET /login/oidc/out",
         "GET /healthz", "GET /readyz", "GET /favicon.ico",
         "GET /static/{path:path}", "GET /worker.js", "GET /log/{path:path}",
         "GET /public", "GET /public/badge/{code}.svg"),
    ),
    "machine": Rule(  # gateways and measurement servers, which prove keys of their own
        (), "anybody",
        ("GET /api/v1/ca", "GET /api/v1/time", "POST /api/v1/enrol", "POST /api/v1/renew", "POST /api/v1/alive",
         "POST /api/v1/servers/join", "POST /api/v1/records", "GET /api/v1/files/{name}", "GET /updates/{path:path}"),
    ),
    "link": Rule(  # its secret says who, for one act; or which gateway's installer, who only looks
        (), "anybody", ("GET /a/{secret}", "POST /a/{secret}", "GET /i/{name}"),
    ),
    "answer": Rule((), "anybody", ("POST /answers/sms",)),  # its signature says which gateway of text messages
    "second_proof": Rule(
        (), "half",
        ("GET /login/second", "POST /login/second", "POST /login/passkey", "POST /logout"),
    ),
    "centers.list": Rule(
        ALL, "centers",
        ("GET /", "GET /rows", "GET /centers.csv", "GET /centers.xlsx", "GET /api/v1/centers", "GET /api/v1/live",
         "GET /api/v1/openapi.json"), True,
    ),
    "months.read": Rule(
        OFFICERS, "centers", ("GET /months", "GET /months.xlsx", "GET /months.csv", "GET /months.json"), True
    ),
    "mine.read": Rule(("operator",), "centers", ("GET /mine",)),
    "disputes.read": Rule(
        ALL, "centers", ("GET /disputes", "GET /disputes/{number}", "GET /disputes/{number}/files/{name}")
    ),
    "dispute.file": Rule(  # the form names the center, or the dispute: its page compares
        ("operator",), "centers", ("POST /disputes", "POST /disputes/files")
    ),
    "dispute.decide": Rule(("auditor",), "centers", ("POST /disputes/{number}",)),
    "standards.read": Rule(OFFICERS, "programme", ("GET /standards",)),
    "standards.try": Rule(OFFICERS, "programme", ("GET /drafts", "POST /drafts")),
    "proof.check": Rule(OFFICERS, "own", ("GET /proof", "POST /proof")),
    "standards.adopt": Rule(AUDIT, "programme", ("POST /standards",)),
    "visits.read": Rule(OFFICERS, "programme", ("GET /visits", "GET /visits/{name}")),
    "visits.draw": Rule(AUDIT, "programme", ("POST /visits",)),
    "inspection.read": Rule(OFFICERS, "center", ("GET /centers/{code}/inspection",)),
    "inspection.record": Rule(AUDIT, "center", ("POST /centers/{code}/inspection",)),
    "calendar.read": Rule(OFFICERS, "programme", ("GET /calendar",)),
    "calendar.edit": Rule(OFFICERS, "programme", ("POST /calendar",)),
    "confirmations.read": Rule(OFFICERS, "programme", ("GET /confirmations",)),
    "confirmations.decide": Rule(AUDIT, "programme", ("POST /confirmations",)),
    "facts.read": Rule(OFFICERS, "center", ("GET /centers/{code}/facts",)),
    "setup.read": Rule(ADMIN, "programme", ("GET /setup",)),
    "token.issue": Rule(ADMIN, "programme", ("POST /setup",)),
    "map.read": Rule(ALL, "centers", ("GET /map", "GET /map.json", "GET /map/boundaries.json"), True),
    "center.read": Rule(
        ALL, "center",
        ("GET /centers/{code}", "GET /centers/{code}/report.pdf", "GET /centers/{code}/months/{month}",
         "GET /centers/{code}/months/{month}/{day}", "GET /centers/{code}/evidence/{device}/{spool}/{seq}",
         "GET /centers/{code}/evidence/{device}/{spool}/{seq}/batch.json", "GET /centers/{code}/records/{test}",
         "GET /api/v1/centers/{code}",
         "GET /api/v1/centers/{code}/series"), True,
    ),
    "center.test": Rule(("operator", *DESK), "center", ("POST /centers/{code}/test",)),
    "center.ask": Rule(DESK, "center", ("POST /centers/{code}/question",)),
    "story.decide": Rule(AUDIT, "center", ("POST /centers/{code}/story",)),
    "gateways.list": Rule(OFFICERS, "centers", ("GET /waiting",)),
    "gateway.decide": Rule(DESK, "centers", ("POST /waiting",)),  # the form names the center: its page compares
    "incidents.list": Rule(ALL, "centers", ("GET /incidents", "GET /incidents.csv", "GET /api/v1/incidents"), True),
    "incident.read": Rule(  # of what is about centers beyond an account's own it gets its part
        ALL, "centers",
        ("GET /incidents/{number}", "GET /api/v1/incidents/{number}", "GET /incidents/{number}/files/{digest}",
         "GET /api/v1/incidents/{number}/files/{digest}"), True,
    ),
    "incident.work": Rule(  # the incident names the centers: who works on it compares
        DESK, "centers",
        ("POST /now", "POST /now/handover", "POST /incidents/{number}", "POST /api/v1/incidents",
         "POST /api/v1/incidents/{number}", "POST /incidents/{number}/files",
         "POST /api/v1/incidents/{number}/files"), True,
    ),
    "now.read": Rule(OFFICERS, "centers", ("GET /now", "GET /desk-clock", "GET /desk-clock.csv")),
    "flags.list": Rule(ALL, "centers", ("GET /flags.csv", "GET /api/v1/flags"), True),
    "alerts.read": Rule(OFFICERS, "programme", ("GET /alerts", "GET /alerts.csv", "GET /api/v1/alerts"), True),
    "channel.test": Rule(ADMIN, "programme", ("POST /alerts",)),
    "metrics.read": Rule(OFFICERS, "programme", ("GET /metrics",), True),
    "routing.read": Rule(OFFICERS, "programme", ("GET /routing",)),
    "routing.edit": Rule(DESK, "programme", ("POST /routing",)),
    "windows.read": Rule(OFFICERS, "programme", ("GET /windows", "GET /api/v1/windows"), True),
    "windows.edit": Rule(DESK, "programme", ("POST /windows", "POST /api/v1/windows"), True),
    "settings.read": Rule(OFFICERS, "programme", ("GET /settings",)),
    "settings.edit": Rule(ADMIN, "programme", ("POST /settings",)),
    "backups.read": Rule(AUDIT, "programme", ("GET /backups",)),
    "account.own": Rule(
        ALL, "own",
        ("GET /account", "POST /account/password", "POST /account/sessions", "POST /account/factor",
         "POST /account/passkey", "POST /account/push"),
    ),
    "views.own": Rule(ALL, "own", ("POST /views",)),
    "contacts.list": Rule(ALL, "centers", ("GET /contacts", "GET /api/v1/contacts"), True),
    "contacts.edit": Rule(DESK, "centers", ("POST /contacts",)),  # a contact's scope lies within the editor's
    "people.manage": Rule(ADMIN, "programme", ("GET /people", "POST /people")),
    "keys.manage": Rule(ADMIN, "programme", ("GET /keys", "POST /keys")),
    "activity.read": Rule(AUDIT, "programme", ("GET /activity", "GET /activity.csv", "GET /api/v1/activity"), True),
}  # fmt: skip


def allowed(account: Account | None, action: str, center: Located | None = None) -> bool:
    """Whether this account may do this to this center; None for a list, of which it gets what is in its scope."""
    rule = POLICY.get(action)
    if rule is None or account is None:
        return rule is not None and rule.about == "anybody"
    if rule.about in ("anybody", "half"):
        return True
    if account.role not in rule.roles or not (account.key or rule.by_key):
        return False
    if account.role == "operator" and account.scope.is_all and rule.about != "own":
        return False  # an operator has centers of their own, or none
    if rule.about == "programme":
        return account.scope.is_all
    if center is None:
        return rule.about in ("own", "centers")
    return account.scope.includes(center)


@dataclass(frozen=True)
class Match:
    """The action that a request is, and the parts of its path."""

    action: str
    parts: Mapping[str, str]

    @property
    def about(self) -> About:
        return POLICY[self.action].about


def match(method: str, path: str) -> Match | None:
    """None for a route that no row names. HEAD is what GET is."""
    method = "GET" if method == "HEAD" else method
    for action, wanted, pattern in _routes():
        if wanted == method and (path_match := pattern.fullmatch(path)):
            return Match(action, path_match.groupdict())
    return None


@cache
def _routes() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    return tuple(
        (action, route.partition(" ")[0], _pattern(route.partition(" ")[2]))
        for action, rule in POLICY.items()
        for route in rule.routes
    )


def _pattern(path: str) -> re.Pattern[str]:
    """As Starlette reads a path: a part is anything without a slash, one that says `:path` anything at all."""
    parts = re.split(r"\{(\w+)(:path)?\}", path)
    texts = [re.escape(text) for text in parts[::3]]
    names = [f"(?P<{name}>{'.*' if rest else '[^/]+'})" for name, rest in zip(parts[1::3], parts[2::3], strict=True)]
    return re.compile("".join(part for pair in zip(texts, [*names, ""], strict=True) for part in pair), re.DOTALL)
