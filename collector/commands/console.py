"""What all subcommands share: their common options, settings and store, and words for people."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import SQLAlchemyError

from agent.common import logs
from agent.common.errors import describe
from agent.common.files import asked_secret
from agent.common.words import plain
from collector.access import users
from collector.acts.person import ActingPerson
from collector.common.config import DEFAULT_FILE, ConfigError, Settings, load
from collector.common.csv_rows import as_csv
from collector.common.scope import PARTS, Scope
from collector.desk.routing import plans
from collector.log.sequencing import log_key
from collector.register import dated
from collector.store import Store, StoreError
from collector.store.database import KEY_FILE

T = TypeVar("T")
LEAST_WIDTH = 8  # of a column that is cut


def common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"settings (default: {DEFAULT_FILE} if it exists)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="instead of [collector] data_dir")
    parser.add_argument("--database", metavar="URL", help="instead of [database] url")


def verb_arguments(verbs: argparse._SubParsersAction[Any]) -> None:
    """The common options of every verb, and `--json`."""
    for verb in verbs.choices.values():
        common_arguments(verb)
        verb.add_argument("--json", action="store_true", help="print facts as JSON")


def who_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", default="", metavar="NAME", help="who does this; recorded (default: your user name)")


def scope_arguments(parser: argparse.ArgumentParser) -> None:
    """`--owner`, `--district` and `--province`, each any number of times."""
    for name in PARTS:
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar="NAME", help=f"only centers of this {name}; repeatable"
        )


def scope_of(options: argparse.Namespace) -> Scope:
    return Scope(**{name: frozenset(getattr(options, name)) for name in PARTS})


def scope_text(scope: Scope) -> str:
    return "; ".join(f"{name} {', '.join(values)}" for name, values in scope.parts.items()) or "all"


def acting(options: argparse.Namespace) -> str:
    """Who does this. Behind sudo that is whoever called it. Raises persons.PersonError."""
    return users.named(options.by or user_name())


def who(options: argparse.Namespace) -> ActingPerson:
    """`acting`, now; a name on the command line is as given. Raises persons.PersonError."""
    return ActingPerson(name=acting(options), now_ms=clock_ms())


def user_name() -> str:
    """Behind sudo that of whoever called it. Empty for a user without a name."""
    if caller := os.environ.get("SUDO_USER"):
        return caller
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def proof_of(store: Store, name: str, now_ms: int) -> str:
    """That `name` sits here, by passphrase; empty where nobody was ever registered. Raises persons.PersonError."""
    with store.read() as conn:
        if not users.registered(conn):
            return ""
    return users.prove(store, name, asked_secret(f"Password of {name}: "), now_ms, counted=False).proof


@dataclass(frozen=True)
class TwoPersons:
    """Who does something, and the second person who stands for it at once; empty where none was named. `proof` is of
    the second."""

    first: str
    second: str = ""
    proof: str = ""

    def check(self, conn: sa.Connection) -> None:
        """Inside the transaction that the two allow: where names are proven, the second one may approve. Raises
        PersonError."""
        if self.second:
            users.check(conn, self.second, self.proof, "approve")


def two_persons(store: Store, options: argparse.Namespace, now_ms: int, *, needed: bool) -> TwoPersons:
    """The acting person and `--second`. Where two are `needed` or named and people are registered, both prove their
    names: a second name is worth nothing beside an invented first one. Raises PersonError."""
    first = acting(options)
    if needed or options.second:
        proof_of(store, first, now_ms)
    second = users.named(options.second) if options.second else ""
    return TwoPersons(first, second, proof_of(store, second, now_ms) if second else "")


def log_key_of(settings: Settings) -> Ed25519PrivateKey | None:
    """The key of the transparency log; None on a machine without the collector's own."""
    key = collector_key_of(settings)
    return log_key(key) if key else None


def collector_key_of(settings: Settings) -> Ed25519PrivateKey | None:
    """None on a machine without it."""
    try:
        raw = (settings.data_dir / KEY_FILE).read_bytes()
    except OSError:
        return None
    return Ed25519PrivateKey.from_private_bytes(raw) if len(raw) == 32 else None


def common_words(options: argparse.Namespace) -> list[str]:
    """The common options as they were given, for a child of ours."""
    given = [("--config", options.config), ("--data", options.data), ("--database", options.database)]
    given += [("--log-format", options.log_format)] if hasattr(options, "log_format") else []
    return [word for name, value in given if value for word in (name, str(value))]


def config_of(options: argparse.Namespace) -> Path | None:
    """The settings file that is used, if there is one."""
    return options.config or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings file with the command line's corrections. Raises ConfigError."""
    path = config_of(options)
    return corrected(load(path) if path else Settings(), options)


def corrected(settings: Settings, options: argparse.Namespace) -> Settings:
    if options.data:
        collector = settings.collector.model_copy(update={"data_dir": options.data})
        settings = settings.model_copy(update={"collector": collector})
    if getattr(options, "log_format", None):
        collector = settings.collector.model_copy(update={"log_format": options.log_format})
        settings = settings.model_copy(update={"collector": collector})
    if options.database:
        database = settings.database.model_copy(update={"url": options.database})
        settings = settings.model_copy(update={"database": database})
    return settings


