"""Answers by e-mail: known by the secret alone, from a mailbox of a real (small) IMAP server to the incident."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.access.accounts import directory
from collector.common.config import MailboxSection
from collector.common.scope import EVERYWHERE
from collector.desk import tables
from collector.desk.alerts.answers.acts import Answer
from collector.desk.alerts.answers.mail import MAX_QUOTE, MailReply, reply_address, reply_of
from collector.desk.alerts.answers.mailbox import Mailbox
from collector.desk.alerts.answers.text import answer_of
from collector.desk.alerts.channel import SendFailed
from collector.desk.alerts.outbox import Outbox
from collector.store import Store
from tests.collector.desk.alerts.answers.imap_server import ImapBox, imap_server
from tests.collector.desk.alerts.test_personal import STANDARDS, Town

SECRET = "AbCdEfGhIjKlMnOpQrSt_-"


def mail(body: str, to: str = f"desk+{SECRET}@example.pk", kind: str = "text/plain", **headers: str) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"From: someone@else.example\r\nTo: {to}\r\nSubject: Re: x\r\n{more}"
    return f"{head}Content-Type: {kind}; charset=utf-8\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (mail("ack on my way\r\n\r\n> old words"), "ack on my way"),
        (mail("ack\r\nOn Mon, 2 Feb 2026, Desk <desk@x.pk> wrote:\r\n> old"), "ack"),
        (mail("fuse blown\r\n-- \r\nOmar"), "fuse blown"),
        (mail("note\r\n-----Original Message-----\r\nold"), "note"),
        (mail(f"ok\r\n> http://x/a/{SECRET}", to="desk@example.pk"), "ok"),  # by what is quoted
        (mail(f"<p>ok</p><blockquote>http://x/a/{SECRET}</blockquote>", to="d@x.pk", kind="text/html"), "ok"),
        (mail("حل ہو گیا\r\n> پرانا"), "حل ہو گیا"),
        (mail("> all of it is quoted"), ""),
    ],
)
def test_what_was_written(raw: bytes, found: str) -> None:
    assert reply_of(raw) == MailReply(SECRET, found)


@pytest.mark.parametrize(
    "raw",
    [
        mail("away until Monday", auto_submitted="auto-replied"),
        mail("away until Monday", precedence="auto_reply"),
        mail("away", x_autoreply="yes"),
        mail("failed", kind="multipart/report; boundary=x"),
        mail("ack", to="desk@example.pk"),  # no secret
        mail("ack", to=f"desk+{SECRET[:-1]}@example.pk"),
        b"",
        b"\xff\xfe\x00" * 50,
        b"Content-Type: text/plain; charset=nonsense\r\nTo: desk+AbC@x\r\n\r\n\xff",
        b"To: " + b"<" * 5000 + b"\r\n\r\nack",
    ],
)
def test_what_is_no_answer_of_a_person(raw: bytes) -> None:
    assert reply_of(raw) is None


def calls_of(raw: bytes) -> int:
    """Of functions, those in C among them: what reading takes, on a busy machine too."""
    count = itertools.count()
    sys.setprofile(lambda *_words: next(count))
    try:
        reply_of(raw)
    finally:
        sys.setprofile(None)
    return next(count)


@pytest.mark.parametrize("name", ["To", "Content-Type", "Content-Disposition", "Auto-Submitted"])
@pytest.mark.parametrize("value", ['"' * 6000, "a:;," * 1500, "a," * 3000, "text/plain" + "; a=b" * 1200])
def test_a_hostile_field_is_not_taken_apart(name: str, value: str) -> None:
    assert calls_of(f"{name}: {value}\r\n\r\nack".encode()) < 100_000


def test_lines_of_any_length_are_read_in_time() -> None:
    reply = reply_of(mail("x" * MAX_QUOTE * 20 + " <" + "a" * 20_000))
    assert reply is not None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("ACK on my way", Answer("ack", "on my way", way="mail")),
        ("ok", Answer("ack", "ok", way="mail")),
        ("Resolved: fuse changed", Answer("resolve", "fuse changed", way="mail")),
        ("assign Omar Khan: you are nearer", Answer("assign", "you are nearer", "Omar Khan", "mail")),
        ("assign Omar\nplease", Answer("assign", "please", "Omar", "mail")),
        ("the fuse has blown", Answer("note", "the fuse has blown", way="mail")),
        ("حل ہو گیا", Answer("resolve", "ہو گیا", way="mail")),
        ("  \n ", None),
        ("...", None),
    ],
)
def test_the_first_word_is_the_act(text: str, answer: Answer | None) -> None:
    assert answer_of(text, "mail") == answer


@pytest.fixture
def box() -> Iterator[ImapBox]:
    with imap_server(ImapBox()) as box:
        yield box


def mailbox_of(box: ImapBox, folder: Path, password: str = "secret") -> Mailbox:
    (folder / "password").write_text(password)
    section = MailboxSection(
        host="127.0.0.1", port=box.port, tls=False, user="desk", password_file=folder / "password", every_s=5
    )
    return Mailbox(section)


def test_an_answer_acknowledges_once_and_the_others_hear_of_it(
    sqlite_store: Store, box: ImapBox, tmp_path: Path
) -> None:
    town = Town(sqlite_store)
    with sqlite_store.write() as conn:
        directory.add(conn, "Omar", "-", "desk", EVERYWHERE, "Root", 1)
    town.contact("Omar", telephone="+923001234568")
    town.opens("LHR-001")
    town.route()
    secrets = town.secrets()
    box.put(mail("ack on my way", to=reply_address("desk@example.pk", secrets["ayesha"])))
    box.put(mail("ack me too", to=reply_address("desk@example.pk", secrets["ayesha"])))  # used by then
    box.put(mail("buy now", to="desk@example.pk"))
    outbox = Outbox(sqlite_store, [], STANDARDS, "http://x", lambda: town.now_ms, mailboxes=[mailbox_of(box, tmp_path)])
    assert outbox.poll_answers() == 2
    assert outbox.poll_answers() == 0  # not before its pause is over
    assert box.seen == {1, 2, 3}
    with sqlite_store.read() as conn:
        incident = tables.get(conn, 1)
    assert (incident.owner, incident.state) == ("Ayesha", "acknowledged")
    assert town.route() == 1
    assert (town.rows()[-1].person, "Ayesha looks after it" in str(town.rows()[-1].title)) == ("omar", True)


def test_a_mailbox_that_refuses_is_a_line_of_the_log(box: ImapBox, tmp_path: Path) -> None:
    box.put(mail("ack"))
    with pytest.raises(SendFailed, match=r"mailbox 127\.0\.0\.1"):
        mailbox_of(box, tmp_path, "wrong").poll(lambda _reply: None)
    assert box.seen == set()


def test_a_password_in_the_clear_stays_on_this_machine(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in the clear"):
        MailboxSection(host="imap.example.pk", tls=False, password_file=tmp_path / "p")
    with pytest.raises(ValueError, match="name its file"):
        MailboxSection(host="imap.example.pk")
