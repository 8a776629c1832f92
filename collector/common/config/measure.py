"""The settings of the measurement server, and of the tests that are drawn for gateways."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from collector.common.config.endpoint import HttpUrl, Listen, SlotText
from collector.common.config.table import CollectorSection

Asn = Annotated[int, Field(gt=0, lt=2**32)]  # RFC 6793


class MeasureSection(CollectorSection):
    enabled: bool = Field(
        default=True, description="Run the measurement server beside the collector, as a process of its own."
    )
    listen: Listen = Field(default="127.0.0.1:8481", description="Where the measurement server listens.")
    public_url: HttpUrl = Field(
        default="",
        description="Address gateways test against, told at enrolment; empty: as `listen`, "
        "by the host of our broker where that is all addresses.",
    )
    bandwidth_mbps: float = Field(
        default=1000.0,
        gt=0,
        le=1e6,
        description="What the measurement server's own line carries each way, in Mbit/s: it bounds the tests at once.",
    )
    line_mbps: float = Field(
        default=100.0,
        gt=0,
        le=1e6,
        description="The fastest line a center has, in Mbit/s: each test at once may need as much. No official figure.",
    )
    drawn_slots: tuple[SlotText, ...] = Field(
        default=("08:00-09:00", "10:00-13:00", "14:00-17:00", "19:00-22:00"),
        description="Times of day in each of which the collector draws one test of each center, at a moment that only "
        "it knows: HH:MM-HH:MM by the centers' clock, as the gateways' own slots; empty: gateways draw their own.",
    )
    fetch_mb: int = Field(
        default=8,
        ge=0,
        le=64,
        description="Megabytes of a file that each gateway fetches once a day, sometimes twice, at a moment that only "
        "the collector knows, so that tests cannot be given a better way than the rest; 0: none.",
    )
    networks: Path | None = Field(
        default=None,
        description="A database of AS numbers in the MaxMind DB format, such as GeoLite2 ASN or DB-IP ASN Lite, by "
        "which tests are told apart by network; without one no network is named. A newer file may replace it any time.",
    )
    providers: dict[str, tuple[Asn, ...]] = Field(
        default={},
        description="The AS numbers of each internet provider, under the name that centers have in the register, e.g. "
        "`PTCL = [17557, 45595]`. By them a test is on the provider's network or not; empty: unknown.",
    )
