"""A country of sixty centers for the tasks that people come to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from collector.access.accounts import contacts
from collector.access.accounts.policy import Account
from collector.common.scope import Scope
from collector.desk import follow
from collector.judging.current import ranks_of
from collector.reports import revisions, schedule
from collector.standard import Standards
from collector.store import Store, center_states, schema


@contextmanager
def country(folder: Path, standards: Standards, cast: Any) -> Iterator[Any]:
    """Sixty centers with their incidents, telephone numbers and a closed month, behind a real server."""
    store = Store.open(f"sqlite:///{folder}/nabz.sqlite")
    cast.add_fleet(store, 60)
    cast.add_full_center(store, "KHI-0001")
    cast.add_story(store, "KHI-0001")
    with store.write() as conn:
        c = schema.centers.c
        conn.execute(sa.update(schema.centers).values(latitude=30.0, longitude=70.0))
        raised = sa.select(schema.flags).where(schema.flags.c.state == "raised")
        names = ("center", "criterion", "subject", "value", "bound", "reason", "standard")
        moves = {"was": "pending", "now": "raised"}
        rows = [
            {name: flag[name] for name in names} | moves | {"at_ms": flag["since_ms"], "recorded_ms": flag["since_ms"]}
            for flag in conn.execute(raised).mappings()
        ]
        conn.execute(sa.insert(schema.changes), rows)
        follow.follow(conn, standards, cast.NOW_MS)
        center_states.settle(conn, ranks_of(standards.at(cast.NOW_MS)), cast.NOW_MS)
        for isp in conn.scalars(sa.select(c.isp).distinct()).all():
            whom = contacts.parse({"kind": "provider", "name": isp, "telephone": "+92 21 1234567"}, Scope())
            contacts.keep(conn, whom, Account("Amna", "admin", key="amna"), cast.NOW_MS)
        made = schedule.told(conn, "KHI-0001", "2026-10", standards, cast.NOW_MS)
        body = revisions.packed({name: part for name, part in made.items() if name not in ("revision", "adoption")})
        month = {"from_ms": 1_790_794_800_000, "opened_ms": 1, "why": "{}", "marks": 0, "revision": 1, "closed_ms": 2}
        conn.execute(sa.insert(schema.reports), [month | {"center": "KHI-0001", "body": body}])
    with cast.serve(store, standards, folder, public_page=True) as served:
        yield served
    store.close()