def logged_settings_of(options: argparse.Namespace) -> Settings:
    """The settings, and the log begun as they say: from the command line's word on, as they may be wrong themselves."""
    start_log("info", options.log_format)
    settings = settings_of(options)
    start_log(settings.collector.log_level, settings.collector.log_format)
    return settings


def answers(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Turns the errors that every subcommand may meet into a sentence and an exit code."""

    @wraps(run)
    def guarded(options: argparse.Namespace) -> int:
        try:
            return run(options)
        except ConfigError as error:
            complain(str(error))
            return 2
        except StoreError as error:
            complain(str(error))
            return 1
        except SQLAlchemyError as error:  # in words: nobody who runs a command can use the statement
            complain(f"the database cannot do this: {describe(error)}; see that it runs and has room, then repeat")
            return 1

    return guarded


def clock_ms() -> int:
    """Now, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Why a command ends; with a log in JSON an event of it."""
    logs.complain(text)


class Bar:
    """A bar on the terminal's standard error that says how much is done; nothing where nobody looks."""

    WIDTH, EVERY_S = 40, 0.1

    def __init__(self, what: str, *, is_seen: bool = True) -> None:
        """`is_seen`: whether it may show at all; not where what is printed goes to the same terminal."""
        self._what, self._shown_s = what, 0.0
        self._is_seen = is_seen and sys.stderr.isatty()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._shown_s:
            sys.stderr.write("\n")

    def share(self, done: float) -> None:
        """`done` is from 0 to 1. Any number of times."""
        full = round(self.WIDTH * min(1.0, done))
        self._show(f"[{'#' * full}{'.' * (self.WIDTH - full)}] {100 * done:5.1f} % {self._what}", is_last=done >= 1)

    def over(self, items: Iterable[T], total: int = 0) -> Iterator[T]:
        """These items, while the bar says how many were taken: of `total`, or only their number where that is 0."""
        for number, item in enumerate(items, 1):
            yield item
            if total:
                self.share(number / total)
            else:
                self._show(f"{number:,} {self._what}")

    def _show(self, text: str, *, is_last: bool = False) -> None:
        now_s = time.monotonic()
        if self._is_seen and (now_s - self._shown_s >= self.EVERY_S or is_last):
            self._shown_s = now_s
            room = shutil.get_terminal_size().columns - 1  # a line that wraps is not written over
            sys.stderr.write(f"\r{text[:room]}")
            sys.stderr.flush()


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], none: str = "none", width: int | None = None) -> str:
    """Columns padded to their widest cell; `none` where there are no rows. On a terminal the widest columns are cut so
    that a row is a line of it (or of `width`); whoever reads a pipe or a file gets all."""
    if not rows:
        return none
    cells = [[str(cell) for cell in row] for row in [heads, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    widths = _narrowed(widths, _terminal_width() if width is None else width)
    lines = ("  ".join(map(_cut, row, widths)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def none_yet(example: str) -> str:
    """What a list says that is filled by a command."""
    return f"none yet; for example: {example.splitlines()[0]}"


def _terminal_width() -> int:
    """Columns of the terminal that is printed to; 0 where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def _narrowed(widths: Sequence[int], most: int) -> list[int]:
    """The widths of a table's columns, the widest of them less so that all fit; as they are for `most` of 0."""
    fitted = list(widths)
    while most and sum(fitted) + 2 * (len(fitted) - 1) > most and max(fitted) > LEAST_WIDTH:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted


def _cut(cell: str, width: int) -> str:
    return cell.ljust(width) if len(cell) <= width else cell[: width - 1] + "…"


def form_arguments(parser: argparse.ArgumentParser) -> None:
    """How a list is printed, if not as a table."""
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print facts as JSON")
    forms.add_argument("--csv", action="store_true", help="print CSV, for a spreadsheet")


def say_rows(
    options: argparse.Namespace,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, object]],
    shown: Sequence[str] = (),
    none: str = "none",
) -> None:
    """Flat rows as a table with the columns `shown` (default: all), as JSON or as CSV; `none` as of `table`."""
    if options.json:
        say(json.dumps([{name: row[name] for name in columns} for row in rows]))
    elif options.csv:
        sys.stdout.write(as_csv(columns, rows))
    else:
        heads = shown or columns
        say(table(heads, [[_shown(name, row[name]) for name in heads] for row in rows], none))


def _shown(name: str, value: object) -> object:
    return moment(value) if name.endswith("_ms") else "" if value is None else value


def moment(ms: object) -> str:
    """UTC, to the minute; empty for None."""
    return time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(ms / 1000)) if isinstance(ms, int) else ""


def span_s(text: str) -> int:
    """Seconds of an option such as 30m, 4h or 2d."""
    try:
        return plans.span_s(text)
    except plans.RoutingError as error:
        raise argparse.ArgumentTypeError(plain().reason(error.reason)) from None


def time_ms(text: str) -> int:
    """A day or a time in Pakistan. Raises ValueError."""
    return dated.time_ms(text)


# To amqtt every client that goes away is an error; the others speak only when something is wrong.
QUIET: dict[str, logs.Level] = {
    "amqtt": "critical", "transitions": "error", "uvicorn": "error", "uvicorn.error": "error",
}  # fmt: skip


def start_log(level: logs.Level, form: logs.Format | None) -> None:
    """One line an event on standard error."""
    logs.start(level, form, quiet=QUIET)
