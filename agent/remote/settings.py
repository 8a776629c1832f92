"""Settings that the collector may set: which keys those are, what is wrong with a document, and what holds with one.

The file of the machine is never written. What the collector sets holds over it; what it does not set, or takes back,
is as the file says. All other keys are the machine's own: its addresses, interfaces, UPSs, secrets and folders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from agent import wire
from agent.config import AgentSettings
from agent.config_file import SettingsError, mistakes

MAX_BYTES = 2500  # of a document's values, so that a task has room for them (wire.MAX_SMALL_BYTES)
MAX_CYCLE_S = 150.0  # the collector calls a center silent after 300
REMOTE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "agent": frozenset({"cycle_s", "log_format", "log_level"}),
        "link": frozenset({"interval_ms", "isp_hops", "lookup", "probes", "timeout_s"}),
        "speed": frozenset(
            {"at_start", "cross_check_engine", "cross_checks_per_month", "enabled", "mode", "monthly_budget_mb",
             "plan_mbps", "slots"}
        ),
        "seats": frozenset(
            {"approve", "conditions", "max_disk_pct", "max_memory_pct", "max_temperature_c", "missing_after_s"}
        ),
        "spool": frozenset({"max_mb"}),
        "update": frozenset({"monthly_mb", "window"}),
    }
)  # fmt: skip

Tables = Mapping[str, Mapping[str, object]]


def digest_of(values: Tables) -> str:
    """A name for exactly these values; empty for none."""
    return hashlib.sha256(_canonical(values)).hexdigest()[:32] if values else ""


def problems(values: Tables) -> Iterator[str]:
    """What is wrong with values that the collector sets, by themselves: ``[table] key: rule; fix``."""
    for table, keys in values.items():
        for key in sorted(keys.keys() - REMOTE.get(table, frozenset())):
            yield f"[{table}] {key}: is set on the gateway alone; there may be set: {_listed(table)}"
    yield from mistakes(values)
    cycle_s = values.get("agent", {}).get("cycle_s")
    if isinstance(cycle_s, int | float) and cycle_s > MAX_CYCLE_S:
        yield f"[agent] cycle_s: {cycle_s:g} would have the center called silent; write at most {MAX_CYCLE_S:g}"
    if len(_canonical(values)) > MAX_BYTES:
        yield f"all together: {len(_canonical(values))} bytes are over the limit of {MAX_BYTES}; set fewer keys"


def merged(base: AgentSettings, values: Tables) -> AgentSettings:
    """The settings of the machine's file with these values over them. Raises SettingsError."""
    if not values:
        return base
    if wrong := [*problems(values)]:
        raise SettingsError(wrong)
    tables = msgspec.to_builtins(base)
    for table, keys in values.items():
        tables[table] = {**tables[table], **keys}
    if wrong := [*mistakes(tables)]:
        raise SettingsError(wrong)
    return msgspec.convert(tables, AgentSettings)


def values_of(document: wire.SettingsDocument | None) -> wire.SettingTables:
    return document.values if document is not None else {}


def _canonical(values: Tables) -> bytes:
    return msgspec.json.encode(values, order="deterministic")


def _listed(table: str) -> str:
    if table in REMOTE:
        return ", ".join(sorted(REMOTE[table]))
    return "; ".join(f"[{name}] {', '.join(sorted(keys))}" for name, keys in REMOTE.items())
