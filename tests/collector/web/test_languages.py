"""Pages in the reader's language: nothing of another one on them, and a third language is one more file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from agent.common.reasons import Reason
from agent.common.words import FOLDER, plain
from collector.common.html_words import html_words
from collector.desk.alerts.message import Announcement, message
from collector.register.opening_text import opening_text
from collector.standard import Standards
from collector.standard.criteria import LocalText
from collector.standard.names import found_of, name_of
from tests.collector.standard.timeless import timeless
from tests.helpers.pages import chromium
from tests.helpers.pages.reader import reader

THINGS = {"Mbit", "s", "ms", "MB", "V", "C", "JSON", "Nabz", "GB", "SHA"}  # units and names of things
EMPTY = {"meta", "link", "input", "br", "img", "use", "path", "hr"}


class Prose(HTMLParser):
    """The text of a page that is in its own language: without names and figures (`bdi`), commands, and what says that
    it is English."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[bool] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in EMPTY:
            values = dict(attributes)
            foreign = tag in ("bdi", "code", "style", "script", "title") or values.get("lang") in ("en", "ur", "xx")
            self.open.append(foreign and tag not in ("html", "article"))

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not any(self.open):
            self.text.append(data)


def prose(page: str) -> str:
    parser = Prose()
    parser.feed(page)
    return " ".join("".join(parser.text).split())


def latin(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]+", text)) - THINGS


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/now",
        "/setup",
        "/months",
        "/map",
        "/centers/KHI-0001",
        "/centers/KHI-0002",
        "/centers/LHE-0000",
        "/waiting",
        "/backups",
        "/account",
        "/people",
        "/keys",
        "/contacts",
        "/activity",
        "/login/second",
        "/nowhere",
    ],
)
def test_an_urdu_page_is_in_urdu(fleet, path: str) -> None:
    with fleet.client() as client:
        page = client.get(path, params={"lang": "ur"}).text
    assert 'lang="ur" dir="rtl"' in page
    assert not latin(prose(page)), prose(page)


def test_english_on_an_urdu_page_is_seen() -> None:
    assert latin(prose("<p>یہ <b>below</b> <bdi>Lahore</bdi> <span lang='en'>as it stands</span></p>")) == {"below"}


def test_provinces_hours_and_states_are_words_of_the_catalogue(fleet, cast) -> None:
    with fleet.client(**{"accept-language": "ur"}) as client:
        page = client.get("/centers/KHI-0001").text
        assert "پیر تا ہفتہ" in page
        assert "سندھ" in page
        assert "بیٹری" in client.get("/centers/PEW-0002").text
        provinces = client.get("/").text
    assert '<option value="Khyber Pakhtunkhwa">' in provinces
    assert "خیبر پختونخوا" in provinces
    assert "Mon-Sat" not in page


def test_hours_are_words() -> None:
    words = plain("en")
    for text, expected in (
        ("always", "always"), ("Mon-Sat 09:00-21:00; Sun closed", "Mon–Sat 09:00-21:00; Sun closed"),
        ("daily 09:00-13:00,14:00-21:00", "daily 09:00-13:00,14:00-21:00"),
        ("Mon,Wed 09:00-10:00", "Mon, Wed 09:00-10:00"),
        ("whenever <b>", "whenever <b>"),
    ):  # fmt: skip
        assert opening_text(text, words) == expected
    assert opening_text("always", plain("ur")) == "ہر وقت"
    assert opening_text("<b> Sun closed", html_words("ur")) == '<bdi dir="ltr">&lt;b&gt; Sun closed</bdi>'


def test_seconds_are_minutes_and_fields_have_names_on_every_page(fleet) -> None:
    with fleet.client() as client:
        for lang in ("en", "ur"):
            page = client.get("/centers/KHI-0001", params={"lang": lang}).text
            text = re.sub(r"<[^>]+>", " ", page.partition("<body")[2])
            assert not re.search(r"\b\d{3,}[ \u00a0](s|سیکنڈ)\b", text)
            assert not re.search(r"\b[a-z]+_(pct|ms|mbps|s|state|status)\b", re.sub(r'="[^"]*"', "", text))


# ---------------------------------------------------------------- a third language


