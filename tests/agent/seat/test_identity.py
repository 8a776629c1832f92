"""Which seat is this: clones and generic ids must not merge seats, a new part must not split one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.seat.identity import SeatIdentity, facts_of, identify, is_burnt_in, is_generic, same_machine

PC = [
    ("mac", "3c:52:82:11:22:33"),
    ("board", "PF2ABCDE"),
    ("uuid", "4c4c4544-0042-3510-8051-b4c04f4e3232"),
    ("disk", "S3Z9NB0K"),
]
IMAGE = ("machine", "3d1219c7c4c5404aaa1f6d2a48adfda4")


def seat(found: list[tuple[str, str]], kept: SeatIdentity | None = None) -> SeatIdentity:
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


# ---------------------------------------------------------------- whatever the hardware: never two seats in one

KINDS = ("mac", "disk", "board", "product", "uuid", "chassis")
FILLERS = (
    "", "None", "To be filled by O.E.M.", "Default string", "System Serial Number", "0123456789", "xxxxxxxx",
    "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
    "03000200-0400-0500-0006-000700080009",
)  # fmt: skip


def parts(owner: str) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Three to six parts that only this machine has, as makers number them."""
    chosen = st.lists(st.sampled_from(KINDS), min_size=3, max_size=6, unique=True)
    return chosen.map(lambda kinds: [(kind, f"{owner}-{kind}-SN4711") for kind in kinds])


fillers = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(FILLERS)), max_size=6)
# A dock that goes from desk to desk, an image that was copied: what two machines may both show.
shared = st.lists(
    st.sampled_from(
        [("lmac", "3c:52:82:d0:c0:01"), ("machine", "3d1219c7c4c5404aaa1f6d2a48adfda4"), ("lmac", "02:42:ac:11:00:02")]
    )
)


@given(parts("A"), parts("B"), fillers, shared)
@settings(max_examples=400, deadline=None)
def test_two_machines_are_two_seats_whatever_they_share(
    first: list[tuple[str, str]],
    second: list[tuple[str, str]],
    filler: list[tuple[str, str]],
    both: list[tuple[str, str]],
) -> None:
    one = seat([*first, *filler, *both])
    assert seat([*second, *filler, *both]).id != one.id
    # Nor when the second was cloned with the first's id on its disk.
    assert seat([*second, *filler, *both], one).id != one.id


@given(parts("A"), st.data())
@settings(max_examples=200, deadline=None)
def test_a_burnt_in_dock_between_two_machines_merges_none(first: list[tuple[str, str]], data: st.DataObject) -> None:
    """Where the system cannot tell that a card is on USB (Windows), the dock's address counts as one fact of many."""
    second = data.draw(parts("B"))
    dock = ("mac", "3c:52:82:d0:c0:01")
    assert seat([*second, dock], seat([*first, dock])).id != seat([*first, dock]).id
    # And a seat without its dock is the same seat.
    docked = seat([*first, dock])
    assert seat(first, docked).id == docked.id


@given(parts("A"), fillers, shared, st.data())
@settings(max_examples=400, deadline=None)
def test_any_one_part_may_be_swapped(
    first: list[tuple[str, str]], filler: list[tuple[str, str]], both: list[tuple[str, str]], data: st.DataObject
) -> None:
    before = seat([*first, *filler, *both])
    place = data.draw(st.integers(0, len(first) - 1))
    swapped = [*first[:place], (first[place][0], "A-NEW-SN0815"), *first[place + 1 :]]
    after = seat([*swapped, *filler, *both], before)
    assert after.id == before.id
    assert after.facts != before.facts
    # Part by part the whole machine may be renewed; one at a time it stays the seat.
    for number, (kind, _value) in enumerate(swapped):
        swapped[number] = (kind, f"A-NEWER-{kind}")
        after = seat([*swapped, *filler], after)
    assert after.id == before.id


@given(fillers)
@settings(max_examples=100, deadline=None)
def test_a_machine_that_shows_only_fillers_is_no_seat(filler: list[tuple[str, str]]) -> None:
    assert identify(facts_of(filler), None) is None
