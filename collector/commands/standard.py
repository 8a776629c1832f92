"""`nabz-collector standard`: check a standard's file, or show what the standard in force asks."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from agent.common.words import plain
from collector.access import users
from collector.access.accounts import directory
from collector.acts import adoption
from collector.acts.adoption import AdoptionError, AdoptionState, VersionState
from collector.acts.person import ActingPerson
from collector.commands.console import (
    Bar,
    acting,
    answers,
    clock_ms,
    common_arguments,
    complain,
    moment,
    proof_of,
    say,
    settings_of,
    table,
    who_argument,
)
from collector.common.config import Settings
from collector.register import dated
from collector.register.dated import today_ms
from collector.reports.audit.trial import draft, processes
from collector.standard import Standard, StandardError, Standards, examples, load
from collector.standard.criteria import Criterion, Window
from collector.store.database import existing

DAY_MS = 86_400_000
STATES: Mapping[AdoptionState, str] = {
    "shipped": "shipped, not adopted", "proposed": "proposed, not adopted", "adopted": "adopted",
}  # fmt: skip
MOST_DAYS = 366
EXAMPLE = "nabz-collector standard check my-standard.toml"
EXAMPLES = {
    "check": "standard.toml",
    "show": "--json",
    "try": "draft.toml --days 90",
    "list": "--json",
    "propose": 'example-2026-3 --reason "notification 12 of 2026"',
    "adopt": "example-2026-3 --by Sara",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("check", help="name every mistake of a standard's file")
    check.add_argument("file", type=Path, metavar="FILE")
    shown = verbs.add_parser("show", help="the standard that holds now, as the collector is set up, or that of a file")
    shown.add_argument("--file", type=Path, metavar="FILE", help="this file instead of the one in force")
    common_arguments(shown)
    trial = verbs.add_parser("try", help="a draft over past days: whose verdict would be another, from the day sheets")
    trial.add_argument("file", type=Path, metavar="DRAFT")
    trial.add_argument("--days", type=int, default=90, metavar="N", help="days that are over; default: 90")
    common_arguments(trial)
    verbs.add_parser("list", help="the versions that are known, and how far the adoption of each is")
    proposed = verbs.add_parser("propose", help="the first of the two persons who adopt a version")
    proposed.add_argument("--reason", required=True, metavar="TEXT", help="recorded")
    verbs.add_parser("adopt", help="the second person adopts a version that was proposed")
    for name in ("propose", "adopt"):
        verbs.choices[name].add_argument("id", metavar="ID", help="of a version, see `standard list`")
        who_argument(verbs.choices[name])
    for name in ("list", "propose", "adopt"):
        common_arguments(verbs.choices[name])
    for verb in verbs.choices.values():
        verb.add_argument("--json", action="store_true", help="print facts as JSON")


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return VERBS[options.verb](options)
    except (AdoptionError, users.PersonError) as error:
        complain(str(error))
        return 1
    except StandardError as error:
        if options.json:
            say(json.dumps({"mistakes": error.mistakes}, ensure_ascii=False, indent=2))
        else:
            complain(str(error))
        return 2


def _check(options: argparse.Namespace) -> int:
    standard = load(options.file)
    if options.json:
        say(json.dumps({"mistakes": [], "id": standard.id, "digest": standard.digest}, indent=2))
    else:
        count = len(standard.criteria)
        say(f"{options.file}: standard {standard.id}, {count} criteria, no mistakes; sha256 {standard.digest}")
    return 0


def _list(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    with existing(settings) as store, store.read() as conn:
        states = adoption.states_of(conn, standards_of(settings).versions)
    rows = [_adoption_facts(one) for one in states]
    cells = [
        (row["id"], STATES[one.state], dated.day_of(one.version.valid_from_ms), row["proposed_by"], row["adopted_by"],
         moment(row["adopted_ms"]), row["digest"])
        for row, one in zip(rows, states, strict=True)
    ]  # fmt: skip
    heads = ("standard", "state", "holds from", "proposed by", "adopted by", "adopted", "sha256")
    say(json.dumps(rows, indent=2) if options.json else table(heads, cells))
    return 0


def _adoption_facts(one: VersionState) -> dict[str, object]:
    names = ("proposed_ms", "proposed_by", "reason", "adopted_ms", "adopted_by")
    more = {name: getattr(one.adoption, name) if one.adoption else "" for name in names}
    return {"id": one.version.id, "digest": one.version.digest, "state": one.state, **more}


def _decide(options: argparse.Namespace) -> int:
    """Proposed or adopted: whoever does it proves their name where names are proven."""
    settings, name, now_ms = settings_of(options), acting(options), clock_ms()
    version = next((one for one in standards_of(settings).versions if one.id == options.id), None)
    if version is None:
        raise AdoptionError("adoption.unknown", options.id)
    with existing(settings) as store:
        proof = proof_of(store, name, now_ms)
        with store.write() as conn:
            is_proven = directory.check_may(conn, name, proof, "standards.adopt")
            who = ActingPerson(name=name, now_ms=now_ms, is_proven=is_proven)
            if options.verb == "propose":
                adoption.propose(conn, version, options.reason, who)
            else:
                adoption.adopt(conn, version, who)
            (entry,) = adoption.states_of(conn, [version])
    say(json.dumps(_adoption_facts(entry)) if options.json else f"{version.id}: {STATES[entry.state]}")
    return 0


def _try(options: argparse.Namespace) -> int:
    settings, now_ms = settings_of(options), time.time_ns() // 1_000_000
    if not 1 <= options.days <= MOST_DAYS:
        complain(f"--days {options.days}: must be from 1 to {MOST_DAYS}")
        return 2
    new, held = load(options.file), _in_force(options)
    if held is None:
        complain("standard: no version holds now, so there is nothing to compare with; see [standard] files")
        return 1
    end_ms = today_ms(now_ms)
    span = (end_ms - options.days * DAY_MS, end_ms)
    with Bar("of the centers") as bar:
        trial = processes.trial(partial(existing, settings), draft.DraftQuestion(held, new, span), bar.share)
    say(json.dumps(draft.facts(trial), ensure_ascii=False, indent=2) if options.json else _trial_text(trial))
    return 0


def _trial_text(trial: draft.DraftTrial) -> str:
    lines = [f"{trial.draft} instead of {trial.standard}: {len(trial.changed)} of {trial.centers} centers change"]
    for title, groups in (("district", trial.by_district), ("owner", trial.by_owner)):
        rows = [(name, change, count) for name, counts in groups.items() for change, count in counts.items()]
        lines += ["", table((title, "change", "centers"), rows)] if rows else []
    some = [(one.center, f"{one.was} > {one.now}", ", ".join(one.criteria)) for one in trial.changed[:50]]
    lines += ["", table(("center", "change", "by"), some)] if some else []
    lines += [f"… and {len(trial.changed) - 50} more; all with --json"] if len(trial.changed) > 50 else []
    lines += [f"not told by day sheets, so left out: {', '.join(trial.untold)}"] if trial.untold else []
    return "\n".join(lines)


def _show(options: argparse.Namespace) -> int:
    standard = load(options.file) if options.file else _in_force(options)
    if standard is None:
        complain("standard: no version holds now; add one that begins today or earlier to [standard] files")
        return 1
    if options.json:
        say(json.dumps(facts(standard), ensure_ascii=False, indent=2))
        return 0
    say(f"{standard.id}{'' if standard.official else ' (not official)'}, sha256 {standard.digest}\n{standard.note}\n")
    heads = ("criterion", "reading", "asked", "flag after", "clear after", "when", "severity")
    say(table(heads, [_line(criterion) for criterion in standard.criteria]))
    return 0


def _in_force(options: argparse.Namespace) -> Standard | None:
    return standards_of(settings_of(options)).at(time.time_ns() // 1_000_000)


def standards_of(settings: Settings) -> Standards:
    """The versions that the settings name, or those that are shipped. Raises StandardError."""
    return Standards.of([load(path) for path in settings.standard.files] or examples())


def _line(criterion: Criterion) -> tuple[str, ...]:
    return (
        criterion.id,
        criterion.reading,
        asked(criterion),
        _window(criterion.window),
        _window(criterion.recovery.window),
        criterion.when.replace("_", " "),
        criterion.severity,
    )


def asked(criterion: Criterion) -> str:
    """What is asked, in words: "at least 50/30/20 Mbit/s by tier, 1 a seat"."""
    how = criterion.compare.replace("_", " ")
    if criterion.figure is None:
        return f"{how} {', '.join(sorted(criterion.words))}"
    values = [plain().figure(value) for value in criterion.figure.by_tier.values()]
    figure = values[0] if len(set(values)) == 1 else "/".join(values)
    seats = f", {plain().figure(criterion.figure.per_seat)} a seat" if criterion.figure.per_seat else ""
    return " ".join(filter(None, (how, figure, criterion.unit))) + seats


def _window(window: Window) -> str:
    if window.n > 1:
        return f"{window.m} of {window.n}"
    return plain().duration(window.for_s) if window.for_s else "at once"


def facts(standard: Standard) -> dict[str, object]:
    return {
        "id": standard.id,
        "official": standard.official,
        "note": standard.note,
        "valid_from_ms": standard.valid_from_ms,
        "valid_to_ms": standard.valid_to_ms,
        "digest": standard.digest,
        "criteria": [_facts(criterion) for criterion in standard.criteria],
    }


def _facts(criterion: Criterion) -> dict[str, object]:
    figure = criterion.figure
    return {
        "id": criterion.id,
        "reading": criterion.reading,
        "field": list(criterion.fields),
        "compare": criterion.compare,
        "by_tier": None if figure is None else dict(figure.by_tier),
        "per_seat": None if figure is None else figure.per_seat,
        "words": sorted(criterion.words),
        "unit": criterion.unit,
        "count_at_pct": criterion.count_at_pct,
        "when": criterion.when,
        "severity": criterion.severity,
        "name": dict(criterion.name.texts),
        "fix": dict(criterion.fix.texts),
    }


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "check": _check, "show": _show, "try": _try, "list": _list, "propose": _decide, "adopt": _decide,
}  # fmt: skip
