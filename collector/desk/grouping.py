"""One incident for many centers: which neighbours fail together. Pure; the thresholds are data.

A group is all centers of a feeder, an exchange, a provider in a city, a district, a province, or the country. When
enough of one show signs that began at about the same time, they have one cause. Of several groups that explain the
signs, the one with the greatest share of its centers in trouble is taken, as long as it explains nearly as many. A
district, a province or the country has no trouble of its own where two groups on a single wire each explain nearly all
of it: two feeders of two towns that fail within minutes are two causes, unless they fail at once. Nor has it where one
of them explains all but one or two, whenever those began.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from collector.desk.symptoms import ON_A_LINE, CenterPlace, CenterSign, Family, Scope

NEARLY = 0.8  # of the centers that the widest group explains


@dataclass(frozen=True)
class Level:
    """A kind of group: its name, how its key is read of a place ("" for none), and the signs that its members share."""

    scope: Scope
    key: Callable[[CenterPlace], str]
    families: frozenset[Family]
    is_narrow: bool = False


@dataclass(frozen=True)
class GroupingRules:
    """`centers` and `share_pct` of a group in trouble within `within_s` are one incident. So are `few` and `few_pct` of
    one that hangs on a single wire (`Level.is_narrow`): most feeders have fewer centers than `centers`. So are `pair`
    and `few_pct` of one that say the same of themselves from within `pair_within_s` on, or all of it if some only fell
    silent. Those that are fewer, but at least `crowd`, are waited for `hold_s` seconds. An incident goes on to take
    members in while a share of `keep_pct` of its group is in trouble. One that ends and begins again within `reopen_s`
    is the same."""

    centers: int = 8
    share_pct: float = 20.0
    few: int = 3
    few_pct: float = 60.0
    pair: int = 2
    pair_within_s: int = 120
    within_s: int = 600
    crowd: int = 3
    hold_s: int = 60
    keep_pct: float = 10.0
    reopen_s: int = 600


RULES = GroupingRules()

_POWER, _LINE = frozenset[Family]({"power", "dark"}), frozenset[Family]({"line", "dark"})
_ANY = _POWER | _LINE

# The most particular first.
LEVELS: tuple[Level, ...] = (
    Level("feeder", lambda place: place.feeder, _POWER, is_narrow=True),
    Level("exchange", lambda place: place.exchange, _LINE, is_narrow=True),
    Level("provider", lambda place: f"{place.isp}, {place.city}" if place.isp and place.city else "", _LINE, True),
    Level("district", lambda place: place.district, _ANY),
    Level("province", lambda place: place.province, _ANY),
    Level("country", lambda _place: "*", _ANY),
)
BY_SCOPE: Mapping[str, Level] = {level.scope: level for level in LEVELS}

Sizes = Mapping[tuple[str, str], int]  # (scope, key) -> centers of the group


@dataclass(frozen=True)
class CenterGroup:
    """Centers in trouble together: the group, which of its centers, and how many of it could show trouble. `at_once`
    are those that show it since nearly the same minute; of a group on a single wire, the group's own family, and
    `or_silent` those besides that fell silent then. `wires`:
    so many groups on a single wire explain nearly all of a wide one, 0: more than two; `others`: all but so many."""

    scope: Scope
    key: str
    family: Family
    centers: frozenset[str]
    size: int
    at_once: frozenset[str] = frozenset()
    or_silent: frozenset[str] = frozenset()
    wires: int = 0
    others: int = 0

    @property
    def share_pct(self) -> float:
        return 100.0 * len(self.centers) / self.size if self.size else 0.0


class SignIndex:
    """Signs by group, family and time: of a group it is known how many of its centers may be in trouble together
    without a look at each of them. In a national outage each center asks that of all others."""

    def __init__(self, signs: Iterable[CenterSign], places: Mapping[str, CenterPlace]) -> None:
        self.places = places
        self._sorted: dict[tuple[Scope, str, Family], list[CenterSign]] = defaultdict(list)
        for sign in sorted(signs, key=_began_ms):
            if (home := places.get(sign.center)) is not None:
                for level in LEVELS:
                    if sign.family in level.families and (key := level.key(home)):
                        self._sorted[level.scope, key, sign.family].append(sign)

    def near(
        self, level: Level, key: str, window_ms: tuple[int, int], families: Collection[Family]
    ) -> list[CenterSign]:
        """The signs of a group that began within these times."""
        parts = [self._part(level, key, family, window_ms) for family in families]
        return [sign for signs, first, end in parts for sign in signs[first:end]]

    def bounds(
        self, level: Level, key: str, window_ms: tuple[int, int], families: Collection[Family]
    ) -> tuple[int, int]:
        """At least and at most so many centers of a group show signs that began within these times: each shows one of
        a family."""
        parts = [self._part(level, key, family, window_ms) for family in families]
        counts = [end - first for _, first, end in parts]
        return max(counts, default=0), sum(counts)

    def _part(
        self, level: Level, key: str, family: Family, window_ms: tuple[int, int]
    ) -> tuple[Sequence[CenterSign], int, int]:
        signs = self._sorted.get((level.scope, key, family), ())
        from_ms, to_ms = window_ms
        return signs, bisect_left(signs, from_ms, key=_began_ms), bisect_right(signs, to_ms, key=_began_ms)


def _began_ms(sign: CenterSign) -> int:
    return sign.began_ms


def groups_around(
    place: CenterPlace,
    began_ms: int,
    signs: SignIndex,
    sizes: Sizes,
    rules: GroupingRules,
    own: CenterSign | None = None,
) -> list[CenterGroup]:
    """The groups of a center with those of their centers that fell into trouble when it did, the most particular
    first; without wide ones that have too few for a parent. `own`: a sign of the center itself, which is not among the
    others; they are then those that may have its cause."""
    within_ms = rules.within_s * 1000
    window_ms = began_ms - within_ms, began_ms + within_ms
    groups = []
    for level, key in _levels(place):
        families = [one for one in level.families if own is None or is_alike(one, own.family)]
        most = signs.bounds(level, key, window_ms, families)[1] + 1
        if not level.is_narrow and not _is_wide(most, max(sizes.get((level.scope, key), 0), most), rules):
            continue
        mine = signs.near(level, key, window_ms, families)
        if own is not None and own.family in level.families:
            mine.append(own)
        centers, family = frozenset(sign.center for sign in mine), family_among(mine)
        then = [sign for sign in mine if abs(sign.began_ms - began_ms) <= rules.pair_within_s * 1000]
        at_once = frozenset(sign.center for sign in then if not level.is_narrow or sign.family == family)
        or_silent = at_once | {sign.center for sign in then if sign.family == "dark"}
        size = max(sizes.get((level.scope, key), 0), len(centers))
        homes = (
            [place if code == place.center else signs.places[code] for code in centers] if not level.is_narrow else []
        )
        groups.append(CenterGroup(level.scope, key, family, centers, size, at_once, or_silent, *_wires(homes, family)))
    return groups


def _levels(place: CenterPlace) -> list[tuple[Level, str]]:
    """The groups that a center hangs in."""
    return [(level, key) for level in LEVELS if (key := level.key(place))]


def _wires(homes: Sequence[CenterPlace], family: Family) -> tuple[int, int]:
    """How many groups on a single wire, at most two, explain nearly all centers at these places, and all but how many;
    0: more are needed."""
    levels = [level for level in LEVELS if level.is_narrow and family in level.families]
    left = list(homes)
    for wires in (1, 2):
        counts = Counter((level.scope, key) for home in left for level in levels if (key := level.key(home)))
        if not counts:
            return 0, len(left)
        scope, widest = counts.most_common(1)[0][0]
        left = [home for home in left if BY_SCOPE[scope].key(home) != widest]
        if len(left) <= (1 - NEARLY) * len(homes):
            return wires, len(left)
    return 0, len(left)


def is_line_fault(
    place: CenterPlace,
    began_ms: int,
    signs: SignIndex,
    on_mains: Callable[[Level, str], Collection[str]],
    rules: GroupingRules,
) -> bool:
    """Whether most centers of its exchange, or of its provider in its city, whose mains are on fail with it: then it is
    no cut of the mains that took the line of this one. `on_mains`: those of a group."""
    within_ms = rules.pair_within_s * 1000
    window_ms = began_ms - within_ms, began_ms + within_ms
    for level, key in _levels(place):
        if level.is_narrow and "line" in level.families:
            powered = on_mains(level, key)
            failing = {sign.center for sign in signs.near(level, key, window_ms, ON_A_LINE)} & set(powered)
            if len(failing) >= rules.pair and 100.0 * len(failing) >= rules.few_pct * len(powered):
                return True
    return False


def is_alike(one: Family, other: Family) -> bool:
    """Whether two troubles may have one cause: mains that are cut and a line that is bad have two."""
    return one == other or "dark" in (one, other)


def family_among(signs: Iterable[CenterSign]) -> Family:
    """What most of the signs that say anything say; dark if none does."""
    by_center: dict[str, set[Family]] = defaultdict(set)
    for sign in signs:
        by_center[sign.center].add(sign.family)
    families: tuple[Family, ...] = ("power", "line")
    counts = {family: sum(family in shown for shown in by_center.values()) for family in families}
    return max(families, key=lambda family: counts[family]) if any(counts.values()) else "dark"


def parent_among(groups: Sequence[CenterGroup], center: str, rules: GroupingRules) -> CenterGroup | None:
    """The group that explains the trouble of this center and its neighbours; None if there are too few."""
    enough = [group for group in groups if center in group.centers and _is_enough(group, rules)]
    if not enough:
        return None
    most = max(len(group.centers) for group in enough)
    near = [group for group in enough if len(group.centers) >= NEARLY * most]
    return max(near, key=lambda group: group.share_pct)  # the first of equals is the most particular


def _is_enough(group: CenterGroup, rules: GroupingRules) -> bool:
    count, share_pct = len(group.centers), group.share_pct
    is_wide = _is_wide(count, group.size, rules)
    if not BY_SCOPE[group.scope].is_narrow:
        is_one_wire = group.wires == 1 and group.others < rules.few
        return is_wide and not is_one_wire and (not group.wires or len(group.at_once) >= NEARLY * count)
    needed_pct = 100.0 if group.family == "dark" else rules.few_pct
    is_pair = len(group.at_once) >= rules.pair and 100.0 * len(group.at_once) >= needed_pct * group.size
    is_pair = is_pair or len(group.or_silent) >= max(rules.pair, group.size)
    return is_wide or is_pair or (count >= rules.few and share_pct >= rules.few_pct)


def _is_wide(count: int, size: int, rules: GroupingRules) -> bool:
    return count >= rules.centers and 100.0 * count >= rules.share_pct * size


def is_crowd(place: CenterPlace, began_ms: int, signs: SignIndex, sizes: Sizes, rules: GroupingRules) -> bool:
    """Whether so many neighbours are in trouble already that more of them are to be waited for. A district of a
    thousand centers always has some: only a share that might become a parent counts."""
    within_ms = rules.within_s * 1000
    window_ms = began_ms - within_ms, began_ms + within_ms
    for level, key in _levels(place):
        size = sizes.get((level.scope, key), 0)
        least, most = signs.bounds(level, key, window_ms, level.families)
        if _are_crowd(level, least, size, rules):
            return True
        if _are_crowd(level, most, size, rules):
            count = len({sign.center for sign in signs.near(level, key, window_ms, level.families)})
            if _are_crowd(level, count, size, rules):
                return True
    return False


def _are_crowd(level: Level, count: int, size: int, rules: GroupingRules) -> bool:
    share_pct = 100.0 * count / max(size, count, 1)
    is_part = count >= rules.crowd and 2 * share_pct >= rules.share_pct
    return is_part or (level.is_narrow and count >= rules.few - 1 and share_pct >= rules.few_pct)


def goes_on(scope: str, centers: int, size: int, rules: GroupingRules) -> bool:
    """Whether an incident with so many centers of a group in trouble still takes in more of them: half of what makes
    one is enough."""
    level = BY_SCOPE.get(scope)
    if level is None or 100.0 * centers < rules.keep_pct * size:
        return False
    is_few = level.is_narrow and 2 * centers >= min(rules.few, size) and 200.0 * centers >= rules.few_pct * size
    return is_few or 2 * centers >= rules.centers


def takes_in(
    scope: str,
    key: str,
    family: Family,
    centers: int,
    size: int,
    sign: CenterSign,
    place: CenterPlace,
    rules: GroupingRules,
) -> bool:
    """Whether an incident of a group, with so many of its centers in trouble, takes in one more of them."""
    level = BY_SCOPE.get(scope)
    if level is None or level.key(place) != key or sign.family not in level.families:
        return False
    fits = family in (sign.family, "dark") or sign.family == "dark"
    return fits and goes_on(scope, centers, size, rules)
