"""The mailbox that answers to messages arrive in, read by IMAP (RFC 9051) now and then. What was looked at is marked as
read, after its answer was taken: one that is read twice finds its link used."""

from __future__ import annotations

import imaplib
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from agent.common.errors import describe
from collector.common.config import MailboxSection
from collector.desk.alerts.answers.mail import MailReply, reply_of
from collector.desk.alerts.channel import SendFailed

TIMEOUT_S = 20.0
MOST = 50  # mails of one look
MAX_BYTES = 65_536  # of one mail that are read; an answer stands at its beginning


class Mailbox:
    """`poll` opens a connection at most every `every_s` seconds. Raises ConfigError for a password that cannot be
    read."""

    def __init__(
        self,
        section: MailboxSection,
        *,
        context: ssl.SSLContext | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._section, self._password = section, section.password()
        self._context, self._clock_s = context, clock_s
        self._next_s = 0.0

    def poll(self, take: Callable[[MailReply], None]) -> int:
        """Gives what has come to `take`; how many answers. Raises SendFailed."""
        if self._clock_s() < self._next_s:
            return 0
        self._next_s = self._clock_s() + self._section.every_s
        try:
            return self._read(take)
        except (imaplib.IMAP4.error, OSError) as error:
            raise SendFailed(f"mailbox {self._section.host}: {describe(error)}") from None

    def _read(self, take: Callable[[MailReply], None]) -> int:
        taken, imap = 0, self._connected()
        try:
            imap.login(self._section.user, self._password)
            _checked(imap.select(self._section.folder))
            uids = next((part for part in _checked(imap.uid("SEARCH", "UNSEEN")) if isinstance(part, bytes)), b"")
            for name in uids.decode("ascii", "replace").split()[:MOST]:
                parts = _checked(imap.uid("FETCH", name, f"(BODY.PEEK[]<0.{MAX_BYTES}>)"))
                raw = next((bytes(part[1]) for part in parts if isinstance(part, tuple)), b"")
                if (reply := reply_of(raw)) is not None:
                    take(reply)
                    taken += 1
                _checked(imap.uid("STORE", name, "+FLAGS", "(\\Seen)"))
        finally:
            with suppress(imaplib.IMAP4.error, OSError):
                imap.logout()
        return taken

    def _connected(self) -> imaplib.IMAP4:
        host, port = self._section.host, self._section.port
        if not self._section.tls:
            return imaplib.IMAP4(host, port, timeout=TIMEOUT_S)
        context = self._context or ssl.create_default_context()
        return imaplib.IMAP4_SSL(host, port, ssl_context=context, timeout=TIMEOUT_S)


def _checked(answer: tuple[str, Sequence[object]]) -> Sequence[object]:
    kind, data = answer
    if kind != "OK":
        raise imaplib.IMAP4.error(f"refused: {data[:1]}")
    return data


def mailboxes(section: MailboxSection) -> list[Mailbox]:
    """The one of the settings, if there is one. Raises ConfigError."""
    return [Mailbox(section)] if section.host else []
