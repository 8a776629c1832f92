"""Who gets through to what: every route × every role × every scope, API keys included, against a table written by hand;
nobody does with credentials that have ended or are of another kind. What comes through lists nothing of other people's
centers."""

from __future__ import annotations

import asyncio
import hashlib
import io
import zipfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from agent.common.reasons import Reason, encode_all
from collector.access.accounts import activity, api_keys, contacts, sessions
from collector.access.accounts.activity import ActFilter
from collector.access.accounts.contacts import Contact
from collector.access.accounts.policy import POLICY, ROLES, Account
from collector.common.config import CollectorTable, Settings
from collector.common.scope import EVERYWHERE, Scope
from collector.desk import follow, work
from collector.register import dated
from collector.reports import revisions
from collector.reports.disputes import attachments, records
from collector.reports.disputes.dispute import Filing
from collector.store import Store, schema
from collector.web import auth
from collector.web.app import build
from collector.web.live import Hub

DAY_MS = 86_400_000
OWN, OTHER = "LHE-0000", "KHI-0001"  # of Punjab and of Sindh
PUNJAB = Scope(province=frozenset({"Punjab"}))
# Of each route: the letters of the roles that may, what it is about, and whether API keys may.
LETTERS = {"operator": "o", "desk": "d", "auditor": "a", "admin": "m"}
EXPECTED = {
    "GET /": ("odam", "centers", True),
    "GET /rows": ("odam", "centers", True),
    "GET /centers.csv": ("odam", "centers", True),
    "GET /centers.xlsx": ("odam", "centers", True),
    "POST /views": ("odam", "own", False),
    "GET /map": ("odam", "centers", True),
    "GET /map.json": ("odam", "centers", True),
    "GET /map/boundaries.json": ("odam", "centers", True),
    "GET /months": ("dam", "centers", True),
    "GET /months.csv": ("dam", "centers", True),
    "GET /months.json": ("dam", "centers", True),
    "GET /months.xlsx": ("dam", "centers", True),
    "GET /centers/{code}/report.pdf": ("odam", "center", True),
    "GET /mine": ("o", "centers", False),
    "GET /disputes": ("odam", "centers", False),
    "GET /disputes/{number}": ("odam", "centers", False),
    "GET /disputes/{number}/files/{name}": ("odam", "centers", False),
    "POST /disputes/files": ("o", "centers", False),
    "POST /disputes": ("o", "centers", False),
    "POST /disputes/{number}": ("a", "centers", False),
    "GET /standards": ("dam", "programme", False),
    "GET /drafts": ("dam", "programme", False),
    "POST /drafts": ("dam", "programme", False),
    "GET /proof": ("dam", "own", False),
    "POST /proof": ("dam", "own", False),
    "POST /standards": ("am", "programme", False),
    "GET /visits": ("dam", "programme", False),
    "GET /visits/{name}": ("dam", "programme", False),
    "POST /visits": ("am", "programme", False),
    "GET /centers/{code}/inspection": ("dam", "center", False),
    "POST /centers/{code}/inspection": ("am", "center", False),
    "GET /calendar": ("dam", "programme", False),
    "POST /calendar": ("dam", "programme", False),
    "GET /confirmations": ("dam", "programme", False),
    "POST /confirmations": ("am", "programme", False),
    "GET /centers/{code}/facts": ("dam", "center", False),
    "GET /setup": ("m", "programme", False),
    "POST /setup": ("m", "programme", False),
    "GET /now": ("dam", "centers", False),
    "GET /desk-clock": ("dam", "centers", False),
    "GET /desk-clock.csv": ("dam", "centers", False),
    "POST /now": ("dm", "centers", True),
    "POST /now/handover": ("dm", "centers", True),
    "GET /centers/{code}": ("odam", "center", True),
    "GET /centers/{code}/months/{month}": ("odam", "center", True),
    "GET /centers/{code}/months/{month}/{day}": ("odam", "center", True),
    "GET /centers/{code}/evidence/{device}/{spool}/{seq}": ("odam", "center", True),
    "GET /centers/{code}/evidence/{device}/{spool}/{seq}/batch.json": ("odam", "center", True),
    "GET /centers/{code}/records/{test}": ("odam", "center", True),
    "POST /centers/{code}/test": ("odm", "center", False),
    "POST /centers/{code}/question": ("dm", "center", False),
    "POST /centers/{code}/story": ("am", "center", False),
    "GET /waiting": ("dam", "centers", False),
    "POST /waiting": ("dm", "centers", False),
    "GET /settings": ("dam", "programme", False),
    "POST /settings": ("m", "programme", False),
    "GET /backups": ("am", "programme", False),
    "GET /routing": ("dam", "programme", False),
    "POST /routing": ("dm", "programme", False),
    "POST /alerts": ("m", "programme", False),
    "GET /windows": ("dam", "programme", True),
    "POST /windows": ("dm", "programme", True),
    "GET /api/v1/windows": ("dam", "programme", True),
    "POST /api/v1/windows": ("dm", "programme", True),
    "GET /account": ("odam", "own", False),
    "POST /account/password": ("odam", "own", False),
    "POST /account/sessions": ("odam", "own", False),
    "POST /account/factor": ("odam", "own", False),
    "POST /account/passkey": ("odam", "own", False),
    "POST /account/push": ("odam", "own", False),
    "GET /contacts": ("odam", "centers", True),
    "POST /contacts": ("dm", "centers", False),
    "GET /people": ("m", "programme", False),
    "POST /people": ("m", "programme", False),
    "GET /keys": ("m", "programme", False),
    "POST /keys": ("m", "programme", False),
    "GET /activity": ("am", "programme", True),
    "GET /activity.csv": ("am", "programme", True),
    "GET /incidents": ("odam", "centers", True),
    "GET /incidents/{number}": ("odam", "centers", True),
    "POST /incidents/{number}": ("dm", "centers", True),
    "GET /api/v1/incidents": ("odam", "centers", True),
    "GET /api/v1/incidents/{number}": ("odam", "centers", True),
    "POST /api/v1/incidents/{number}": ("dm", "centers", True),
    "GET /alerts": ("dam", "programme", True),
    "GET /alerts.csv": ("dam", "programme", True),
    "GET /api/v1/alerts": ("dam", "programme", True),
    "GET /metrics": ("dam", "programme", True),
    "POST /incidents/{number}/files": ("dm", "centers", True),
    "POST /api/v1/incidents/{number}/files": ("dm", "centers", True),
    "GET /incidents/{number}/files/{digest}": ("odam", "centers", True),
    "GET /api/v1/incidents/{number}/files/{digest}": ("odam", "centers", True),
    "POST /api/v1/incidents": ("dm", "centers", True),
    "GET /flags.csv": ("odam", "centers", True),
    "GET /api/v1/flags": ("odam", "centers", True),
    "GET /incidents.csv": ("odam", "centers", True),
    "GET /api/v1/openapi.json": ("odam", "centers", True),
    "GET /api/v1/activity": ("am", "programme", True),
    "GET /api/v1/contacts": ("odam", "centers", True),
    "GET /api/v1/centers": ("odam", "centers", True),
    "GET /api/v1/centers/{code}": ("odam", "center", True),
    "GET /api/v1/centers/{code}/series": ("odam", "center", True),
    "GET /api/v1/live": ("odam", "centers", True),
}
OPEN = {
    "GET /login", "POST /login", "POST /login/first", "GET /login/oidc", "GET /login/oidc/back",
    "GET /login/oidc/out",
    "GET /healthz", "GET /readyz", "GET /api/v1/ca",
    "GET /api/v1/time", "POST /api/v1/enrol", "POST /api/v1/renew", "POST /api/v1/servers/join", "POST /api/v1/records",
    "GET /api/v1/files/{name}", "GET /log/{path:path}", "GET /a/{secret}", "POST /a/{secret}", "POST /answers/sms",
    "GET /i/{name}", "GET /updates/{path:path}", "POST /api/v1/alive",
    "GET /worker.js", "GET /public", "GET /public/badge/{code}.svg",
}  # fmt: skip
HALF = {"GET /login/second", "POST /login/second", "POST /login/passkey", "POST /logout"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, standards, cast) -> Iterator[SimpleNamespace]:
    """The application in this process, two centers, and a session and a key for every role and scope."""
    folder = tmp_path_factory.mktemp("matrix")
    store, hub = Store.open(f"sqlite:///{folder}/nabz.sqlite"), Hub()
    cast.insert(
        store,
        schema.centers,
        [
            cast.center_row(code, number, isp=isp, latitude=31.5, longitude=74.3)
            for number, (code, isp) in enumerate(((OWN, "PTCL"), (OTHER, "Nayatel")))
        ],
    )
    cast.add_account(store, "Root", "admin")
    cookies, keys = {}, {}
    for role in ROLES:
        for scope in (PUNJAB,) if role == "operator" else (EVERYWHERE,) if role == "admin" else (EVERYWHERE, PUNJAB):
            cookies[role, scope] = cast.add_account(store, f"{role} {len(scope.parts)}", role, scope)
            if role != "admin":
                with store.write() as conn:
                    keys[role, scope] = api_keys.add(conn, "test", role, scope, 90, "Root", cast.NOW_MS)
    settings = Settings(collector=CollectorTable(data_dir=folder))
    strangers = credentials_of_strangers(store, cast)
    key = Ed25519PrivateKey.generate()
    app = build(store, settings, hub, standards=standards, key=key, now=lambda: cast.NOW_MS)
    hub.close()  # a stream would not end: one too many is refused by the hub, which is past the guard
    yield SimpleNamespace(app=app, store=store, cookies=cookies, keys=keys, strangers=strangers)
    store.close()


