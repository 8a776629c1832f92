"""What the three programs' command lines share: commands in groups, help with an example, errors that name the nearest
word. A command is a module of the program's `commands` package, imported when it is asked for."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from agent import __version__

HELP_WIDTH = 14  # columns before a command's summary
NAMED = 3  # words that an error proposes

FILE_MASK = 0o027  # whatever the shell's: files are for their owner, to be read by its group, and for nobody else


@dataclass(frozen=True)
class Program:
    """A command line. `groups`: {title: {command: summary}}; `package`: where the commands' modules are."""

    name: str
    about: str
    example: str
    package: str
    groups: Mapping[str, Mapping[str, str]]

    @property
    def commands(self) -> dict[str, str]:
        return {name: summary for group in self.groups.values() for name, summary in group.items()}

    def module(self, command: str) -> Any:
        return importlib.import_module(f"{self.package}.{command.replace('-', '_')}")


class Parser(argparse.ArgumentParser):
    """argparse's, whose errors propose the nearest word and come with the usage of the verb that was meant."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)
        self.set_defaults(parser=self)  # the innermost verb's is what a namespace ends with

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser: Parser = options.parser
            parser.error(_refusal(unknown[0], parser.words(), "no option or argument of this command"))
        return options

    def words(self) -> list[str]:
        """The options that it has."""
        return [word for action in self._actions for word in action.option_strings]

    def verbs(self) -> dict[str, Parser]:
        """What may stand next, each with its own parser; empty below the last verb."""
        actions = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        return {name: parser for action in actions for name, parser in action.choices.items()}

    def leaves(self, *above: str) -> dict[tuple[str, ...], Parser]:
        """{verbs: the parser that takes the rest}."""
        if not self.verbs():
            return {above: self}
        below = (parser.leaves(*above, name) for name, parser in self.verbs().items())
        return {path: parser for leaves in below for path, parser in leaves.items()}

    def complete(self, examples: Mapping[str, str], *above: str) -> None:
        """A verb's help begins with what the list of verbs says of it and ends with an example. `examples`: {"VERB …":
        what stands after it}."""
        if above and (words := examples.get(" ".join(above))) is not None:
            self.epilog = f"example: {self.prog} {words}".rstrip()
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for listed in action._choices_actions:
                    parser = action.choices[listed.dest]
                    parser.description = listed.help
                    parser.complete(examples, *above, listed.dest)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, _refusal(str(value), map(str, action.choices), "not known here"))

    def error(self, message: str) -> NoReturn:
        super().error(f"{message} (`{self.prog} --help` shows more)")


def _refusal(word: str, known: Iterable[str], what: str) -> str:
    every = sorted(known)
    near = difflib.get_close_matches(word.partition("=")[0], every, NAMED, 0.66)
    near = near or [one for one in every if len(word) > 2 and one.startswith(word)][:NAMED]
    if near:
        return f"{word[:40]!r} is {what}; did you mean {' or '.join(near)}?"
    return f"{word[:40]!r} is {what}; choose from {', '.join(every)}"


def parser_of(program: Program, words: Sequence[str], *, whole: bool = False) -> Parser:
    """The parser of a program, with the arguments of the command that `words` begins with, or of all of them."""
    chosen = words[0] if words else ""
    parser = Parser(
        prog=program.name, usage=f"{program.name} [-h] [--version] COMMAND ...",
        description=program.about, epilog=f"example: {program.example}",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"{program.name} {__version__}")
    for title, names in program.groups.items():
        lines = (f"{name:<{HELP_WIDTH}}  {summary}" for name, summary in names.items())
        parser.add_argument_group(title, "\n".join(lines))
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", prog=program.name, help=None if whole else argparse.SUPPRESS
    )
    for name, summary in program.commands.items():
        listed: dict[str, Any] = {"help": summary} if whole else {}
        below = commands.add_parser(name, description=summary, **listed)
        if whole or name == chosen:
            module = program.module(name)
            below.epilog = f"example: {module.EXAMPLE}"
            module.arguments(below)
            below.complete(getattr(module, "EXAMPLES", {}))
            below.set_defaults(run=module.run)
    return parser


def run(program: Program, argv: Sequence[str] | None, call: Callable[[argparse.Namespace], int] | None = None) -> int:
    """Exit codes: 0 done, 1 the thing failed, 2 wrong use or settings. `call` runs the chosen command's `run`."""
    words = sys.argv[1:] if argv is None else argv
    options = parser_of(program, words).parse_args(words)
    before = os.umask(FILE_MASK)
    try:
        return int(call(options) if call else options.run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` for example, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        os.umask(before)
