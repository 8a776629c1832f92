"""What planned work, a closure or other hours may be about: centers that share a fact of the register. One table, for
the calendar and the desk's windows, their pages, commands and texts. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, get_args

SharedFact = Literal["center", "feeder", "exchange", "provider", "district", "province"]
SHARED_FACTS: tuple[SharedFact, ...] = get_args(SharedFact)

ATTRIBUTES: Mapping[SharedFact, str] = {
    "center": "code", "feeder": "feeder", "exchange": "exchange", "provider": "isp", "district": "district",
    "province": "province",
}  # fmt: skip


class Placed(Protocol):
    """What is asked of a center, as the register writes it."""

    @property
    def code(self) -> str: ...
    @property
    def isp(self) -> str: ...
    @property
    def feeder(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def district(self) -> str: ...
    @property
    def province(self) -> str: ...


def fact_of(center: Placed, fact: SharedFact) -> str:
    """What a center has of it; empty where it is not known."""
    return str(getattr(center, ATTRIBUTES[fact]))