def credentials_of_strangers(store: Store, cast) -> dict[str, dict[str, str]]:
    """Headers of whoever is nobody at the pages: without anything, with what has ended, or with what is good elsewhere:
    a seat's key, a gateway's certificate as a proxy would tell of it."""
    old_ms, made_up = cast.NOW_MS - 100 * DAY_MS, f"nabz_0123456789_{'x' * 43}"
    with store.write() as conn:
        expired = api_keys.add(conn, "old", "desk", EVERYWHERE, 90, "Root", old_ms)
        revoked = api_keys.add(conn, "revoked", "desk", EVERYWHERE, 90, "Root", cast.NOW_MS)
        api_keys.revoke(conn, revoked.split("_")[1], "Root", cast.NOW_MS)
        half = sessions.begin(conn, Account("Root", "admin", key="root"), cast.NOW_MS, is_full=False)
    ended = cast.add_account(store, "Ended", "admin", now_ms=old_ms)
    bearers = {"a made-up key": made_up, "an expired key": expired, "a revoked key": revoked, "a seat's key": "ab" * 32}
    cookies = {"an ended session": ended, "half a log-in": half, "a key in place of a session": made_up}
    certificate = {"x-ssl-client-verify": "SUCCESS", "x-forwarded-client-cert": f'Hash={"ab" * 32};Subject="CN=g1"'}
    return {
        "nothing": {},
        "a gateway's certificate": certificate,
        **{name: {"authorization": f"Bearer {key}"} for name, key in bearers.items()},
        **{name: {"cookie": f"{auth.COOKIE}={cookie}"} for name, cookie in cookies.items()},
    }


