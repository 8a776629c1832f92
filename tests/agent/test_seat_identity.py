"""Which seat is this: clones and generic ids must not merge seats, a new part must not split one."""

from __future__ import annotations

import pytest

from agent.seat.identity import Identity, facts_of, identify, is_burnt_in, is_generic, same_machine

PC = [
    ("mac", "3c:52:82:11:22:33"),
    ("board", "PF2ABCDE"),
    ("uuid", "4c4c4544-0042-3510-8051-b4c04f4e3232"),
    ("disk", "S3Z9NB0K"),
]
IMAGE = ("machine", "3d1219c7c4c5404aaa1f6d2a48adfda4")


def seat(found: list[tuple[str, str]], kept: Identity | None = None) -> Identity:
    identity = identify(facts_of(found), kept)
    assert identity is not None
    return identity


def test_the_same_machine_is_the_same_seat() -> None:
    assert seat(PC) == seat(list(reversed(PC)))


def test_a_cloned_image_is_two_seats() -> None:
    first = seat([IMAGE, *PC])
    other = [IMAGE, ("mac", "3c:52:82:aa:bb:cc"), ("board", "PF2ZZZZZ"), ("disk", "S3Z9NB1L")]
    # The clone even carries the file with the first seat's id.
    assert seat(other, first).id != first.id


def test_the_image_is_no_part_of_a_real_machines_id() -> None:
    assert seat([IMAGE, *PC]).id == seat([("machine", "another-image"), *PC]).id


def test_boards_that_share_a_serial_are_two_seats() -> None:
    first = seat([("mac", "3c:52:82:11:22:33"), ("board", "B1-SAME"), ("disk", "D1-ONE"), ("product", "P1-SAME")])
    second = [("mac", "3c:52:82:aa:bb:cc"), ("board", "B1-SAME"), ("disk", "D1-TWO"), ("product", "P1-SAME")]
    assert seat(second).id != first.id
    assert seat(second, first).id != first.id


@pytest.mark.parametrize("gone", range(4))
def test_a_changed_part_keeps_the_seat(gone: int) -> None:
    first = seat(PC)
    changed = [fact if place != gone else (fact[0], "a4:bb:6d:00:00:01") for place, fact in enumerate(PC)]
    kept = seat(changed, first)
    assert kept.id == first.id
    # And the next change is counted from here.
    assert kept.facts != first.facts


def test_a_service_that_may_read_less_is_the_same_seat() -> None:
    first = seat(PC)
    assert seat([PC[0], PC[3]], first).id == first.id


def test_a_container_without_hardware_goes_by_its_machine_id() -> None:
    first = seat([IMAGE])
    assert seat([IMAGE], first) == first
    assert seat([("machine", "another-one")], first).id != first.id


def test_nothing_to_tell_it_apart_is_no_seat() -> None:
    assert identify((), None) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "None",
        "To Be Filled By O.E.M.",
        "Default string",
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "03000200-0400-0500-0006-000700080009",
        "xxxxxx",
        "...",
        "1",
    ],
)
def test_fillers_are_no_facts(value: str) -> None:
    assert is_generic(value)


def test_only_a_makers_own_address_is_burnt_in() -> None:
    assert is_burnt_in("3c:52:82:11:22:33")
    assert is_burnt_in("3C-52-82-11-22-33")  # as Windows writes it
    for address in ("02:42:ac:11:00:02", "33:33:00:00:00:01", "", "zz:52:82:11:22:33", "3c:52:82"):
        assert not is_burnt_in(address)


def test_facts_travel_as_hashes() -> None:
    for fact in facts_of(PC):
        assert not any(value.lower() in fact for _kind, value in PC)


def test_two_machines_without_a_common_fact_are_not_the_same() -> None:
    assert not same_machine((), ())
    assert not same_machine(("mac:1",), ("mac:2",))
    assert same_machine(("mac:1", "disk:1"), ("mac:1", "disk:1", "board:1"))
