"""What the pages say, read as a browser without JavaScript gets them."""

from __future__ import annotations

import gzip
import html
import re

import msgspec
import pytest
import sqlalchemy as sa

from agent import wire
from collector.store import schema
from collector.web.pages.centers import PAGE_ROWS

SCRIPT = re.compile(r"<script(?![^>]*src=)|\son\w+=|javascript:|style=", re.IGNORECASE)


def rows_of(page: str) -> list[str]:
    return re.findall(r'<tr id="c-([^"]+)"', page)


def states_of(page: str) -> list[str]:
    return re.findall(r'<tr id="c-[^"]+" class="row (\w+)"', page)


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def joined(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


def test_centers_stand_worst_first_and_oldest_first_within(fleet) -> None:
    with fleet.client() as client:
        page, *rest = (client.get("/", params={"page": n}).text for n in (1, 2, 3))
    order = ["silent", "below", "watch", "unknown", "waiting", "meets", "closed", "paused"]
    states = [state for part in (page, *rest) for state in states_of(part)]
    assert len(states_of(page)) == PAGE_ROWS
    assert len(states) == 120
    assert states == sorted(states, key=order.index)
    assert set(states) == set(order)
    # of the silent, the one that has been silent longest; of those below, the urgent before the serious
    assert rows_of(page)[:6] == ["GIL-0100", "PEW-0080", "LHE-0060", "GIL-0040", "PEW-0020", "LHE-0000"]
    first_below = page[page.index('class="row below"') :].split("</tr>")[0]
    assert "battery: Low" in text_of(first_below)


def test_each_row_says_its_state_in_a_word_and_its_reason(fleet) -> None:
    with fleet.client() as client:
        page = client.get("/", params={"q": "KHI-0001"}).text
    assert rows_of(page) == ["KHI-0001"]
    assert "Download speed: 12.4\xa0Mbit/s (at least 40\xa0Mbit/s)" in html.unescape(re.sub(r"<[^>]+>", "", page))


def test_counts_are_filters_and_agree_with_what_they_show(fleet) -> None:
    with fleet.client() as client:
        page = client.get("/").text
        for state, number in re.findall(r'data-state="(\w+)".*?<b><bdi dir="ltr">([\d,]+)</bdi></b>', page):
            shown = client.get("/", params={"state": state}).text
            assert len(rows_of(shown)) == min(int(number), PAGE_ROWS)
            assert set(states_of(shown)) == {state}


def test_search_takes_each_word_from_anywhere(fleet) -> None:
    with fleet.client() as client:
        both = rows_of(client.get("/", params={"q": "lahore nayatel"}).text)
        lahore = rows_of(client.get("/", params={"q": "LAHORE"}).text)
        nothing = client.get("/", params={"q": "100%_"}).text
    assert 0 < len(both) < len(lahore) == 20
    assert rows_of(nothing) == []
    assert "No center matches" in nothing


def test_province_state_and_search_hold_together(fleet) -> None:
    with fleet.client() as client:
        page = client.get("/", params={"province": "Sindh", "state": "below", "q": "karachi"}).text
    assert rows_of(page)
    assert all(code.startswith("KHI") for code in rows_of(page))
    assert set(states_of(page)) == {"below"}
    assert '<option value="Sindh" selected>Sindh' in page


@pytest.mark.parametrize(
    "query",
    [
        "state=nonsense", "sort=drop", "page=0", "page=-1", "page=x", "page=99999999999", "page=9999999999999999999999",
        "q=%00", "lang=xx", "theme=x",
    ],
)  # fmt: skip
def test_an_address_that_makes_no_sense_still_shows_a_page(fleet, query: str) -> None:
    with fleet.client() as client:
        assert client.get(f"/?{query}").status_code == 200


def test_an_empty_register_says_what_to_do(served) -> None:
    with served.client() as client:
        assert "nabz-collector center import FILE.csv" in client.get("/").text


def test_a_deaf_collector_says_so_above_everything(served, cast) -> None:
    deaf = cast.flag_row("*", "collector.deaf", state="raised", verdict="below", value=97.0, bound=50.0)
    cast.insert(served.store, schema.flags, [deaf])
    with served.client() as client:
        page = client.get("/").text
    assert 'role="alert"' in page
    assert "The collector hears almost nobody" in text_of(page)


# ---------------------------------------------------------------- one center


def test_a_center_shows_facts_verdicts_and_the_latest_of_each_kind(fleet) -> None:
    with fleet.client() as client:
        page = text_of(client.get("/centers/KHI-0001").text)
    for text in (
        "e-Rozgar Center Karachi 2", "PTCL", "Mon–Sat 09:00-21:00", "21.3 ms", "46.2 Mbit/s", "On mains", "16 of 20",
        "American Power Conversion Smart-UPS 3000", "49 min", "PC-17", "disk full:", "recovery held", "38.5 MB",
    ):  # fmt: skip
        assert text in page, text


@pytest.mark.parametrize(
    ("lang", "gone", "new"),
    [
        ("en", "A part is gone; accept it", "not counted until approved"),
        ("ur", "کوئی پرزہ غائب ہے", "منظوری تک شمار نہیں"),
    ],
)
def test_a_part_that_is_gone_and_new_hardware_are_told_in_both_languages(fleet, lang: str, gone: str, new: str) -> None:
    with fleet.client() as client:
        page = text_of(client.get("/centers/KHI-0001", params={"lang": lang}).text)
    assert page.count(gone) == 1
    assert new in page
    assert "PC-21" in page
    assert "s0123456789abcdef" in page


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("en", ("disk gone: 256 GB; disk full: 98 %, limit 97 %", "silent for 6 min: the PC does not answer")),
        ("ur", ("ڈسک غائب: 256 GB؛ ڈسک بھری ہوئی: 98 %، حد 97 %", "6 منٹ سے خاموش: پی سی جواب نہیں دیتا")),
    ],
)
def test_what_is_wrong_with_a_seat_is_told_in_words_and_an_old_gateways_sentence_as_it_stands(
    fleet, lang: str, text: tuple[str, ...]
) -> None:
    with fleet.client() as client:
        page = client.get("/centers/KHI-0001", params={"lang": lang}).text
    assert '<bdi lang="en" dir="ltr">silent for 2 h</bdi>' in page
    for words in text:
        assert words in joined(page)


