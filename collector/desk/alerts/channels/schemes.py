"""Which channel a URL is: Alertmanager and webhooks are ours, everything else Apprise knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import urlsplit

from collector.desk.alerts import links
from collector.desk.alerts.answers import mail
from collector.desk.alerts.channel import LANGUAGES, AlertMessage, Channel, Event, by_apprise
from collector.desk.alerts.channels import alertmanager, push, telegram, webhook
from collector.desk.alerts.channels.push import PushSender

Maker = Callable[[str, str, str, tuple[Event, ...]], Channel]


def make(
    name: str, url: str, events: tuple[Event, ...] = ("raised", "cleared"), languages: tuple[str, ...] = LANGUAGES,
    secret: str = "", *, is_short: bool = False, reply_address: str = "", push_sender: PushSender | None = None,
) -> Channel:  # fmt: skip
    """The channel of a URL: alertmanager+http://HOST:PORT, webhook+https://HOST/PATH,
    telegram+https://api.telegram.org, push+mailto:ADDRESS, or one of Apprise. Raises ValueError, without the URL, as
    it may hold secrets."""
    scheme, _, rest = url.partition("+")
    if scheme == "push":
        return _push(name, rest, events, push_sender)
    maker = MAKERS.get(scheme)
    if maker is None:
        return by_apprise(name, url, events, languages, is_short=is_short, reply_to=partial(_reply_to, reply_address))
    if urlsplit(rest).scheme not in ("http", "https") or not urlsplit(rest).hostname:
        raise ValueError(f"channel {name!r}: after {scheme}+ an address such as https://HOST/PATH is needed")
    return maker(name, rest, secret, events)


def _reply_to(address: str, message: AlertMessage) -> str:
    """With the secret of the message's link in it; empty where there is none."""
    secret = links.secret_in(message.text)
    return mail.reply_address(address, secret) if address and secret else ""


def _alertmanager(name: str, url: str, _secret: str, _events: tuple[Event, ...]) -> Channel:
    """It must hear of every beginning and end, whatever `events` says."""
    return alertmanager.channel(name, url)


def _webhook(name: str, url: str, secret: str, events: tuple[Event, ...]) -> Channel:
    if not secret:
        raise ValueError(f"channel {name!r}: a webhook is signed; give the secret's file as secret_file")
    return webhook.channel(name, url, secret, events)


def _telegram(name: str, url: str, secret: str, events: tuple[Event, ...]) -> Channel:
    if not secret:
        raise ValueError(f"channel {name!r}: a bot has a token; give its file as secret_file")
    return telegram.channel(name, url, secret, events)


def _push(name: str, contact: str, events: tuple[Event, ...], sender: PushSender | None) -> Channel:
    if not contact.startswith(("mailto:", "https://")) or not contact.isprintable():
        raise ValueError(
            f"channel {name!r}: after push+ push services want to know whom to ask: mailto:desk@example.pk"
        )
    return push.channel(name, contact, events, sender)


MAKERS: Mapping[str, Maker] = {"alertmanager": _alertmanager, "telegram": _telegram, "webhook": _webhook}
