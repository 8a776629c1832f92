"""The tables as they were before steps were counted.

A database of that time has most of them: what is missing is made, and so are columns that the wire had gained.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def _table(name: str, *parts: Any, **more: Any) -> None:
    made = op.create_table(name, *parts, if_not_exists=True, **more)
    held = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(name)}
    for column in made.columns:
        if column.name not in held:
            op.add_column(name, sa.Column(column.name, column.type))


def upgrade() -> None:
    _table(
        "about",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    _table(
        "alerts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=True),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("change", "channel"),
    )
    op.create_index("alerts_due", "alerts", ["state", "next_ms"], if_not_exists=True)
    _table(
        "boot_readings",
        sa.Column("wall_ms", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("previous_end", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("last_alive_ms", sa.BigInteger(), nullable=True),
        sa.Column("dark_s", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("wall_ms", "center", "device", "spool", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_index("boots_by_center", "boot_readings", ["center", "wall_ms"], if_not_exists=True)
    _table(
        "centers",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), server_default="", nullable=False),
        sa.Column("building", sa.Text(), server_default="", nullable=False),
        sa.Column("city", sa.Text(), server_default="", nullable=False),
        sa.Column("district", sa.Text(), server_default="", nullable=False),
        sa.Column("province", sa.Text(), server_default="", nullable=False),
        sa.Column("tier", sa.String(length=8), nullable=False),
        sa.Column("seats_promised", sa.Integer(), nullable=False),
        sa.Column("isp", sa.Text(), server_default="", nullable=False),
        sa.Column("feeder", sa.Text(), server_default="", nullable=False),
        sa.Column("opening", sa.Text(), nullable=False),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("lifecycle", sa.String(length=16), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("center"),
    )
    op.create_index("centers_by_feeder", "centers", ["feeder"], if_not_exists=True)
    op.create_index("centers_by_isp", "centers", ["isp", "city"], if_not_exists=True)
    _table(
        "certificates",
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("serial"),
    )
    op.create_index("certificates_by_device", "certificates", ["device", "issued_ms"], if_not_exists=True)
    _table(
        "changes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("criterion", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("was", sa.String(length=12), nullable=False),
        sa.Column("now", sa.String(length=12), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("bound", sa.Float(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("standard", sa.String(length=64), nullable=False),
        sa.Column("queued_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("changes_to_queue", "changes", ["queued_ms", "id"], if_not_exists=True)
    op.create_index("ix_changes_center", "changes", ["center"], if_not_exists=True)
    _table(
        "cuts",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("noted_ms", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=True),
        sa.Column("carried", sa.Boolean(), nullable=True),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("center", "subject", "noted_ms", "revision"),
    )
    op.create_index("cuts_open", "cuts", ["open", "center"], if_not_exists=True)
    _table(
        "devices",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("enrolled_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.Column("hostname", sa.Text(), server_default="", nullable=False),
        sa.Column("version", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("device"),
    )
    op.create_index("ix_devices_center", "devices", ["center"], if_not_exists=True)
    _table(
        "enrolments",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("device", sa.String(length=64), server_default="", nullable=False),
        sa.Column("hostname", sa.Text(), server_default="", nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.Text(), server_default="", nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_index("enrolments_waiting", "enrolments", ["state", "asked_ms"], if_not_exists=True)
    _table(
        "evidence",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("fresh", sa.Text(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("evidence_by_seq", "evidence", ["device", "spool", "first_seq"], if_not_exists=True)
    _table(
        "flags",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("criterion", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("judged_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("memory", sa.Text(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("bound", sa.Float(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("standard", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("center", "criterion", "subject"),
    )
    op.create_index("flags_raised", "flags", ["state", "since_ms"], if_not_exists=True)
    _table(
        "gaps",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("grade", sa.String(length=16), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.Column("look_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("center", "from_ms", "revision"),
    )
    op.create_index("ix_gaps_look_ms", "gaps", ["look_ms"], if_not_exists=True)
    _table(
        "gateway_readings",
        sa.Column("wall_ms", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("cpu_pct", sa.Float(), nullable=True),
        sa.Column("memory_pct", sa.Float(), nullable=True),
        sa.Column("disk_free_pct", sa.Float(), nullable=True),
        sa.Column("temperature_c", sa.Float(), nullable=True),
        sa.Column("uptime_s", sa.Float(), nullable=True),
        sa.Column("clock_offset_ms", sa.Float(), nullable=True),
        sa.Column("wan_interface", sa.Text(), nullable=True),
        sa.Column("wan_rx_bytes", sa.BigInteger(), nullable=True),
        sa.Column("wan_tx_bytes", sa.BigInteger(), nullable=True),
        sa.Column("agent_rss_mb", sa.Float(), nullable=True),
        sa.Column("agent_cpu_s", sa.Float(), nullable=True),
        sa.Column("spool_readings", sa.BigInteger(), nullable=True),
        sa.Column("spool_bytes", sa.BigInteger(), nullable=True),
        sa.Column("spool_volatile", sa.Boolean(), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("wall_ms", "center", "device", "spool", "seq"),
        sqlite_with_rowid=False,
    )
    _table(
        "grants",
        sa.Column("test_id", sa.String(length=64), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("server", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("slot", sa.Text(), server_default="", nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("granted_ms", sa.BigInteger(), nullable=True),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("closed_ms", sa.BigInteger(), nullable=True),
        sa.Column("expected_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("test_id"),
    )
    op.create_index("grants_by_center", "grants", ["center", "asked_ms"], if_not_exists=True)
    op.create_index("grants_by_device", "grants", ["device", "asked_ms"], if_not_exists=True)
    op.create_index("grants_closed", "grants", ["closed_ms"], if_not_exists=True)
    op.create_index("grants_open", "grants", ["state", "server"], if_not_exists=True)
    _table(
        "integrity",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.String(length=32), server_default="", nullable=False),
        sa.Column("device", sa.String(length=64), server_default="", nullable=False),
        sa.Column("finding", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("integrity_recent", "integrity", ["finding", "device", "at_ms"], if_not_exists=True)
    _table(
        "latest",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("wall_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("center", "kind", "subject"),
    )
    _table(
        "link_readings",
        sa.Column("wall_ms", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("rtt_min_ms", sa.Float(), nullable=True),
        sa.Column("rtt_median_ms", sa.Float(), nullable=True),
        sa.Column("rtt_p95_ms", sa.Float(), nullable=True),
        sa.Column("jitter_ms", sa.Float(), nullable=True),
        sa.Column("loss_pct", sa.Float(), nullable=True),
        sa.Column("fault_place", sa.Text(), nullable=True),
        sa.Column("hops", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("wall_ms", "center", "device", "spool", "seq"),
        sqlite_with_rowid=False,
    )
    _table(
        "measure_servers",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=True),
        sa.Column("place", sa.Text(), server_default="", nullable=False),
        sa.Column("tests_at_once", sa.Integer(), nullable=False),
        sa.Column("joined_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    _table(
        "nonces",
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("nonce"),
    )
    _table(
        "pulse",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("heard_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("center"),
    )
    op.create_index("ix_pulse_due_ms", "pulse", ["due_ms"], if_not_exists=True)
    _table(
        "records",
        sa.Column("test_id", sa.String(length=64), nullable=False),
        sa.Column("server", sa.String(length=64), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("witnessed", sa.Boolean(), nullable=False),
        sa.Column("min_rtt_ms", sa.Float(), nullable=True),
        sa.Column("down_mbps", sa.Float(), nullable=True),
        sa.Column("up_mbps", sa.Float(), nullable=True),
        sa.Column("down_bytes", sa.BigInteger(), nullable=False),
        sa.Column("up_bytes", sa.BigInteger(), nullable=False),
        sa.Column("down_s", sa.Float(), nullable=False),
        sa.Column("up_s", sa.Float(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("test_id"),
    )
    _table(
        "revocations",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("device"),
    )
    _table(
        "seats_readings",
        sa.Column("wall_ms", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("known", sa.BigInteger(), nullable=True),
        sa.Column("healthy", sa.BigInteger(), nullable=True),
        sa.Column("unhealthy", sa.BigInteger(), nullable=True),
        sa.Column("missing", sa.BigInteger(), nullable=True),
        sa.Column("off", sa.BigInteger(), nullable=True),
        sa.Column("seats", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("wall_ms", "center", "device", "spool", "seq"),
        sqlite_with_rowid=False,
    )
    _table(
        "server_tokens",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), server_default="", nullable=False),
        sa.Column("tests_at_once", sa.Integer(), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    _table(
        "set_aside",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    _table(
        "shed_readings",
        sa.Column("wall_ms", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("first_seq", sa.BigInteger(), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("wall_ms", "center", "device", "spool", "seq"),
        sqlite_with_rowid=False,
    )
    _table(
        "speed_readings",
        sa.Column("wall_ms", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("engine", sa.Text(), nullable=True),
        sa.Column("engine_version", sa.Text(), nullable=True),
        sa.Column("server", sa.Text(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("slot", sa.Text(), nullable=True),
        sa.Column("test_id", sa.Text(), nullable=True),
        sa.Column("tls", sa.Boolean(), nullable=True),
        sa.Column("download_mbps", sa.Float(), nullable=True),
        sa.Column("upload_mbps", sa.Float(), nullable=True),
        sa.Column("capacity_down_mbps", sa.Float(), nullable=True),
        sa.Column("capacity_up_mbps", sa.Float(), nullable=True),
        sa.Column("cross_traffic_down_pct", sa.Float(), nullable=True),
        sa.Column("cross_traffic_up_pct", sa.Float(), nullable=True),
        sa.Column("idle_rtt_ms", sa.Float(), nullable=True),
        sa.Column("loaded_rtt_down_ms", sa.Float(), nullable=True),
        sa.Column("loaded_rtt_up_ms", sa.Float(), nullable=True),
        sa.Column("jitter_ms", sa.Float(), nullable=True),
        sa.Column("loss_pct", sa.Float(), nullable=True),
        sa.Column("bytes_total", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("others_from", sa.Text(), nullable=True),
        sa.Column("public_address", sa.Text(), nullable=True),
        sa.Column("network", sa.Text(), nullable=True),
        sa.Column("wan_interface", sa.Text(), nullable=True),
        sa.Column("failover", sa.Boolean(), nullable=True),
        sa.Column("flags", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("wall_ms", "center", "device", "spool", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_index("speeds_by_test", "speed_readings", ["test_id"], if_not_exists=True)
    _table(
        "spools",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("ranges", sa.Text(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("center", "device", "spool"),
    )
    _table(
        "tokens",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.Column("device", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    _table(
        "ups_readings",
        sa.Column("wall_ms", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("output_state", sa.Text(), nullable=True),
        sa.Column("battery_status", sa.Text(), nullable=True),
        sa.Column("battery_replace", sa.Boolean(), nullable=True),
        sa.Column("battery_charge_pct", sa.Float(), nullable=True),
        sa.Column("runtime_s", sa.Float(), nullable=True),
        sa.Column("on_battery_s", sa.Float(), nullable=True),
        sa.Column("input_voltage_v", sa.Float(), nullable=True),
        sa.Column("output_voltage_v", sa.Float(), nullable=True),
        sa.Column("input_frequency_hz", sa.Float(), nullable=True),
        sa.Column("output_frequency_hz", sa.Float(), nullable=True),
        sa.Column("load_pct", sa.Float(), nullable=True),
        sa.Column("battery_temp_c", sa.Float(), nullable=True),
        sa.Column("battery_voltage_v", sa.Float(), nullable=True),
        sa.Column("alarms_count", sa.BigInteger(), nullable=True),
        sa.Column("manufacturer", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("firmware", sa.Text(), nullable=True),
        sa.Column("serial", sa.Text(), nullable=True),
        sa.Column("profiles", sa.Text(), nullable=True),
        sa.Column("corrected", sa.Text(), nullable=True),
        sa.Column("input_source", sa.Text(), nullable=True),
        sa.Column("self_test", sa.Text(), nullable=True),
        sa.Column("self_test_ms", sa.BigInteger(), nullable=True),
        sa.Column("unreadable_since_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_gasp", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("wall_ms", "center", "device", "spool", "seq"),
        sqlite_with_rowid=False,
    )
