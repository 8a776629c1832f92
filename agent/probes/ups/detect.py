"""What a device is, found by asking for objects: sysObjectID alone misleads (shared cards, net-snmp's own number).

One GETNEXT at the root of every table tells which trees exist; further ones find the instances that hold values,
whatever index a card gives them (`.0`, `.1`, `.1.0`, line 3 only). What is found becomes a `Plan`: the exact objects
a later poll asks for, in one or two datagrams.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from agent.probes.ups.pdu import Binding, Value
from agent.probes.ups.profiles import PROFILES
from agent.probes.ups.profiles.table import LIMIT, MEASURED, TEXTS, Obj, Profile
from agent.probes.ups.snmp import SnmpSession

Say = Callable[[str], None]

MOST_ROUNDS = 3  # for alarms that are new
MOST_ALARMS = 24  # a table without end is a card's mistake


@dataclass(frozen=True)
class Plan:
    """What to ask one UPS from now on. `texts` are names, serials and limits, read once; `alarms` the columns of its
    tables of alarms, each with the object that counts them."""

    profiles: tuple[Profile, ...]
    numbers: tuple[str, ...]
    texts: Mapping[str, Value]
    longest: int
    alarms: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Progress:
    """What a discovery has found so far. A card whose every answer takes seconds is discovered over several polls."""

    raw: dict[str, Value] = field(default_factory=dict)
    profiles: list[Profile] | None = None
    walked: dict[str, Binding | None] = field(default_factory=dict)


async def discover(
    session: SnmpSession, say: Say, progress: Progress | None = None, device: int = 0
) -> tuple[Plan, dict[str, Value]]:
    """The plan for this device and the first values of all its objects; an empty plan when no table matches. `device`
    picks one of several UPSs behind a card (0: the first)."""
    progress = progress or Progress()
    if progress.profiles is None:
        progress.profiles = await _matching(session, progress.raw, say)
    raw, profiles = dict(progress.raw), progress.profiles
    objects = [(profile, obj) for profile in profiles for obj in profile.objects if not obj.standing]
    lines: dict[str, int] = {}
    cursors: dict[str, str] = {}
    for profile, obj in objects:
        for base in profile.bases(obj):
            lines[base] = max(obj.lines, lines.get(base, 1))
            start = _before_device(base, device if profile.devices else 0)
            cursors[base] = _just_before(base) if obj.exact else start
    await _walk(session, lines, cursors, raw, progress.walked)
    texts = [base for profile, obj in objects if _is_static(obj) for base in profile.bases(obj)]
    named = {oid: value for oid, value in raw.items() if any(_within(oid, base) for base in texts)}
    numbers = tuple(oid for oid in raw if oid not in named and any(_within(oid, base) for base in lines))
    return Plan(tuple(profiles), numbers, named, session.longest, _alarms(profiles)), raw


def _is_static(obj: Obj) -> bool:
    return obj.field in TEXTS or (obj.field.startswith(LIMIT) and obj.field not in MEASURED)


def _alarms(profiles: Sequence[Profile]) -> dict[str, str]:
    return {
        base: counter
        for profile in profiles
        for obj in profile.objects
        if obj.standing
        for base in profile.bases(obj)
        for counter in _counters(profile)
    }


def _counters(profile: Profile) -> list[str]:
    return [base for obj in profile.objects if obj.field == "alarms_count" for base in profile.bases(obj)]


async def standing(
    session: SnmpSession, plan: Plan, raw: Mapping[str, Value], known: Collection[str]
) -> dict[str, Value]:
    """The alarms that stand now; no question while none does, one while they are `known` from the look before, and a
    few for those that are new."""
    columns = [column for column, counter in plan.alarms.items() if _count(raw, counter)]
    alarms: dict[str, Value] = {}
    cursors = {*columns, *(oid for oid in known if any(_within(oid, column) for column in columns))}
    for _ in range(MOST_ROUNDS if columns else 0):
        answers = await session.following(cursors)
        fresh = {
            oid: value
            for oid, value in answers.values()
            if oid not in alarms and any(_within(oid, column) for column in columns)
        }
        alarms.update(fresh)
        cursors = set(fresh) - cursors  # what comes after these is not known yet
        if not cursors or len(alarms) > MOST_ALARMS:
            break
    return alarms


def _count(raw: Mapping[str, Value], counter: str) -> int:
    counts = [value for oid, value in raw.items() if _within(oid, counter) and isinstance(value, int)]
    return max(counts, default=0)


async def _matching(session: SnmpSession, raw: dict[str, Value], say: Say) -> list[Profile]:
    first = await session.following([profile.root for profile in PROFILES])
    matched = []
    for profile in PROFILES:
        answer = first.get(profile.root)
        if answer and _within(answer[0], profile.root):
            say(f"{profile.name}: matches, {answer[0]} answers ({profile.source})")
            raw[answer[0]] = answer[1]
            matched.append(profile)
        else:
            say(f"{profile.name}: nothing under {profile.root}")
    return matched or await _by_key_objects(session, raw, say)


async def _by_key_objects(session: SnmpSession, raw: dict[str, Value], say: Say) -> list[Profile]:
    """For agents whose GETNEXT is broken: ask for each table's first object by its name."""
    keys = {f"{profile.root}.{_key_object(profile).oid}.0": profile for profile in PROFILES}
    answers = await session.get(keys)
    for oid in answers:
        say(f"{keys[oid].name}: matches, {oid} answers to GET ({keys[oid].source})")
    raw.update(answers)
    return [profile for oid, profile in keys.items() if oid in answers]


def _key_object(profile: Profile) -> Obj:
    return next((obj for obj in profile.objects if obj.field == "battery_charge_pct"), profile.objects[0])


def _before_device(base: str, device: int) -> str:
    """Where GETNEXT must start to find the first instance of this device: behind all of the one before it."""
    return f"{base}.{device - 1}.4294967295" if device > 1 else base


def _just_before(oid: str) -> str:
    """Where GETNEXT must start to find exactly this instance."""
    above, _, last = oid.rpartition(".")
    return f"{above}.{int(last) - 1}"


async def _walk(
    session: SnmpSession,
    lines: Mapping[str, int],
    cursors: dict[str, str],
    raw: dict[str, Value],
    walked: dict[str, Binding | None],
) -> None:
    """The first instances under each base, as many as it has lines; one round of questions for each line."""
    for number in range(1, max(lines.values(), default=0) + 1):
        if number > 1 and session.is_slow:
            return  # what further phases have to say is not worth a poll without an answer
        answers = await session.following(cursors.values(), walked)
        raw.update((oid, value) for oid, value in answers.values() if _wanted(oid, lines))
        cursors = {
            base: answers[cursor][0]
            for base, cursor in cursors.items()
            if number < lines[base] and cursor in answers and _within(answers[cursor][0], base)
        }
        if not cursors:
            return


def _wanted(oid: str, bases: Mapping[str, int]) -> bool:
    """An answer counts wherever it belongs: what follows one object is often the next object's value."""
    while oid and oid not in bases:
        oid = oid.rpartition(".")[0]
    return bool(oid)


def _within(oid: str, root: str) -> bool:
    return oid == root or oid.startswith(root + ".")
