"""Log-in by an issuer, against a provider of our own over HTTP: to an account that an admin named, and to no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from collector.access.accounts import directory, oidc
from collector.access.users import PersonError
from collector.common.config import OidcSection
from collector.store import Store
from collector.web import auth
from tests.helpers.pages.oidc_provider import CLIENT, SECRET, Provider, provider
from tests.helpers.ports import free_port

NOW_MS = 1_795_000_000_000


@pytest.fixture
def issuer() -> Iterator[Provider]:
    with provider(NOW_MS // 1000) as room:
        yield room


@pytest.fixture
def site(store: Store, standards, tmp_path: Path, cast, issuer: Provider) -> Iterator[Any]:
    """Amna is an admin, and known to the issuer by her e-mail."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    section = OidcSection(issuer=issuer.url, client_id=CLIENT, client_secret_file=tmp_path / "secret", name="PSEB <b>")
    with cast.serve(store, standards, tmp_path, oidc=section, port=free_port()) as served:
        name(store, "email", "amna@example.PK")
        yield served


def name(store: Store, kind: oidc.IdentityKind, value: str, who: str = "Amna") -> None:
    with store.write() as conn:
        directory.set_identity(conn, who, oidc.identity(kind, value), "Root", NOW_MS)


def came_back(client: httpx.Client, path: str = "/login/oidc?next=/contacts", **changes: str) -> httpx.Response:
    """What the collector answers to a browser that went to the issuer and came back."""
    begun = client.get(path)
    assert begun.status_code == 303, begun.text
    back = urlsplit(httpx.get(begun.headers["location"]).headers["location"])
    query = {name: values[0] for name, values in parse_qs(back.query).items()} | changes
    return client.get(back.path, params=query)


def test_who_an_admin_has_named_is_let_in_and_sent_onward(site, issuer: Provider) -> None:
    with site.client(logged_in=False) as client:
        assert "Log in with" in client.get("/login?next=/contacts").text
        done = came_back(client)
        assert (done.status_code, done.headers["location"]) == (303, "/contacts")
        assert auth.COOKIE in client.cookies
        assert oidc_cookie(client) == ""  # used up
        assert client.get("/contacts").status_code == 200
    assert issuer.requests.count("/.well-known/openid-configuration") == 1  # kept for a while


def oidc_cookie(client: httpx.Client) -> str:
    return next((one.value or "" for one in client.cookies.jar if one.name == "nabz_oidc"), "")


def test_the_issuers_own_name_comes_before_an_e_mail(site, issuer: Provider, store: Store) -> None:
    with store.write() as conn:
        directory.add(conn, "Bilal", "-", "admin", directory.EVERYWHERE, "Root", NOW_MS)
    name(store, "sub", "u-1", "Bilal")
    with site.client(logged_in=False) as client:
        came_back(client)
        assert "Bilal" in client.get("/account").text


def test_nobody_gets_an_account_by_it(site, issuer: Provider, store: Store) -> None:
    issuer.claims = {"email": "stranger@example.pk"}
    with site.client(logged_in=False) as client:
        refused = came_back(client)
        assert refused.status_code == 403
        assert "no account here is yours" in refused.text
        assert auth.COOKIE not in client.cookies
    with store.read() as conn:
        assert [one.account.name for one in directory.everybody(conn)] == ["Amna"]


