"""Mains, and what else feeds a load."""

from __future__ import annotations

from typing import Literal

LEAST_MAINS_V = 85.0  # phase to neutral, anywhere in the world: below it the mains is gone

# What feeds a load, where a UPS or an inverter says it (`wire.UpsReading.source`); a newer gateway may know others.
Source = Literal["grid", "generator", "solar", "battery", "unknown"]
