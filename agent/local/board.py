"""What the gateway's own page shows: the newest readings, kept while the agent runs, and the view made of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from agent.common.causes import UplinkCause
from agent.local.ceilings import Ceiling
from agent.wire import CenterStanding, Reading, SettingsReport, kind_of

SERIES_LENGTH = 240  # four hours of a minute's readings


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
            self.series.setdefault(f"{key} {name}", deque(maxlen=SERIES_LENGTH)).append(value)


def key_of(reading: Reading) -> str:
    """``link``, ``ups`` …, with the subject behind a space where there is one."""
    return f"{reading.__struct_config__.tag} {reading.subject}".strip()


def figures(reading: Reading) -> dict[str, float | None]:
    """The figures that are drawn over time; None leaves a gap, as a failure does."""
    return {figure.name: getattr(reading, figure.field) for figure in kind_of(reading).drawn if figure.is_number}


class StatusView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the page shows. Times in milliseconds UTC; None is unknown."""

    now_ms: int
    started_ms: int
    version: str
    center: str = ""  # code; empty before enrolment
    center_name: str = ""
    device: str = ""
    uplink: Literal["connected", "connecting", "off"] = "off"
    uplink_cause: UplinkCause | None = None  # why nothing is being sent, and in a sentence of the log's
    uplink_detail: str = ""
    collector_refusal: str = ""  # the code with which the collector last refused a certificate
    last_receipt_ms: int | None = None
    standing: tuple[int, CenterStanding] | None = None  # how the center stands, and when the collector said so
    messages_refused: int = 0  # that no collector of ours sealed
    batches_disputed: int = 0  # the collector holds other readings under their numbers
    spool_readings: int | None = None
    spool_bytes: int | None = None
    spool_max_bytes: int | None = None
    speed_used_mb: float | None = None  # this month
    speed_budget_mb: float | None = None
    speed_mode: str = ""  # how long tests are for the rest of the month, so that the budget holds
    speed_share: float = 1.0  # of the slots
    clock: Literal["synced", "unsynced"] = "unsynced"
    ceilings: Sequence[Ceiling] = ()
    settings: SettingsReport = SettingsReport()  # of the collector's, which are in force
    last: Mapping[str, Reading] = {}
    failures: Mapping[str, Reading] = {}
    series: Mapping[str, Sequence[float | None]] = {}