def marked(text: str) -> str:
    """A text of the invented language: every letter outside of its places is an A with a ring."""
    return "".join(
        part if part.startswith("{") else re.sub(r"[A-Za-z]", "Å", part) for part in re.split(r"({\w+})", text)
    )


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The languages there are and one more, which is one file."""
    folder = tmp_path_factory.mktemp("texts")
    for path in FOLDER.glob("*.json"):
        (folder / path.name).write_text(path.read_text("utf-8"), "utf-8")
    english = json.loads((FOLDER / "en.json").read_text("utf-8"))
    own = {key: marked(text) for key, text in english.items() if not key.startswith("language.")}
    own |= {"language.name": "Xish", "language.direction": "rtl", "language.plural.one": "i = 1 and v = 0"}
    (folder / "xx.json").write_text(json.dumps(own), "utf-8")
    return folder


@pytest.fixture
def abroad(cast, store, standards: Standards, tmp_path: Path, texts: Path) -> Iterator:
    cast.add_fleet(store, 20)
    cast.add_full_center(store, "LHE-0000")
    cast.add_story(store, "LHE-0000")
    with cast.serve(store, standards, tmp_path, texts=texts) as site:
        yield site


def test_a_third_language_is_a_file(abroad) -> None:
    with abroad.client() as client:
        assert ">Xish</a>" in client.get("/").text
        for path in ("/", "/centers/LHE-0000", "/waiting"):
            page = client.get(path, params={"lang": "xx"})
            assert (page.status_code, page.headers["content-language"]) == (200, "xx")
            assert 'lang="xx" dir="rtl"' in page.text
            assert "Å" in page.text
            assert not latin(prose(page.text)), prose(page.text)
        assert 'lang="xx"' in client.get("/", headers={"accept-language": "xx"}, params={"lang": ""}).text


def test_alerts_and_reports_speak_it_too(texts: Path) -> None:
    words = plain("xx", texts)
    found = Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%")
    values = Announcement(
        id=1, center="LHR-1", criterion="internet.loss", subject="", was="pending", now="raised", at_ms=0, value=30.0,
        bound=2.0, reason=Reason.of("change.below_at_once", found=found), province="Punjab",
    )  # fmt: skip
    text = message(values, timeless(), "http://nabz.example.pk", [words]).text
    assert words.reason(found_of(timeless().by_id["internet.loss"], values.reason, words)) in text
    assert not latin(re.sub(r"[\u2066\u2068][^\u2069]*\u2069", "", text)), text


def test_a_standard_may_bring_names_in_it(texts: Path) -> None:
    criterion = timeless().by_id["internet.loss"]
    named = replace(criterion, name=LocalText({**criterion.name.texts, "xx": "Øøø"}))
    words = html_words("xx", texts)
    assert (name_of(named, words), name_of(criterion, words)) == ("Øøø", '<bdi lang="en" dir="ltr">Packet loss</bdi>')


def test_figures_are_in_the_digits_of_the_language_if_the_reader_wants_them() -> None:
    own, latin_words = html_words("ur", own_digits=True), html_words("ur")
    assert own.number(10_250) == '<bdi dir="ltr">۱۰,۲۵۰</bdi>'
    assert "۲.۹" in own.exact(2.9, "%")
    assert re.search("۲.*۱۴", own.duration(8040))
    assert "۱۲" in own.figure(12.0, "Mbit/s")
    assert own.ltr("LHR-014") == latin_words.ltr("LHR-014")
    assert not re.search("[۰-۹]", latin_words.duration(8040) + latin_words.number(7))
    assert html_words("en", own_digits=True).number(7) == html_words("en").number(7)


def test_the_choice_of_digits_is_kept_and_codes_stay_as_they_are(fleet) -> None:
    with fleet.client() as client:
        page = client.get("/?lang=ur&digits=own").text
        again = client.get("/").text
        center = client.get("/centers/KHI-0001").text
        english = client.get("/?lang=en").text
        back = client.get("/?lang=ur&digits=latin").text
    for text in (page, again):
        assert re.search(r'<b><bdi dir="ltr">[۰-۹]+</bdi></b>', text)
        assert 'data-digits="۰۱۲۳۴۵۶۷۸۹"' in text
        assert "KHI-0001" in text
    assert re.search("<time[^>]*>.*[۰-۹]", center)
    assert not re.search("[۰-۹]", english + prose(back).replace("۱۲۳", ""))
    assert "data-digits" not in english + back


def test_ages_and_charts_stay_in_the_digits_that_were_chosen(browser: Browser, fleet) -> None:
    """What a script writes anew is as the page wrote it."""
    chromium.needed()
    with reader(browser, fleet.url, lang="ur") as page:
        page.goto("/centers/KHI-0001?digits=own")
        expect(page.locator("#charts canvas").first).to_be_visible()
        ages = "[...document.querySelectorAll('time[data-ms] > :first-child')]"
        page.evaluate(f"{ages}.forEach((one) => {{ one.textContent = 'x'; }})")
        # The script writes them every five seconds.
        expect(page.locator("time[data-ms]").filter(has_text="x")).to_have_count(0, timeout=60_000)
        said = page.evaluate(f"{ages}.map((one) => one.textContent)")
        assert said
        assert [one for one in said if re.search("[0-9]", one)] == []
