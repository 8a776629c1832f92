"""Pages of proof: a bundle of strangers is checked, a draft of a standard is tried."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import zipfile
from dataclasses import replace
from importlib import resources

import httpx
import pytest

from collector.standard import EXAMPLE
from collector.verifier.archive import LIMITS, MANIFEST
from collector.web.decisions import drafts
from collector.web.decisions.proof import BundleRefused, checked
from tests.collector.web.decisions.test_dispute_pages import MARK, OPERATOR, logged_in
from tests.helpers.waiting import wait_until

DRAFT = resources.files("collector.standard").joinpath(EXAMPLE).read_bytes().replace(b"example-2026-3", b"my-draft")


def upload(client: httpx.Client, path: str, name: str, body: bytes, **values: str) -> httpx.Response:
    mark = MARK.search(client.get(path).text)
    assert mark
    return client.post(path, data={"mark": mark[1], **values}, files={name: ("x", body)})


def zipped(**files: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for name, body in files.items():
            file.writestr(name.replace("_", "."), body)
    return target.getvalue()


@pytest.mark.parametrize(
    ("body", "key", "words"),
    [
        (b"<script>alert(1)</script>", "", "is no zip file"),
        (zipped(manifest_json=b"[]"), "", "has a line that is no object"),
        (zipped(other_txt=b"x"), "", "is no file of a bundle"),
        (zipped(manifest_json=bytes(1 << 20)), "", "unpacks to 1048576 bytes"),
        (b"PK", "<b>no key</b>", "&lt;b&gt;no key"),
    ],
)
def test_what_is_no_bundle_is_refused_with_a_sentence(served, cast, body: bytes, key: str, words: str) -> None:
    with logged_in(served, cast, "Sara", "auditor") as client:
        answer = upload(client, "/proof", "bundle", body, key=key)
        assert answer.status_code == 400
        assert words in answer.text
        assert "<script>alert" not in answer.text


def test_a_bundle_that_takes_too_much_is_given_up() -> None:
    with pytest.raises(BundleRefused, match=r"proof\.limits"):
        checked(io.BytesIO(zipped(manifest_json=b"{}")), "", "", memory=1 << 20)


def test_a_body_over_the_limit_is_refused_before_it_is_sent(served, cast) -> None:
    place = httpx.URL(served.url)
    cookie = cast.add_account(served.store, "Sara", "auditor")
    head = f"POST /proof HTTP/1.1\r\nHost: {place.netloc.decode()}\r\nCookie: nabz_session={cookie}\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 40000000\r\n\r\n"
    with socket.create_connection((place.host, place.port), timeout=30) as line:
        line.sendall(head.encode())
        assert line.recv(12) == b"HTTP/1.1 413"


def test_an_operator_has_neither_page(served, cast) -> None:
    with logged_in(served, cast, "Omar", "operator", OPERATOR) as client:
        assert {client.get(path).status_code for path in ("/proof", "/drafts")} == {403}


def test_a_draft_is_tried_and_its_mistakes_are_named(served, cast) -> None:
    with logged_in(served, cast, "Sara", "auditor") as client:
        wrong = upload(client, "/drafts", "draft", b"<b>", days="90")
        assert wrong.status_code == 400
        assert "draft: is not TOML" in wrong.text
        assert "must be from 1 to 366" in upload(client, "/drafts", "draft", DRAFT, days="367").text
        assert upload(client, "/drafts", "draft", DRAFT, days="90").status_code == 303
        wait_until(lambda: "centers change" in client.get("/drafts").text, "the draft's result", 20)
        assert "<progress" not in client.get("/drafts?lang=ur").text


def test_a_draft_is_tried_one_at_a_time_whichever_process_of_pages_is_asked(served, cast) -> None:
    run = drafts.DraftRun(
        holder="h0", draft="d", standard="s", days=90, person="Omar", began_ms=served.now[0],
        until_ms=served.now[0] + drafts.LEASE_MS,
    )  # fmt: skip
    with served.store.write() as conn:  # as another process does
        assert drafts.begin(conn, run)
        assert not drafts.begin(conn, replace(run, holder="h1", began_ms=run.until_ms - 1))
    drafts.record(served.store, "h0", share=0.25)
    with logged_in(served, cast, "Sara", "auditor") as client:
        page = client.get("/drafts").text
        assert '<progress max="1" value="0.25"' in page
        mark = MARK.search(client.get("/proof").text)
        assert mark
        values = {"mark": mark[1], "days": "9"}
        assert client.post("/drafts", data=values, files={"draft": ("x", DRAFT)}).status_code == 409
        served.now[0] += drafts.LEASE_MS  # its process died
        page = client.get("/drafts").text
        assert "was not tried to its end" in page
        assert "<progress" not in page
    with served.store.write() as conn:
        assert drafts.begin(conn, replace(run, holder="h2", began_ms=served.now[0], until_ms=2**50))
    drafts.record(served.store, "h0", share=1.0, error="too late", until_ms=0)
    with served.store.read() as conn:
        last = drafts.last_run(conn)
    assert (last and last.holder, last and last.share) == ("h2", 0.0)


def test_what_is_wrong_with_a_bundle_is_shown(served, cast) -> None:
    """One that has all files, and nothing in them."""
    bodies = {name: b"{}" if name == "report.json" else b"" for name in LIMITS if name != MANIFEST}
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in bodies.items()}
    about = {"format": 2, "center": "<b>", "month": "2026-11", "from_ms": 0, "to_ms": 1, "files": digests}
    whole = zipped(**{MANIFEST: json.dumps(about).encode(), **bodies})
    with logged_in(served, cast, "Dana", "desk") as client:
        page = upload(client, "/proof", "bundle", whole)
        assert page.status_code == 200
        assert "Not as it was signed" in page.text
        assert "the bundle has no transparency log" in page.text
        assert "&lt;b&gt;" in page.text
