"""From changes to messages that arrive once: real web hooks, a real mail server, and crashes in between."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason, encode
from agent.common.words import AUTO, END, LTR
from collector.desk.alerts.channel import AlertMessage, Channel, SendFailed, by_apprise
from collector.desk.alerts.channels.schemes import make
from collector.desk.alerts.outbox import Outbox
from collector.desk.alerts.queue import BACKOFF_S, BRAKE, claim, queue
from collector.register.centers import Center
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless_standards
from tests.helpers.programs.mail_server import Mailbox, mail_server
from tests.helpers.waiting import wait_until

NOON = 1_769_972_400_000 + 12 * 3_600_000  # Monday 2026-02-02 12:00 in Karachi
MINUTE = 60_000
# Apprise's optional PGP part asks the interpreter for a module that Python 3.13 no longer has.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
STANDARDS = timeless_standards()
URL = "http://nabz.example.pk"


@pytest.fixture
def store(either_store: Store) -> Store:
    center = Center(
        code="LHR-001", name="Gulberg", city="Lahore", province="Punjab", tier="three", seats_promised=10,
        opening="always", lifecycle="declared",
    )  # fmt: skip
    with either_store.write() as conn:
        upsert(conn, schema.centers, [center.row()])
    return either_store


@dataclass
class Box:
    """A channel that keeps what it is given, or fails as it is told to."""

    got: list[AlertMessage] = field(default_factory=list)
    problems: list[SendFailed] = field(default_factory=list)

    def send(self, message: AlertMessage) -> None:
        if self.problems:
            raise self.problems.pop(0)
        self.got.append(message)


BELOW = encode(
    Reason.of("change.below_for_long_enough", found=Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%"))
)


class Clock:
    def __init__(self) -> None:
        self.ms = NOON

    def __call__(self) -> int:
        return self.ms


def change(store: Store, was: str = "pending", now: str = "raised", **facts: object) -> None:
    usual = {
        "center": "LHR-001", "criterion": "internet.loss", "subject": "", "was": was, "now": now, "at_ms": NOON,
        "recorded_ms": NOON, "value": 30.0, "bound": 2.0, "reason": BELOW, "standard": "s",
    }  # fmt: skip
    with store.write() as conn:
        conn.execute(sa.insert(schema.changes), [{**usual, **facts}])


def alerts(store: Store) -> list[sa.Row[tuple[object, ...]]]:
    with store.read() as conn:
        return list(conn.execute(sa.select(schema.alerts).order_by(schema.alerts.c.id)))


def outbox(store: Store, *channels: Channel, clock: Callable[[], int] = lambda: NOON) -> Outbox:
    return Outbox(store, channels, STANDARDS, URL, clock)


def test_a_raised_flag_is_told_with_all_that_a_person_needs(store: Store) -> None:
    change(store)
    box = Box()
    assert outbox(store, Channel("desk", box.send)).look() == 1
    (message,) = box.got
    assert message.title == "Gulberg: Packet loss is below the standard"
    assert message.text.splitlines() == [
        "Center: LHR-001 Gulberg, Lahore",
        "What: Packet loss (internet.loss)",
        "Since: 2026-02-02 12:00 PKT",
        "Measured: 30 %; required: at most 2 %",
        "Why: below for long enough: 30 %; at most 2 % allowed",
        "Severity: serious",
        "Do: Check the cable to the router; if the fault lies beyond it, report the loss to the provider.",
        "More: http://nabz.example.pk/centers/LHR-001",
        "Incident 1: http://nabz.example.pk/incidents/1",
        "Standard example-2026-3 – an example, not official.",
        "",
        f"{AUTO}Gulberg{END}: ڈیٹا کا ضیاع معیار سے کم",
        f"مرکز: {LTR}LHR-001{END} {AUTO}Gulberg{END}، {AUTO}Lahore{END}",
        f"شرط: ڈیٹا کا ضیاع ({LTR}internet.loss{END})",
        f"وقت: {LTR}2026-02-02 12:00 PKT{END} سے",
        f"پیمائش: {LTR}30 %{END}؛ درکار: زیادہ سے زیادہ {LTR}2 %{END}",
        f"تفصیل: کافی دیر سے معیار سے کم: {LTR}30 %{END}؛ اجازت زیادہ سے زیادہ {LTR}2 %{END}",
        "شدت: سنگین",
        "کریں: راؤٹر کی تار دیکھیں؛ خرابی اس سے آگے ہو تو کمپنی کو اطلاع دیں۔",
        f"مزید: {LTR}http://nabz.example.pk/centers/LHR-001{END}",
        f"واقعہ {LTR}1{END}: {LTR}http://nabz.example.pk/incidents/1{END}",
        f"معیار {LTR}example-2026-3{END} – صرف مثال، سرکاری نہیں۔",
    ]


def test_a_channel_speaks_the_languages_it_is_set_to(store: Store) -> None:
    change(store)
    urdu, english = Box(), Box()
    channels = Channel("ur", urdu.send, languages=("ur",)), Channel("en", english.send, languages=("en",))
    assert outbox(store, *channels).look() == 2
    assert urdu.got[0].title == f"{AUTO}Gulberg{END}: ڈیٹا کا ضیاع معیار سے کم"
    assert "Severity" not in urdu.got[0].text
    assert english.got[0].text.isascii() or "–" in english.got[0].text


def test_a_notice_is_told_to_nobody_and_does_not_make_others_wait(store: Store) -> None:
    for _ in range(2 * BRAKE):
        change(store, was="clear", criterion="power.mains")
    box = Box()
    assert outbox(store, Channel("desk", box.send)).look() == 0
    change(store)
    assert outbox(store, Channel("desk", box.send)).look() == 1
    assert box.got[0].title == "Gulberg: Packet loss is below the standard"


def test_channels_are_exchanged_while_it_runs(store: Store) -> None:
    first, second = Box(), Box()
    box = outbox(store, Channel("desk", first.send))
    box.use([Channel("night", second.send)])
    change(store)
    assert box.look() == 1
    assert (first.got, [item.title for item in second.got]) == ([], ["Gulberg: Packet loss is below the standard"])


def test_its_end_is_told_with_its_length(store: Store) -> None:
    change(store)
    change(store, was="recovering", now="clear", at_ms=NOON + 65 * MINUTE)
    change(store, at_ms=NOON + 70 * MINUTE)  # again, before anybody looked
    box = Box()
    assert outbox(store, Channel("desk", box.send)).look() == 3
    assert box.got[1].title == "Gulberg: Packet loss is well again"
    assert "Since: 2026-02-02 13:05 PKT (was below for 1 h 5 min)" in box.got[1].text
    assert box.got[1].event == "cleared"


def test_every_channel_has_the_message_once_and_only_the_events_it_asked_for(store: Store) -> None:
    change(store)
    change(store, was="raised", now="clear")
    all_of_it, ends = Box(), Box()
    box = outbox(store, Channel("all", all_of_it.send), Channel("ends", ends.send, ("cleared",)))
    assert (box.look(), box.look()) == (3, 0)
    assert (len(all_of_it.got), len(ends.got)) == (2, 1)


def test_waiting_states_are_nobodys_news_but_leave_the_queue(store: Store) -> None:
    change(store, was="clear", now="pending")
    change(store, was="raised", now="recovering")
    change(store, was="recovering", now="raised")
    assert outbox(store, Channel("desk", Box().send)).look() == 0
    with store.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).where(schema.changes.c.queued_ms.is_(None))) == 0


def test_a_channel_that_is_added_later_is_not_told_of_the_past(store: Store) -> None:
    change(store)
    outbox(store).look()
    box = Box()
    assert outbox(store, Channel("desk", box.send)).look() == 0


def test_of_a_suspended_center_nobody_is_told(store: Store) -> None:
    with store.write() as conn:
        conn.execute(sa.update(schema.centers).values(lifecycle="suspended"))
    change(store)
    assert outbox(store, Channel("desk", Box().send)).look() == 0


def test_a_deaf_collector_is_told_as_such(store: Store) -> None:
    change(store, center="*", criterion="collector.deaf", value=80.0, bound=49.9)
    box = Box()
    outbox(store, Channel("desk", box.send)).look()
    assert box.got[0].title == "The collector hears almost nobody"
    assert "Center: none; this is about the collector itself" in box.got[0].text


def test_a_temporary_problem_is_tried_again_later_and_not_before(store: Store) -> None:
    change(store)
    box, clock = Box(problems=[SendFailed("timeout"), SendFailed("timeout")]), Clock()
    desk = outbox(store, Channel("desk", box.send), clock=clock)
    assert desk.look() == 0
    assert (alerts(store)[0].state, alerts(store)[0].problem) == ("waiting", "timeout")
    clock.ms = NOON + BACKOFF_S[0] * 1000 - 1
    assert desk.look() == 0
    assert alerts(store)[0].attempts == 1
    clock.ms += 1
    assert desk.look() == 0
    assert alerts(store)[0].attempts == 2
    clock.ms += BACKOFF_S[1] * 1000
    assert desk.look() == 1
    assert (alerts(store)[0].state, alerts(store)[0].sent_ms) == ("sent", clock.ms)


def test_after_the_last_attempt_it_is_given_up_and_says_why(store: Store) -> None:
    change(store)
    attempts = len(BACKOFF_S) + 1
    box, clock = Box(problems=[SendFailed(f"no {i}") for i in range(attempts + 5)]), Clock()
    desk = outbox(store, Channel("desk", box.send), clock=clock)
    for _ in range(attempts + 3):
        desk.look()
        clock.ms += 24 * 60 * MINUTE
    assert (alerts(store)[0].state, alerts(store)[0].attempts) == ("failed", attempts)
    assert alerts(store)[0].problem == f"no {attempts - 1}"


def test_a_permanent_problem_is_not_tried_again(store: Store) -> None:
    change(store)
    box, clock = Box(problems=[SendFailed("no such address", permanent=True)]), Clock()
    desk = outbox(store, Channel("desk", box.send), clock=clock)
    desk.look()
    clock.ms += 24 * 60 * MINUTE
    assert desk.look() == 0
    assert (alerts(store)[0].state, box.got) == ("failed", [])


def test_one_dead_channel_does_not_hold_up_another(store: Store) -> None:
    change(store)
    change(store, center="X-2")
    dead, well = Box(problems=[SendFailed("down")] * 9), Box()
    assert outbox(store, Channel("dead", dead.send), Channel("well", well.send)).look() == 2
    assert len(well.got) == 2


def test_a_channel_that_hangs_delays_no_other(store: Store) -> None:
    """It takes the connection and never answers, as an SMS gateway on a half-open line does."""
    for number in range(20):
        change(store, center=f"X-{number}")
    box = Box()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        hung = by_apprise("sms", f"json://127.0.0.1:{deaf.getsockname()[1]}/?rto=3600")
        both = Outbox(store, [hung, Channel("desk", box.send)], STANDARDS, URL, lambda: NOON, deadline_s=3600)
        both.tick()
        wait_until(lambda: len(box.got) == 20)
        change(store, center="X-20")  # while the first channel still waits for its first message
        both.tick()
        wait_until(lambda: len(box.got) == 21)
        wait_until(lambda: Counter((row.channel, row.state) for row in alerts(store))["desk", "sent"] == 21)
        states = Counter(row.state for row in alerts(store) if row.channel == "sms")
        assert (states["sending"], states["waiting"]) == (1, 20)  # one at a time, and only by its own thread
    both.stop()  # the connection has ended with its server


def test_what_one_channel_failed_by_is_not_laid_at_anothers_door(store: Store) -> None:
    """Apprise tells troubles by one log for all: a 401 here must not give up a message there for good."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            logging.getLogger("apprise").warning("another channel's POST failed, error=401")  # in a thread of its own
            self.send_response(503)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        channel = by_apprise("hook", f"json://127.0.0.1:{server.server_port}/")
        with pytest.raises(SendFailed, match="503") as failed:
            channel.send(AlertMessage("t", "x"))
        server.shutdown()
    assert not failed.value.permanent


