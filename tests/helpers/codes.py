"""Every code that agent and collector produce, with parameters as they come. Tests hold the code to this table, and
render each code in every language."""

from __future__ import annotations

from collections.abc import Mapping

from agent.common.reading_codes import BOOT_EVIDENCE, CORRECTIONS, SEAT_FAULTS
from agent.common.reasons import Param, Reason

Examples = Mapping[str, Mapping[str, Param]]

FOUND = Reason.of("verdict.at_most", value=30.0, bound=2.0, unit="%")
UPS = Reason.of("evidence.ups_charge", reading="g1 s 7", power="battery_low", charge_pct=4)
OTHERS = Reason.of("evidence.feeder_cut", n=3, whole=4, feeder="F-7")
APART = Reason.of(
    "witness.apart", direction="down", device="g1", server="pie", claimed_mbps=90.0, seen_mbps=20.1, bound_pct=5.0
)
DOUBT = Reason.of("receipt.equivocation", n=2, numbers=["4", "5"])

AGENT: Examples = {
    f"{room}.{code}": params
    for room, table in (("seat_fault", SEAT_FAULTS), ("boot", BOOT_EVIDENCE), ("correction", CORRECTIONS))
    for code, params in table.items()
}

COLLECTOR: Examples = {
    # what a client of a broker did: collector.access.acl
    "refused.publish": {"device": "g1", "topic": "nabz/v1/up/g2"},
    "refused.takeovers": {"n": 6, "span_s": 40, "places": "192.0.2.7"},
    # what a reading is worth: collector.flags.judge, collector.judging
    "verdict.no_reading": {},
    "verdict.old": {"age_s": 5400, "fresh_s": 300},
    "verdict.self_test": {},
    "verdict.not_counted": {"field": "flags", "word": "implausible"},
    "verdict.not_counted_unknown": {"field": "output_state"},
    "verdict.failed": {"cause": "no_route"},
    "verdict.not_made": {"cause": "skipped_on_battery"},
    "verdict.absent": {"fields": ["capacity_down_mbps", "download_mbps"]},
    "verdict.closed": {},
    "verdict.retired": {"standard": "example-2026-1"},
    "verdict.at_least": {"value": 2100.0, "bound": 1800.0, "unit": "s"},
    "verdict.at_most": {"value": 30.0, "bound": 2.0, "unit": "%"},
    "verdict.share_at_least": {"value": 12.4, "bound": 40.0, "unit": "Mbit/s", "share_pct": 80.0, "whole": 50.0},
    "verdict.share_at_most": {"value": 12.4, "bound": 40.0, "unit": "ms", "share_pct": 110.0, "whole": 36.4},
    "verdict.count_at_least": {"field": "known", "value": 3.0, "bound": 20.0, "unit": ""},
    "verdict.count_at_most": {"field": "alarms_count", "value": 3.0, "bound": 0.0, "unit": ""},
    "verdict.share_count_at_least": {
        "field": "known",
        "value": 3.0,
        "bound": 16.0,
        "unit": "",
        "share_pct": 80.0,
        "whole": 20.0,
    },
    "verdict.share_count_at_most": {
        "field": "alarms_count",
        "value": 3.0,
        "bound": 2.0,
        "unit": "",
        "share_pct": 200.0,
        "whole": 1.0,
    },
    "verdict.word": {"field": "battery_status", "word": "low"},
    "verdict.claimed": {"found": FOUND, "value": 40.0, "unit": "Mbit/s"},
    "verdict.lower_bound": {"found": FOUND, "field": "flags", "word": "not_saturated"},
    "verdict.closed_now": {"found": FOUND},
    "fleet.too_few": {"n": 1},
    "fleet.quiet": {"n": 6, "whole": 9, "found": FOUND},
    # why a flag's state moved: collector.flags.machine
    "change.below_at_once": {"found": FOUND},
    "change.first_below": {"found": FOUND},
    "change.below_for_long_enough": {"found": FOUND},
    "change.below_in_enough_of_the_last_readings": {"found": FOUND},
    "change.met_again_in_time": {"found": FOUND},
    "change.recovering": {"found": FOUND},
    "change.fell_back": {"found": FOUND},
    "change.recovery_held": {"found": FOUND},
    "change.recovered_at_once": {"found": FOUND},
    "change.closed_before_it_was_decided": {"found": FOUND},
    "change.no_longer_asked": {"found": FOUND},
    # what a measurement server says of a speed test: collector.flags.witness
    "witness.agrees": {"server": "pie"},
    "witness.disagrees": {"apart": [APART, APART]},
    "witness.apart": APART.params,
    "witness.apart_unseen": {"direction": "up", "device": "g1", "server": "pie", "claimed_mbps": 90.0},
    "witness.waiting": {},
    "witness.no_record": {"within_s": 900},
    "witness.unknown_test": {"test": "t0"},
    "witness.not_granted_to_this_device": {"test": "t0", "device": "g1", "other": "g2"},
    "witness.replayed": {"test": "t0", "reading": "g1 s 7"},
    "witness.expired": {"test": "t0", "late_s": 3300},
    "witness.lan_server": {"server": "192.168.1.5"},
    "witness.lan_distance": {"server": "pie", "rtt_ms": 0.1},
    "witness.no_test_id": {},
    "witness.not_asked": {},
    "witness.not_joined": {"server": "pie.example"},
    "witness.no_token": {"server": "pie"},
    "witness.self_test": {},
    # why a center was not heard, and what tells it: collector.flags.cause, .backup, .seat_evidence
    "evidence.boot": {"reading": "g1 s 7", "field": "previous_end", "word": "power"},
    "evidence.boot_after": {"reading": "g1 s 7", "field": "previous_end", "word": "power", "dark_s": 1812},
    "evidence.shut_down": {},
    "evidence.agent_stopped": {},
    "evidence.agent_killed": {},
    "evidence.agent_crashed": {},
    "evidence.ups": {"reading": "g1 s 7", "power": "mains"},
    "evidence.ups_charge": UPS.params,
    "evidence.gasp": {"found": UPS, "field": "last_gasp", "word": "runtime_short"},
    "evidence.no_ups": {},
    "evidence.carried_nothing": {"found": UPS},
    "evidence.lost_with_power": {"found": UPS},
    "evidence.on_battery": {"found": UPS, "battery_s": 1500, "whole_s": 1800},
    "evidence.last_heard": {"found": UPS},
    "evidence.seats_off": {"reading": "g1 s 7", "n": 7, "whole": 9},
    "evidence.seats_ran": {"reading": "g1 s 7", "n": 7, "whole": 9, "anew": 2},
    "evidence.nothing_taken": {},
    "evidence.shows_none": {},
    "evidence.fault_seen": {"n": 28, "field": "fault_place", "word": "isp", "reading": "g1 s 7"},
    "evidence.line_cause": {"n": 3, "field": "causes", "word": "portal", "reading": "g1 s 7"},
    "evidence.fault_before": {"field": "fault_place", "word": "lan"},
    "evidence.feeder_cut": OTHERS.params,
    "evidence.feeder_mains": {"n": 3, "whole": 4, "feeder": "F-7"},
    "evidence.isp_silent": {"n": 3, "whole": 4, "isp": "PTCL"},
    "evidence.isp_heard": {"n": 3, "whole": 4, "isp": "PTCL"},
    "evidence.named": {"found": OTHERS, "centers": ["LHR-2", "LHR-3"]},
    "evidence.deaf": {"deaf_s": 1500, "whole_s": 1800},
    "evidence.nobody": {"n": 12},
    "evidence.cut_begins": {"reading": "g1 s 7"},
    "evidence.cut_ends": {"reading": "g1 s 7"},
    "evidence.gave_out": {"reading": "g1 s 7", "field": "previous_end", "word": "power"},
    # what is told of a batch: collector.ingest
    "receipt.equivocation": DOUBT.params,
    "receipt.fork": {"n": 1, "numbers": ["4"]},
    "receipt.unread_version": {"version": "2", "known": 1},
    "receipt.unreadable": {"reading": "5", "text": "reading: has no stamp"},
    "finding.batch": {"spool": "s", "first": "1", "last": "9", "found": DOUBT},
    "finding.reading": {"reading": "g1 s 7", "found": Reason("witness.self_test")},
    # messages, records and requests that are refused: collector.ingest, .speedtests, .access
    "refused.topic": {"topic": "a/b", "asked": "nabz/v1/up/g1"},
    "refused.unframed": {"text": "batch: JSON is malformed"},
    "refused.unknown_device": {"device": "g1"},
    "refused.revoked_device": {"device": "g1"},
    "refused.bad_signature": {"device": "g1"},
    "refused.other_device": {"device": "g1", "other": "g2"},
    "refused.sequence_limit": {"number": "9007199254740993"},
    "refused.too_many_gaps": {"spool": "s", "limit": 2000},
    "refused.broken": {},
    "refused.ask_clone": {"device": "g1", "field": "purpose", "word": "routine"},
    "refused.ask_bad_id": {"device": "g1", "field": "purpose", "word": "routine"},
    "refused.ask_not_yours": {"device": "g1", "field": "purpose", "word": "desk"},
    "refused.ask_too_big": {"device": "g1", "field": "purpose", "word": "routine"},
    "refused.ask_too_many": {"device": "g1", "field": "purpose", "word": "manual"},
    "refused.unknown_server": {"server": "pie"},
    "refused.server_signature": {"server": "pie"},
    "refused.revoked_server": {"server": "pie"},
    "refused.record_conflict": {"test": "t0", "server": "pie", "other": "khi"},
    "test.too_many": {"center": "LHR-1", "limit": 12},
    "test.no_server": {"center": "LHR-1", "limit": 12},
    "test.no_gateway": {"center": "LHR-1", "limit": 12},
    "enrol.unknown_gateway": {"device": "g1"},
    "enrol.other_key": {"device": "g1"},
    "enrol.revoked": {"device": "g1"},
    "enrol.no_certificates": {},
    "enrol.too_many_certificates": {"text": "gateway g1: had 5 certificates today"},
    "enrol.csr": {"text": "csr: is no certificate request"},
    "enrol.no_maker": {},
    "enrol.refused": {"device": "g1", "person": "Bina"},
    "enrol.refused_because": {"device": "g1", "person": "Bina", "because": "wrong box"},
    "enrol.over_limit": {"limit": 4096},
    "enrol.too_many": {"address": "192.0.2.7"},
    "enrol.unframed": {"text": "JSON is malformed"},
    "enrol.key_length": {"length": 31},
    "enrol.proof": {},
    "enrol.not_base64": {"part": "proof"},
    "enrol.token_unknown": {},
    "enrol.token_expired": {},
    "enrol.token_used": {},
    "enrol.other_center": {"device": "g1", "center": "LHR-1", "asked": "LHR-2"},
    "join.token_unknown": {},
    "join.token_used": {},
    "join.unframed": {"text": "JSON is malformed"},
    "join.proof": {},
    # a month and its seats: collector.reports
    "month.lacks": {"lacks": [Reason.of("month.days", n=3, least=15)]},
    "month.samples": {"n": 3, "least": 42},
    "month.days": {"n": 1, "least": 15},
    "month.slots": {"n": 2, "least": 3},
    "month.coverage": {"have_pct": 71.2, "least_pct": 90.0},
    "month.meets": {"met_pct": 90.0, "n": 50, "asked_pct": 80.0},
    "month.below": {"met_pct": 50.0, "n": 50, "asked_pct": 80.0, "upper_pct": 63.3},
    "month.watch": {"met_pct": 75.0, "n": 50, "asked_pct": 80.0, "upper_pct": 85.1},
    "seats.unusable": {"seat": "PC-07", "seat_state": "missing"},
    "seats.unusable_because": {"seat": "PC-07", "seat_state": "missing", "why": [FOUND]},
    "seats.more": {"n": 3},
    "seats.never": {"n": 2},
    # a sentence of somebody else, as it stands
    "text": {"text": "as it was sent"},
}
