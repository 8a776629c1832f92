"""A job about centers in shards, so that several machines do it at once: each center is in one of them, by its code."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

SHARDS = 12  # can be shared out evenly among two, three, four or six machines


@dataclass(frozen=True)
class Shard:
    """Number `number` of `count`, from 1."""

    number: int = 1
    count: int = 1

    @property
    def is_first(self) -> bool:
        """It does what is to be done once for all."""
        return self.number == 1

    def name(self, job: str) -> str:
        """Of its lease."""
        return job if self.count == 1 else f"{job} {self.number}"

    def mine(self, center: sa.ColumnElement[str]) -> list[sa.ColumnElement[bool]]:
        """The condition for its centers. SQLite has one machine, and one shard."""
        if self.count == 1:
            return []
        place = (sa.func.hashtext(center) % self.count + self.count) % self.count
        return [place == self.number - 1]


WHOLE = Shard()


def shards_of(dialect: str) -> list[Shard]:
    count = SHARDS if dialect == "postgresql" else 1
    return [Shard(number, count) for number in range(1, count + 1)]


def job_of(name: str) -> str:
    """The job that a lease of this name is of."""
    return name.partition(" ")[0]