def test_a_message_is_marked_before_it_is_sent(store: Store) -> None:
    change(store)
    states: list[str] = []
    outbox(store, Channel("desk", lambda _message: states.append(alerts(store)[0].state))).look()
    assert states == ["sending"]


def test_a_message_cut_off_by_a_crash_is_unsure_and_never_sent_twice(store: Store) -> None:
    class Crash(BaseException):
        pass

    change(store)
    box = Box()

    def crash_after_sending(message: AlertMessage) -> None:
        box.send(message)
        raise Crash

    with pytest.raises(Crash):
        outbox(store, Channel("desk", crash_after_sending)).look()
    restarted = outbox(store, Channel("desk", box.send))
    assert restarted.after_start() == 1
    assert restarted.look() == 0
    assert len(box.got) == 1
    assert (alerts(store)[0].state, alerts(store)[0].problem) == (
        "unsure", "the collector stopped while sending this: look whether it arrived",
    )  # fmt: skip


def test_a_message_has_one_claimant(store: Store) -> None:
    change(store)
    box = Box()
    desk = outbox(store, Channel("desk", box.send))
    with store.write() as conn:
        queue(conn, list(desk.channels.values()), STANDARDS, URL, NOON)
    with store.write() as conn:
        assert claim(conn, NOON, "desk") is not None
    with store.write() as conn:
        assert claim(conn, NOON, "desk") is None


