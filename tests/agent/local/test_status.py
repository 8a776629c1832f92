"""The gateway's own page and the command that reads it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from agent import __main__ as nabz_agent
from agent.common import code_text
from agent.common.causes import Cause, SpeedFlag, UplinkCause
from agent.common.power import Source
from agent.common.reading_codes import BOOT_EVIDENCE, CORRECTIONS, SEAT_FAULTS
from agent.common.reasons import Param, Reason
from agent.common.tcp.http_server import HttpRefused
from agent.common.words import languages
from agent.local import http, status
from agent.local.board import SERIES_LENGTH, Board, StatusView
from agent.local.page_words import Html, page_words
from agent.local.status import is_local_name, respond
from agent.local.status_page import age, sparkline
from agent.local.status_page import page as page_of
from agent.scheduling.speed_plan import Mode
from agent.wire import (
    BootReading,
    CenterStanding,
    Failure,
    GatewayReading,
    LinkReading,
    Reading,
    SeatColumns,
    SeatsReading,
    ShedReading,
    SpeedReading,
    Stamp,
    UpsReading,
)

NOW_MS = 1_800_000_000_000
AT = Stamp(wall_ms=NOW_MS - 90_000, mono_ms=1, boot="b", clock="synced")
SEATS = SeatsReading(
    at=AT, known=2, healthy=1, unhealthy=1, missing=0, off=0,
    seats=SeatColumns(
        id=["SEAT-01", "SEAT-02"], state=["healthy", "unhealthy"], why=["", ""],
        faults={"SEAT-02": "disk:used_pct=99,limit_pct=97"},
    ),
)  # fmt: skip
EVERYTHING: list[Reading] = [
    LinkReading(at=AT, rtt_median_ms=23.4, jitter_ms=1.0, loss_pct=0.0, fault_place="isp"),
    SpeedReading(at=AT, engine="librespeed", download_mbps=48.2, upload_mbps=9.9, purpose="self-test"),
    UpsReading(at=AT, subject="ups", output_state="battery", battery_charge_pct=80.0, runtime_s=1200.0),
    SEATS,
    GatewayReading(at=AT, cpu_pct=3.0, memory_pct=40.0),
    BootReading(at=AT, previous_end="power"),
]
HOSTILE = '"><script>alert(1)</script>'


def board(*readings: Reading) -> Board:
    noted = Board()
    for reading in readings:
        noted.note(reading)
    return noted


def view_of(noted: Board, **more: object) -> StatusView:
    given: dict[str, object] = {"now_ms": NOW_MS, "started_ms": 0, "version": "0.1.0"}
    given |= {"last": noted.last, "failures": noted.failures, "series": noted.series} | more
    return StatusView(**given)  # type: ignore[arg-type]


def page(view: StatusView, language: str = "en") -> str:
    return page_of(view, language, languages())


def get(path: str, host: str = "127.0.0.1:8470", method: str = "GET") -> http.HttpRequest:
    return http.HttpRequest(method=method, path=path, headers={"host": host}, body=b"", peer="127.0.0.1")


class Tags(HTMLParser):
    """Fails on tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in ("meta", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "polyline":
            assert self.open.pop() == tag


def tags(text: str) -> set[str]:
    parser = Tags()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser.seen


def test_a_success_hides_no_failure_and_a_failure_no_success() -> None:
    good = LinkReading(at=AT, rtt_median_ms=5.0)
    bad = LinkReading(at=AT, failure=Failure("timeout", "no answer"))
    noted = board(good, bad, good)
    assert noted.last["link"] == good
    assert noted.failures["link"] == bad
    # A failure is a gap in the curve, not a zero.
    assert list(noted.series["link rtt_median_ms"]) == [5.0, None, 5.0]


def test_two_upses_are_kept_apart_and_curves_are_bounded() -> None:
    noted = board(UpsReading(subject="a", battery_charge_pct=1.0), UpsReading(subject="b", battery_charge_pct=2.0))
    assert set(noted.last) == {"ups a", "ups b"}
    for _ in range(1000):
        noted.note(UpsReading(subject="a", battery_charge_pct=1.0))
    assert len(noted.series["ups a battery_charge_pct"]) == SERIES_LENGTH


@pytest.mark.parametrize("language", ["en", "ur"])
def test_the_page_says_whether_the_center_is_up_to_the_standard_once_it_has_heard(language: str) -> None:
    title = page_words(language)("gateway.page.verdict")
    assert f"<h2>{title}" not in page(view_of(board()), language)
    standing = CenterStanding(state="below", criterion=HOSTILE, since_ms=NOW_MS - 7_200_000, missed=3)
    text = page(view_of(board(), standing=(NOW_MS - 60_000, standing)), language)
    assert f"<h2>{title}" in text
    assert page_words(language).word("state", "below") in text
    assert page_words(language).many("gateway.page.missed", 3) in text
    assert "script" not in tags(text)
    strange = page(view_of(board(), standing=(NOW_MS, CenterStanding(state="of_a_later_version"))), language)
    assert "of a later version" in strange


def test_the_page_of_a_full_center_is_light() -> None:
    noted = board(*EVERYTHING)
    seats = SeatColumns(id=[f"SEAT-{n:02}" for n in range(50)], state=["healthy"] * 42 + ["missing"] * 8, why=[""] * 50)
    noted.note(SeatsReading(at=AT, known=50, healthy=42, unhealthy=0, missing=8, off=0, seats=seats))
    for n in range(SERIES_LENGTH):
        noted.note(LinkReading(at=AT, rtt_median_ms=20.0 + n % 9, jitter_ms=1.0, loss_pct=0.0))
        noted.note(UpsReading(at=AT, subject="ups", battery_charge_pct=100.0 - n % 50))
        noted.note(SpeedReading(at=AT, download_mbps=40.0 + n % 7))
    standing = (NOW_MS, CenterStanding(state="meets"))
    for language in languages():
        assert len(page(view_of(noted, standing=standing), language).encode()) <= 25_000


@pytest.mark.parametrize("language", ["en", "ur"])
def test_the_page_shows_every_kind_without_script(language: str) -> None:
    noted = board(
        *EVERYTHING,
        LinkReading(at=AT, rtt_median_ms=30.0),
        SpeedReading(at=AT, failure=Failure("timeout", "no such thing")),
    )
    text = page(view_of(noted, center="PB-LHR-001", center_name="Lahore One", uplink="connecting"), language)
    assert "script" not in tags(text)
    for shown in ("Lahore One", "48.2\u00a0Mbit/s", "SEAT-02", "99\u00a0%", "no such thing", "<svg"):
        assert shown in text
    assert "SEAT-01" not in text  # a healthy seat needs no line of its own
    assert ('dir="rtl"' in text) == (language == "ur")


def test_an_empty_page_says_that_the_first_reading_comes() -> None:
    text = page(view_of(Board()))
    assert "not enrolled yet" in text
    assert "No reading yet" in text
    tags(text)


def words_of(kind: type, field: str) -> list[str]:
    """The words a Literal field may hold."""
    (shape,) = (one.type for one in msgspec.inspect.type_info(kind).fields if one.name == field)
    parts = getattr(shape, "types", (shape,))
    words = [word for part in parts for word in getattr(part, "values", ())]
    assert words
    return words


def whatever_the_page_may_show() -> list[StatusView]:
    """Views that have between them every word of a field, every fault, cause, flag and piece of evidence."""
    faults = {f"PC-{n}": code_text.encode([Reason(f"seat_fault.{code}", params)])
              for n, (code, params) in enumerate(SEAT_FAULTS.items())}  # fmt: skip
    columns = SeatColumns(id=list(faults), state=["unhealthy"] * len(faults), why=[""] * len(faults), faults=faults)
    readings: list[Reading] = [SeatsReading(at=AT, seats=columns)]
    readings += [LinkReading(at=AT, fault_place=place) for place in words_of(LinkReading, "fault_place")]
    readings += [SpeedReading(at=AT, purpose=purpose) for purpose in words_of(SpeedReading, "purpose")]
    readings += [SpeedReading(at=AT, flags=list(get_args(SpeedFlag)))]
    readings += [UpsReading(at=AT, output_state=state) for state in words_of(UpsReading, "output_state")]
    readings += [UpsReading(at=AT, output_state="online", source=source) for source in get_args(Source)]
    readings += [UpsReading(at=AT, battery_status=status) for status in words_of(UpsReading, "battery_status")]
    readings += [UpsReading(at=AT, corrected=as_text("correction", CORRECTIONS))]
    readings += [BootReading(at=AT, previous_end=end, dark_s=90.0) for end in words_of(BootReading, "previous_end")]
    readings += [BootReading(at=AT, evidence=as_text("boot", BOOT_EVIDENCE))]
    readings += [ShedReading(at=AT, first_seq=1, last_seq=2, count=2, why="full"), *EVERYTHING]
    readings += [LinkReading(at=AT, failure=Failure(cause)) for cause in get_args(Cause)]
    views = [view_of(board(reading)) for reading in readings]
    views += [view_of(board(), uplink=state) for state in words_of(StatusView, "uplink")]
    views += [view_of(board(), clock=clock) for clock in words_of(StatusView, "clock")]
    views += [view_of(board(), uplink_cause=cause) for cause in get_args(UplinkCause)]
    return views + [view_of(board(), speed_mode=mode, speed_share=0.4) for mode in get_args(Mode)]


def as_text(room: str, table: Mapping[str, Mapping[str, Param]]) -> list[str]:
    return [code_text.encode([Reason(f"{room}.{code}", params)]) for code, params in table.items()]


def test_no_raw_code_field_or_english_word_stands_on_the_urdu_page() -> None:
    for view in whatever_the_page_may_show():
        text = page(view, "ur")
        tags(text)
        assert raw_words(text) <= {"nabz-seat", "iperf"}, text  # names of programs
        assert not raw_codes(text), text


def raw_words(text: str) -> set[str]:
    """The words in Latin letters that a page shows, but for names, figures and links to other languages."""
    shown = re.sub(r"<style>.*?</style>|<a .*?</a>|Nabz", "", text, flags=re.DOTALL)
    shown = re.sub(r'<bdi(?: dir="ltr")?>.*?</bdi>', "", shown)
    return set(re.findall(r"[A-Za-z_][A-Za-z_.-]+", re.sub(r"<[^>]*>", " ", shown)))


def raw_codes(text: str) -> set[str]:
    """The words of fields and tables that stand on a page as they are, isolated as if they were names."""
    fields = [(LinkReading, "fault_place"), (SpeedReading, "purpose"), (UpsReading, "output_state")]
    fields += [(UpsReading, "battery_status"), (BootReading, "previous_end"), (StatusView, "uplink")]
    codes = {word for kind, field in fields for word in words_of(kind, field)}
    codes |= {
        *SEAT_FAULTS,
        *BOOT_EVIDENCE,
        *CORRECTIONS,
        *get_args(Cause),
        *get_args(SpeedFlag),
        *get_args(Source),
        *get_args(UplinkCause),
    }
    return codes & set(re.findall(r"<bdi[^>]*>(.*?)</bdi>", text))


def test_a_raw_code_is_seen() -> None:
    assert raw_codes(page(view_of(board(LinkReading(at=AT, failure=Failure("unreachable", "unreachable")))), "ur"))
    unknown = UpsReading(at=AT, failure=Failure("lost_in_space", "far away"))
    assert raw_words(page(view_of(board(unknown)), "ur")) == {"lost", "in", "space", "far", "away"}


def test_what_came_from_outside_is_escaped() -> None:
    seats = SeatsReading(seats=SeatColumns(id=[HOSTILE], state=["missing"], why=[HOSTILE]))
    ups = UpsReading(subject=HOSTILE, failure=Failure(HOSTILE, HOSTILE))
    speed = SpeedReading(engine=HOSTILE)
    text = page(view_of(board(seats, ups, speed), center_name=HOSTILE, uplink_detail=HOSTILE, device=HOSTILE))
    assert "<script" not in text
    tags(text)


def test_unknown_is_a_dash_and_never_a_zero() -> None:
    text = page(view_of(board(LinkReading(at=AT, failure=None))))
    assert "<dt>Loss</dt><dd>–</dd>" in text


def test_the_page_says_how_tests_are_shortened_so_that_the_budget_holds() -> None:
    full = page(view_of(board(), speed_mode="adaptive", speed_budget_mb=8000.0))
    assert "tests as long as needed" in full
    assert "of the times" not in full
    short = page(view_of(board(), speed_mode="quick", speed_share=0.43))
    assert "short tests" in short
    assert "43\u00a0%" in short
    assert "tests" not in page(view_of(board())).replace("Speed tests, month", "")


def test_a_speed_test_shows_its_grade_under_load_and_the_backup_line() -> None:
    good = SpeedReading(at=AT, download_mbps=9.0, idle_rtt_ms=20.0, loaded_rtt_down_ms=130.0)
    assert "Delay under load" in page(view_of(board(good)))
    assert ">C<" in page(view_of(board(good)))
    assert "Delay under load" not in page(view_of(board(*EVERYTHING)))
    assert "on the backup line" in page(view_of(board(msgspec.structs.replace(good, failover=True))))


def test_ages_are_said_in_units_that_people_use() -> None:
    words = page_words("en")
    ages = ((NOW_MS, "0 s"), (NOW_MS - 90_000, "1 min"), (NOW_MS - 7_200_000, "2 h"), (NOW_MS - 90_000_000, "1 d 1 h"))
    for then_ms, wording in ages:
        assert wording.replace(" ", "\u00a0") in age(then_ms, NOW_MS, words)
    # A reading from a clock that ran ahead is not in the future.
    assert "0\u00a0s" in age(NOW_MS + 5000, NOW_MS, words)


def test_the_page_is_there_in_every_language_and_an_unknown_one_is_the_first() -> None:
    for query, lang in (("", "en"), ("?lang=ur", "ur"), ("?lang=en", "en"), ("?lang=xx", "en"), ("?lang=../ur", "en")):
        text = respond(get(f"/{query}"), lambda: view_of(Board())).body.decode()
        assert f'<html lang="{lang}"' in text
        assert {f"/?lang={other}" for other in languages() if other != lang} == set(
            re.findall(r'href="(/\?lang=\w+)"', text)
        )


def test_words_are_read_when_somebody_looks_and_not_before() -> None:
    code = (
        "import sys\nimport agent.service, agent.local.status as status\nfrom agent.local.board import StatusView\n"
        "from agent.local.http import HttpRequest\n"
        "def get(path): return status.respond(HttpRequest(method='GET', path=path, headers={'host': 'localhost'},"
        " body=b'', peer='::1'), lambda: StatusView(now_ms=1, started_ms=0, version='1'))\n"
        "get('/status.json'); print('agent.common.words' in sys.modules); get('/')\n"
        "print('agent.common.words' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_curve_has_gaps_where_nothing_was_known() -> None:
    assert sparkline([1.0, 2.0, None, 3.0, 4.0], Html("x")).count("<polyline") == 2
    assert sparkline([], Html("x")) == ""
    assert sparkline([None, 1.0], Html("x")) == ""
    assert "nan" not in sparkline([0.0, 0.0], Html("x"))


def test_the_data_is_json_with_kinds() -> None:
    answer = respond(get("/status.json"), lambda: view_of(board(*EVERYTHING)))
    data = json.loads(answer.body)
    assert data["last"]["link"]["kind"] == "link"
    assert data["series"]["link rtt_median_ms"] == [23.4]


@pytest.mark.parametrize(
    ("request_", "status_code"),
    [
        (get("/", method="POST"), 405),
        (get("/etc/passwd"), 404),
        (get("/", host="evil.example"), 403),
        (get("/", host=""), 403),
    ],
)
def test_other_requests_are_refused(request_: http.HttpRequest, status_code: int) -> None:
    with pytest.raises(HttpRefused) as refused:
        respond(request_, lambda: view_of(Board()))
    assert refused.value.status == status_code


def test_a_foreign_name_pointed_here_does_not_open_the_page() -> None:
    for host in ("127.0.0.1", "127.0.0.1:8470", "localhost:8470", "[::1]:8470", "[::1]", "192.168.1.10:8470"):
        assert is_local_name(host), host
    for host in ("evil.example", "evil.example:8470", "127.0.0.1.evil.example:80", "", ":80"):
        assert not is_local_name(host), host


def run_command(view: StatusView, *words: str) -> int:
    async def story() -> int:
        async with await status.serve("127.0.0.1:0", lambda: view) as server:
            address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return await asyncio.to_thread(nabz_agent.main, ["status", "--at", address, *words])

    return asyncio.run(story())


def test_the_command_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    noted = board(*EVERYTHING, SpeedReading(at=AT, failure=Failure("timeout", "no answer in 30 s")))
    assert run_command(view_of(noted, center="PB-LHR-001", uplink="connected")) == 0
    text = capsys.readouterr().out
    for shown in ("PB-LHR-001", "uplink connected", "rtt_median_ms=23.4", "FAILED timeout: no answer in 30 s"):
        assert shown in text
    assert run_command(view_of(noted), "--json") == 0
    assert json.loads(capsys.readouterr().out)["last"]["seats"]["known"] == 2


def test_no_running_agent_is_one_line_and_exit_1(free_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert nabz_agent.main(["status", "--at", f"127.0.0.1:{free_port}"]) == 1
    wording = capsys.readouterr().err
    assert "no agent answers" in wording
    assert wording.count("\n") == 1


def test_wrong_settings_are_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "agent.toml").write_text("[agnet]\n")
    assert nabz_agent.main(["status", "--config", str(tmp_path / "agent.toml")]) == 2
    assert "agnet" in capsys.readouterr().err


def test_metrics_for_prometheus_have_what_is_known_and_nothing_else() -> None:
    board = Board()
    for reading in EVERYTHING:
        board.note(reading)
    board.note(UpsReading(at=AT, subject='u"\\\nx', battery_charge_pct=50.0))
    view = StatusView(
        now_ms=NOW_MS, started_ms=NOW_MS - 5000, version="1.0", uplink="connected", spool_readings=12, last=board.last
    )
    request = http.HttpRequest(method="GET", path="/metrics", headers={"host": "127.0.0.1"}, body=b"", peer="127.0.0.1")
    answer = respond(request, lambda: view)
    lines = answer.body.decode().splitlines()
    assert answer.kind.startswith("text/plain; version=0.0.4")
    assert {
        'nabz_agent_info{version="1.0"} 1.0', "nabz_agent_connected 1.0", "nabz_agent_spool_readings 12.0",
        'nabz_agent_reading_age_seconds{kind="link",subject=""} 90.0',
        'nabz_agent_reading{kind="link",subject="",figure="rtt_median_ms"} 23.4',
    } <= set(lines)  # fmt: skip
    assert "nabz_agent_receipt_age_seconds" not in answer.body.decode()
    assert any(r'subject="u\"\\\nx"' in line and line.endswith(" 50.0") for line in lines)
    form = re.compile(r'# (HELP|TYPE) .+|nabz_agent_\w+(\{(\w+="([^"\\]|\\.)*",?)+\})? \S+')
    assert [line for line in lines if form.fullmatch(line) is None] == []
