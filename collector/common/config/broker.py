"""The settings of brokers: the embedded one, outside ones, and the ones looked after."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from collector.common.config.endpoint import (
    EVERYWHERE,
    Address,
    BrokerUrl,
    Listen,
    PublicEndpoint,
    endpoint_of,
    is_loopback,
    split_listen,
)
from collector.common.config.table import CollectorSection


class ExternalBrokerSection(CollectorSection):
    """A broker of another make, whose files and sessions this collector looks after."""

    make: Literal["mosquitto", "nats"] = Field(description="Which.")
    url: BrokerUrl = Field(
        description="`mqtts://HOST:PORT` or `wss://` where it is reached, as in `[broker] url` or `also`."
    )
    folder: Path = Field(
        description="Where `nabz-collector broker-config` put its settings, writable to the collector."
    )
    reload: tuple[str, ...] = Field(
        default=(),
        description="What makes it read them anew, a word each, e.g. `systemctl reload mosquitto`; empty: something "
        "else does when they change (a systemd `.path` unit).",
    )


class BrokerSection(CollectorSection):
    url: BrokerUrl = Field(
        default="embedded",
        description="`embedded`: a broker inside; or any other: `mqtts://HOST:PORT`, `wss://` (WebSocket), or without "
        "TLS `mqtt://`, `ws://`.",
    )
    kind: Literal["auto", "mosquitto", "embedded"] = Field(
        default="embedded",
        description="What a broker inside is: `mosquitto`, a child process of the collector (Debian's package "
        "mosquitto), which takes a fraction of the time and memory; `embedded`, in the collector itself; or `auto`: "
        "Mosquitto where it is installed.",
    )
    also: tuple[BrokerUrl, ...] = Field(
        default=(),
        description="Further brokers to listen at, each by itself, with the same name and certificates: a gateway may "
        "be at any of them.",
    )
    cluster: bool = Field(
        default=False,
        description="`url` and `also` are one broker on several machines (a NATS cluster): the collector is at one of "
        "them at a time, and goes to the next when that dies.",
    )
    public_also: tuple[Listen, ...] = Field(
        default=(), description="`HOST:PORT` of each of `also` as told to gateways, in its order; empty: as there."
    )
    outside: tuple[ExternalBrokerSection, ...] = Field(
        default=(),
        description="Brokers of other makes to keep: who may come and who is revoked reaches them within seconds.",
    )
    listen: Listen = Field(
        default="127.0.0.1:1883",
        description="Where the embedded broker listens without TLS for whoever comes: on loopback, for this machine.",
    )
    tls_listen: Address = Field(
        default="",
        description="Where it listens for gateways: MQTT over TLS 1.3, each with its certificate; e.g. `0.0.0.0:8883`.",
    )
    websocket_listen: Address = Field(
        default="", description="The same over WebSocket, for lines that let only the web through; e.g. `0.0.0.0:443`."
    )
    trust_network: bool = Field(
        default=False, description="Let `listen` be reached from the network without TLS. Only in a closed laboratory."
    )
    public: Address = Field(
        default="",
        description="`HOST:PORT` told to gateways at enrolment; empty: as `tls_listen`, else `listen`, or `url`.",
    )
    public_websocket: Address = Field(
        default="", description="`HOST:PORT` of MQTT over WebSocket and TLS, told to them as well; empty: as above."
    )
    services: tuple[str, ...] = Field(
        default=("nabz-collector",),
        description="Names of certificates that act as collector: they hear all gateways and send receipts and tasks.",
    )
    username: str = Field(default="", description="Name to log in at an outside broker with; empty: none.")
    password_file: Path | None = Field(default=None, description="File with the password for `username`.")
    ca_file: Path | None = Field(
        default=None,
        description="CA certificates that sign an outside broker's; empty: with `username` the system's, else our own.",
    )
    cert_file: Path | None = Field(
        default=None,
        description="Our certificate there, named as one of `services`; empty: as made by our own authority.",
    )
    key_file: Path | None = Field(default=None, description="The key of `cert_file`.")

    @model_validator(mode="after")
    def _safe(self) -> BrokerSection:
        """What one key alone cannot tell. Raises ValueError."""
        if self.url == "embedded" and not self.trust_network and not is_loopback(self.listen):
            raise ValueError(
                f"listen {self.listen} would let in anybody on the network; keep listen on 127.0.0.1 and set "
                'tls_listen = "0.0.0.0:8883" for gateways'
            )
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; name both")
        if self.public_also and len(self.public_also) != len(self.also):
            raise ValueError(
                f"public_also has {len(self.public_also)} addresses, also {len(self.also)}; name one for each"
            )
        for listen, public in (("tls_listen", "public"), ("websocket_listen", "public_websocket")):
            place = getattr(self, listen)
            if place and split_listen(place)[0] in EVERYWHERE and not getattr(self, public):
                raise ValueError(
                    f"{listen} {place} is no address to tell gateways; set {public} to the HOST:PORT they reach"
                )
        return self

    @property
    def ways(self) -> list[PublicEndpoint]:
        """How gateways reach a broker, best first; told at enrolment and at each renewal."""
        if self.url == "embedded":
            main = PublicEndpoint(
                *split_listen(self.public or self.tls_listen or self.listen), tls=bool(self.tls_listen)
            )
            web = self.websocket_listen and (self.public_websocket or self.websocket_listen)
        else:
            main, web = endpoint_of(self.url, self.public), self.public_websocket
        ways = [main, *map(endpoint_of, self.also, self.public_also or [""] * len(self.also))]
        return [*ways, PublicEndpoint(*split_listen(web), tls=True, transport="websockets")] if web else ways