def test_a_channel_that_is_no_longer_configured_fails_its_messages(store: Store) -> None:
    change(store)
    outbox(store, Channel("old", Box(problems=[SendFailed("down")]).send)).look()
    clock = Clock()
    clock.ms += 60 * MINUTE
    outbox(store, Channel("new", Box().send), clock=clock).look()
    assert alerts(store)[0].problem == "no channel of this name is configured any more"


def test_more_changes_than_anybody_reads_become_one_summary(store: Store) -> None:
    for number in range(BRAKE + 10):
        change(store, center=f"X-{number}", criterion="presence.silent")
    box, clock = Box(), Clock()
    desk = outbox(store, Channel("desk", box.send), clock=clock)
    assert desk.look() == 1
    assert box.got[0].title == "Many changes at once: 60 at 60 centers"
    assert "Raised: Heard from (60)" in box.got[0].text
    # More of it waits for the next summary …
    for number in range(3):
        change(store, center=f"Y-{number}")
        clock.ms += MINUTE
        assert desk.look() == 0
    # … and when the storm is over, each change is told by itself again, none forgotten.
    clock.ms += 10 * MINUTE
    assert desk.look() == 3
    assert [item.title for item in box.got[1:]] == [f"Y-{n}: Packet loss is below the standard" for n in range(3)]


