"""The gateway's local page: what was last measured, what last failed, what waits to be sent. Works with no network.

`Board` collects readings as they are taken; `StatusView` is all the page shows; `serve` shows it at ``/`` (for
people, English and Urdu, no script) and at ``/status.json`` (for programs).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from agent.local import http
from agent.wire import LinkReading, Reading, SpeedReading, UpsReading

SERIES_LENGTH = 240  # four hours of a minute's readings
LIMITS = http.Limits(body_bytes=0, connections=16, connections_per_address=16)


class Board:
    """The newest reading and the newest failure of each kind and subject, apart: a success hides no failure."""

    def __init__(self) -> None:
        self.last: dict[str, Reading] = {}
        self.failures: dict[str, Reading] = {}
        self.series: dict[str, deque[float | None]] = {}

    def note(self, reading: Reading) -> None:
        key = key_of(reading)
        if reading.failure is not None:
            self.failures[key] = reading
        else:
            self.last[key] = reading
        for name, value in figures(reading).items():
            name = f"{name} {reading.subject}".strip()
            self.series.setdefault(name, deque(maxlen=SERIES_LENGTH)).append(value)


def key_of(reading: Reading) -> str:
    """``link``, ``ups`` …, with the subject behind a space where there is one."""
    return f"{reading.__struct_config__.tag} {reading.subject}".strip()


def figures(reading: Reading) -> dict[str, float | None]:
    """The figures that are drawn over time; None leaves a gap, as a failure does."""
    if isinstance(reading, LinkReading):
        return {"rtt_median_ms": reading.rtt_median_ms, "loss_pct": reading.loss_pct}
    if isinstance(reading, SpeedReading):
        return {"download_mbps": reading.download_mbps, "upload_mbps": reading.upload_mbps}
    if isinstance(reading, UpsReading):
        return {"battery_charge_pct": reading.battery_charge_pct}
    return {}


class StatusView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the page shows. Times in milliseconds UTC; None is unknown."""

    now_ms: int
    started_ms: int
    version: str
    center: str = ""  # code; empty before enrolment
    center_name: str = ""
    device: str = ""
    uplink: Literal["connected", "connecting", "off"] = "off"
    uplink_detail: str = ""  # why it is not connected, one line
    last_receipt_ms: int | None = None
    spool_readings: int | None = None
    spool_bytes: int | None = None
    spool_max_bytes: int | None = None
    speed_used_mb: float | None = None  # this month
    speed_budget_mb: float | None = None
    speed_mode: str = ""  # how long tests are for the rest of the month, so that the budget holds
    speed_share: float = 1.0  # of the slots
    clock: Literal["synced", "unsynced"] = "unsynced"
    last: Mapping[str, Reading] = {}
    failures: Mapping[str, Reading] = {}
    series: Mapping[str, Sequence[float | None]] = {}


async def serve(address: str, view: Callable[[], StatusView]) -> asyncio.Server:
    """Shows ``view()`` at ``HOST:PORT``. Raises ValueError for an address that is none, OSError when it is taken."""

    async def answer(request: http.Request) -> http.Answer:
        return respond(request, view)

    return await http.serve(address, answer, LIMITS)


def respond(request: http.Request, view: Callable[[], StatusView]) -> http.Answer:
    """The page as asked for. Raises http1.Refused."""
    from agent.local.status_page import page  # its words and styles cost memory only once somebody looks

    if request.method != "GET":
        raise http.Refused(405, "this page is only read: GET")
    if not is_local_name(request.headers.get("host", "")):
        raise http.Refused(403, "ask by address, not by name: a foreign site's name must not open this page")
    path, _, query = request.path.partition("?")
    if path == "/status.json":
        return http.Answer(status=200, body=msgspec.json.encode(view(), enc_hook=list))
    if path == "/":
        return http.Answer(status=200, body=page(view(), "ur" if query == "lang=ur" else "en").encode(), kind=http.HTML)
    raise http.Refused(404, "there is only / and /status.json")


def is_local_name(host: str) -> bool:
    """True for an address or ``localhost``: any other name may be a web site's that was re-pointed here (rebinding)."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    try:
        return name == "localhost" or bool(ipaddress.ip_address(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        return False
