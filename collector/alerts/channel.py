"""How a message travels: a channel is a name and a function that sends, or says why it could not.

SendFailed
├ permanent=False   worth trying again: a timeout, a full queue, a server's own error
└ permanent=True    will fail again as it is: a refused address, a wrong password
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Event = Literal["raised", "cleared"]
LANGUAGES = ("en", "ur")  # of a message, unless a channel is set otherwise

_STATUS = re.compile(r"error=(\d{3})")
_AGAIN = {408, 425, 429}  # the only answers of the 4xx kind that a later attempt may change
MAX_PROBLEM = 300


class SendFailed(Exception):
    """The message did not go out. `permanent`: trying again cannot help."""

    def __init__(self, problem: str, *, permanent: bool = False) -> None:
        super().__init__(problem)
        self.permanent = permanent


@dataclass(frozen=True)
class AlertMessage:
    """What a person reads, and whether it is news of trouble or of its end."""

    title: str
    text: str
    event: Event = "raised"


@dataclass(frozen=True)
class Channel:
    """`send` raises SendFailed; it blocks, so it runs in a thread of its own."""

    name: str
    send: Callable[[AlertMessage], None]
    events: tuple[Event, ...] = ("raised", "cleared")
    languages: tuple[str, ...] = LANGUAGES


def by_apprise(
    name: str,
    url: str,
    events: tuple[Event, ...] = ("raised", "cleared"),
    languages: tuple[str, ...] = LANGUAGES,
) -> Channel:
    """A channel to any service that Apprise knows by URL. Raises ValueError, without the URL, as it holds secrets."""
    import apprise  # slow to load, and of no use to a collector without channels

    service = apprise.Apprise()
    if not url or not service.add(url):
        raise ValueError(
            f"channel {name!r}: its url is none that Apprise knows; write e.g. mailto://USER:PASSWORD@HOST?to=ADDRESS"
        )

    def send(message: AlertMessage) -> None:
        kind = "warning" if message.event == "raised" else "success"
        with apprise.LogCapture(level=logging.WARNING) as output:  # type: ignore[no-untyped-call]
            if not service.notify(body=message.text, title=message.title, notify_type=kind):
                raise _failure(output.getvalue())

    return Channel(name, send, events, languages)


def _failure(output: str) -> SendFailed:
    """Apprise answers yes or no; what went wrong stands in its log."""
    lines = [line.rpartition(" - ")[2] for line in output.splitlines() if line.strip()]
    problem = (lines[-1] if lines else "the service did not take the message")[:MAX_PROBLEM]
    status = _STATUS.search(output)
    permanent = status is not None and 400 <= int(status[1]) < 500 and int(status[1]) not in _AGAIN
    return SendFailed(problem, permanent=permanent)
