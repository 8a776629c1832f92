"""What routing knows: an incident with the homes of its centers, and all that it chooses from. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from collector.desk.incident import OPEN, State
from collector.desk.routing.recipients import AddressKind, CenterHome
from collector.desk.symptoms import Family
from collector.standard.criteria import Severity


class IncidentCenter(NamedTuple):
    """Where one center of an incident is."""

    code: str
    owner: str
    isp: str
    district: str
    province: str


class PersonalChannel(NamedTuple):
    """A channel that sends to persons, and the kind of address that it needs of them."""

    name: str
    address: AddressKind


@dataclass(frozen=True)
class IncidentFacts:
    """`hearers`: the persons who have been told of it, with the channel of the last message to each. `routes`: those by
    which it is escalated already."""

    id: int
    severity: Severity
    family: Family
    state: State = "new"
    is_snoozed: bool = False
    centers: Sequence[CenterHome] = ()
    hearers: Mapping[str, str] = field(default_factory=dict)
    routes: frozenset[int] = frozenset()

    @property
    def is_escalated(self) -> bool:
        """Whether nobody looks after it yet, so that time alone calls more people."""
        return self.state == "new" and not self.is_snoozed

    @property
    def is_open(self) -> bool:
        return self.state in OPEN
