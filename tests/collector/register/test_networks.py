"""The database of networks: what it names, and what is made of a file that is missing, harmed or of another kind."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from collector.register.networks import Network, Networks, NetworksError, opened
from tests.collector.register.mmdb import database

PTCL = {"autonomous_system_number": 45595, "autonomous_system_organization": "Pakistan Telecom Company Limited"}
ENTRIES = {
    "203.0.113.0/24": PTCL,
    "198.51.100.0/25": {"autonomous_system_number": 64500},
    "2001:db8::/32": {"asn": "AS64501", "as_name": "Example\n  Net", "as_domain": "example.pk"},
    "192.0.2.0/24": {"autonomous_system_number": 0, "autonomous_system_organization": "nobody"},
    "192.0.3.0/24": {"asn": "ASx"},
    "192.0.4.0/24": "no table",
}


def networks(path: Path, body: bytes) -> Networks:
    path.write_bytes(body)
    found = Networks(path)
    found.refresh()
    return found


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "AS45595 Pakistan Telecom Company Limited"),
        ("::ffff:203.0.113.9", "AS45595 Pakistan Telecom Company Limited"),
        ("198.51.100.127", "AS64500"),
        ("198.51.100.128", None),
        ("2001:db8:1::1", "AS64501 Example Net"),
        ("2001:db9::1", None),
        ("192.0.2.1", None),
        ("192.0.3.1", None),
        ("192.0.4.1", None),
        ("127.0.0.1", None),
        ("fe80::1%eth0", None),
        ("", None),
        ("no address", None),
    ],
)
def test_an_address_is_named_by_the_network_it_is_in(tmp_path: Path, address: str, network: str | None) -> None:
    found = networks(tmp_path / "asn.mmdb", database(ENTRIES)).of(address)
    assert (None if found is None else str(found)) == network


def test_files_that_name_no_networks_are_refused_with_the_rule_and_the_fix(tmp_path: Path) -> None:
    whole = database(ENTRIES)
    cases = {
        "cities": (database({"203.0.113.0/24": {"city": "Lahore"}}, "GeoLite2-City"), "of the kind 'GeoLite2-City'"),
        "empty": (b"", "is no whole MaxMind DB file"),
        "text": (b"network,asn\n203.0.113.0/24,45595\n", "is no whole MaxMind DB file"),
        "torn": (whole[:100] + whole[-60:], "is no whole MaxMind DB file"),
    }
    for name, (body, why) in cases.items():
        path = tmp_path / name
        path.write_bytes(body)
        with pytest.raises(NetworksError, match=why) as refused:
            opened(path)
        assert str(path) in str(refused.value)
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(NetworksError, match="cannot be read"):
            opened(path)


def test_a_newer_file_in_its_place_is_read_and_a_harmed_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, address = tmp_path / "asn.mmdb", "203.0.113.9"
    found = Networks(path)
    found.refresh()
    assert found.of(address) is None
    assert [record.__dict__["event"].name for record in caplog.records] == ["networks_unreadable"]
    replace(path, database(ENTRIES))
    found.refresh()
    assert found.of(address) == Network(45595, "Pakistan Telecom Company Limited")
    replace(path, database(ENTRIES)[:-40])
    found.refresh()
    assert found.of(address) == Network(45595, "Pakistan Telecom Company Limited")
    path.unlink()
    found.refresh()
    assert found.of(address) == Network(45595, "Pakistan Telecom Company Limited")
    replace(path, database({"203.0.113.0/24": {"asn": "AS64502"}}))
    found.refresh()
    assert found.of(address) == Network(64502)
    path.write_bytes(database({"203.0.113.0/24": {"asn": "AS64503", "as_name": "copied over"}}))
    found.refresh()
    assert found.of(address) == Network(64503, "copied over")


def replace(path: Path, body: bytes) -> None:
    draft = path.with_suffix(".new")
    draft.write_bytes(body)
    os.replace(draft, path)


def test_harmed_bytes_crash_nothing(tmp_path: Path) -> None:
    whole, dice = database(ENTRIES), random.Random(7)
    addresses = ("203.0.113.9", "198.51.100.1", "2001:db8::1", "192.0.4.1", "8.8.8.8")
    for number in range(300):
        body = bytearray(whole)
        for _ in range(dice.choice((1, 2, 8))):
            body[dice.randrange(len(body))] = dice.randrange(256)
        if number % 3 == 0:
            del body[dice.randrange(len(body)) :]
        found = networks(tmp_path / f"{number}.mmdb", bytes(body))
        assert all(isinstance(found.of(address), Network | None) for address in addresses)
