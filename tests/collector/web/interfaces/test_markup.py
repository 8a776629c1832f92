"""Hostile text in every field of every form and in what gateways send: it is shown as text, nothing runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Reason, encode
from collector.acts import disputes, inspections
from collector.acts.person import ActingPerson
from collector.common.scope import Scope
from collector.desk import follow
from collector.register import calendar, centers, facts
from collector.reports.disputes.dispute import Filing
from collector.store import schema
from collector.web import auth

MARK = "xq7"  # stands in each payload, so that pages which show one are known
CORPUS = {  # of OWASP's cheat sheet: each leaves another place of a page
    "element": f"<script>alert('{MARK}')</script>",
    "attribute": f'"><img src={MARK} onerror=alert(1)>',
    "single": f"' onmouseover='alert({MARK})",
    "textarea": f"</textarea></title><svg/onload=alert({MARK})>",
    "address": f"javascript:alert('{MARK}')//",
    "comment": f"--><iframe srcdoc='{MARK}'>",
}
CODE = "KHI-0001"
KEPT_OUT = ("/logout", "/login", "/account")  # forms that end the session
RUNS = {"iframe", "object", "embed", "base", "math"}  # elements that no page has
START = ("/", "/now", "/map", "/months", "/setup", "/mine", "/incidents", "/disputes", "/visits", "/confirmations")
VALID = {  # for fields that take no text of any kind
    "telephone": "+92 42 1234567", "owner": "Sindh Trust", "key": "agent.cycle_s", "value": "60",
}  # fmt: skip
SHOWN = {  # pages that must show some of it
    "/now", "/incidents/0", "/disputes/0", "/calendar", "/confirmations", "/contacts", "/keys", "/people", "/activity",
    "/settings", "/standards", "/centers/KHI-0", "/centers/KHI-0/inspection",
}  # fmt: skip
OPTIONS = {"date": "2026-11-05", "datetime-local": "2026-11-05T11:00", "number": "1"}


@dataclass
class SeenForm:
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)  # names of fields that take any text


class PageReader(HTMLParser):
    """Of a page its forms, its links, and what of it would run."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.forms: list[SeenForm] = []
        self.links: set[str] = set()
        self.runs: list[str] = []
        self._is_script, self._form, self._select = False, SeenForm(""), ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attributes}
        self._judge(tag, named)
        if tag == "a" and named.get("href", "").startswith("/"):
            self.links.add(named["href"].partition("#")[0])
        if tag == "form":
            is_post = named.get("method") == "post" and not named.get("action", "").startswith(KEPT_OUT)
            self._form = SeenForm(named.get("action", "").partition("#")[0])
            self.forms += [self._form] if is_post else []
        self._collect(tag, named)

    def _judge(self, tag: str, named: dict[str, str]) -> None:
        self._is_script = tag == "script" and "src" not in named
        address = named.get("href", named.get("src", named.get("action", ""))).strip().lower()
        if tag in RUNS or any(name.startswith("on") for name in named) or address.startswith("javascript:"):
            self.runs.append(self.get_starttag_text() or tag)

    def _collect(self, tag: str, named: dict[str, str]) -> None:
        kind = named.get("type", "text")
        if tag == "select":
            self._select = named.get("name", "")
        elif tag == "option":
            self._form.fields.setdefault(self._select, named.get("value", ""))
        elif tag == "textarea" or (tag == "input" and kind in ("text", "search", "tel", "email", "password")):
            self._form.texts.append(named.get("name", ""))
            self._form.fields.setdefault(named.get("name", ""), named.get("value", ""))
        elif tag in ("input", "button") and "name" in named:
            self._form.fields.setdefault(named["name"], named.get("value") or OPTIONS.get(kind, ""))

    def handle_data(self, data: str) -> None:
        if self._is_script and data.strip():
            self.runs.append(data.strip()[:80])

    def handle_endtag(self, tag: str) -> None:
        self._is_script = False


