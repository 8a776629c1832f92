"""The big tables in monthly parts on PostgreSQL; sums of hours and days."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"

KINDS = ("boot", "gateway", "link", "seats", "shed", "speed", "ups")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for kind in KINDS:
            _part(f"{kind}_readings", "wall_ms", "PRIMARY KEY (wall_ms, center, device, spool, seq)")
        op.create_index("boots_by_center", "boot_readings", ["center", "wall_ms"])
        op.create_index("speeds_by_test", "speed_readings", ["test_id"])
        op.execute("ALTER SEQUENCE evidence_id_seq OWNED BY NONE")
        _part("evidence", "received_ms", "CONSTRAINT evidence_id_received_ms_key UNIQUE (id, received_ms)")
        op.execute("ALTER SEQUENCE evidence_id_seq OWNED BY evidence.id")
        op.create_index("evidence_by_seq", "evidence", ["device", "spool", "first_seq"])
    _sums()


def _part(table: str, column: str, key: str) -> None:
    """The same rows in a table of monthly parts. It copies them all, so this step takes its time."""
    was = f"{table}_whole"
    op.execute(f"ALTER TABLE {table} RENAME TO {was}")
    op.execute(f"CREATE TABLE {table} (LIKE {was} INCLUDING DEFAULTS) PARTITION BY RANGE ({column})")
    op.execute(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT")
    month = f"date_trunc('month', to_timestamp({column} / 1000) AT TIME ZONE 'UTC')"
    for (first,) in op.get_bind().execute(sa.text(f"SELECT DISTINCT {month} FROM {was} ORDER BY 1")).all():  # noqa: S608
        start = first.replace(tzinfo=UTC)
        after = datetime(start.year + start.month // 12, start.month % 12 + 1, 1, tzinfo=UTC)
        bounds = f"FROM ({int(start.timestamp()) * 1000}) TO ({int(after.timestamp()) * 1000})"
        op.execute(f"CREATE TABLE {table}_p{start:%Y_%m} PARTITION OF {table} FOR VALUES {bounds}")
    op.execute(f"INSERT INTO {table} SELECT * FROM {was}")  # noqa: S608
    op.execute(f"DROP TABLE {was}")
    op.execute(f"ALTER TABLE {table} ADD {key}")


def _sums() -> None:
    op.create_table(
        "gateway_days",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("cpu_pct_sum", sa.Float(), nullable=True),
        sa.Column("cpu_pct_n", sa.Float(), nullable=True),
        sa.Column("memory_pct_sum", sa.Float(), nullable=True),
        sa.Column("memory_pct_n", sa.Float(), nullable=True),
        sa.Column("disk_free_pct", sa.Float(), nullable=True),
        sa.Column("spool_readings", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("center", "subject", "from_ms"),
        sqlite_with_rowid=False,
    )
    op.create_index("gateway_days_by_time", "gateway_days", ["from_ms"], unique=False)
    op.create_table(
        "gateway_hours",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("cpu_pct_sum", sa.Float(), nullable=True),
        sa.Column("cpu_pct_n", sa.Float(), nullable=True),
        sa.Column("memory_pct_sum", sa.Float(), nullable=True),
        sa.Column("memory_pct_n", sa.Float(), nullable=True),
        sa.Column("disk_free_pct", sa.Float(), nullable=True),
        sa.Column("spool_readings", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("center", "subject", "from_ms"),
        sqlite_with_rowid=False,
    )
    op.create_index("gateway_hours_by_time", "gateway_hours", ["from_ms"], unique=False)
    op.create_table(
        "late_hours",
        sa.Column("hour_ms", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("marked_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour_ms", "center"),
    )
    op.create_table(
        "link_days",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("rtt_median_ms_sum", sa.Float(), nullable=True),
        sa.Column("rtt_median_ms_n", sa.Float(), nullable=True),
        sa.Column("rtt_p95_ms", sa.Float(), nullable=True),
        sa.Column("jitter_ms_sum", sa.Float(), nullable=True),
        sa.Column("jitter_ms_n", sa.Float(), nullable=True),
        sa.Column("loss_pct", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("center", "subject", "from_ms"),
        sqlite_with_rowid=False,
    )
    op.create_index("link_days_by_time", "link_days", ["from_ms"], unique=False)
    op.create_table(
        "link_hours",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("rtt_median_ms_sum", sa.Float(), nullable=True),
        sa.Column("rtt_median_ms_n", sa.Float(), nullable=True),
        sa.Column("rtt_p95_ms", sa.Float(), nullable=True),
        sa.Column("jitter_ms_sum", sa.Float(), nullable=True),
        sa.Column("jitter_ms_n", sa.Float(), nullable=True),
        sa.Column("loss_pct", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("center", "subject", "from_ms"),
        sqlite_with_rowid=False,
    )
    op.create_index("link_hours_by_time", "link_hours", ["from_ms"], unique=False)
    op.create_table(
        "seats_days",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("healthy", sa.Float(), nullable=True),
        sa.Column("unhealthy", sa.Float(), nullable=True),
        sa.Column("missing", sa.Float(), nullable=True),
        sa.Column("off", sa.Float(), nullable=True),
        sa.Column("known", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("center", "subject", "from_ms"),
        sqlite_with_rowid=False,
    )
    op.create_index("seats_days_by_time", "seats_days", ["from_ms"], unique=False)
    op.create_table(
        "seats_hours",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("healthy", sa.Float(), nullable=True),
        sa.Column("unhealthy", sa.Float(), nullable=True),
        sa.Column("missing", sa.Float(), nullable=True),
        sa.Column("off", sa.Float(), nullable=True),
        sa.Column("known", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("center", "subject", "from_ms"),
        sqlite_with_rowid=False,
    )
    op.create_index("seats_hours_by_time", "seats_hours", ["from_ms"], unique=False)
    op.create_table(
        "speed_days",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("download_mbps_sum", sa.Float(), nullable=True),
        sa.Column("download_mbps_n", sa.Float(), nullable=True),
        sa.Column("upload_mbps_sum", sa.Float(), nullable=True),
        sa.Column("upload_mbps_n", sa.Float(), nullable=True),
        sa.Column("self_test", sa.Float(), nullable=True),
        sa.Column("failed", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("center", "subject", "from_ms"),
        sqlite_with_rowid=False,
    )
    op.create_index("speed_days_by_time", "speed_days", ["from_ms"], unique=False)
    op.create_table(
        "speed_hours",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("download_mbps_sum", sa.Float(), nullable=True),
        sa.Column("download_mbps_n", sa.Float(), nullable=True),
        sa.Column("upload_mbps_sum", sa.Float(), nullable=True),
        sa.Column("upload_mbps_n", sa.Float(), nullable=True),
        sa.Column("self_test", sa.Float(), nullable=True),
        sa.Column("failed", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("center", "subject", "from_ms"),
        sqlite_with_rowid=False,
    )
    op.create_index("speed_hours_by_time", "speed_hours", ["from_ms"], unique=False)
    op.create_table(
        "ups_days",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("battery_charge_pct", sa.Float(), nullable=True),
        sa.Column("load_pct", sa.Float(), nullable=True),
        sa.Column("input_voltage_v", sa.Float(), nullable=True),
        sa.Column("runtime_s", sa.Float(), nullable=True),
        sa.Column("on_battery", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("center", "subject", "from_ms"),
        sqlite_with_rowid=False,
    )
    op.create_index("ups_days_by_time", "ups_days", ["from_ms"], unique=False)
    op.create_table(
        "ups_hours",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("battery_charge_pct", sa.Float(), nullable=True),
        sa.Column("load_pct", sa.Float(), nullable=True),
        sa.Column("input_voltage_v", sa.Float(), nullable=True),
        sa.Column("runtime_s", sa.Float(), nullable=True),
        sa.Column("on_battery", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("center", "subject", "from_ms"),
        sqlite_with_rowid=False,
    )
    op.create_index("ups_hours_by_time", "ups_hours", ["from_ms"], unique=False)
