"""The agent's settings: one TOML file, typed, every default visible here, unknown keys refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file. The help of each key stands in HELP, so that docs and errors say the same."""


class Agent(Section, frozen=True, kw_only=True):
    state_dir: str = "/var/lib/nabz-agent"
    cycle_s: Seconds = 60.0
    status_listen: str = "127.0.0.1:8470"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Link(Section, frozen=True, kw_only=True):
    name: str = "wan"
    target: str = ""  # empty: the collector this gateway is enrolled with
    isp_hops: Annotated[int, msgspec.Meta(ge=0, le=5)] = 2
    probes: Annotated[int, msgspec.Meta(ge=3, le=1000)] = 20
    interval_ms: Annotated[int, msgspec.Meta(ge=20, le=10000)] = 100


class Speed(Section, frozen=True, kw_only=True):
    enabled: bool = True
    engine: Literal["librespeed", "ookla"] = "librespeed"
    server: str = ""  # empty: the measurement server named at enrolment
    mode: Literal["quick", "adaptive", "full"] = "adaptive"
    slots: list[str] = msgspec.field(
        default_factory=lambda: ["08:00-09:00", "10:00-13:00", "14:00-17:00", "19:00-22:00"]
    )
    monthly_budget_mb: Annotated[int, msgspec.Meta(ge=0)] = 8000
    plan_mbps: Annotated[float, msgspec.Meta(gt=0)] | None = None
    at_start: bool = True
    wan_interface: str = ""  # empty: the one that carries the default route


class Ups(Section, frozen=True, kw_only=True):
    name: str = "ups"
    host: str = ""
    port: Port = 161
    snmp_version: Literal["1", "2c", "3"] = "2c"
    community: str = "public"
    user: str = ""
    auth_protocol: Literal["none", "md5", "sha", "sha224", "sha256", "sha384", "sha512"] = "none"
    auth_key_file: str = ""
    priv_protocol: Literal["none", "des", "aes", "aes192", "aes256"] = "none"
    priv_key_file: str = ""
    poll_s: Seconds = 10.0


class Seats(Section, frozen=True, kw_only=True):
    enabled: bool = True
    listen: str = "0.0.0.0:8471"
    missing_after_s: Seconds = 180.0
    max_cpu_pct: float = 97.0
    max_memory_pct: float = 97.0
    max_disk_pct: float = 97.0
    max_temperature_c: float = 95.0


class Spool(Section, frozen=True, kw_only=True):
    max_mb: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64


class Settings(Section, frozen=True, kw_only=True):
    """The whole file."""

    agent: Agent = Agent()
    link: Link = Link()
    speed: Speed = Speed()
    ups: list[Ups] = []
    seats: Seats = Seats()
    spool: Spool = Spool()

    @property
    def state_dir(self) -> Path:
        return Path(self.agent.state_dir)