def test_every_criterion_has_a_verdict_with_value_bound_and_reason(fleet, standards) -> None:
    with fleet.client() as client:
        page = client.get("/centers/KHI-0001").text
    table = page[page.index('class="verdicts"') :].split("</table>")[0]
    text = text_of(table)
    for criterion in standards.versions[0].criteria:
        assert criterion.name.en in text
    assert "Latency 21.3 ms at most 100 ms" in text
    assert "Below Seats that work 80 % at least 90 %" in text


def test_an_unofficial_standard_is_marked_wherever_it_judges(fleet) -> None:
    with fleet.client() as client:
        assert "example-2026-3 – an example, not official" in text_of(client.get("/centers/KHI-0001").text)
        assert "no official technical standard has been published" in text_of(client.get("/").text)


def test_a_self_test_is_labelled_and_said_not_to_count(fleet) -> None:
    with fleet.client() as client:
        page = text_of(client.get("/centers/KHI-0001").text)
    assert "Self-test: it does not count towards a verdict" in page
    assert "Not enough data Download speed – at least 40 Mbit/s A self-test never counts" in page.replace(
        "– – A", "– at least 40 Mbit/s A"
    )


@pytest.mark.parametrize(
    ("lang", "seen_down", "figures", "word"),
    [
        ("en", 46.0, "Server s saw 46 Mbit/s down, 18.9 Mbit/s up", "the measurement server s saw the same"),
        ("en", 12.0, "Server s saw 12 Mbit/s down, 18.9 Mbit/s up", "Not counted: the server saw another figure"),
        ("en", None, "", "Waiting for the measurement server's record"),
        ("ur", 12.0, "سرور s نے دیکھا: ڈاؤن لوڈ 12 Mbit/s، اپ لوڈ 18.9 Mbit/s", "شمار نہیں: سرور نے کچھ اور دیکھا"),
    ],
)
def test_the_servers_figure_stands_beside_the_gateways_with_its_word(
    served, cast, vouch, lang: str, seen_down: float | None, figures: str, word: str
) -> None:
    speed_reading = msgspec.structs.replace(cast.SPEED, purpose="routine", test_id="t1")
    at_ms = cast.NOW_MS - 20_000
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    cast.add_latest(served.store, "LHR-014", speed_reading, at_ms)
    row = {"wall_ms": at_ms, "download_mbps": 46.2, "upload_mbps": 18.9, "purpose": "routine", "test_id": "t1"}
    cast.add_readings(served.store, "LHR-014", "speed", [row])
    vouch(served.store, "LHR-014", "glhr-014", {"t1": (seen_down or 1.0, 18.9)}, at_ms)
    if seen_down is None:
        with served.store.write() as conn:
            conn.execute(sa.delete(schema.records))
    with served.client() as client:
        page = text_of(client.get(f"/centers/LHR-014?lang={lang}").text).replace("\xa0", " ").replace(" ,", ",")
    assert word in page
    assert figures in page.replace(" ،", "،")


