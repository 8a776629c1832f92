"""Every code that agent and collector produce, with parameters as they come. Tests render each in every language."""

from __future__ import annotations

from collections.abc import Mapping

from agent.common.reading_codes import BOOT_EVIDENCE, CORRECTIONS, SEAT_FAULTS
from agent.common.reasons import Param

Examples = Mapping[str, Mapping[str, Param]]

AGENT: Examples = {
    f"{room}.{code}": params
    for room, table in (("seat_fault", SEAT_FAULTS), ("boot", BOOT_EVIDENCE), ("correction", CORRECTIONS))
    for code, params in table.items()
}

COLLECTOR: Examples = {}
