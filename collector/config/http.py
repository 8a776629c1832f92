"""The bounds of the pages' and the enrolment's listeners."""

from __future__ import annotations

from pydantic import Field

from collector.config.table import CollectorSection


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
        default=65_536,
        ge=4096,
        le=100_000_000,
        description="The longest body of a request, in bytes. A longer one is refused with status 413, unread.",
    )
