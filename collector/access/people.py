"""The accounts of a broker: the names that its settings are made of. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class People:
    """Who may connect to a broker, and who may no more; by the common names of certificates."""

    services: Sequence[str]
    gateways: Sequence[str]
    revoked: Sequence[str] = ()