@pytest.mark.parametrize(
    ("lang", "asn", "server_asn", "shown"),
    [
        ("en", 45595, 17557, "come from AS45595 Example – on the provider's own network"),
        ("en", 45595, 64500, "come from AS45595 Example – the server is outside the provider's network"),
        ("en", 64500, 17557, "come from AS64500 Example – not over the network of the registered provider"),
        ("en", 45595, None, "come from AS45595 Example Server s saw"),
        ("ur", 45595, 17557, "کمپنی کے اپنے نیٹ ورک پر"),
    ],
)
def test_the_network_that_the_server_saw_is_shown_with_its_provider(
    served, cast, vouch, lang: str, asn: int, server_asn: int | None, shown: str
) -> None:
    reading = msgspec.structs.replace(cast.SPEED, purpose="routine", test_id="t1")
    at_ms = cast.NOW_MS - 20_000
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014", isp="ptcl")])
    cast.add_latest(served.store, "LHR-014", reading, at_ms)
    cast.add_readings(served.store, "LHR-014", "speed", [{"wall_ms": at_ms, "download_mbps": 46.2, "test_id": "t1"}])
    vouch(served.store, "LHR-014", "glhr-014", {"t1": (46.0, 18.9)}, at_ms)
    with served.store.write() as conn:
        values = {"asn": asn, "network": f"AS{asn} Example", "server_asn": server_asn}
        conn.execute(sa.update(schema.records).values(**values))
    with served.client() as client:
        page = text_of(client.get(f"/centers/LHR-014?lang={lang}").text)
        api = client.get("/api/v1/centers/LHR-014").json()
    assert shown in page
    assert api["network"]["name"] == f"AS{asn} Example"


def test_open_flags_come_with_their_reason_and_the_fix(fleet) -> None:
    with fleet.client() as client:
        page = text_of(client.get("/centers/KHI-0001").text)
    assert "Ask the internet provider to restore the speed of the contract" in page


def test_integrity_findings_are_there_but_folded_away(fleet) -> None:
    with fleet.client() as client:
        page = client.get("/centers/KHI-0001").text
    assert '<details class="integrity">' in page
    assert "Two stories" in page


