"""What a person says of a second story: it is taken, or it stays out. Who may is the caller's to check."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa

from agent.common.reasons import Reason
from agent.common.words import CodedError
from collector.access import users
from collector.acts.person import ActingPerson
from collector.common.messages import one_line
from collector.store import schema
from collector.store.journal import journaled

MAX_REASON = 2000
Decision = Literal["taken", "refused"]

DECISIONS: dict[str, Decision] = {"take": "taken", "refuse": "refused"}
DECIDED: dict[str, str] = {"taken": "story.was_taken", "refused": "story.was_refused"}  # what is said of those
ACTS: dict[Decision, users.Act] = {"taken": "story_taken", "refused": "story_refused"}

_s = schema.second_stories.c


class StoryError(CodedError):
    """There is nothing to decide, or no reason; its code says which."""

    def __init__(self, code: str, device: str, spool: str) -> None:
        super().__init__(Reason.of(code, device=device[:64], spool=spool[:64]))


def center_of(conn: sa.Connection, device: str, spool: str) -> str:
    """Of a story that waits for a decision. Raises StoryError."""
    row: Any = conn.execute(
        sa.select(schema.second_stories).where(_s.device == device, _s.spool == spool)
    ).one_or_none()
    if row is None or row.state != "held":
        raise StoryError("story.unknown" if row is None else DECIDED[row.state], device, spool)
    return str(row.center)


def decide(conn: sa.Connection, device: str, spool: str, decision: Decision, reason: str, who: ActingPerson) -> str:
    """Returns the center. What is taken is filed by `collector.ingest.taking`. Raises StoryError."""
    center, mine = center_of(conn, device, spool), (_s.device == device) & (_s.spool == spool)
    if not reason.strip():
        raise StoryError("story.no_reason", device, spool)
    values = {"state": decision, "decided_ms": who.now_ms, "decided_by": who.name, "filed_ms": None}
    text = one_line(reason, MAX_REASON)
    conn.execute(sa.update(schema.second_stories).where(mine).values(**values, reason=text))
    journaled(conn, schema.second_stories, center, device, spool)
    about = {"center": center, "device": device, "subject": spool, "reason": text}
    users.record(conn, ACTS[decision], who.name, who.now_ms, is_proven=who.is_proven, **about)
    return center