@pytest.fixture
def site(served: Any, cast: Any) -> Any:
    """Something of every kind to fill a form about, and a gateway that is hostile in all that it sends."""
    row = cast.center_row(CODE, 1)
    cast.insert(served.store, schema.centers, [row, cast.center_row("LHE-0002", 0)])
    who, day = ActingPerson(name="Sara Malik", now_ms=cast.NOW_MS), cast.NOW_MS - 20 * cast.DAY_MS
    how = facts.Recording(from_ms=day, now_ms=cast.NOW_MS, today_ms=cast.NOW_MS, by="Ali", reason="lease")
    closure = calendar.CalendarEntry(
        kind="closure", scope="center", subject=CODE, from_ms=day, to_ms=day + cast.DAY_MS, recorded_ms=cast.NOW_MS,
        recorded_by="Ali", reason="flood",
    )  # fmt: skip
    filing = Filing(center=CODE, month="2026-11", day="2026-11-04", text="The mast fell.")
    moved = {
        "center": CODE, "criterion": "internet.loss", "subject": "", "was": "pending", "now": "raised", "value": 30.0,
        "bound": 2.0, "at_ms": cast.NOW_MS - 600_000, "recorded_ms": cast.NOW_MS - 600_000, "standard": "s",
        "reason": encode(Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%")),
    }  # fmt: skip
    with served.store.write() as conn:
        disputes.file(conn, filing, who, cast.timeless_standards(), 30)
        inspections.publish(conn, b"secret", "2026-11", 1, who)
        centers.set_fact(conn, CODE, "owner", "Sindh Trust", how)
        calendar.add(conn, [closure])
        conn.execute(sa.insert(schema.changes), [moved])
        follow.follow(conn, cast.timeless_standards(), cast.NOW_MS)
    hostile_gateway(served.store, cast)
    cast.add_account(served.store, "Omar", "operator", Scope(owner=frozenset({row["owner"]})), cookie="operator")
    return served


def hostile_gateway(store: Any, cast: Any) -> None:
    """What a gateway may write into its readings, its enrolment and its answers."""
    bad = CORPUS["attribute"]
    cast.insert(store, schema.devices, [cast.device_row(CODE, hostname=bad, version=bad)])
    finding = {"center": CODE, "device": bad[:40], "finding": bad[:40], "detail": encode(Reason.text(bad))}
    cast.insert(store, schema.integrity, [{**finding, "at_ms": cast.NOW_MS}])
    cast.insert(store, schema.pulse, [cast.pulse_row(CODE)])
    ups = wire.UpsReading(output_state="online", manufacturer=bad, model=bad)
    seats = wire.SeatsReading(
        known=1, healthy=0, unhealthy=1,
        seats=wire.SeatColumns(id=[bad], state=["unhealthy"], why=[bad], faults={bad: bad}, waiting=[bad]),
    )  # fmt: skip
    speed = wire.SpeedReading(engine=bad, server=bad, purpose="routine", download_mbps=2.0)
    link = wire.LinkReading(rtt_median_ms=2.0, fault_place="none", causes=[bad])
    for reading in (ups, seats, speed, link, wire.GatewayReading(version=bad)):
        cast.add_latest(store, CODE, reading, cast.NOW_MS)
    cast.add_person(store, "Ali", "ali likes long walks")
    cast.add_waiting(store, 0, given="ali likes long walks", hostname=bad[:60])


def pages(client: httpx.Client, most: int = 1) -> Iterator[tuple[str, str]]:
    """(address, markup) of every page that links lead to, so many of one kind."""
    waiting, seen, kinds = [*START, f"/centers/{CODE}"], set(), Counter[str]()
    while waiting:
        address = waiting.pop(0)
        kind = re.sub(r"\d+", "0", address.partition("?")[0])
        if address in seen or kinds[kind] == most or "lang=" in address:
            continue
        seen.add(address)
        kinds[kind] += 1
        answer = client.get(address, follow_redirects=True)
        assert answer.status_code < 500, f"{address}: {answer.text[:200]}"
        if answer.headers["content-type"].startswith("text/html"):
            yield address, answer.text
            waiting += sorted(PageReader(answer.text).links)


def fill(client: httpx.Client, form: SeenForm, text: str, *, only: frozenset[str]) -> None:
    """Sends a form with this text in those of its fields that take any, `only` in these where some are named."""
    values = {name: was or VALID.get(name, "") for name, was in form.fields.items() if name}
    values |= {name: text for name in form.texts if not only or name in only}
    answer = client.post(form.action, data=values, follow_redirects=True)
    assert answer.status_code < 500, f"{form.action} {values}: {answer.text[:200]}"
    assert PageReader(answer.text).runs == [], form.action


FREE = frozenset({"text", "note", "reason", "remarks", "name", "name_ur", "person", "witness", "message"})


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en", "ur"])
def test_whatever_is_written_into_forms_or_sent_by_gateways_is_shown_as_text(site: Any, lang: str) -> None:
    with site.client(**{"accept-language": lang}) as admin, site.client(**{"accept-language": lang}) as operator:
        operator.cookies.set(auth.COOKIE, "operator")
        forms = {(form.action, form.fields.get("act", "")): (client, form)
                 for client in (operator, admin) for _, markup in pages(client) for form in PageReader(markup).forms
                 }  # fmt: skip
        assert len(forms) >= 15, sorted(forms)
        for client, form in forms.values():
            for text in CORPUS.values():
                fill(client, form, text, only=FREE)
            fill(client, form, CORPUS["attribute"], only=frozenset())
        shown = set()
        for client in (admin, operator):
            for address, markup in pages(client, most=9):
                assert PageReader(markup).runs == [], address
                shown |= {re.sub(r"\d+", "0", address)} if MARK in markup else set()
        assert shown >= SHOWN, "the payloads did not arrive where they would be shown"
