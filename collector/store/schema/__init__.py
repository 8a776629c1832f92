"""The tables. One schema for SQLite and PostgreSQL, in SQLAlchemy Core.

Times are milliseconds since 1970 UTC. Every table about a center has its code in its key, so that a distributed
database can shard by it. The tables of readings are derived from the wire types (one column a field, lists as JSON)
and lie in time order: clustered by center, every row of a fleet dirties a page of its own. On PostgreSQL they and the
evidence are partitioned by month (collector.store.months); each has a partition for the rest, so no row is homeless.
"""

from collector.store.schema.accounts import (
    api_keys,
    contacts,
    decisions,
    persons,
    second_factors,
    sessions,
    wrong_tries,
)
from collector.store.schema.archive import archive_parts, archived
from collector.store.schema.batches import challenges, evidence, integrity, scores, set_aside, sightings, tallies
from collector.store.schema.common import metadata
from collector.store.schema.desk import alerts, channels, incident_events, incident_members, incidents
from collector.store.schema.gateways import (
    boots,
    certificates,
    device_settings,
    devices,
    enrolments,
    guesses,
    nonces,
    questions,
    remote_settings,
    revocations,
    second_stories,
    spools,
    tokens,
)
from collector.store.schema.judging import changes, cuts, flags, gaps, latest, pulse
from collector.store.schema.pages import center_states, saved_views
from collector.store.schema.register import calendar, centers, facts, imports, owners
from collector.store.schema.routing import (
    digests,
    escalations,
    links,
    plan_steps,
    rota_overrides,
    rotas,
    routes,
    windows,
)
from collector.store.schema.series import (
    FIGURES,
    PARTED,
    boots_by_center,
    days,
    hours,
    late_hours,
    of_record,
    readings,
    speeds_by_test,
    ups_by_center,
)
from collector.store.schema.sheets import day_sheets, log_checkpoints, log_leaves, log_tiles, report_recipients, reports
from collector.store.schema.speed import grants, measure_servers, records, server_tokens
from collector.store.schema.upkeep import about, clock_jumps, copies, heartbeats, journal, restores

__all__ = [
    "FIGURES",
    "PARTED",
    "about",
    "alerts",
    "api_keys",
    "archive_parts",
    "archived",
    "boots",
    "boots_by_center",
    "calendar",
    "center_states",
    "centers",
    "certificates",
    "challenges",
    "changes",
    "channels",
    "clock_jumps",
    "contacts",
    "copies",
    "cuts",
    "day_sheets",
    "days",
    "decisions",
    "device_settings",
    "devices",
    "digests",
    "enrolments",
    "escalations",
    "evidence",
    "facts",
    "flags",
    "gaps",
    "grants",
    "guesses",
    "heartbeats",
    "hours",
    "imports",
    "incident_events",
    "incident_members",
    "incidents",
    "integrity",
    "journal",
    "late_hours",
    "latest",
    "links",
    "log_checkpoints",
    "log_leaves",
    "log_tiles",
    "measure_servers",
    "metadata",
    "nonces",
    "of_record",
    "owners",
    "persons",
    "plan_steps",
    "pulse",
    "questions",
    "readings",
    "records",
    "remote_settings",
    "report_recipients",
    "reports",
    "restores",
    "revocations",
    "rota_overrides",
    "rotas",
    "routes",
    "saved_views",
    "scores",
    "second_factors",
    "second_stories",
    "server_tokens",
    "sessions",
    "set_aside",
    "sightings",
    "speeds_by_test",
    "spools",
    "tallies",
    "tokens",
    "ups_by_center",
    "windows",
    "wrong_tries",
]
