"""Why a probe has no values, and what a speed test says against its own figure: fixed words, each enumerated here.

What people read is `cause.WORD`, `word.flags.WORD` and `uplink.WORD` of the language files; mypy refuses a word that is
not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Cause = Literal[
    # of any probe
    "timeout", "broken", "settings", "unreachable", "refused", "garbage",
    # link
    "no_route", "bad_target",
    # seats
    "settling", "no_agent", "no_reading", "not_an_agent",
    # UPS
    "not_configured", "not_a_ups", "version", "stale", "not_ready", "unsupported", "frozen",
    "slow", "silent", "community",
    # speed: what it was told to do
    "bad_engine", "bad_mode", "bad_server", "bad_ca_file", "no_server", "no_iperf3",
    # speed: what happened
    "bad_output", "busy", "failed", "interrupted", "memory", "no_counters", "no_interface", "no_turn",
    "not_a_speed_server", "stopped", "uncounted", "stalled", "mtu", "portal", "dns", "certificate",
    # speed: due, and left out
    "skipped_on_battery", "skipped_battery_low", "skipped_failover", "skipped_budget", "skipped_no_turn",
]  # fmt: skip

# The test was due and left out: nothing failed.
SKIPPED = frozenset(
    {"skipped_on_battery", "skipped_battery_low", "skipped_failover", "skipped_budget", "skipped_no_turn"}
)

SpeedFlag = Literal[
    "capped", "client_limited", "cross_traffic", "implausible", "not_saturated", "others_unseen", "rate_fell",
    "router_silent", "router_slow", "short",
]  # fmt: skip

# What is wrong with a line besides its loss.
LineCause = Literal["portal", "filtered", "dns", "mtu", "ipv4_dead", "ipv6_dead"]

# Why nothing is being sent.
UplinkCause = Literal[
    "timeout", "unreachable", "refused", "silent", "ended", "moved", "identity", "stranger", "clock", "disk",
    "twin", "revoked", "expired", "unknown",
]  # fmt: skip

# By the code with which the collector refuses a certificate.
REFUSALS: Mapping[str, UplinkCause] = {"enrol.revoked": "revoked", "enrol.unknown_gateway": "unknown"}
