"""How the collector itself reaches the broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from collector.access.ca import Files
from collector.common.config import EVERYWHERE, Settings, read_secret, split_broker

WEBSOCKET_PATH = "/mqtt"


@dataclass(frozen=True)
class Address:
    """`ca`, `cert`, `key` matter with `tls` only. No `ca` means the system's certificates, no `cert` none of ours."""

    host: str
    port: int
    tls: bool = False
    transport: Literal["tcp", "websockets"] = "tcp"
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"


def broker_addresses(settings: Settings, own: Files) -> list[Address]:
    """The first broker and those beside it. Raises ConfigError."""
    brokers = [settings.broker.model_copy(update={"url": url}) for url in (settings.broker.url, *settings.broker.also)]
    return [broker_address(settings.model_copy(update={"broker": broker}), own) for broker in brokers]


def broker_address(settings: Settings, own: Files) -> Address:
    """`own` are our certificates from our own authority: they are used where the settings name no others and no user.

    Raises ConfigError when the password file cannot be read.
    """
    broker = settings.broker
    host, port = settings.broker_address
    if broker.url == "embedded":
        return Address("127.0.0.1" if host in EVERYWHERE else host, port)
    scheme, _ = split_broker(broker.url)
    named = broker.username or broker.ca_file or broker.cert_file
    ca, cert, key = (broker.ca_file, broker.cert_file, broker.key_file) if named else (own.ca, own.cert, own.key)
    return Address(
        host,
        port,
        tls=scheme in ("mqtts", "wss"),
        transport="websockets" if scheme in ("ws", "wss") else "tcp",
        ca=ca,
        cert=cert,
        key=key,
        username=broker.username,
        password=read_secret(broker.password_file, "[broker] password_file") if broker.password_file else "",
    )