WRONG_CLAIMS: tuple[dict[str, Any], ...] = (
    {"email_verified": False}, {"email_verified": None}, {"email_verified": "true"}, {"email": None},
    {"nonce": "other"},
    {"nonce": None}, {"iss": "https://evil.pk"}, {"aud": "other"}, {"aud": [CLIENT, "other"]}, {"azp": "other"},
    {"exp": NOW_MS // 1000 - 120}, {"exp": None}, {"iat": None}, {"sub": None}, {"iat": NOW_MS // 1000 + 3600},
)  # fmt: skip


def test_a_token_that_does_not_hold_lets_nobody_in(site, issuer: Provider) -> None:
    with site.client(logged_in=False) as client:
        for claims in WRONG_CLAIMS:
            issuer.claims = claims
            assert came_back(client).status_code == 403, claims
            assert auth.COOKIE not in client.cookies
        issuer.claims = {}
        assert came_back(client).status_code == 303  # it was the claims that were wrong


def test_a_signature_of_another_lets_nobody_in(site, issuer: Provider) -> None:
    known = issuer.keys()
    issuer.keys = lambda: known  # type: ignore[method-assign]
    with site.client(logged_in=False) as client:
        for algorithm in ("none", "HS256"):
            issuer.algorithm = algorithm
            assert came_back(client).status_code == 403, algorithm
        issuer.algorithm = "RS256"
        assert came_back(client).status_code == 303
        client.cookies.clear()
        issuer.turn_key("two")
        issuer.key_id = "one"
        assert came_back(client).status_code == 403
        assert auth.COOKIE not in client.cookies


def test_a_new_key_of_the_issuer_is_fetched(site, issuer: Provider) -> None:
    with site.client(logged_in=False) as client:
        assert came_back(client).status_code == 303
        issuer.turn_key("two")
        site.now.append(NOW_MS + oidc.AGAIN_MS)
        issuer.now_s += oidc.AGAIN_MS // 1000
        assert came_back(client).status_code == 303


def test_an_answer_that_was_not_asked_for_lets_nobody_in(site) -> None:
    wrong = (
        {"state": "other"}, {"state": ""}, {"code": "other"}, {"code": ""}, {"iss": "https://evil.pk"},
        {"error": "access_denied"}, {"code": "x" * 5000},
    )  # fmt: skip
    with site.client(logged_in=False) as client:
        for changes in wrong:
            assert came_back(client, **changes).status_code == 403, changes
            assert auth.COOKIE not in client.cookies


def test_an_answer_counts_in_the_browser_that_began_it_and_once(site, issuer: Provider) -> None:
    with site.client(logged_in=False) as victim, site.client(logged_in=False) as other:
        begun = other.get("/login/oidc")
        back = urlsplit(httpx.get(begun.headers["location"]).headers["location"])
        assert victim.get(f"{back.path}?{back.query}").status_code == 403
        assert other.get(f"{back.path}?{back.query}").status_code == 303
        assert other.get(f"{back.path}?{back.query}").status_code == 403
        for cookie in ("", "x", "A" * 60, "ä" * 3):
            other.cookies.clear()
            answer = other.get(f"{back.path}?{back.query}", headers={"cookie": f"nabz_oidc={cookie}".encode()})
            assert answer.status_code == 403


def test_too_late_is_too_late_and_a_second_proof_is_asked_for(site, store: Store, issuer: Provider, cast) -> None:
    with site.client(logged_in=False) as client:
        begun = client.get("/login/oidc")
        back = urlsplit(httpx.get(begun.headers["location"]).headers["location"])
        site.now.append(NOW_MS + oidc.ATTEMPT_LASTS_MS)
        assert client.get(f"{back.path}?{back.query}").status_code == 403
    site.now.append(NOW_MS)
    row = {"person": "amna", "factor": "f", "kind": "totp", "name": "", "secret": "", "counter": 0, "added_ms": 1}
    cast.insert(store, cast.schema.second_factors, [{**row, "confirmed_ms": 1}])
    with site.client(logged_in=False) as client:
        done = came_back(client)
        assert done.headers["location"].startswith("/login/second")
        assert client.get("/contacts").status_code == 303  # half a session opens nothing


def test_local_accounts_go_on_while_the_issuer_is_down(site, issuer: Provider, cast) -> None:
    issuer.broken = True
    with site.client(logged_in=False) as client:
        refused = client.get("/login/oidc?next=/contacts")
        assert refused.status_code == 503
        assert "cannot be reached now" in refused.text
        assert client.get("/login/oidc").status_code == 503
        assert len(issuer.requests) == 1  # it is not asked again at once
        done = client.post("/login", data={"name": cast.ADMIN, "password": cast.PASSWORD, "next": "/contacts"})
        assert done.status_code == 303
        issuer.broken = False
        site.now.append(NOW_MS + oidc.AGAIN_MS)
        assert client.get("/login/oidc").status_code == 303


def test_an_issuer_that_names_itself_otherwise_is_not_used(site, issuer: Provider) -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"issuer": "http://127.0.0.1:1"}, {"token_endpoint": "http://evil.pk/token"}, {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
    )  # fmt: skip
    with site.client(logged_in=False) as client:
        for hours, metadata in enumerate([*wrong, {}]):
            site.now.append(NOW_MS + hours * oidc.METADATA_LASTS_MS)
            issuer.metadata = metadata
            assert client.get("/login/oidc").status_code == (503 if metadata else 303), metadata


