"""Who gives way to whom at a listener: pure, with times of its own."""

from __future__ import annotations

import pytest

from agent.common.tcp import ConnectionLimits, address_group
from agent.common.tcp.connections import Occupancy


def held(limits: ConnectionLimits, *groups: str) -> Occupancy:
    """One connection of each group, numbered from 0, at its number's second."""
    occupancy = Occupancy(limits)
    for number, group in enumerate(groups):
        occupancy.add(number, group, number)
    return occupancy


@pytest.mark.row(55)
def test_128_half_open_connections_of_an_address_keep_no_neighbour_out() -> None:
    occupancy = held(ConnectionLimits(connections=1024, per_address=128), *["a"] * 128)
    for late in range(1000, 1200):
        assert occupancy.is_over("a")
        closed = occupancy.to_give_way("a", late)
        assert closed is not None
        occupancy.remove(closed)
        occupancy.add(late, "a", late)
        assert late != occupancy.to_give_way("a", late)
        occupancy.serve(late)
        occupancy.remove(late)
        occupancy.add(closed, "a", late)


@pytest.mark.row(55)
def test_one_connection_each_from_a_thousand_addresses_keeps_nobody_out() -> None:
    occupancy = held(ConnectionLimits(connections=1000, per_address=8), *(str(number) for number in range(1000)))
    assert occupancy.is_full()
    assert occupancy.to_give_way("another", 2000) == 0
    occupancy.serve(0)
    assert occupancy.to_give_way("another", 2000) == 1


def test_the_address_with_most_that_wait_gives_way_first() -> None:
    occupancy = held(ConnectionLimits(connections=6, per_address=6), "a", "b", "b", "b", "c", "c")
    assert occupancy.to_give_way("d", 10) == 1
    assert occupancy.to_give_way("c", 10) == 4  # b has but one more: c pays for itself
    for number in (1, 2, 3):
        occupancy.serve(number)
    assert occupancy.to_give_way("d", 10) == 4


def test_who_is_served_counts_but_does_not_give_way() -> None:
    occupancy = held(ConnectionLimits(connections=9, per_address=2), "a", "a")
    occupancy.serve(0)
    assert occupancy.is_over("a")
    assert occupancy.to_give_way("a", 10) == 1
    occupancy.serve(1)
    assert occupancy.to_give_way("a", 10) is None
    occupancy.wait(1, 11)
    occupancy.wait(0, 12)
    assert occupancy.to_give_way("a", 13) == 1


def test_those_that_wait_have_a_bound_of_their_own() -> None:
    limits = ConnectionLimits(connections=100, per_address=100, waiting=4, waiting_per_address=2)
    occupancy = held(limits, "a", "a", "b", "b")
    assert occupancy.is_over("a")
    assert occupancy.is_full()
    for number in range(4):
        occupancy.serve(number)
    assert not occupancy.is_over("a")
    assert not occupancy.is_full()


def test_patience_protects_from_the_own_address_alone() -> None:
    limits = ConnectionLimits(connections=4, per_address=3, patience_s=10)
    occupancy = held(limits, "a", "a", "a", "b")
    assert occupancy.to_give_way("a", 9) is None
    assert occupancy.to_give_way("a", 10) == 0
    assert occupancy.to_give_way("c", 4) == 0


def test_a_proxy_is_never_the_heaviest() -> None:
    limits = ConnectionLimits(connections=4, per_address=1, exempt=("proxy",))
    occupancy = held(limits, "proxy", "proxy", "proxy", "a")
    assert not occupancy.is_over("proxy")
    assert occupancy.is_full()
    assert occupancy.to_give_way("proxy", 9) == 0


def test_nothing_is_left_of_what_has_gone() -> None:
    occupancy = held(ConnectionLimits(connections=4, per_address=2), "a", "a")
    for number in (0, 0, 1, 7):
        occupancy.remove(number)
        occupancy.wait(number, 9)
        occupancy.serve(number)
    assert len(occupancy) == 0
    assert not occupancy.is_over("a")
    assert occupancy.to_give_way("a", 9) is None


@pytest.mark.parametrize(
    ("address", "whole"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_a_subscriber_of_ipv6_is_its_64(address: str, whole: str) -> None:
    assert address_group(address) == whole
