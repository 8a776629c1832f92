"""What the settings name, read: standards, channels of alerts, times of digests."""

from __future__ import annotations

from agent.common.errors import describe
from collector.access.signing_key import load_or_make, push_key
from collector.common.config import ConfigError, Settings
from collector.desk.alerts.channel import Channel, address_kind
from collector.desk.alerts.channels.push import PushSender
from collector.desk.alerts.channels.schemes import make
from collector.desk.alerts.digest import DigestKind
from collector.desk.routing.due import DueTime, parse_due
from collector.recovery import settle as recovery
from collector.standard import StandardError, Standards, examples, load
from collector.store import Store


def read_standards(settings: Settings) -> Standards:
    """The versions of the standard that the settings name. Raises ConfigError."""
    try:
        versions = {version.id: version for version in [load(path) for path in settings.standard.files] or examples()}
        versions |= {version.id: version for version in map(load, recovery.taken_again(settings.data_dir))}
        return Standards.of(versions.values())
    except StandardError as error:
        raise ConfigError(str(error)) from None


def read_digest_times(settings: Settings) -> dict[DigestKind, DueTime]:
    """Those that are sent."""
    alerts = settings.alerts
    kinds: dict[DigestKind, str] = {"daily": alerts.daily, "weekly": alerts.weekly}
    return {kind: parse_due(text, moves=kind == "weekly") for kind, text in kinds.items() if text}


def read_channels(settings: Settings, store: Store | None = None) -> list[Channel]:
    """Where alerts go; without a store one to devices can be named, not used. Raises ConfigError for an address that
    Apprise does not know."""
    sender = None
    if store is not None and any(address_kind(one.secret_url()) == "push" for one in settings.alerts.channels):
        sender = PushSender(store, push_key(load_or_make(settings.data_dir)), settings.alerts.push_services)
    try:
        return [
            make(
                channel.name,
                channel.secret_url(),
                channel.events,
                channel.languages,
                channel.secret(),
                is_short=channel.form == "short",
                reply_address=settings.mailbox.address,
                push_sender=sender,
            )
            for channel in settings.alerts.channels
        ]
    except ValueError as error:
        raise ConfigError(f"[[alerts.channels]] {describe(error)}") from None
