"""A center: one row of the register."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import sqlalchemy as sa

from collector.register.opening_hours import DayRule, Opening
from collector.register.opening_hours import parse as parse_hours

_HEADS = {"code": "center"}  # fields that the table calls otherwise


@dataclass(frozen=True, kw_only=True)
class Center:
    """One row of the register. `since_ms` is when its lifecycle began, `changed_ms` when any of this last changed."""

    code: str
    name: str
    tier: str
    seats_promised: int
    opening: str
    lifecycle: str
    owner: str = ""
    building: str = ""
    city: str = ""
    district: str = ""
    province: str = ""
    isp: str = ""
    feeder: str = ""
    exchange: str = ""
    latitude: float | None = None
    longitude: float | None = None
    contract_down_mbps: float | None = None
    contract_up_mbps: float | None = None
    contact: str = ""
    phone: str = ""
    cabins: int | None = None
    meeting_rooms: int | None = None
    training_rooms: int | None = None
    seat_price_rs: int | None = None
    generator_kva: float | None = None
    since_ms: int = 0
    changed_ms: int = 0
    rules: tuple[DayRule, ...] = ()  # what the calendar says of its days, see collector.register.calendar

    @property
    def hours(self) -> Opening:
        return parse_hours(self.opening, rules=self.rules)

    def row(self) -> dict[str, object]:
        """As the table has it."""
        names = (field.name for field in dataclasses.fields(Center) if field.name != "rules")
        return {_HEADS.get(name, name): getattr(self, name) for name in names}

    def at(self, _at_ms: int) -> Center:
        """As it was then, as far as that is known (collector.register.dated)."""
        return self

    def facts(self) -> dict[str, object]:
        """What people state about a center: all but its times."""
        return {name: value for name, value in self.row().items() if name not in ("since_ms", "changed_ms")}


def from_row(row: sa.Row[tuple[object, ...]]) -> Center:
    fields = dict(row._mapping)
    return Center(code=fields.pop("center"), **fields)
