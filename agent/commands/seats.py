"""`nabz-agent seats`: the seats that this center's gateway knows, and what people decide about them.

Decisions are left in the agent's own folder and taken up at its next round, within a minute, or at its next start.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping

from agent import config_file
from agent.common import logs
from agent.common.errors import describe
from agent.identity import IdentityError
from agent.probes.seats import registry_file
from agent.probes.seats.registry import label
from agent.probes.seats.registry_file import Order, SeatRecord

EXAMPLE = "nabz-agent seats approve SEAT-07"
EXAMPLES = {
    "list": "--json",
    "approve": "SEAT-07",
    "accept": "SEAT-07",
    "forget": "SEAT-07",
    "rename": "SEAT-07 SEAT-08",
}

VERBS = {
    "list": "every seat: counted or waiting, its key, what it is made of",
    "approve": "count new hardware; also lets a seat in anew that was installed again",
    "accept": "take the parts a seat has now for right",
    "forget": "remove a seat; if it reports again it is new",
    "rename": "give a seat another name on this gateway",
}


class WrongSeat(Exception):
    """No such seat, or no such name: one sentence."""


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, summary in VERBS.items():
        one = verbs.add_parser(verb, help=summary, description=summary)
        if verb != "list":
            one.add_argument(
                "seat", metavar="NAME", nargs="?" if verb == "approve" else None, help="its name or its id"
            )
        if verb == "approve":
            one.add_argument("--all", action="store_true", help="every seat that waits")
        if verb == "rename":
            one.add_argument(
                "name", metavar="NEW", help="at most 32 letters, digits or - _ .; empty: as it calls itself"
            )
        one.add_argument("--json", action="store_true", help="print it as JSON")
        one.add_argument(
            "--config", metavar="FILE", help=f"settings (default: {config_file.DEFAULT_PATH}, if it is there)"
        )


def run(options: argparse.Namespace) -> int:
    try:
        folder = config_file.load_or_default(options.config).state_dir
        seats = registry_file.load(folder)
        for _path, order in registry_file.waiting(folder):
            seats = registry_file.obeyed(seats, order) if order else seats
        orders = [] if options.verb == "list" else orders_of(options, seats)
        for order in orders:
            registry_file.give(folder, order)
            seats = registry_file.obeyed(seats, order)
    except config_file.SettingsError as error:
        logs.complain(str(error), "nabz-agent")
        return 2
    except WrongSeat as error:
        print(f"nabz-agent: {error}", file=sys.stderr)
        return 2
    except IdentityError as error:
        print(f"nabz-agent: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        sentence = f"{error.filename}: {describe(error)}; run as the agent's own user, or as root"
        print(f"nabz-agent: {sentence}", file=sys.stderr)
        return 1
    shown = (
        seats if options.verb == "list" else {order.seat: seats[order.seat] for order in orders if order.seat in seats}
    )
    _show(rows(seats, shown), options.verb, len(orders), as_json=options.json)
    return 0


def orders_of(options: argparse.Namespace, seats: Mapping[str, SeatRecord]) -> list[Order]:
    """The orders given, seat by seat. Raises WrongSeat."""
    if options.verb == "approve" and options.all:
        return [Order(do="approve", seat=seat.id) for seat in seats.values() if not seat.approved]
    if not options.seat:
        raise WrongSeat("name a seat, or all that wait with --all; `nabz-agent seats list` shows them")
    name = options.name if options.verb == "rename" else ""
    if not registry_file.is_name(name):
        raise WrongSeat(f"name {name!r:.80} must be at most 32 letters, digits or - _ .")
    return [Order(do=options.verb, seat=find(options.seat, seats), name=name)]


def find(word: str, seats: Mapping[str, SeatRecord]) -> str:
    """The id of the seat called so. Raises WrongSeat."""
    if word in seats:
        return word
    named = [seat.id for seat in seats.values() if seat.called == word]
    if len(named) > 1:
        raise WrongSeat(f"{len(named)} seats are called {word!r}: name one by its id, {' or '.join(sorted(named))}")
    if not named:
        raise WrongSeat(f"no seat {word!r:.80} is known here; `nabz-agent seats list` shows those that are")
    return named[0]


def rows(seats: Mapping[str, SeatRecord], shown: Mapping[str, SeatRecord]) -> list[dict[str, object]]:
    labels = label(seats.values())
    return [_row(seat, labels[seat.id]) for seat in sorted(shown.values(), key=lambda seat: labels[seat.id])]


def _row(seat: SeatRecord, name: str) -> dict[str, object]:
    parts = seat.accepted
    return {
        "name": name,
        "id": seat.id,
        "state": "counted" if seat.approved else "new",
        "said_goodbye": seat.said_goodbye,
        "own_key": seat.key is not None,
        "memory_mb": parts.memory_mb if parts else None,
        "disks_gb": sorted(parts.drives.values()) if parts else [],
    }


def _show(seats: list[dict[str, object]], verb: str, orders: int, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(seats, indent=2))
        return
    for row in seats:
        key = "own key" if row["own_key"] else "center's key"
        memory, disks = row["memory_mb"], row["disks_gb"]
        made_of = f"{memory} MB" + "".join(f", {size:g} GB" for size in disks) if isinstance(disks, list) else ""
        print(f"{row['name']!s:<33}{row['state']!s:<9}{key:<14}{made_of if memory else 'parts unknown'}")
    if verb == "list" and not seats:
        print("no seat has reported to this gateway yet")
    elif verb != "list":
        print(f"{verb}: {orders} seat{'' if orders == 1 else 's'}; the running agent takes it up within a minute")
