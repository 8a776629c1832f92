"""Which keys the collector may set, and what holds with them: the machine's own file stays what it is."""

from __future__ import annotations

import msgspec
import pytest

from agent.config import AgentSettings, SpeedSection, UpsSection
from agent.config_file import SettingsError
from agent.remote.settings import MAX_BYTES, REMOTE, digest_of, merged, problems

BASE = AgentSettings(speed=SpeedSection(mode="full", server="public"), ups=[UpsSection(host="192.0.2.7")])


def test_every_key_that_may_be_set_is_a_key_of_the_file() -> None:
    for table, keys in REMOTE.items():
        section = getattr(AgentSettings(), table)
        assert keys <= {field.name for field in msgspec.structs.fields(section)}, table


@pytest.mark.parametrize(
    "key", ["state_dir", "status_listen", "target", "server", "router_community", "listen", "locate_url", "host"]
)
def test_addresses_folders_and_secrets_are_the_machines_own(key: str) -> None:
    assert not [table for table, keys in REMOTE.items() if key in keys]


def test_values_hold_over_the_file_and_leave_the_rest_of_it() -> None:
    mixed = merged(BASE, {"speed": {"mode": "quick"}, "spool": {"max_mb": 32}})
    assert (mixed.speed.mode, mixed.speed.server, mixed.spool.max_mb) == ("quick", "public", 32)
    assert mixed.ups == BASE.ups
    assert merged(BASE, {}) is BASE


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"agent": {"state_dir": "/tmp/x"}}, "[agent] state_dir: is set on the gateway alone"),
        ({"ups": {"host": "192.0.2.1"}}, "[ups] host: is set on the gateway alone"),
        ({"nothing": {"x": 1}}, "[nothing] x: is set on the gateway alone"),
        ({"speed": {"mode": "fast"}}, "[speed] mode: must be one of quick, adaptive, full"),
        ({"speed": {"slots": ["10:00-09:00"]}}, "[speed] slots"),
        ({"agent": {"cycle_s": 3600}}, "[agent] cycle_s: 3600 would have the center called silent"),
        ({"link": {"probes": 1000, "interval_ms": 1000}}, "[link] probes: 1000 echoes"),
        ({"speed": {"slots": ["00:00-01:00" + "x" * MAX_BYTES]}}, "all together"),
    ],
)
def test_what_is_wrong_is_named_with_its_fix(values: dict[str, dict[str, object]], words: str) -> None:
    found = list(problems(values))
    assert any(words in problem for problem in found), found
    with pytest.raises(SettingsError):
        merged(BASE, values)


def test_values_that_do_not_fit_the_machines_own_file_are_refused() -> None:
    base = msgspec.convert({"link": {"interval_ms": 10000}}, AgentSettings)
    assert not list(problems({"link": {"probes": 20}}))
    with pytest.raises(SettingsError, match=r"\[link\] probes: 20 echoes every 10000 ms"):
        merged(base, {"link": {"probes": 20}})


def test_a_digest_names_the_values_in_whatever_order() -> None:
    one = digest_of({"speed": {"mode": "quick", "enabled": True}, "spool": {"max_mb": 32}})
    assert one == digest_of({"spool": {"max_mb": 32}, "speed": {"enabled": True, "mode": "quick"}})
    assert one != digest_of({"spool": {"max_mb": 33}, "speed": {"enabled": True, "mode": "quick"}})
    assert digest_of({}) == ""
