"""Raw values of several MIBs as candidates and evidence. Pure.

For each field the candidates stand in the order of trust: vendor tables before RFC 1628, and within a table as it is
written. What they mean together is settled in `agent.probes.ups.settle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from agent.probes.ups import nut
from agent.probes.ups.draft import Candidate, Evidence, Gathered
from agent.probes.ups.profiles.table import LIMIT, TEXTS, TOTALS, WORDS, Obj, Parsed, Profile, Raw, parse, text_of

Say = Callable[[str], None]
Instances = Mapping[str, Sequence[tuple[str, Raw]]]  # base -> its instances (oid, value) in tree order


def instances(bases: Sequence[str], raw: Mapping[str, Raw]) -> Instances:
    """The answers sorted under the objects asked for. An agent may leave the instance out (`33.1.1.1`, no `.0`)."""
    by_base: dict[str, list[tuple[str, Raw]]] = {base: [] for base in bases}
    for oid, value in raw.items():
        base = oid
        while base and base not in by_base:
            base = base.rpartition(".")[0]
        if base:
            by_base[base].append((oid, value))
    for entries in by_base.values():
        entries.sort(key=lambda entry: tuple(map(int, entry[0].split("."))))
    return by_base


def gather(profiles: Sequence[Profile], raw: Mapping[str, Raw], say: Say, device: int = 0) -> Gathered:
    """All that these answers tell. `device` picks one of several UPSs behind a card whose tables count them; 0 is the
    first."""
    by_base = instances([base for profile in profiles for obj in profile.objects for base in profile.bases(obj)], raw)
    candidates: dict[str, list[Candidate]] = {}
    words: set[str] = set()
    limits: dict[str, float] = {}
    for profile in profiles:
        for obj, value in _said(profile, by_base, device, say):
            if obj.field == WORDS:
                words.update(str(value).split())
            elif obj.field.startswith(LIMIT):
                if isinstance(value, (int, float)) and value > 0:
                    limits.setdefault(obj.field.removeprefix(LIMIT), float(value))
            else:
                key = f"{profile.name} {obj.oid}"
                candidates.setdefault(obj.field, []).append(Candidate(value, profile.name, key, obj.scale))
        spoken, spoken_words = _nut_texts(profile, by_base)
        words |= spoken_words
        for name, more in spoken.items():
            candidates.setdefault(name, []).extend(it._replace(source=profile.name) for it in more)
    makers = {profile.name: profile.maker or "" for profile in profiles}
    return Gathered(candidates=candidates, evidence=Evidence(words=frozenset(words), limits=limits), makers=makers)


def _nut_texts(profile: Profile, by_base: Instances) -> tuple[dict[str, list[Candidate]], frozenset[str]]:
    """What a card says that passes NUT's own texts on."""
    texts = {}
    for obj in profile.objects:
        if obj.field in NUT_TEXTS:
            answers = [value for base in profile.bases(obj) for _, value in by_base.get(base, ())]
            texts[obj.field] = (text_of(answers[0]) or "") if answers else ""
    return nut.spoken(*(texts.get(name, "") for name in NUT_TEXTS)) if texts else ({}, frozenset())


NUT_TEXTS = ("nut_status", "nut_alarm", "nut_test")  # fields of objects that hold `ups.status` and its kin


def _said(profile: Profile, by_base: Instances, device: int, say: Say) -> Iterator[tuple[Obj, Parsed]]:
    """What each object of a profile says, sentinels and impossible numbers included."""
    first = _device(profile, by_base, device)
    for obj in profile.objects:
        if not obj.field or obj.field in NUT_TEXTS:  # the former are only there for other objects' `rows`
            continue
        answers = [
            (oid, value)
            for base in profile.bases(obj)
            for oid, value in by_base.get(base, ())
            if not first or oid[len(base) + 1 :].partition(".")[0] == first
        ]
        if obj.rows:
            answers = _rows(f"{profile.root}.{obj.rows.column}", obj.rows.ids, profile.bases(obj)[0], answers, by_base)
        for oid, value in answers:
            say(f"  {profile.name} {obj.name} {oid} = {value!r}")
        values = [parse(obj, value) for _, value in answers]
        if obj.field == WORDS:
            yield from ((obj, value) for value in values if value)
        elif (value := _of_lines(obj, values)) is not None:
            yield obj, value


def _device(profile: Profile, by_base: Instances, device: int) -> str:
    """The index of the UPS that is meant, of a table that has one row (or several) for each; empty for others."""
    if not profile.devices:
        return ""
    if device:
        return str(device)
    indexes = {
        int(oid[len(base) + 1 :].partition(".")[0] or 0)
        for obj in profile.objects
        for base in profile.bases(obj)
        for oid, _ in by_base.get(base, ())
    }
    return str(min(indexes, default=0))


def _rows(
    column: str, ids: frozenset[str], base: str, answers: Sequence[tuple[str, Raw]], by_base: Instances
) -> list[tuple[str, Raw]]:
    """The answers of the rows that `column` says are of one of these kinds."""
    wanted = {oid[len(column) + 1 :] for oid, kind in by_base.get(column, ()) if kind in ids}
    return [(oid, value) for oid, value in answers if oid[len(base) + 1 :].partition(".")[0] in wanted]


def _of_lines(obj: Obj, values: Sequence[Parsed | None]) -> Parsed | None:
    """Of several lines: the largest of a load, the sum of watts, else the first live one (unused lines read 0)."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or obj.field in TEXTS or obj.enum is not None or obj.words is not None or obj.judge is not None:
        return known[0] if known else None
    numbers = [float(value) for value in known]
    if obj.field in TOTALS:
        return max(numbers)
    if obj.field == f"{LIMIT}real_power_w":
        return sum(numbers)
    return next((number for number in numbers if number > 0), numbers[0])