def test_a_center_without_readings_says_what_it_waits_for(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    with served.client() as client:
        assert "nabz-collector token LHR-014" in client.get("/centers/LHR-014").text
        cast.insert(served.store, schema.devices, [cast.device_row("LHR-014")])
        page = client.get("/centers/LHR-014").text
    assert "Waiting for the first reading" in page
    assert "nabz-collector token" not in page
    assert re.search(r'<section id="charts"[^>]* hidden>', page)


def test_a_failed_measurement_shows_its_cause(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    for failed in (wire.SpeedReading, wire.LinkReading, wire.UpsReading, wire.GatewayReading, wire.SeatsReading):
        reading = failed(failure=wire.Failure("unreachable", "10.0.0.9:161 does not answer"))
        cast.add_latest(served.store, "LHR-014", reading, cast.NOW_MS - 1000)
    with served.client() as client:
        answer = client.get("/centers/LHR-014")
    assert answer.status_code == 200
    assert text_of(answer.text).count("Failed: cannot be reached") >= 3


def test_a_center_with_two_links_shows_one_at_a_time_and_names_both(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    for subject in ("backup", "wan"):
        cast.add_latest(served.store, "LHR-014", wire.LinkReading(subject=subject, rtt_median_ms=20.0), cast.NOW_MS)
    with served.client() as client:
        assert '<figure data-chart="link" data-subject="backup">' in client.get("/centers/LHR-014").text
        assert '<figure data-chart="link" data-subject="wan">' in client.get("/centers/LHR-014?link=wan").text
        assert '<figure data-chart="link" data-subject="backup">' in client.get("/centers/LHR-014?link=none").text
        assert '<figure data-chart="ups">' in client.get("/centers/LHR-014").text


@pytest.mark.parametrize(
    ("lang", "text"), [("en", ("Fed by the battery", "Fed by lunar")), ("ur", ("بجلی کا ذریعہ: بیٹری", "lunar"))]
)
def test_what_feeds_the_load_is_said_in_words(served, cast, lang: str, text: tuple[str, str]) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    with served.client() as client:
        for minutes, (source, words) in enumerate(zip(("battery", "lunar"), text, strict=True), 1):
            reading = msgspec.structs.replace(cast.UPS, source=source)
            with served.store.write() as conn:
                conn.execute(sa.delete(schema.latest).where(schema.latest.c.kind == "ups"))
            cast.add_latest(served.store, "LHR-014", reading, cast.NOW_MS - minutes * 1000)
            assert words in text_of(client.get(f"/centers/LHR-014?lang={lang}").text)


def test_what_is_old_is_grey_and_called_last_known(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    cast.insert(served.store, schema.pulse, [cast.pulse_row("LHR-014")])
    cast.add_latest(served.store, "LHR-014", cast.LINK, cast.NOW_MS - 20_000)
    cast.add_latest(served.store, "LHR-014", cast.UPS, cast.NOW_MS - 23 * 60_000)
    with served.client() as client:
        page = client.get("/centers/LHR-014").text
    assert page.count('class="tile old"') == page.count("Last known") == 1
    assert "Last known · 23 min ago" in joined(page[page.index('class="tile old"') :]).replace("\xa0", " ")


@pytest.mark.parametrize(("lang", "text"), [("en", "Likely cause:"), ("ur", "ممکنہ وجہ:")])
def test_a_dark_center_leads_with_its_likely_cause_and_nothing_of_it_is_now(fleet, lang: str, text: str) -> None:
    with fleet.client() as client:
        page = client.get("/centers/LHE-0000", params={"lang": lang}).text
    assert page.index(text) < page.index('class="flags"')
    assert page.count('class="tile old"') == page.count('class="tile')


def test_a_closed_center_says_when_it_opens(fleet) -> None:
    with fleet.client() as client:
        page = client.get("/", params={"state": "closed"}).text
        one = client.get(f"/centers/{rows_of(page)[0]}").text
    assert set(states_of(page)) == {"closed"}
    assert "Outside its opening hours: opens 2026-11-22 09:00" in text_of(page)
    assert "Closed now" in text_of(one)


def test_an_unknown_center_is_a_page_with_a_way_back(fleet) -> None:
    with fleet.client() as client:
        answer = client.get("/centers/NONE")
        assert answer.status_code == 404
        assert "Nothing is here" in answer.text
        assert 'href="/"' in answer.text


# ---------------------------------------------------------------- hostile input, size, languages


def test_hostile_names_are_shown_as_letters_and_never_run(served, cast) -> None:
    hostile = dict.fromkeys(("name", "owner", "city", "district", "province", "isp", "feeder"), cast.HOSTILE)
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014", **hostile)])
    cast.insert(served.store, schema.pulse, [cast.pulse_row("LHR-014")])
    cast.insert(served.store, schema.flags, [
        cast.flag_row("LHR-014", cast.HOSTILE[:60], state="raised", subject=cast.HOSTILE[:60], reason=cast.HOSTILE)
    ])  # fmt: skip
    cast.add_story(served.store, "LHR-014")
    with served.client() as client:
        for path in (
            "/",
            "/centers/LHR-014",
            "/rows?codes=LHR-014",
            f"/?q={cast.HOSTILE}",
            f"/centers/{cast.HOSTILE[8:20]}",
        ):
            for lang in ("en", "ur"):
                page = client.get(path, headers={"accept-language": lang}).text
                assert "<script>alert" not in page, path
                assert "<img" not in page, path
                assert not SCRIPT.search(re.sub(r"&lt;.*?&gt;", "", page)), path


def test_the_first_load_is_small(fleet) -> None:
    """Page, styles, scripts and shapes of the heaviest English page, compressed: under 150 KB."""
    with fleet.client(**{"accept-encoding": "gzip"}) as client:
        for path in ("/", "/centers/KHI-0001"):
            page = client.get(path)
            size = len(gzip.compress(page.content))
            for address in sorted(set(re.findall(r'(?:src|href)="(/static/[^"#]+)', page.text))):
                answer = client.get(address)
                assert answer.status_code == 200, address
                assert "immutable" in answer.headers["cache-control"]
                size += len(gzip.compress(answer.content))
            assert size < 150_000, f"{path} weighs {size} bytes"


def test_the_language_comes_from_the_address_then_the_cookie_then_the_browser(fleet) -> None:
    with fleet.client(**{"accept-language": "ur-PK,ur;q=0.9,en;q=0.8"}) as client:
        assert '<html lang="ur" dir="rtl"' in client.get("/").text
        assert '<html lang="en" dir="ltr"' in client.get("/?lang=en").text
        assert '<html lang="en" dir="ltr"' in client.get("/").text


def test_the_urdu_fonts_are_asked_for_in_urdu_only(fleet) -> None:
    with fleet.client() as client:
        assert "urdu.css" in client.get("/?lang=ur").text
        assert "urdu.css" not in client.get("/?lang=en").text


def test_figures_and_codes_stay_left_to_right_in_urdu(fleet) -> None:
    with fleet.client() as client:
        page = client.get("/centers/KHI-0001?lang=ur").text
    for figure in ("21.3\xa0ms", "46.2\xa0Mbit/s", "KHI-0001", "example-2026-3"):
        assert f'<bdi dir="ltr">{figure}</bdi>' in page, figure


def test_the_theme_is_kept_once_chosen(fleet) -> None:
    with fleet.client() as client:
        assert 'data-theme="auto"' in client.get("/").text
        assert 'data-theme="dark"' in client.get("/?theme=dark").text
        assert 'data-theme="dark"' in client.get("/").text


def test_moved_rows_are_given_without_the_page_around_them(fleet) -> None:
    with fleet.client() as client:
        found = client.get("/rows", params={"codes": "KHI-0001,LHE-0000,NONE"}).text
    assert sorted(rows_of(found)) == ["KHI-0001", "LHE-0000"]
    assert "<html" not in found


def test_a_flag_that_waits_although_all_is_met_now_says_what_it_waits_for(fleet) -> None:
    with fleet.store.write() as conn:
        flags = schema.flags.c
        mine = schema.flags.update().where(flags.center == "KHI-0001", flags.criterion == "internet.download")
        conn.execute(schema.flags.delete().where(flags.center == "KHI-0001", flags.criterion != "internet.download"))
        conn.execute(mine.values(state="pending", verdict="meets", memory="[true, false, false]"))
    with fleet.client() as client:
        assert "Download speed: below in 1 of the last 3 readings" in joined(client.get("/?q=KHI-0001").text)
    with fleet.store.write() as conn:
        conn.execute(mine.values(state="recovering", verdict="meets", memory="[true]"))
    with fleet.client() as client:
        assert "Download speed: met again, but not yet for long enough" in joined(client.get("/?q=KHI-0001").text)


@pytest.mark.parametrize("path", ["/centers/KHI-0001", "/api/v1/centers/KHI-0001"])
def test_the_newest_readings_are_read_once_and_serve_verdicts_and_page_alike(fleet, path: str) -> None:
    """Nothing but one statement takes their bodies."""
    bodies: list[str] = []

    def listen(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "latest.body" in statement:
            bodies.append(statement)

    sa.event.listen(fleet.store._reader, "before_cursor_execute", listen)
    try:
        with fleet.client() as client:
            assert "KHI-0001" in client.get(path).text
    finally:
        sa.event.remove(fleet.store._reader, "before_cursor_execute", listen)
    assert len(bodies) == 1


def test_a_center_with_very_many_subjects_has_a_page_and_an_answer_of_the_usual_length(served, cast) -> None:
    """A gateway once named 51,504 things: its center's page had 28 MB."""
    number, code = 5_000, "KHI-0001"
    raised = {"state": "raised", "verdict": "below"}
    rows = [cast.flag_row(code, "internet.loss", subject=f"s{n:05}", **raised) for n in range(number)]
    stamp = wire.Stamp(wall_ms=cast.NOW_MS, mono_ms=1, boot="b", clock="synced")
    body = wire.encode_reading(msgspec.structs.replace(cast.LINK, at=stamp)).decode()
    latest = [
        {
            "center": code, "kind": "link", "subject": f"s{n:05}", "device": "g", "wall_ms": cast.NOW_MS - n,
            "received_ms": cast.NOW_MS, "body": body,
        }
        for n in range(number)
    ]  # fmt: skip
    devices = [cast.device_row(code, device=f"g{n:05}") for n in range(500)]
    cast.insert(served.store, schema.centers, [cast.center_row(code)])
    for table, some in ((schema.flags, rows), (schema.latest, latest), (schema.devices, devices)):
        cast.insert(served.store, table, some)
    with served.client() as client:
        page = client.get(f"/centers/{code}")
        last = client.get(f"/centers/{code}", params={"flags": "100"})
        answer = client.get(f"/api/v1/centers/{code}")
    assert (page.status_code, last.status_code, answer.status_code) == (200, 200, 200)
    assert len(page.content) < 400_000
    assert len(answer.content) < 400_000
    assert "s00000" in page.text
    assert "s04990" in text_of(last.text)
    assert f"/centers/{code}?flags=2" in page.text
