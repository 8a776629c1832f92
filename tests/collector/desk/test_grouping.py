"""Which neighbours fail together: pure, from places and signs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest

from collector.desk.grouping import LEVELS, RULES, SignIndex, goes_on, groups_around, is_crowd, parent_among, takes_in
from collector.desk.symptoms import CenterPlace, CenterSign, Family, family_of

NOON = 1_770_000_000_000
MINUTE = 60_000


def homes(count: int, start: int = 0, **facts: str) -> dict[str, CenterPlace]:
    usual = {"isp": "PTCL", "city": "Lahore", "district": "Lahore", "province": "Punjab"} | facts
    return {f"C-{n}": CenterPlace(f"C-{n}", **usual) for n in range(start, start + count)}


def sizes_of(places: Iterable[CenterPlace]) -> Counter[tuple[str, str]]:
    return Counter((level.scope, key) for place in places for level in LEVELS if (key := level.key(place)))


def parent(places: dict[str, CenterPlace], signs: list[CenterSign], center: str = "C-0", began_ms: int = NOON):  # type: ignore[no-untyped-def]
    around = groups_around(places[center], began_ms, SignIndex(signs, places), sizes_of(places.values()), RULES)
    return parent_among(around, center, RULES)


def signs(count: int, family: Family = "dark", start: int = 0, at_ms: int = NOON) -> list[CenterSign]:
    return [CenterSign(f"C-{n}", family, at_ms) for n in range(start, start + count)]


FEEDER = homes(12, feeder="F-7") | homes(88, 12, feeder="F-8")


@pytest.mark.parametrize(("count", "is_parent"), [(7, False), (8, True), (12, True)])
def test_eight_of_a_feeder_are_one(count: int, is_parent: bool) -> None:
    found = parent(FEEDER, signs(count, "power"))
    assert (found is not None and (found.scope, found.key, len(found.centers))) == (
        ("feeder", "F-7", count) if is_parent else False
    )


def test_eight_of_a_hundred_are_not() -> None:
    places = homes(100, feeder="F-7")
    assert parent(places, signs(8)) is None
    found = parent(places, signs(20))
    assert found is not None
    assert found.share_pct == 20


def test_who_fell_an_hour_before_is_no_company() -> None:
    assert parent(FEEDER, [*signs(7), *signs(5, start=7, at_ms=NOON - 11 * MINUTE)]) is None
    assert parent(FEEDER, [*signs(7), *signs(5, start=7, at_ms=NOON - 9 * MINUTE)]) is not None


def test_a_line_is_no_feeders_matter_and_mains_are_no_providers() -> None:
    places = homes(12, feeder="F-7", isp="Nayatel") | homes(30, 12, isp="PTCL", feeder="F-8")
    line, power = parent(places, signs(12, "line")), parent(places, signs(12, "power"))
    assert line is not None
    assert (line.scope, line.key, line.family) == ("provider", "Nayatel, Lahore", "line")
    assert power is not None
    assert (power.scope, power.family) == ("feeder", "power")


def test_the_dark_are_laid_at_the_door_of_the_group_that_fails_most() -> None:
    """The same twelve are all of a feeder and a third of a provider, or the other way round."""
    fed = homes(12, feeder="F-7") | homes(24, 12, feeder="F-8")
    lined = homes(12, feeder="F-7", isp="Nayatel") | homes(24, 12, feeder="F-7")
    assert parent(fed, signs(12)).scope == "feeder"
    assert parent(lined, signs(12)).scope == "provider"


def test_two_feeders_of_a_district_are_one() -> None:
    places = homes(12, feeder="F-7") | homes(12, 12, feeder="F-8") | homes(6, 24, feeder="F-9", isp="Nayatel")
    found = parent(places, signs(24, "power"))
    assert (found.scope, len(found.centers)) == ("district", 24)


def test_a_national_outage_is_one() -> None:
    places = {
        f"C-{n}": CenterPlace(
            f"C-{n}", f"F-{n // 10}", "", f"I-{n % 5}", f"T-{n // 50}", f"D-{n // 50}", f"P-{n // 500}"
        )
        for n in range(2000)
    }  # fmt: skip
    hit = [CenterSign(f"C-{n}", "dark", NOON) for n in range(0, 2000, 4)]
    found = parent(places, hit)
    assert (found.scope, len(found.centers), found.size) == ("country", 500, 2000)


def test_an_incident_takes_in_who_hangs_there_and_suffers_the_same() -> None:
    home, sign = FEEDER["C-0"], CenterSign("C-0", "dark", NOON)
    about = ("feeder", "F-7", "power", 8, 12)
    assert takes_in(*about, sign, home, RULES)  # type: ignore[arg-type]
    assert takes_in(*about, replace(sign, family="power"), home, RULES)  # type: ignore[arg-type]
    assert not takes_in(*about, replace(sign, family="line"), home, RULES)  # type: ignore[arg-type]
    assert not takes_in(*about, sign, FEEDER["C-50"], RULES)  # type: ignore[arg-type]
    assert not takes_in("feeder", "F-7", "power", 2, 12, sign, home, RULES)  # it has shrunk


def test_a_crowd_is_waited_for() -> None:
    sizes = sizes_of(FEEDER.values())
    assert is_crowd(FEEDER["C-0"], NOON, SignIndex(signs(3), FEEDER), sizes, RULES)
    assert not is_crowd(FEEDER["C-0"], NOON, SignIndex(signs(2), FEEDER), sizes, RULES)
    assert not is_crowd(FEEDER["C-50"], NOON, SignIndex(signs(5, start=50), FEEDER), sizes, RULES)


@pytest.mark.parametrize(
    ("reading", "after_min", "family"),
    [
        ("link", None, "line"),
        ("link", 1, "power"),
        ("link", -3, "line"),
        ("silence", 20, "power"),
        ("seats", 1, "seats"),
    ],
)
def test_what_failed_with_the_mains_has_no_trouble_of_its_own(
    reading: str, after_min: int | None, family: Family
) -> None:
    cut_ms = None if after_min is None else NOON - after_min * MINUTE
    assert family_of(reading, NOON, cut_ms) == family


SMALL = homes(4, feeder="F-1", isp="PTCL") | homes(296, 4, feeder="F-8", isp="Nayatel")


@pytest.mark.parametrize(
    ("family", "scope", "count"), [("power", "feeder", 3), ("dark", "feeder", 4), ("line", "provider", 3)]
)
def test_most_of_a_few_that_hang_on_one_wire_are_one(family: Family, scope: str, count: int) -> None:
    found = parent(SMALL, signs(count, family))
    assert found is not None
    assert (found.scope, len(found.centers), found.size) == (scope, count, 4)
    assert parent(SMALL, signs(2, family)) is None


def test_the_second_of_a_few_is_waited_for_and_their_incident_goes_on_at_half() -> None:
    sizes = sizes_of(SMALL.values())
    shown = [SignIndex(signs(n, "power"), SMALL) for n in (1, 3)]
    assert [is_crowd(SMALL["C-0"], NOON, some, sizes, RULES) for some in shown] == [False, True]
    assert [goes_on("feeder", n, 4, RULES) for n in (1, 2)] == [False, True]
    assert not goes_on("district", 3, 3, RULES)  # all of a small district share no wire


PAIR = homes(2, feeder="F-1", exchange="X-1") | homes(98, 2, feeder="F-8", exchange="X-2")


@pytest.mark.parametrize(("family", "scope"), [("power", "feeder"), ("line", "exchange"), ("dark", "feeder")])
def test_two_are_one_where_a_wire_carries_no_more(family: Family, scope: str) -> None:
    found = parent(PAIR, signs(2, family))
    assert found is not None
    assert (found.scope, len(found.centers), found.size) == (scope, 2, 2)
    late = [*signs(1, family), *signs(1, family, start=1, at_ms=NOON + 3 * MINUTE)]
    assert parent(PAIR, late) is None  # two troubles by chance


@pytest.mark.parametrize(("family", "scope"), [("power", "feeder"), ("line", "exchange")])
def test_one_that_only_fell_silent_is_with_the_other_that_says_why(family: Family, scope: str) -> None:
    """A line that is not on the UPS goes with the mains, before its gateway can say that they are cut."""
    found = parent(PAIR, [*signs(1, "dark"), *signs(1, family, start=1, at_ms=NOON + MINUTE)])
    assert found is not None
    assert (found.scope, found.family, found.size) == (scope, family, 2)
    assert parent(PAIR, [*signs(1, "dark"), *signs(1, family, start=1, at_ms=NOON + 3 * MINUTE)]) is None


def test_two_of_three_are_one_only_if_both_say_what_it_is() -> None:
    places = homes(3, feeder="F-1") | homes(97, 3, feeder="F-8")
    assert parent(places, signs(2, "power")) is not None
    assert parent(places, signs(2, "dark")) is None
    assert parent(places, [*signs(1, "power"), *signs(1, "dark", start=1)]) is None


def test_the_incident_of_two_goes_on_with_one() -> None:
    assert [goes_on("exchange", n, 2, RULES) for n in (0, 1)] == [False, True]


def test_eight_of_an_exchange_are_one_and_their_mains_are_not() -> None:
    places = homes(10, exchange="X-1") | homes(90, 10, exchange="X-2")
    found = parent(places, signs(8, "line"))
    assert found is not None
    assert (found.scope, found.key) == ("exchange", "X-1")
    cut = parent(places, signs(8, "power"))
    assert cut is None or cut.scope != "exchange"


@pytest.mark.parametrize("seed", range(20))
def test_signs_in_order_say_what_a_look_at_all_of_them_does(seed: int) -> None:
    draw = random.Random(seed)
    places = {
        f"C-{n}": CenterPlace(
            f"C-{n}", f"F-{n // 6}", f"X-{n // 15}", f"I-{n % 3}", f"T-{n // 30}", f"D-{n // 30}", "P"
        )
        for n in range(90)
    }
    families: list[Family] = ["power", "line", "dark"]
    shown = [
        CenterSign(code, family, NOON + draw.randrange(-15, 15) * MINUTE)
        for code in draw.sample(sorted(places), draw.randrange(5, 90))
        for family in draw.sample(families, draw.randrange(1, 3))
    ]
    index, window = SignIndex(shown, places), (NOON - 10 * MINUTE, NOON + 10 * MINUTE)
    for level in LEVELS:
        for key in {level.key(place) for place in places.values()}:
            near = {
                (sign.center, sign.family)
                for sign in shown
                if window[0] <= sign.began_ms <= window[1]
                and level.key(places[sign.center]) == key
                and sign.family in level.families
            }
            signs = index.near(level, key, window, level.families)
            assert {(sign.center, sign.family) for sign in signs} == near
            least, most = index.bounds(level, key, window, level.families)
            assert least <= len({center for center, _ in near}) <= most
