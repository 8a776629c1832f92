"""What is left in a battery."""

from __future__ import annotations

PLENTY_PCT, PLENTY_S = 60.0, 900.0  # so much charge, or so long a runtime where charge is unknown, is not "low"


def has_plenty(charge_pct: float | None, runtime_s: float | None) -> bool:
    """Whether what is left in a battery contradicts the word "low"."""
    if charge_pct is not None:
        return charge_pct > PLENTY_PCT
    return runtime_s is not None and runtime_s > PLENTY_S
