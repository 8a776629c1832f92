"""What tells those who watch from outside whether the collector works (`/healthz`) and may be sent to (`/readyz`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Watched:
    """A part that must have done its work within `within_s`; `age_s` is how long ago it last did. Any thread."""

    part: str
    within_s: float
    age_s: Callable[[], float]

    @property
    def is_late(self) -> bool:
        return self.age_s() > self.within_s


@dataclass(frozen=True)
class Needed:
    """What the collector cannot take readings without. Any thread."""

    name: str
    holds: Callable[[], bool]


@dataclass
class Health:
    """Filled while the collector starts."""

    watched: list[Watched] = field(default_factory=list)
    needed: list[Needed] = field(default_factory=list)
    workers: list[Watched] = field(default_factory=list)  # of ingest, on any machine: they come and go

    @property
    def parts(self) -> list[Watched]:
        return [*self.watched, *self.workers]

    def late(self) -> dict[str, float]:
        """Seconds since they last did their work, of the parts that are late."""
        return {item.part: round(item.age_s(), 1) for item in self.parts if item.is_late}

    def missing(self) -> Sequence[str]:
        return [item.name for item in self.needed if not item.holds()]
