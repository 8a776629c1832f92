"""The pages' listener, and the bounds of it and of the enrolment's."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from collector.common.config.endpoint import HttpUrl, Listen, is_loopback
from collector.common.config.table import CollectorSection

LOOPBACK = ("127.0.0.1", "::1")


class WebSection(CollectorSection):
    listen: Listen = Field(default="127.0.0.1:8480", description="Where the pages and the enrolment are served.")
    public_url: HttpUrl = Field(default="", description="Address people and gateways use for it; empty: as `listen`.")
    proxy: tuple[str, ...] = Field(
        default=(),
        description="IP addresses of the proxy in front that ends TLS. Without it, or `cert_file`, `listen` must be "
        "on loopback: sessions and tokens would cross the network in the clear.",
    )
    cert_file: Path | None = Field(
        default=None,
        description="Certificate chain (PEM) to serve TLS 1.3 with, such as ACME clients write; read anew every hour.",
    )
    key_file: Path | None = Field(default=None, description="The key of `cert_file`.")
    second_proof: Literal["offered", "required"] = Field(
        default="offered",
        description="`required`: accounts of the desk and admins see nothing but their own page until they have a "
        "second proof (a code of a telephone, or a passkey).",
    )
    healthy_within_s: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="`/healthz` answers 503 when a part of the collector has committed nothing for so long, in "
        "seconds, though it should have.",
    )

    boundaries: Path | None = Field(
        default=None,
        description="A GeoJSON file (RFC 7946) of boundaries that the map draws under the centers, such as the Survey "
        "of Pakistan's own, instead of outlines that are Natural Earth's; a feature whose property `disputed` is true "
        "is dashed.",
    )

    desk_telephone: str = Field(
        default="",
        pattern=r"^(\+[1-9]\d{6,14}|\d{3,6})?$",
        description="The support desk's number, such as `+92511234567`: on the installer's sheet and page, and on an "
        "operator's page.",
    )

    public_page: bool = Field(
        default=False,
        description="Whether everybody may see `/public` (districts' figures, now and of closed months, and how they "
        "are measured, no person's data) and `/public/badge/CODE.svg` of each center.",
    )

    @model_validator(mode="after")
    def _safe(self) -> WebSection:
        """Raises ValueError."""
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; name both")
        for address in self.proxy:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise ValueError("proxy must be IP addresses; write e.g. proxy = ['192.0.2.5']") from None
        if not (is_loopback(self.listen) or self.proxy or self.cert_file):
            raise ValueError(
                f"listen {self.listen} without TLS would send sessions and tokens in the clear; keep listen on "
                "127.0.0.1, name the TLS proxy in front by proxy, or set cert_file and key_file"
            )
        return self

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the pages over TLS alone, so that cookies travel over nothing else."""
        return bool(self.proxy or self.cert_file) or self.public_url.startswith("https://")

    @property
    def pair(self) -> tuple[Path, Path] | None:
        """The certificate's file and its key's."""
        return (self.cert_file, self.key_file) if self.cert_file and self.key_file else None

    @property
    def proxies(self) -> tuple[str, ...]:
        """Whose word for the client's address is believed, and who alone may hold many connections."""
        is_behind = is_loopback(self.listen) and self.public_url.startswith("https://") and not self.cert_file
        return self.proxy or (LOOPBACK if is_behind else ())


class HttpSection(CollectorSection):
    """No official figure exists for any of these: they are ours. They suit 10,000 gateways behind carriers' shared
    addresses: a gateway asks some seconds long and once in two weeks, so that 128 at once from one address are more
    than a carrier's whole share of a fleet that comes back together."""

    connections: int = Field(
        default=1024,
        ge=8,
        le=60_000,
        description="Connections at once at each of the two listeners. When all are taken, the address that holds most "
        "loses its oldest.",
    )
    connections_per_address: int = Field(
        default=128,
        ge=1,
        le=60_000,
        description="Of those, from one address (IPv6: one /64). Whole offices and carriers may share one.",
    )
    handshake_s: float = Field(default=30.0, gt=0, le=600, description="How long a TLS handshake may take, in seconds.")
    head_s: float = Field(
        default=20.0, gt=0, le=600, description="How long the head of a request may take to come, in seconds."
    )
    body_s: float = Field(
        default=30.0, gt=0, le=600, description="How long the body of a request may take to come, in seconds."
    )
    body_bytes: int = Field(
        default=655_360,
        ge=655_360,
        le=1_000_000,
        description="The longest body of a request, in bytes; a measurement server's record may need half a megabyte, "
        "and from a whole one on forms would go to the disk. A longer one is refused with status 413, unread.",
    )