def test_a_storm_that_goes_on_gives_one_summary_in_ten_minutes(store: Store) -> None:
    box, clock = Box(), Clock()
    desk = outbox(store, Channel("desk", box.send), clock=clock)
    for minute in range(15):
        for number in range(20):
            change(store, center=f"X-{minute}-{number}")
        desk.look()
        clock.ms += MINUTE
    assert len(box.got) <= 40 + 3
    assert [item.title for item in box.got if "Many changes" in item.title] != []
    total = sum(int(item.title.split()[4]) if "Many" in item.title else 1 for item in box.got)
    with store.read() as conn:
        waiting = conn.scalar(sa.select(sa.func.count()).where(schema.incident_events.c.queued_ms.is_(None)))
    assert total + (waiting or 0) == 300


# ---------------------------------------------------------------- real channels


@dataclass
class Hook:
    url: str
    answers: list[int]
    got: list[dict[str, str]]


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A real web server that takes web hooks; it answers 200, or what is in `answers` first."""
    answers: list[int] = []
    got: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = answers.pop(0) if answers else 200
            if status == 200:
                got.append(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    yield Hook(f"json://127.0.0.1:{server.server_port}/nabz", answers, got)
    server.shutdown()
    server.server_close()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


def test_a_web_hook_gets_the_message(store: Store, hook: Hook) -> None:
    change(store)
    assert outbox(store, by_apprise("hook", hook.url)).look() == 1
    assert hook.got[0]["title"] == "Gulberg: Packet loss is below the standard"
    assert "کریں" in hook.got[0]["message"]
    assert hook.got[0]["type"] == "warning"


@pytest.mark.parametrize(("status", "state"), [(500, "waiting"), (503, "waiting"), (429, "waiting"), (404, "failed")])
def test_a_web_hooks_refusal_is_told_apart_from_its_bad_moment(
    store: Store, hook: Hook, status: int, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)  # a log of errors alone hides no answer of a service
    change(store)
    hook.answers.append(status)
    assert outbox(store, by_apprise("hook", hook.url)).look() == 0
    (alert,) = alerts(store)
    assert (alert.state, hook.got) == (state, [])
    assert f"error={status}" in alert.problem


def test_a_web_hook_that_is_down_is_tried_again(store: Store, free_port: int) -> None:
    change(store)
    assert outbox(store, by_apprise("hook", f"json://127.0.0.1:{free_port}/")).look() == 0
    (alert,) = alerts(store)
    assert alert.state == "waiting"
    assert "A Connection error occurred" in alert.problem


def test_a_mail_arrives(store: Store, mailbox: Mailbox) -> None:
    change(store)
    url = f"mailto://127.0.0.1:{mailbox.port}/?from=nabz@example.pk&to=desk@example.pk&mode=insecure&format=text"
    assert outbox(store, by_apprise("mail", url)).look() == 1
    assert len(mailbox.got) == 1
    assert "desk@example.pk" in mailbox.got[0]


def test_a_mail_is_answered_to_an_address_with_the_secret_of_its_link(mailbox: Mailbox) -> None:
    url = f"mailto://127.0.0.1:{mailbox.port}/?from=nabz@example.pk&to=%7Bemail%7D&mode=insecure&format=text"
    channel = make("mail", url.replace("%7B", "{").replace("%7D", "}"), reply_address="desk@example.pk")
    secret = "AbCdEfGhIjKlMnOpQrSt_-"
    channel.send(AlertMessage("t", f"x http://x/a/{secret}", address="ayesha@example.pk"))
    channel.send(AlertMessage("t", "no link", address="ayesha@example.pk"))
    assert f"Reply-To: desk+{secret}@example.pk" in mailbox.got[0]
    assert "Reply-To" not in mailbox.got[1]


def test_a_mail_that_is_refused_for_now_is_tried_again(store: Store, mailbox: Mailbox) -> None:
    change(store)
    mailbox.refuse.append("451 come back later")
    url = f"mailto://127.0.0.1:{mailbox.port}/?from=nabz@example.pk&to=desk@example.pk&mode=insecure&format=text"
    assert outbox(store, by_apprise("mail", url)).look() == 0
    assert alerts(store)[0].state == "waiting"


@pytest.mark.parametrize("url", ["", "nonsense", "http//x", "zzz://secret@host"])
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="channel 'desk': its url is none that Apprise knows; write e") as caught:
        by_apprise("desk", url)
    assert "secret" not in str(caught.value)
