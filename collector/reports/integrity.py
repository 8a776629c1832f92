"""What is to be known of the honesty of a month's evidence: findings about a center's gateways, second stories and what
was decided of them, and jumps of the collector's own clock. Codes with parameters; nothing of it is a verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from agent.common.reasons import Reason
from collector.common.messages import Finding
from collector.judging.patterns import FINDINGS as PATTERN_FINDINGS
from collector.judging.places import FINDINGS as PLACE_FINDINGS
from collector.store import schema

# Of the findings, those that say something about the evidence as a whole.
TOLD: tuple[Finding, ...] = (
    "equivocation", "fork", "hole", "lost_by_us", "went_back", "older_journal", "clone", "flapping", "shared_seat",
    "bad_signature", "disagrees", "replayed", "not_granted_to_this_device", "lan_server", "over_quota", "flood",
    "unreported",
    "past", "new_spool", *PLACE_FINDINGS, *PATTERN_FINDINGS, "challenge_missed",
)  # fmt: skip

STORY = {"held": "story.held", "taken": "story.taken", "refused": "story.refused"}  # by its state

Row = dict[str, Any]

_i, _s, _j = schema.integrity.c, schema.second_stories.c, schema.clock_jumps.c


def of_centers(conn: sa.Connection, codes: Sequence[str], from_ms: int, to_ms: int) -> dict[str, list[Row]]:
    """Rows of {code, count, first_ms, last_ms, detail} by center: how often, when, and the newest reason."""
    by_center: dict[str, list[Row]] = defaultdict(list)
    mine = _i.center.in_(codes) & _i.at_ms.between(from_ms, to_ms - 1) & _i.finding.in_(TOLD)
    query = sa.select(_i.center, _i.finding, _i.at_ms, _i.detail).where(mine).order_by(_i.center, _i.at_ms, _i.id)
    some: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in conn.execute(query):
        some[row.center, row.finding].append(row)
    for (center, finding), rows in sorted(some.items()):
        by_center[center].append(
            _row(f"finding.{finding}", len(rows), rows[0].at_ms, rows[-1].at_ms, msgspec.json.decode(rows[-1].detail))
        )
    stories = sa.select(schema.second_stories).where(_s.center.in_(codes), _s.first_ms < to_ms, _s.last_ms >= from_ms)
    for row in conn.execute(stories.order_by(_s.center, _s.device, _s.spool)):
        detail = story_reason(dict(row._mapping))
        story = _row("finding.second_story", row.batches, row.first_ms, row.last_ms, msgspec.to_builtins(detail))
        by_center[row.center].append(story)
    jumps = conn.execute(
        sa.select(_j.from_ms, _j.to_ms).where(_j.to_ms.between(from_ms, to_ms - 1)).order_by(_j.to_ms)
    ).all()
    if jumps:
        last = jumps[-1]
        detail = Reason.of("clock.jumped", jump_s=round((last.to_ms - last.from_ms) / 1000))
        own = _row("finding.clock_jump", len(jumps), jumps[0].to_ms, last.to_ms, msgspec.to_builtins(detail))
        for code in codes:
            by_center[code].append(own)
    return by_center


def story_reason(row: Mapping[str, Any]) -> Reason:
    """What is to be said of a row of `second_stories`."""
    by = {"by": row["decided_by"], "why": row["reason"]} if row["state"] != "held" else {}
    return Reason.of(STORY[row["state"]], device=row["device"], spool=row["spool"], n=row["batches"], **by)


def _row(code: str, count: int, first_ms: int, last_ms: int, detail: Any) -> Row:
    return {"code": code, "count": count, "first_ms": first_ms, "last_ms": last_ms, "detail": detail}