class Client:
    """Requests to the application in this process, without its lifespan, whose hub nobody needs here."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner) -> None:
        transport, headers = httpx.ASGITransport(app=app, client=("192.0.2.7", 1)), {"accept": "application/json"}
        self._client = httpx.AsyncClient(transport=transport, base_url="http://nabz", headers=headers, timeout=60)
        self._runner = runner

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


@pytest.fixture(scope="module")
def client(site) -> Iterator[Client]:
    with asyncio.Runner() as runner:
        yield Client(site.app, runner)


def routes_of(app: FastAPI) -> set[str]:
    """Every route of the application as "METHOD /path", but for files."""
    found = set()
    for route in iter_route_contexts(app.routes):
        methods = getattr(route, "methods", None)
        assert methods is not None or route.path == "/static", route.path
        found |= {f"{method} {route.path}" for method in (methods or set()) - {"HEAD"}}
    return found


def outcome(client: Client, route: str, code: str, **headers: str) -> str:
    """What the guard says: in, denied, hidden or log in."""
    method, _, path = route.partition(" ")
    answer = client.request(method, path.replace("{code}", code).replace("{number}", "1"), headers=headers)
    sentence = answer.json().get("error", "") if answer.headers.get("content-type") == "application/json" else ""
    if answer.status_code == 401:
        return "log in"
    if answer.status_code == 403 and sentence.startswith("account:"):
        return "denied"
    return "hidden" if answer.status_code == 404 and "is not registered" in sentence else "in"


def expected(route: str, role: str, scope: Scope, code: str, *, by_key: bool) -> str:
    letters, about, for_keys = EXPECTED[route]
    if about == "center" and code == OTHER and not scope.is_all:
        return "hidden"
    if LETTERS[role] not in letters or (by_key and not for_keys) or (about == "programme" and not scope.is_all):
        return "denied"
    return "in"


def test_every_route_has_a_row_in_the_table_and_every_row_a_route(site) -> None:
    """A new route is denied to all, and this test fails, until a row of `policy.POLICY` names it."""
    named = {route for rule in POLICY.values() for route in rule.routes}
    assert routes_of(site.app) == named - {"GET /static/{path:path}", "GET /favicon.ico"}
    assert routes_of(site.app) == EXPECTED.keys() | OPEN | HALF


def test_a_route_without_a_row_is_denied_to_an_admin(site, client: Client) -> None:
    site.app.add_api_route("/new", lambda: "new", methods=["GET"])
    try:
        assert "GET /new" in routes_of(site.app) - {route for rule in POLICY.values() for route in rule.routes}
        cookie = f"{auth.COOKIE}={site.cookies['admin', EVERYWHERE]}"
        assert client.get("/new", headers={"cookie": cookie}).status_code == 404
        assert client.get("/new").status_code == 401
    finally:
        site.app.router.routes.pop()


@pytest.mark.parametrize("route", sorted(EXPECTED))
def test_who_gets_through(site, client: Client, route: str) -> None:
    found, wanted = {}, {}
    codes = (OWN, OTHER) if "{code}" in route else (OWN,)
    for code in codes:
        for name, headers in site.strangers.items():
            found[name, code], wanted[name, code] = outcome(client, route, code, **headers), "log in"
        for (role, scope), cookie in site.cookies.items():
            place = (role, scope.encode(), code, "person")
            found[place] = outcome(client, route, code, cookie=f"{auth.COOKIE}={cookie}")
            wanted[place] = expected(route, role, scope, code, by_key=False)
        for (role, scope), key in site.keys.items():
            place = (role, scope.encode(), code, "key")
            found[place] = outcome(client, route, code, authorization=f"Bearer {key}")
            wanted[place] = expected(route, role, scope, code, by_key=True)
    assert found == wanted


@pytest.mark.parametrize("route", sorted(OPEN))
def test_what_is_open_is_open_to_anybody(site, client: Client, route: str) -> None:
    assert outcome(client, route, OWN) == "in"


def test_a_center_of_nobody_and_a_center_of_others_look_the_same(site, client: Client) -> None:
    headers = {"cookie": f"{auth.COOKIE}={site.cookies['operator', PUNJAB]}"}
    answers = [client.get(f"/api/v1/centers/{code}", headers=headers) for code in (OTHER, "KHI-9999")]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace(OTHER, "KHI-9999") == answers[1].text


@pytest.mark.parametrize("path", [f"/centers/{OWN}", f"/api/v1/centers/{OWN}"])
def test_evidence_names_no_center_outside_of_the_scope(site, client: Client, cast, path: str) -> None:
    count = Reason.of("evidence.isp_silent", n=1, whole=2, isp="PTCL")
    gap = {
        "center": OWN, "from_ms": cast.NOW_MS - 600_000, "revision": 1, "to_ms": cast.NOW_MS, "cause": "line",
        "grade": "confirmed", "facts": "{}", "witness": "{}", "recorded_ms": cast.NOW_MS,
        "evidence": encode_all([Reason.of("evidence.named", found=count, centers=[OTHER])]),
    }  # fmt: skip
    with site.store.write() as conn:
        conn.execute(sa.delete(schema.gaps))
        conn.execute(sa.insert(schema.gaps), [gap])
    texts = {
        role: client.get(path, headers={"cookie": f"{auth.COOKIE}={site.cookies[role, scope]}"}).text
        for role, scope in (("admin", EVERYWHERE), ("operator", PUNJAB))
    }
    assert {role: OTHER in text for role, text in texts.items()} == {"admin": True, "operator": False}
    assert all(" others on " in text for text in texts.values())


# ---------------------------------------------------------------- what comes through

# Every GET of EXPECTED about "centers" stands in one of these. How a list is asked so that both centers are in it:
LISTS = {
    "GET /": "/", "GET /rows": f"/rows?codes={OWN},{OTHER}", "GET /centers.csv": "/centers.csv",
    "GET /centers.xlsx": "/centers.xlsx", "GET /map.json": "/map.json", "GET /mine": "/mine",
    "GET /months": "/months?month=2026-10", "GET /months.csv": "/months.csv?month=2026-10",
    "GET /months.json": "/months.json?month=2026-10", "GET /months.xlsx": "/months.xlsx?month=2026-10",
    "GET /disputes": "/disputes", "GET /now": "/now", "GET /waiting": "/waiting", "GET /contacts": "/contacts",
    "GET /api/v1/contacts": "/api/v1/contacts", "GET /incidents": "/incidents", "GET /incidents.csv": "/incidents.csv",
    "GET /api/v1/incidents": "/api/v1/incidents", "GET /flags.csv": "/flags.csv", "GET /api/v1/flags": "/api/v1/flags",
    "GET /api/v1/centers": "/api/v1/centers",
    "GET /desk-clock": "/desk-clock?by=district", "GET /desk-clock.csv": "/desk-clock.csv?by=district",
}  # fmt: skip
# What is about one thing of one center: its address, with the number of that thing.
THINGS = {
    "GET /incidents/{number}": "/incidents/{incident}",
    "GET /api/v1/incidents/{number}": "/api/v1/incidents/{incident}",
    "GET /incidents/{number}/files/{digest}": "/incidents/{incident}/files/{photo}",
    "GET /api/v1/incidents/{number}/files/{digest}": "/api/v1/incidents/{incident}/files/{photo}",
    "GET /disputes/{number}": "/disputes/{dispute}",
    "GET /disputes/{number}/files/{name}": "/disputes/{dispute}/files/{file}",
}  # fmt: skip
# What holds no center, and why.
NOTHING = {
    "GET /map": "the page alone, which asks for /map.json",
    "GET /map/boundaries.json": "outlines of provinces",
    "GET /api/v1/openapi.json": "what can be asked",
    "GET /api/v1/live": "a stream; see test_live.py",
}
DISTRICTS = {OWN: "Lahore", OTHER: "Karachi"}
NAMES = {OWN: "Center Lahore 1", OTHER: "Center Karachi 2"}
BY_NAME = ("GET /incidents", "GET /now")
BY_DISTRICT = (
    "GET /months.csv",
    "GET /months.json",
    "GET /months.xlsx",
    "GET /desk-clock",
    "GET /desk-clock.csv",
)  # sums: no center is named


def test_every_list_stands_in_the_tables_of_contents() -> None:
    """A new route about centers fails here until it says what it holds."""
    about = {route for route, row in EXPECTED.items() if row[1] == "centers" and route.startswith("GET ")}
    assert about == LISTS.keys() | THINGS.keys() | NOTHING.keys()


@pytest.fixture(scope="module")
def filled(site, cast) -> dict[str, dict[str, str]]:
    """One of everything for each of the two centers; what each is called."""
    begins_ms = dated.day_ms("2026-10-01")
    things: dict[str, dict[str, str]] = {}
    for number, (code, province) in enumerate(((OWN, "Punjab"), (OTHER, "Sindh")), 1):
        with site.store.write() as conn:
            contact = Contact(
                "company", f"Company of {code}", telephone="118", scope=Scope(province=frozenset({province}))
            )
            contacts.keep(conn, contact, Account("Root", "admin", key="root"), cast.NOW_MS)
            body = {"center": {"code": code, "name": code, "district": DISTRICTS[code], "province": province},
                    "ledger": {"open": 60, "up": 60}, "criteria": []}  # fmt: skip
            report = {"center": code, "from_ms": begins_ms, "revision": 1, "opened_ms": 1, "closed_ms": 5, "why": "{}",
                      "marks": 0, "sha256": "x", "body": revisions.packed(body)}  # fmt: skip
            conn.execute(sa.insert(schema.reports), [report])
            conn.execute(sa.insert(schema.flags), [cast.flag_row(code, "internet.loss", state="raised")])
            filing = Filing(center=code, month="2026-11", day="2026-11-05", text=f"of {code}")
            dispute = records.file(conn, filing, "Omar", (), 30, cast.NOW_MS)
            kept = attachments.add(conn, dispute, "note.txt", f"day,of\n5,{code}\n".encode(), "Omar", cast.NOW_MS)
        cast.add_waiting(site.store, number, code=code)
        incident, table = raised(site.store, cast, code), f"incident,of\n1,{code}\n".encode()
        with site.store.write() as conn:
            work.attach(conn, incident, "table.csv", table, "Root", "", cast.NOW_MS)
        things[code] = {
            "incident": str(incident),
            "photo": hashlib.sha256(table).hexdigest(),
            "dispute": str(dispute.id),
            "file": kept.attachment,
        }
    return things


def raised(store: Store, cast, *codes: str) -> int:
    """An incident of its own for each of these centers; returns the number of the first."""
    rows = [
        {"center": code, "criterion": "internet.loss", "subject": "", "was": "pending", "now": "raised",
         "at_ms": cast.NOW_MS, "recorded_ms": cast.NOW_MS, "value": 30.0, "bound": 2.0, "reason": cast.HELD,
         "standard": "s"}
        for code in codes
    ]  # fmt: skip
    with store.write() as conn:
        conn.execute(sa.insert(schema.changes), rows)
        follow.follow(conn, cast.timeless_standards(), cast.NOW_MS)
        mine = schema.incident_members.c
        found = conn.scalar(sa.select(sa.func.max(mine.incident)).where(mine.center == codes[0]))
    assert found is not None
    return int(found)


def text_of(answer: httpx.Response) -> str:
    """What it holds: of a page what is its own, of a workbook all its parts."""
    if answer.content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
            return "".join(book.read(name).decode(errors="replace") for name in book.namelist())
    return answer.text.partition("<main")[2] or answer.text


def askers(site, route: str) -> Iterator[tuple[Scope, dict[str, str]]]:
    """The scope and the headers of everybody who gets through to it, by session and by key."""
    letters, _, for_keys = EXPECTED[route]
    for (role, scope), cookie in site.cookies.items():
        if LETTERS[role] in letters:
            yield scope, {"cookie": f"{auth.COOKIE}={cookie}"}
    for (role, scope), key in site.keys.items():
        if LETTERS[role] in letters and for_keys:
            yield scope, {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("route", LISTS)
def test_a_list_holds_what_is_in_the_scope_and_nothing_else(site, filled, client: Client, route: str) -> None:
    marks = DISTRICTS if route in BY_DISTRICT else NAMES if route in BY_NAME else {code: code for code in filled}
    for scope, headers in askers(site, route):
        answer = client.get(LISTS[route], headers=headers)
        text = text_of(answer)
        seen = {code for code in filled if marks[code] in text}
        assert (answer.status_code, seen) == (200, {OWN, OTHER} if scope.is_all else {OWN}), (route, headers)


@pytest.mark.parametrize("route", THINGS)
def test_a_thing_of_others_is_not_there(site, filled, client: Client, route: str) -> None:
    for scope, headers in askers(site, route):
        for code, names in filled.items():
            answer = client.get(THINGS[route].format(**names), headers=headers)
            is_seen = scope.is_all or code == OWN
            assert (answer.status_code, code in text_of(answer)) == ((200, True) if is_seen else (404, False)), headers


def test_counts_and_provinces_are_of_the_scope_too(site, client: Client) -> None:
    headers = {"cookie": f"{auth.COOKIE}={site.cookies['desk', PUNJAB]}"}
    counts = client.get("/api/v1/centers", headers=headers).json()["counts"]
    assert sum(counts.values()) == 1
    assert "Sindh" not in client.get("/", headers={**headers, "accept": "text/html"}).text


def test_a_contact_beyond_ones_scope_cannot_be_made_changed_or_removed(site, client: Client, cast) -> None:
    with site.store.write() as conn:
        scope = Scope(province=frozenset({"Sindh"}))
        contact = Contact("company", "KE", telephone="118", scope=scope)
        number = contacts.keep(conn, contact, Account("Root", "admin", key="root"), cast.NOW_MS)
    cookie = site.cookies["desk", PUNJAB]
    form = {"mark": auth.form_mark(cookie), "kind": "company", "name": "KE", "telephone": "119"}
    headers = {"cookie": f"{auth.COOKIE}={cookie}", "accept": "text/html"}
    for fields in (
        {"act": "set", "id": "", "province": "Sindh"}, {"act": "set", "id": str(number), "province": "Punjab"},
        {"act": "remove", "id": str(number)}, {"act": "set", "id": "", "owner": "Trust"},
    ):  # fmt: skip
        assert client.post("/contacts", data={**form, **fields}, headers=headers).status_code == 403
    kept = client.post("/contacts", data={**form, "act": "set", "id": "", "province": "Punjab"}, headers=headers)
    assert kept.status_code == 303
    with site.store.read() as conn:
        assert [it.telephone for it in contacts.everyone(conn) if it.name == "KE"] == ["118", "119"]


def test_an_incident_is_not_merged_into_one_of_others(site, client: Client, cast) -> None:
    mine, theirs = raised(site.store, cast, OWN), raised(site.store, cast, OTHER)
    headers = {"authorization": f"Bearer {site.keys['desk', PUNJAB]}"}
    merge = {"act": "merge", "note": "one cause", "into": theirs}
    assert mine != theirs
    assert client.post(f"/api/v1/incidents/{mine}", json=merge, headers=headers).status_code == 404


def test_who_sees_a_part_of_an_incident_sees_that_part_and_does_not_decide_about_the_whole(
    site, client: Client, cast
) -> None:
    number, other = raised(site.store, cast, OWN), raised(site.store, cast, OTHER)
    with site.store.write() as conn:
        work.merge(conn, other, number, cast.timeless_standards(), "Root", "one cause", cast.NOW_MS)
    part = {"authorization": f"Bearer {site.keys['desk', PUNJAB]}"}
    whole = {"authorization": f"Bearer {site.keys['desk', EVERYWHERE]}"}
    path = f"/api/v1/incidents/{number}"
    seen = {name: {one["center"] for one in client.get(path, headers=who).json()["members"]}
            for name, who in (("part", part), ("whole", whole))}  # fmt: skip
    assert seen == {"part": {OWN}, "whole": {OWN, OTHER}}
    act = {"act": "note", "note": "called"}
    assert client.post(path, json=act, headers=part).status_code == 403
    assert client.post(path, json=act, headers=whole).status_code == 200
    with site.store.read() as conn:
        acts = activity.page(conn, ActFilter(act="incident_worked"), 10)
    assert [(row["subject"], row["reason"]) for row in acts] == [(str(number), "note called")]