def test_an_admin_names_people_by_form(site, store: Store, cast) -> None:
    with store.write() as conn:
        directory.add(conn, "Bilal", "-", "desk", directory.EVERYWHERE, "Root", NOW_MS)
    with site.client() as client:
        mark = auth.form_mark(client.cookies[auth.COOKIE])
        form = {"mark": mark, "act": "oidc", "name": "Bilal"}
        assert client.post("/people", data={**form, "identity": "sub:u-7"}).status_code == 303
        assert client.post("/people", data={**form, "identity": "AMNA@example.pk"}).status_code == 409  # Amna's
        assert 'value="sub:u-7"' in client.get("/people").text
    with store.write() as conn:
        found = directory.account_of_identity(conn, ["sub:u-7"])
        assert found is not None
        directory.remove(conn, "Bilal", "Root", NOW_MS)
        assert directory.account_of_identity(conn, ["sub:u-7"]) is None
        with pytest.raises(PersonError):
            directory.set_identity(conn, "Bilal", "sub:u-7", "Root", NOW_MS)
        directory.add(conn, "Bilal", "-", "desk", directory.EVERYWHERE, "Root", NOW_MS)
        assert directory.account_of_identity(conn, ["sub:u-7"]) is None  # who comes back is named anew


def test_an_e_mail_that_the_token_lacks_is_asked_of_userinfo(site, issuer: Provider) -> None:
    issuer.claims = {"email": None, "email_verified": None}
    issuer.metadata = {"userinfo_endpoint": f"{issuer.url}/userinfo"}
    right = {"sub": "u-1", "email": "amna@example.pk", "email_verified": True}
    wrong: tuple[dict[str, Any], ...] = ({"sub": "u-2"}, {"email_verified": False}, {"email": "b@example.pk"})
    with site.client(logged_in=False) as client:
        for change in wrong:
            issuer.userinfo = right | change
            assert came_back(client).status_code == 403, change
        issuer.userinfo = right
        assert came_back(client).status_code == 303
    assert issuer.requests.count("/userinfo") == 4


def test_whoever_logs_out_is_logged_out_there_too(site, issuer: Provider, cast) -> None:
    issuer.metadata = {"end_session_endpoint": f"{issuer.url}/end?x=1"}
    with site.client(logged_in=False) as client:
        came_back(client)
        done = client.post("/logout", data={"mark": auth.form_mark(client.cookies[auth.COOKIE])})
        assert (done.status_code, done.headers["location"]) == (303, "/login/oidc/out")
        out = client.get("/login/oidc/out").headers["refresh"]
        assert out.startswith(f"0; url={issuer.url}/end?x=1&client_id={CLIENT}&")
        query = parse_qs(urlsplit(out.partition("url=")[2]).query)
        assert query["post_logout_redirect_uri"][0].endswith("/login")
        assert query["id_token_hint"][0].count(".") == 2
        assert client.get("/login/oidc/out").headers["location"] == "/login"  # once
        client.post("/login", data={"name": cast.ADMIN, "password": cast.PASSWORD})
        client.post("/logout", data={"mark": auth.form_mark(client.cookies[auth.COOKIE])})
        assert client.get("/login/oidc/out").headers["location"] == "/login"  # it had let nobody in
        came_back(client)
        issuer.broken = True
        site.now.append(NOW_MS + oidc.METADATA_LASTS_MS)
        assert client.get("/login/oidc/out").headers["location"] == "/login"


def test_without_an_issuer_there_is_none(served) -> None:
    with served.client(logged_in=False) as client:
        assert "/login/oidc" not in client.get("/login").text
        assert client.get("/login/oidc").status_code == 404
        assert client.get("/login/oidc/back?code=x&state=y").status_code in (403, 404)


@pytest.mark.parametrize(
    "section", [{"issuer": "http://issuer.example.pk", "client_id": "x"}, {"issuer": "https://a.pk"}]
)
def test_settings_that_cannot_be(section: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"must be https|client_id is needed"):
        OidcSection(**section)
