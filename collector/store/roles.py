"""Who may do what in PostgreSQL, so that the database itself refuses the rest.

`nabz_ingest` takes and judges readings: evidence, changes and findings it can only add to, and of a reading it can
move but the time. `nabz_web` is the pages, the desk, enrolment, alerts and measurement servers' records. `nabz_auditor`
reads all but secrets.
`nabz_migrate` owns the tables: migrations and housekeeping. All may log in; how is PostgreSQL's own business.
"""

from __future__ import annotations

import sqlalchemy as sa

from collector.store import schema

INGEST, WEB, AUDITOR, OWNER = "nabz_ingest", "nabz_web", "nabz_auditor", "nabz_migrate"
WORDS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}
WORDS |= {
    letter: f"UPDATE ({column})"
    for letter, column in zip("qmtvs", ("queued_ms", "routed_ms", "wall_ms", "value", "sampled_ms"), strict=True)
}
WORDS["n"] = "SELECT (n)"

# Of each table: what ingest, web and the auditor may do, in letters of WORDS.
_ADDED = ("ra", "r", "r")
_DATED = ("rat", "r", "r")  # a boot that synchronises late puts the time of its readings right
_DERIVED = ("raw", "r", "r")
_DESK = ("r", "raw", "r")
_SUMS = ("", "r", "r")
MATRIX: dict[str, tuple[str, str, str]] = {
    "about": ("rv", "r", "r"),  # a gateway's proof that the database went back begins an epoch
    "adoptions": _DESK,
    "alerts": ("", "raw", "r"),
    "api_keys": ("", "raw", ""),
    "archive_parts": ("r", "r", "r"),
    "archived": ("rd", "r", "r"),  # what comes late has its day back in the tables
    "attachment_bodies": ("", "rad", "r"),  # bytes that were harmed are put right
    "attachments": ("", "ra", "r"),
    "beacons": _DESK,
    "boots": _DERIVED,
    "calendar": _DESK,
    "center_states": ("rawd", "rawd", "r"),  # derived: of whoever changes what it comes of
    "challenges": ("raw", "raw", "r"),
    "centers": ("r", "rawd", "r"),  # one that an import added is gone when that is taken back
    "certificates": ("r", "ra", "r"),
    "changes": ("raq", "raq", "r"),  # what the desk has taken is a mark on the row, the only thing that may change
    "channels": ("", "raw", "r"),
    "clock_jumps": ("ra", "r", "r"),
    "contacts": ("", "rawd", "r"),
    "copies": ("", "r", "r"),
    "cuts": _DERIVED,
    "day_sheets": ("rw", "rw", "r"),  # what comes late marks one; only housekeeping makes them
    "decisions": ("", "ra", "r"),
    "device_settings": ("raw", "raw", "r"),
    "devices": _DESK,
    "digests": ("", "ra", "r"),
    "disputes": ("r", "raw", "r"),
    "draft_trials": ("", "raw", "r"),
    "enrolments": ("", "raw", ""),
    "erasures": ("", "raw", "r"),
    "escalations": ("", "raw", "r"),
    "evidence": _ADDED,
    "facts": _DESK,
    "fetches": ("raw", "raw", "r"),
    "flags": ("raw", "raw", "r"),  # a measurement server's record may move one
    "gaps": _DERIVED,
    "generations": ("raw", "raw", "r"),
    "grants": ("raw", "raw", "r"),
    "guesses": ("rawd", "r", "r"),
    "heartbeats": ("raw", "raw", "r"),
    "imports": ("", "raw", "r"),
    "incident_events": ("raqm", "raqm", "r"),  # rows are added; the alerts' queue is a mark on the row
    "incident_members": ("raw", "raw", "r"),
    "incidents": ("raw", "raw", "r"),
    "ingest_workers": ("rawd", "rawd", "r"),
    "inspections": ("", "raw", "r"),
    "integrity": ("ra", "ra", "r"),
    "job_holders": ("", "rawd", "r"),
    "jobs": ("", "raw", "r"),  # who does what now: no secret, and worth nothing to an attacker
    "journal": ("n", "ra", "r"),  # receipts tell how far it goes
    "late_hours": _DERIVED,
    "latest": _DERIVED,
    "links": ("", "raw", ""),
    "log_checkpoints": ("", "r", "r"),
    "log_leaves": ("", "ra", "r"),  # of what people decide; its owner numbers and signs
    "log_tiles": ("", "r", "r"),
    "measure_servers": _DESK,
    "month_risks": _SUMS,  # of day sheets: only housekeeping makes them
    "nonces": ("ra", "ra", "r"),
    "owners": ("", "raw", "r"),
    "persons": ("", "raw", ""),
    "plan_steps": ("", "rawd", "r"),
    "pulse": _DERIVED,
    "push_devices": ("", "rawd", ""),  # whoever has one can send to it
    "questions": ("rw", "raw", "r"),
    "records": ("r", "ras", "r"),
    "remote_settings": ("", "ra", "r"),
    "restores": ("ra", "r", "r"),
    "report_recipients": ("", "raw", "r"),
    "reports": ("raw", "raw", "r"),  # what comes late opens a revision; only housekeeping closes one or lets it go
    "revocations": ("r", "ra", "r"),
    "rota_overrides": ("", "rawd", "r"),
    "rotas": ("", "rawd", "r"),
    "routes": ("", "rawd", "r"),
    "scores": _SUMS,
    "sightings": ("raw", "raw", "r"),
    "saved_views": ("", "rawd", ""),
    "second_stories": ("raw", "rw", "r"),  # people decide on pages; what they take is filed by housekeeping
    "second_factors": ("", "raw", ""),
    "server_tokens": ("", "rawd", ""),
    "sessions": ("", "rawd", ""),
    "set_aside": ("rad", "r", "r"),
    "spools": _DERIVED,
    "tallies": _DERIVED,
    "tokens": ("", "raw", ""),
    "verified_months": ("", "", "r"),  # whoever verifies with the collector's key owns the tables
    "visit_lists": ("", "raw", "r"),
    "windows": ("r", "raw", "r"),
    "wrong_tries": ("", "rad", ""),
    **{table.name: _DATED for table in schema.readings.values()},
    **{table.name: _SUMS for tables in (schema.hours, schema.days) for table in tables.values()},
}


