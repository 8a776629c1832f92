"""`nabz-collector settings`: what the collector sets on gateways, layer by layer, and how far each gateway is."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict

from agent.remote.settings import REMOTE
from collector.access import users
from collector.commands.console import (
    acting,
    answers,
    clock_ms,
    complain,
    moment,
    say,
    settings_of,
    table,
    verb_arguments,
    who_argument,
)
from collector.register import centers
from collector.remote import layers, reports, rollout, standing
from collector.remote.layers import LayerError, Version
from collector.store.database import existing

EXAMPLE = (
    'nabz-collector settings set --layer province=Sindh speed.mode=quick --reason "lines are paid by the megabyte"'
)
EXAMPLES = {
    "set": 'speed.mode=quick --layer province=Sindh --reason "lines are paid by the megabyte"',
    "unset": 'speed.mode --layer province=Sindh --reason "another contract"',
    "retry": "--layer country",
    "show": "--center KHI-001",
    "diff": "--layer country",
    "history": "--layer province=Sindh",
    "status": "--json",
    "keys": "--json",
}
WHERE = "country, province=NAME, tier=NAME or center=CODE"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    added = verbs.add_parser(
        "set", help="set keys in a layer; its gateways try them in rings, and apply them or report why not"
    )
    added.add_argument(
        "values", nargs="*", metavar="TABLE.KEY=VALUE",
        help="the value as in agent.toml (none, with --at-once: what is set already goes to all)",
    )  # fmt: skip
    unset = verbs.add_parser("unset", help="set them no more: a wider layer, or the gateway's own file, holds again")
    unset.add_argument("keys", nargs="+", metavar="TABLE.KEY")
    retry = verbs.add_parser("retry", help="have settings that failed tried once more")
    shown = verbs.add_parser("show", help="what a layer sets, or all that holds for a center and from where")
    compared = verbs.add_parser("diff", help="what changed between two versions of a layer")
    compared.add_argument("--from", dest="before", type=int, metavar="ID", help="(default: the one before the newest)")
    compared.add_argument("--to", dest="after", type=int, metavar="ID", help="(default: the newest)")
    past = verbs.add_parser("history", help="every version: when, who, why and what")
    standings = verbs.add_parser("status", help="how many gateways run with what is set, and which do not, and why")
    verbs.add_parser("keys", help="the keys that may be set from here; all others are the gateway's own")
    for verb in (added, unset, retry, compared):
        verb.add_argument("--layer", required=True, metavar="LAYER", help=WHERE)
    shown.add_argument("--layer", metavar="LAYER", help=f"{WHERE} (default: every layer)")
    shown.add_argument("--center", metavar="CODE", help="what holds for this center")
    past.add_argument("--layer", metavar="LAYER", help=f"{WHERE} (default: every layer)")
    standings.add_argument("--all", action="store_true", help="every gateway, not only those that are not there yet")
    for verb in (added, unset):
        verb.add_argument("--reason", required=True, metavar="TEXT", help="recorded")
        verb.add_argument("--at-once", action="store_true", help="to all gateways, not from ring to ring")
    for verb in (added, unset, retry):
        who_argument(verb)
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return VERBS[options.verb](options)
    except users.PersonError as error:
        complain(str(error))
        return 2
    except (LayerError, centers.CenterError) as error:
        complain(str(error))
        return 1


def _set(options: argparse.Namespace) -> int:
    return _change(options, dict(map(_value, options.values)), ())


def _unset(options: argparse.Namespace) -> int:
    return _change(options, {}, options.keys)


def _value(text: str) -> tuple[str, object]:
    """TABLE.KEY=VALUE; a value that is no TOML is a text. Raises LayerError."""
    name, sign, value = text.partition("=")
    if not sign:
        raise LayerError(f"{text[:60]!r}: has no value; write TABLE.KEY=VALUE")
    return name, layers.value_of(value)


def _change(options: argparse.Namespace, values: Mapping[str, object], dropped: tuple[str, ...] | list[str]) -> int:
    by, now_ms = acting(options), clock_ms()
    with existing(settings_of(options)) as store, store.write() as conn:
        layer = layers.parse(conn, options.layer)
        made = layers.change(conn, layer, values, dropped, by, options.reason, now_ms, options.at_once)
        code = layer.name if layer.kind == "center" else ""
        users.record(conn, "settings_changed", by, now_ms, center=code, subject=str(layer), reason=options.reason)
    text = f"{layer}: version {made.id}; see `nabz-collector settings status`"
    say(json.dumps(_plain(made)) if options.json else text)
    return 0


def _retry(options: argparse.Namespace) -> int:
    by, now_ms = acting(options), clock_ms()
    with existing(settings_of(options)) as store, store.write() as conn:
        layer = layers.parse(conn, options.layer)
        codes = [center.code for center in centers.all_centers(conn) if layer in layers.layers_of(center)]
        number = reports.forgive(conn, codes)
        users.record(conn, "settings_changed", by, now_ms, subject=str(layer), reason=f"retry: {number}")
    say(json.dumps({"gateways": number}) if options.json else f"{layer}: {number} gateways try once more")
    return 0


def _show(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        newest = layers.current(conn)
        if options.center:
            by_key = layers.origins(newest, centers.get(conn, options.center))
            return _show_center(options, by_key)
        if options.layer:
            wanted = layers.parse(conn, options.layer)
            newest = {layer: version for layer, version in newest.items() if layer == wanted}
    rows = [(str(layer), version) for layer, version in sorted(newest.items()) if version.tables]
    if options.json:
        say(json.dumps([_plain(version) for _, version in rows]))
        return 0
    cells = [
        (name, key, _text(value), version.id)
        for name, version in rows
        for key, _, value in layers.difference({}, version.tables)
    ]
    say(table(("layer", "key", "value", "version"), cells))
    return 0


def _show_center(options: argparse.Namespace, by_key: Mapping[str, tuple[object, Version]]) -> int:
    if options.json:
        say(json.dumps({key: {"value": value, "version": _plain(version)} for key, (value, version) in by_key.items()}))
        return 0
    cells = [
        (key, _text(value), version.layer, moment(version.at_ms), version.person, version.reason)
        for key, (value, version) in sorted(by_key.items())
    ]
    say(table(("key", "value", "from", "since", "by", "reason"), cells))
    return 0


def _diff(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        versions = {version.id: version for version in layers.history(conn, layers.parse(conn, options.layer))}
    ids = sorted(versions)
    after = options.after if options.after is not None else (ids[-1] if ids else 0)
    earlier = [number for number in ids if number < after]
    before = options.before if options.before is not None else (earlier[-1] if earlier else 0)
    for number in (before, after):
        if number and number not in versions:
            raise LayerError(f"version {number}: is none of {options.layer}; see `nabz-collector settings history`")
    tables = [versions[number].tables if number else {} for number in (before, after)]
    rows = layers.difference(*tables)
    if options.json:
        say(json.dumps([{"key": key, "before": was, "after": now} for key, was, now in rows]))
    else:
        say(
            table(
                ("key", f"version {before}", f"version {after}"),
                [(key, _text(was), _text(now)) for key, was, now in rows],
            )
        )
    return 0


def _history(options: argparse.Namespace) -> int:
    with existing(settings_of(options)) as store, store.read() as conn:
        layer = layers.parse(conn, options.layer) if options.layer else None
        versions = layers.history(conn, layer)
    if options.json:
        say(json.dumps([_plain(version) for version in versions]))
        return 0
    cells, last = [], dict[layers.Layer, Version]()
    for version in versions:
        before = last[version.layer].tables if version.layer in last else {}
        changes = "; ".join(
            f"{key}: {_text(was)} -> {_text(now)}" for key, was, now in layers.difference(before, version.tables)
        )
        cells.append((version.id, moment(version.at_ms), version.layer, version.person, version.reason, changes))
        last[version.layer] = version
    say(table(("version", "when", "layer", "by", "reason", "changes"), cells))
    return 0


def _status(options: argparse.Namespace) -> int:
    """Exit code 1 while some gateway has failed."""
    with existing(settings_of(options)) as store, store.read() as conn:
        gateways = list(standing.gateways(conn))
        rollouts = rollout.under_way(conn, gateways, clock_ms())
    counts = Counter(one.standing for one in gateways if one.wanted_digest or one.standing != "unable")
    rows = [one for one in gateways if options.all or one.standing not in ("applied", "unable")]
    if options.json:
        facts = [
            {"center": one.center, "device": one.device, "standing": one.standing, "wanted": one.wanted_digest,
             "digest": one.digest, "why": one.why, "since_ms": one.since_ms, "heard_ms": one.heard_ms}
            for one in rows
        ]  # fmt: skip
        say(json.dumps({"counts": counts, "gateways": facts, "rollouts": [asdict(one) for one in rollouts]}))
    else:
        say(", ".join(f"{counts[name]} {name}" for name in ("applied", "trial", "waiting", "failed", "unable")))
        for one in rollouts:
            say(_rollout(one))
        cells = [
            (one.center, one.device, one.standing, moment(one.since_ms), moment(one.heard_ms), one.why) for one in rows
        ]
        if cells:
            say(table(("center", "device", "state", "since", "heard", "why"), cells))
    return 1 if counts["failed"] else 0


def _rollout(one: rollout.Rollout) -> str:
    place = f"{one.digest or 'no settings'}: {one.settled} of {one.members} gateways are well with them"
    if not one.is_held:
        return f"{place}; {one.limit} may have them by now"
    return f"{place}; held: {one.failed} failed, {one.worse_pct:.0f} % measure less; change them, or set --at-once"


def _keys(options: argparse.Namespace) -> int:
    names = [f"{name}.{key}" for name, keys in REMOTE.items() for key in sorted(keys)]
    say(json.dumps(names) if options.json else "\n".join(names))
    return 0


def _plain(version: Version) -> dict[str, object]:
    return {
        "version": version.id, "at_ms": version.at_ms, "layer": str(version.layer), "tables": version.tables,
        "person": version.person, "reason": version.reason, "at_once": version.at_once,
    }  # fmt: skip


def _text(value: object) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "set": _set, "unset": _unset, "retry": _retry, "show": _show, "diff": _diff, "history": _history,
    "status": _status, "keys": _keys,
}  # fmt: skip
