"""One finding about an installation, and what the checks look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agent import identity
from agent.config import AgentSettings


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One line of the doctor. ``fix`` is empty when all is well."""

    what: str
    detail: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        return not self.fix


@dataclass(frozen=True)
class Installation:
    settings: AgentSettings
    mine: identity.Identity | None
    trouble: identity.IdentityError | None = None  # why there is no identity


Check = Callable[[Installation], Iterator[Diagnosis]]
