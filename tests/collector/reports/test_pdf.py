"""A month as a PDF: all that the page says, tagged, in both languages, the same bytes each time; signed, and refused
when anything was changed."""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import keys, tsp
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.timestamps.dummy_client import DummyTimeStamper

from collector.__main__ import main
from collector.access.ca import Authority
from collector.common.config import ReportsSection
from collector.common.html_words import html_words
from collector.reports import render
from collector.reports.pdf import pades
from collector.reports.pdf.article import blocks_of
from collector.reports.pdf.document import PdfError, as_pdf, values_of
from collector.reports.schedule import told
from tests.collector.empty_stores import empty_store
from tests.collector.reports.test_monthly import AFTER, CENTER, STANDARDS, at, enrol, put

NOW_MS = time.time_ns() // 1_000_000
HOSTILE = 'a "#panic() $x$ <b> \\ \u202e ے'


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    store = empty_store(tmp_path_factory.mktemp("pdf") / "nabz.db")
    enrol(store, at("2026-02-01T00:00"))
    put(store, "link", [at(f"2026-02-0{day}T10:{minute:02}") for day in range(2, 8) for minute in range(60)], up=1)
    with store.read() as conn:
        found = told(conn, CENTER.code, "2026-02", STANDARDS, AFTER)
    store.close()
    found["center"]["name"] = HOSTILE
    return found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), NOW_MS)


@pytest.fixture(scope="module")
def printed(report: dict[str, Any]) -> bytes:
    return as_pdf(report)


@pytest.fixture(scope="module")
def signed(report: dict[str, Any], printed: bytes, authority: Authority) -> bytes:
    return pades.signed(printed, pades.own_key(authority, NOW_MS), pades.reason_of(report))


class Text(HTMLParser):
    """All that a page says, without blanks."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words = ""
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.words += "".join(data.split())


@pytest.mark.parametrize("lang", ["en", "ur"])
def test_every_word_and_number_of_the_page_is_in_the_document(report: dict[str, Any], lang: str) -> None:
    html = render.article(report, html_words(lang))
    found = ""
    for block in blocks_of(html):
        cells = [block.get("runs", []), *block.get("head", [])]
        cells += [cell["runs"] for row in block.get("rows", []) for cell in row]
        found += "".join("".join(run["text"].split()) for runs in cells for run in runs)
    assert found == Text(html).words
    assert "360" in found


@pytest.mark.parametrize("lang", ["en", "ur"])
def test_the_same_report_gives_the_same_tagged_bytes(report: dict[str, Any], printed: bytes, lang: str) -> None:
    pdf = as_pdf(report, lang)
    assert lang == "ur" or pdf == printed
    root = PdfFileReader(io.BytesIO(pdf)).root
    assert (root["/Lang"], root["/MarkInfo"]["/Marked"]) == (lang, True)
    assert "/StructTreeRoot" in root


@dataclass(frozen=True)
class Tags:
    """Of a PDF's structure tree what a screen reader goes by: kinds of elements, and what some of them say."""

    kinds: Counter[str]
    scopes: Counter[str]  # of heads of tables
    alts: list[str]  # of figures
    marked: set[tuple[int, int]]  # object of the page, number of the marked content

    @classmethod
    def of(cls, pdf: PdfFileReader) -> Tags:
        tags = cls(Counter(), Counter(), [], set())
        tags._walk(pdf.root["/StructTreeRoot"]["/K"], 0)
        return tags

    def _walk(self, node: Any, page: int) -> None:
        if isinstance(node, generic.ArrayObject):
            for place in range(len(node)):
                self._walk(node[place], page)
        elif isinstance(node, generic.NumberObject):
            self.marked.add((page, int(node)))
        elif isinstance(node, generic.DictionaryObject):
            page = node.raw_get("/Pg").idnum if "/Pg" in node else page
            if "/MCID" in node:
                self.marked.add((page, int(node["/MCID"])))
            self._note(node)
            if "/K" in node:
                self._walk(node["/K"], page)

    def _note(self, node: generic.DictionaryObject) -> None:
        kind = str(node.get("/S", "")).removeprefix("/")
        self.kinds[kind] += 1
        if kind == "Figure":
            self.alts.append(str(node.get("/Alt", "")))
        if kind == "TH":
            attributes = node["/A"]
            rows = [attributes] if isinstance(attributes, generic.DictionaryObject) else list(attributes)
            self.scopes["".join(str(row["/Scope"]) for row in rows if "/Scope" in row)] += 1


_STRINGS = re.compile(rb"\((?:\\.|[^\\()])*\)|(?<!<)<[0-9A-Fa-f\s]*>(?!>)", re.DOTALL)
_WORDS = re.compile(rb"<<.*?>>|/?[^\s/<>\[\]]+", re.DOTALL)
_PAINTS = {b"Tj", b"TJ", b"f", b"f*", b"S", b"B", b"sh", b"Do"}


