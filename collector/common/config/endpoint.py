"""Addresses in the settings: their rules, and how a gateway reaches a broker. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator

from agent.common.center_time import slot_minutes

BROKER_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


def split_listen(text: str) -> tuple[str, int]:
    """("host", port) of ``host:port``; raises ValueError with the rule and an example."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or len(port) > 5 or not 0 <= int(port) <= 65535:
        raise ValueError("must be HOST:PORT with a port from 0 to 65535; write e.g. 127.0.0.1:8480")
    return host.strip("[]"), int(port)


def _listen(text: str) -> str:
    split_listen(text)
    return text


def _address(text: str) -> str:
    return _listen(text) if text else text


def _http(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://; write e.g. http://nabz.example.pk")
    return text.rstrip("/")


def _slot(text: str) -> str:
    try:
        slot_minutes(text)
    except ValueError:
        raise ValueError("must be HH:MM-HH:MM with the end after the start, at most 24:00") from None
    return text


def _broker(text: str) -> str:
    scheme, separator, place = text.partition("://")
    if text != "embedded":
        if not separator or scheme not in BROKER_PORTS or not place or "/" in place or "@" in place:
            raise ValueError(
                'must be "embedded" or one of mqtt:// mqtts:// ws:// wss:// and HOST:PORT; write e.g. mqtt://127.0.0.1:1883'
            )
        split_listen(place if ":" in place else f"{place}:{BROKER_PORTS[scheme]}")
    return text


def split_broker(url: str) -> tuple[str, tuple[str, int]]:
    """(scheme, (host, port)) of an outside broker's URL."""
    scheme, _, place = url.partition("://")
    return scheme, split_listen(place if ":" in place else f"{place}:{BROKER_PORTS[scheme]}")


def is_loopback(listen: str) -> bool:
    host = split_listen(listen)[0]
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  compared with, not listened on
Listen = Annotated[str, AfterValidator(_listen)]
Address = Annotated[str, AfterValidator(_address)]
HttpUrl = Annotated[str, AfterValidator(_http)]
BrokerUrl = Annotated[str, AfterValidator(_broker)]
SlotText = Annotated[str, AfterValidator(_slot)]


@dataclass(frozen=True)
class PublicEndpoint:
    """One way by which a gateway reaches the broker."""

    host: str
    port: int
    tls: bool = False
    transport: Literal["tcp", "websockets"] = "tcp"


def endpoint_of(url: str, public: str) -> PublicEndpoint:
    """To an outside broker, at its public address where it has another."""
    scheme, address = split_broker(url)
    place = split_listen(public) if public else address
    transport: Literal["tcp", "websockets"] = "websockets" if scheme in ("ws", "wss") else "tcp"
    return PublicEndpoint(*place, tls=scheme in ("mqtts", "wss"), transport=transport)