def is_numbered(table: sa.Table) -> bool:
    """Whether the database gives the rows their ids."""
    return "id" in table.c and isinstance(table.c.id.type, sa.Integer)


def made(conn: sa.Connection) -> bool:
    """Whether this PostgreSQL has the roles."""
    if conn.dialect.name != "postgresql":
        return False
    return bool(conn.scalar(sa.text("SELECT count(*) FROM pg_roles WHERE rolname = :name"), {"name": OWNER}))


def make(conn: sa.Connection) -> None:
    """Makes the roles that are missing, gives the tables to their owner, and grants. By a superuser."""
    for role in (INGEST, WEB, AUDITOR, OWNER):
        if not conn.scalar(sa.text("SELECT count(*) FROM pg_roles WHERE rolname = :name"), {"name": role}):
            conn.execute(sa.text(f"CREATE ROLE {role} LOGIN"))
    conn.execute(sa.text(f"GRANT USAGE, CREATE ON SCHEMA public TO {OWNER}"))
    for name in conn.scalars(_TABLES):
        conn.execute(sa.text(f'ALTER TABLE "{name}" OWNER TO {OWNER}'))
    grant(conn)


def grant(conn: sa.Connection) -> None:
    """Says anew who may do what; nobody else may do anything. By the owner of the tables."""
    everyone = f"PUBLIC, {INGEST}, {WEB}, {AUDITOR}"
    conn.execute(sa.text(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {everyone}"))
    conn.execute(sa.text(f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {everyone}"))
    conn.execute(sa.text(f"REVOKE CREATE ON SCHEMA public FROM {everyone}"))
    conn.execute(sa.text(f"GRANT USAGE ON SCHEMA public TO {INGEST}, {WEB}, {AUDITOR}"))
    conn.execute(sa.text(f"GRANT SELECT ON alembic_version TO {INGEST}, {WEB}, {AUDITOR}"))
    for table, letters in MATRIX.items():
        for role, may in zip((INGEST, WEB, AUDITOR), letters, strict=True):
            if may:
                conn.execute(sa.text(f"GRANT {', '.join(WORDS[letter] for letter in may)} ON {table} TO {role}"))
            if "a" in may and is_numbered(schema.metadata.tables[table]):
                conn.execute(sa.text(f"GRANT USAGE ON SEQUENCE {table}_id_seq TO {role}"))


_TABLES = sa.text(
    "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')"
)