def painted(pdf: PdfFileReader) -> tuple[set[tuple[int, int]], int]:
    """(the numbers of marked contents by page, how much is painted that is in none and is no artifact)."""
    numbers, bare = set(), 0
    for page in pages(pdf.root["/Pages"]):
        words = _WORDS.findall(_STRINGS.sub(b" ", page.get_object()["/Contents"].data))
        open_marks: list[bool] = []
        for place, word in enumerate(words):
            if word in (b"BDC", b"BMC"):
                number = re.search(rb"/MCID (\d+)", words[place - 1])
                open_marks.append(number is not None or b"/Artifact" in words[place - 2 : place])
                numbers |= {(page.idnum, int(number[1]))} if number else set()
            elif word == b"EMC":
                open_marks.pop()
            elif word in _PAINTS:
                bare += not any(open_marks)
    return numbers, bare


def pages(node: Any) -> Iterator[generic.IndirectObject]:
    for place in range(len(node["/Kids"])):
        kid = node["/Kids"].raw_get(place)
        if kid.get_object()["/Type"] == "/Pages":
            yield from pages(kid.get_object())
        else:
            yield kid


@pytest.mark.parametrize("lang", ["en", "ur"])
def test_a_screen_reader_is_told_what_each_part_of_the_document_is(
    report: dict[str, Any], authority: Authority, lang: str
) -> None:
    """What PDF/UA-1 (ISO 14289-1) asks that a machine can look at; of the file as it is given out, signed."""
    pdf = PdfFileReader(
        io.BytesIO(pades.signed(as_pdf(report, lang), pades.own_key(authority, NOW_MS), pades.reason_of(report)))
    )
    assert (pdf.root["/Lang"], pdf.root["/ViewerPreferences"]["/DisplayDocTitle"]) == (lang, True)
    metadata = pdf.root["/Metadata"].data
    assert b'pdfuaid:part="1"' in metadata
    assert f"Nabz {CENTER.code} 2026-02".encode() in metadata
    for page in (one.get_object() for one in pages(pdf.root["/Pages"])):
        for field in page.get("/Annots", ()):  # the signature: no element of the tree, so no reader may come upon it
            assert (field.get_object()["/F"] & 2, page["/Tabs"]) == (2, "/S")
    tags, (numbers, bare) = Tags.of(pdf), painted(pdf)
    assert bare == 0
    assert numbers == tags.marked
    assert len(numbers) > 100
    blocks = values_of(report, lang)["blocks"]
    kinds = Counter(block["kind"] for block in blocks)
    assert (tags.kinds["Table"], tags.kinds["Figure"]) == (kinds["table"], kinds["picture"])
    assert tags.kinds["P"] == kinds["paragraph"] + kinds["picture"]  # of a picture: what its colors mean
    for level in (1, 2, 3):
        headings = [block for block in blocks if block["kind"] == "heading" and block["level"] == level]
        assert tags.kinds[f"H{level}"] == len(headings)
    assert tags.alts == [block["alt"] for block in blocks if block["kind"] == "picture"]
    heads = sum(len(block["head"]) for block in blocks if block["kind"] == "table")
    assert tags.scopes == {"/Column": heads}
    assert heads > 5


def test_the_picture_has_every_open_minute_of_the_month(report: dict[str, Any]) -> None:
    picture = next(block for block in values_of(report, "en")["blocks"] if block["kind"] == "picture")
    assert len(picture["days"]) == 28
    assert sum(part["minutes"] for day in picture["days"] for part in day) == report["ledger"]["open"]
    assert not [block for block in values_of({**report, "days": []}, "en")["blocks"] if block["kind"] == "picture"]


# ---------------------------------------------------------------- the signature


def test_a_signed_pdf_is_as_it_was_signed(signed: bytes, authority: Authority) -> None:
    found = pades.checked(signed, authority.root_pem)
    assert (found.why, found.signer) == ("", "Common Name: Nabz reports")
    assert pades.own_key(authority, NOW_MS) == pades.own_key(authority, NOW_MS + 86_400_000)


