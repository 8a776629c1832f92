"""How a message travels: a channel is a name and a function that sends, or says why it could not.

SendFailed
├ permanent=False   worth trying again: a timeout, a full queue, a server's own error
├ permanent=True    will fail again as it is: a refused address, a wrong password
└ is_unsure=True    no answer: it may have gone out, so it is not tried again
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from collector.desk.routing.recipients import ADDRESSES, AddressKind

Event = Literal["raised", "cleared"]
LANGUAGES = ("en", "ur")  # of a message, unless a channel is set otherwise

_STATUS = re.compile(r"error=(\d{3})")
_AGAIN = {408, 425, 429}  # the only answers of the 4xx kind that a later attempt may change
MAX_PROBLEM = 300
_PLACE = re.compile(r"\{(telephone|email|whatsapp|telegram)\}")
OWN_ADDRESSES: tuple[AddressKind, ...] = ("telegram", "push")  # kinds whose channel has a scheme of that name
SAMPLES: Mapping[str, str] = {
    "telephone": "+923001234567", "whatsapp": "+923001234567", "email": "desk@example.pk", "telegram": "123456789",
}  # fmt: skip
_message_log: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("message_log", default=None)


class SendFailed(Exception):
    """The message did not go out, or nobody knows. `permanent`: trying again cannot help."""

    def __init__(self, problem: str, *, permanent: bool = False, is_unsure: bool = False, status: int = 0) -> None:
        super().__init__(problem)
        self.permanent, self.is_unsure = permanent, is_unsure
        self.status = status  # of HTTP, where that was the answer


@dataclass(frozen=True)
class AlertMessage:
    """What a person reads, and whether it is news of trouble or of its end."""

    title: str
    text: str
    event: Event = "raised"
    address: str = ""  # of the person, on a channel that sends to persons
    facts: str = ""  # JSON, for channels that programs read
    id: int = 0  # the same for every attempt


@dataclass(frozen=True)
class Channel:
    """`send` raises SendFailed; it blocks, so it runs in a thread of its own. One with an `address` sends each message
    to one person, who has an address of that kind; the others send to whatever stands in their settings."""

    name: str
    send: Callable[[AlertMessage], None]
    events: tuple[Event, ...] = ("raised", "cleared")
    languages: tuple[str, ...] = LANGUAGES
    address: AddressKind | None = None
    is_short: bool = False  # a text message: the title and a link, in one segment if its alphabet allows
    poll: Callable[[Callable[[str, str], str]], int] | None = None  # takes answers that came by it
    is_structured: bool = False  # programs read it: it gets facts beside the words, and no summaries


def by_apprise(
    name: str,
    url: str,
    events: tuple[Event, ...] = ("raised", "cleared"),
    languages: tuple[str, ...] = LANGUAGES,
    *,
    is_short: bool = False,
    reply_to: Callable[[AlertMessage], str] = lambda _message: "",
) -> Channel:
    """A channel to any service that Apprise knows by URL; with a place such as `{telephone}` in it, one that sends to
    persons. `reply_to`: the address that e-mail about a message is answered to. Raises ValueError, without the URL, as
    it holds secrets."""
    import apprise  # slow to load, and of no use to a collector without channels

    address = address_kind(url)
    if len(kinds := set(_PLACE.findall(url))) > 1:
        raise ValueError(f"channel {name!r}: its url has places for {len(kinds)} kinds of address; leave one")
    if not url or not apprise.Apprise().add(_filled(url, SAMPLES.get(address or "", ""))):
        raise ValueError(
            f"channel {name!r}: its url is none that Apprise knows; write e.g. mailto://USER:PASSWORD@HOST?to=ADDRESS"
        )

    def send(message: AlertMessage) -> None:
        kind = "warning" if message.event == "raised" else "success"
        service = apprise.Apprise()
        if not service.add(_answered(_filled(url, message.address), reply_to(message))):
            raise SendFailed("the service does not take this address; correct the contact", permanent=True)
        with _own_warnings(apprise.logger) as lines:
            if not service.notify(body=message.text, title="" if is_short else message.title, notify_type=kind):
                raise _failure("\n".join(lines))

    return Channel(name, send, events, languages, address, is_short)


def address_kind(url: str) -> AddressKind | None:
    """Of which kind of address a channel's URL has a place for; None: it sends to whatever stands in it."""
    own = next((kind for kind in OWN_ADDRESSES if url.startswith(f"{kind}+")), None)
    kinds = [own] if own else _PLACE.findall(url)
    return next((kind for kind in ADDRESSES if kind in kinds), None)


def _filled(url: str, address: str) -> str:
    """The URL with a person's address in its place."""
    return _PLACE.sub(lambda _place: quote(address, safe=""), url)


def _answered(url: str, reply_to: str) -> str:
    """The URL of an e-mail with the address that it is answered to; of another service as it is."""
    if not reply_to or not url.startswith("mailto"):
        return url
    return f"{url}{'&' if '?' in url else '?'}reply={quote(reply_to, safe='')}"


@contextlib.contextmanager
def _own_warnings(apprise_log: logging.Logger) -> Iterator[list[str]]:
    """What Apprise logs of this message: other channels send at the same time, and their troubles are theirs. Apprise
    sends in threads of its own, under the context of whoever called it."""
    lines: list[str] = []
    mark = _message_log.set(lines)

    class WarningList(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if _message_log.get() is lines:
                lines.append(record.getMessage())

    handler = WarningList(logging.WARNING)
    apprise_log.setLevel(logging.WARNING)  # whatever level our own log has
    apprise_log.propagate = False  # our own line about the alert says it
    apprise_log.addHandler(handler)
    try:
        yield lines
    finally:
        apprise_log.removeHandler(handler)
        _message_log.reset(mark)


def _failure(output: str) -> SendFailed:
    """Apprise answers yes or no; what went wrong stands in its log."""
    lines = [line.rpartition(" - ")[2] for line in output.splitlines() if line.strip()]
    problem = (lines[-1] if lines else "the service did not take the message")[:MAX_PROBLEM]
    status = _STATUS.search(output)
    permanent = status is not None and 400 <= int(status[1]) < 500 and int(status[1]) not in _AGAIN
    return SendFailed(problem, permanent=permanent)
