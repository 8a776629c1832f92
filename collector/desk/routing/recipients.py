"""Whoever a message can be sent to: accounts with their contact, and contacts without an account. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agent.common.center_time import TZ
from collector.common.scope import EVERYWHERE, Scope
from collector.register.opening_hours import DayRule, is_open, next_opening, parse

AddressKind = Literal["telephone", "email", "whatsapp", "telegram", "push"]
OF_CONTACTS: tuple[AddressKind, ...] = ("telephone", "email", "whatsapp", "telegram")
ADDRESSES: tuple[AddressKind, ...] = (*OF_CONTACTS, "push")  # the last is an account's key: devices are looked up by it
RecipientRole = Literal["operator", "desk", "auditor", "admin", "contact"]


class CenterHome(Protocol):
    """Where a center of an incident is: the columns of the register that routes look at."""

    @property
    def code(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def isp(self) -> str: ...
    @property
    def district(self) -> str: ...
    @property
    def province(self) -> str: ...


@dataclass(frozen=True)
class Recipient:
    """`key` is an account's, or `contact:ID`. `names` limits a contact of an owner to the centers of that name. `hours`
    are those in which the person may be called; empty: always."""

    key: str
    name: str
    role: RecipientRole
    scope: Scope = EVERYWHERE
    lang: str = "en"
    hours: str = ""
    addresses: Mapping[AddressKind, str] = field(default_factory=dict)
    owner: str = ""

    def concerns(self, center: CenterHome) -> bool:
        return self.owner in ("", center.owner) and self.scope.includes(center)

    def sees_any(self, centers: Sequence[CenterHome]) -> bool:
        """Whether an incident of these centers is the person's to know of; one of no center is everybody's."""
        return not centers or any(self.concerns(center) for center in centers)

    def is_on(self, now_ms: int, days: tuple[DayRule, ...] = ()) -> bool:
        """Whether now is within the person's hours; on a holiday of `days` nobody has any."""
        return not self.hours or is_open(parse(self.hours, TZ, days), now_ms)

    def on_from_ms(self, now_ms: int, days: tuple[DayRule, ...] = ()) -> int | None:
        """When the person's hours begin next, or now within them; None: not within a week."""
        return next_opening(parse(self.hours, TZ, days), now_ms) if self.hours else now_ms