def test_what_was_changed_or_added_or_signed_by_another_is_refused(
    signed: bytes, authority: Authority, tmp_path: Path
) -> None:
    edited = bytearray(signed)
    edited[len(edited) // 2] ^= 1
    assert pades.checked(bytes(edited), authority.root_pem).why == "the file was changed after it was signed"
    longer = pades.checked(signed + b"\n% more\n", authority.root_pem)
    assert longer.why == "something was added to the file after it was signed"
    assert pades.checked(signed, Authority(tmp_path, NOW_MS).root_pem).why.startswith("who signed it is not trusted")


@pytest.mark.parametrize("cut", [0, 9, 1000, -600])
def test_what_is_no_signed_pdf_is_one_sentence(signed: bytes, authority: Authority, cut: int) -> None:
    with pytest.raises(PdfError, match=r"^PDF: (cannot be read|has 0 signatures)"):
        pades.checked(signed[:cut], authority.root_pem)


def test_a_key_of_the_settings_signs_and_one_that_does_not_fit_is_named(
    printed: bytes, authority: Authority, tmp_path: Path
) -> None:
    issued = [authority.issue_signer("Ministry", NOW_MS) for _ in range(2)]
    (tmp_path / "cert.pem").write_bytes(issued[0].cert_pem)
    for number, one in enumerate(issued):
        (tmp_path / f"{number}.key").write_bytes(one.key_pem or b"")
    section = ReportsSection(certificate=tmp_path / "cert.pem", key=tmp_path / "0.key")
    own = pades.signed(printed, pades.key_of(section, authority, NOW_MS), "x")
    assert pades.checked(own, authority.root_pem).signer == "Common Name: Ministry"
    other = ReportsSection(certificate=tmp_path / "cert.pem", key=tmp_path / "1.key")
    with pytest.raises(PdfError, match="the certificate is of another key"):
        pades.signed(own, pades.key_of(other, authority, NOW_MS), "x")


def test_a_root_that_was_rolled_over_gives_a_new_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, NOW_MS)
    first = pades.own_key(authority, NOW_MS)
    authority.rollover(NOW_MS)
    assert pades.own_key(authority, NOW_MS) != first


# ---------------------------------------------------------------- the command


def test_the_command_writes_a_signed_pdf_and_checks_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = empty_store(tmp_path / "nabz.db")
    enrol(store, at("2026-02-01T00:00"))
    store.close()
    common, pdf = ["--data", str(tmp_path)], tmp_path / "r.pdf"
    words = ["report", "--center", CENTER.code, "--month", "2026-02", "--pdf", str(pdf), "--language", "ur", *common]
    assert main(words) == 0
    assert main(["report", "--check-pdf", str(pdf), *common]) == 0
    assert "as it was signed by Common Name: Nabz reports" in capsys.readouterr().out
    pdf.write_bytes(pdf.read_bytes().replace(b"%PDF-1.7", b"%PDF-1.6"))
    assert main(["report", "--check-pdf", str(pdf), *common]) == 1
    assert "not as it was signed" in capsys.readouterr().err
    assert main(["report", *common]) == 2
    assert json.dumps("needs --center and --month")[1:-1] in capsys.readouterr().err


# ---------------------------------------------------------------- the time, by an authority (pyHanko's own for tests)


def stamp_authority() -> tuple[DummyTimeStamper, bytes]:
    """With its root in PEM."""
    key = rsa.generate_private_key(65_537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Time of Pakistan")])
    begin = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, begin, begin + timedelta(days=9))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, plain)
    certificate = asn1.Certificate.load(made.public_bytes(serialization.Encoding.DER))
    stamper = DummyTimeStamper(certificate, keys.PrivateKeyInfo.load(der))
    return stamper, made.public_bytes(serialization.Encoding.PEM)


@contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """A server of time stamps; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = answer(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/tsa"
        server.shutdown()
        thread.join()


def test_an_authority_stamps_the_time_and_only_where_it_is_trusted_too_the_file_is(
    printed: bytes, authority: Authority
) -> None:
    stamper, root = stamp_authority()
    with answering(lambda body: stamper.request_tsa_response(tsp.TimeStampReq.load(body)).dump()) as url:
        section = ReportsSection(time_stamp_url=url)
        made = pades.signed(printed, pades.key_of(section, authority, NOW_MS), "x")
    found = pades.checked(made, authority.root_pem + root)
    assert (found.why, found.is_true) == ("", True)
    assert found.stamped_at is not None
    assert abs(found.stamped_at.timestamp() - time.time()) < 600
    assert pades.checked(made, authority.root_pem).why.startswith("its time stamp is no word of an authority")


@pytest.mark.parametrize("answer", [b"", b"<html>", bytes(70_000)])
def test_without_a_stamp_nothing_is_signed(printed: bytes, authority: Authority, answer: bytes) -> None:
    with answering(lambda _body: answer) as url, pytest.raises(PdfError, match=r"time stamp: http.* gives none"):
        pades.signed(printed, pades.key_of(ReportsSection(time_stamp_url=url), authority, NOW_MS), "x")
    with pytest.raises(PdfError, match="gives none"):  # nobody is there
        pades.signed(printed, pades.key_of(ReportsSection(time_stamp_url=url), authority, NOW_MS), "x")


def test_a_standard_that_nobody_adopted_and_a_center_that_is_not_declared_say_so(report: dict[str, Any]) -> None:
    assert report["adoption"] == {"state": "shipped", "adopted_ms": None}
    other = report | {"center": report["center"] | {"lifecycle": "probation"}}
    for lang, words in (("en", ("is not adopted", "is not declared")), ("ur", ("اختیار نہیں کیا", "اعلان شدہ نہیں"))):
        text = render.article(other, html_words(lang))
        assert all(word in text for word in words)
        whole = render.article(
            report | {"adoption": {"state": "adopted"}, "center": report["center"] | {"lifecycle": "declared"}},
            html_words(lang),
        )
        assert not any(word in whole for word in words)
