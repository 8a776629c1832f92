"""The settings of alerts: their channels and languages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from agent.common.words import languages
from collector.common.config.table import CollectorSection, read_secret

Event = Literal["raised", "cleared"]


def _language(text: str) -> str:
    if text not in languages():
        raise ValueError(f"is no language here; use one of {' '.join(languages())}")
    return text


Language = Annotated[str, AfterValidator(_language)]


def _digest_time(text: str) -> str:
    if text and _TIME.fullmatch(text) is None:
        raise ValueError("is no time; write such as `Mon-Sat 09:00`, `Mon,Thu 08:30` or `daily 09:00`")
    return text


_DAY = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_DAYS = f"{_DAY}(-{_DAY})?"
_TIME = re.compile(f"(daily|{_DAYS}(,{_DAYS})*) ([01]\\d|2[0-3]):[0-5]\\d")
DigestTime = Annotated[str, AfterValidator(_digest_time)]


PushService = Annotated[str, Field(pattern=r"^(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?$", max_length=200)]


class ChannelSection(CollectorSection):
    name: str = Field(min_length=1, max_length=64, description="Name of the channel in the log and on the pages.")
    url: str = Field(
        default="",
        description="An Apprise URL: mailto://, json://, tgram:// … One with `{telephone}`, `{email}`, `{whatsapp}` or "
        "`{telegram}` in it sends to persons, as routes say (docs/incidents.md). For programs: "
        "`alertmanager+http://HOST:9093`, `webhook+https://HOST/PATH`. To persons with a button: "
        "`telegram+https://api.telegram.org`. To the devices on which persons turned it on (Web Push): "
        "`push+mailto:ADDRESS`, where push services can reach you.",
    )
    url_file: Path | None = Field(default=None, description="File with the URL instead, as it often holds a secret.")
    secret_file: Path | None = Field(
        default=None,
        description="File with a webhook's secret (`whsec_` and 32 random bytes in base64), or a bot's token.",
    )
    form: Literal["full", "short"] = Field(
        default="full", description="`short`: the title and a link, for text messages; English fits one."
    )
    events: tuple[Event, ...] = Field(
        default=get_args(Event), description="Which changes of a flag it tells: raised, cleared."
    )
    languages: tuple[Language, ...] = Field(
        default=("en", "ur"), min_length=1, description="The languages of its messages, the first for the title."
    )

    def secret(self) -> str:
        """Empty without a file. Raises ConfigError."""
        return read_secret(self.secret_file, "[alerts.channels] secret_file") if self.secret_file else ""

    def secret_url(self) -> str:
        """The URL, from its file if there is one. Raises ConfigError."""
        return read_secret(self.url_file, "[alerts.channels] url_file") if self.url_file else self.url


class MailboxSection(CollectorSection):
    host: str = Field(default="", description="IMAP server of the mailbox for answers; empty: none is read.")
    port: int = Field(default=993, gt=0, le=65535, description="Its port.")
    tls: bool = Field(default=True, description="TLS from the first byte; only on this machine may it be false.")
    user: str = Field(default="", max_length=200, description="Who logs in.")
    password_file: Path | None = Field(default=None, description="File with the password.")
    folder: str = Field(default="INBOX", min_length=1, max_length=200, description="The folder that is read.")
    address: str = Field(
        default="",
        pattern=r"^([^@+\s]+@[^@\s]+)?$",
        description="Address that messages are answered to, with a secret after a plus: desk@example.pk becomes "
        "desk+SECRET@example.pk. Empty: answers are known by what they quote.",
    )
    every_s: float = Field(default=30.0, ge=5, le=3600, description="Pause between two looks, in seconds.")

    @model_validator(mode="after")
    def _safe(self) -> MailboxSection:
        if self.host and not self.tls and self.host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("tls = false would send the password in the clear; set tls = true")
        if self.host and self.password_file is None:
            raise ValueError("a mailbox needs a password; name its file as password_file")
        return self

    def password(self) -> str:
        """Raises ConfigError."""
        return read_secret(self.password_file, "[mailbox] password_file") if self.password_file else ""


class BurnSection(CollectorSection):
    long_days: int = Field(ge=1, le=31, description="Of the last so many days enough is spent.")
    short_days: int = Field(ge=1, le=31, description="Of the last so many it still is; fewer than the others.")
    times: float = Field(
        default=0.0, ge=0, le=1000, description="How many times faster than the month allows both must be; 0: any."
    )

    @model_validator(mode="after")
    def _ordered(self) -> BurnSection:
        if self.short_days > self.long_days:
            raise ValueError("short_days is more than long_days; exchange them")
        return self


class AlertsSection(CollectorSection):
    every_s: float = Field(
        default=5.0, gt=0, le=3600, description="Pause between looks at the queue of alerts, in seconds."
    )
    daily: DigestTime = Field(
        default="daily 09:00",
        description="When officers get their digest, such as `Mon-Sat 09:00`, not on holidays; empty: never.",
    )
    weekly: DigestTime = Field(
        default="Mon 09:00",
        description="When whoever runs centers gets a digest in Urdu, moved past holidays; empty: never.",
    )
    sms_secret_file: Path | None = Field(
        default=None,
        description="File with the secret by which the gateway of text messages signs answers to `/answers/sms` "
        "(`whsec_` and 32 random bytes in base64). None: none are taken.",
    )
    push_services: tuple[PushService, ...] = Field(
        default=(
            "fcm.googleapis.com", "updates.push.services.mozilla.com", "*.push.apple.com", "*.notify.windows.com"
        ),
        description="The push services of browsers that a channel `push+` may send to, by host; `*.` stands for any "
        "part before a domain. Devices of others are refused, so that nobody makes the collector ask other machines.",
    )  # fmt: skip
    burn: tuple[BurnSection, ...] = Field(
        default=(BurnSection(long_days=7, short_days=2), BurnSection(long_days=2, short_days=1, times=6.0)),
        min_length=1,
        description="When a month is at risk: `[[alerts.burn]]` once for each pair of windows. Ours: a slow burn by a "
        "week, a fast one by two days; no official figures exist.",
    )
    channels: tuple[ChannelSection, ...] = Field(
        default=(), description="Where alerts go: `[[alerts.channels]]` once for each."
    )

    def sms_secret(self) -> str:
        """Empty without a file. Raises ConfigError."""
        return read_secret(self.sms_secret_file, "[alerts] sms_secret_file") if self.sms_secret_file else ""
