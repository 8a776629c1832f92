"""Command lines: groups, examples that are true, and errors that help."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.__main__ import main as agent_main
from agent.commands import PROGRAM as AGENT
from agent.common import command_line
from agent.common.command_line import Parser, Program, parser_of
from collector.commands import PROGRAM as COLLECTOR

PROGRAMS = {program.name: program for program in (AGENT, COLLECTOR)}
LEAVES = {
    (name, *path): leaf
    for name, program in PROGRAMS.items()
    for path, leaf in parser_of(program, [], whole=True).leaves().items()
}


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_verb_says_what_it_does_and_shows_an_example_that_it_takes(path: tuple[str, ...]) -> None:
    leaf = LEAVES[path]
    assert leaf.description
    assert leaf.epilog, "no example: a row of EXAMPLES in the command's module"
    first = leaf.epilog.splitlines()[0].removeprefix("example: ")
    words = shlex.split(first.partition(" > ")[0].partition(" | ")[0])
    assert words[: len(path)] == list(path)
    whole = parser_of(PROGRAMS[path[0]], words[1:])
    assert whole.parse_args(words[1:]).parser.prog == " ".join(path)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_help_has_every_command_in_its_group(program: Program) -> None:
    text = parser_of(program, []).format_help()
    for title, commands in program.groups.items():
        part = text.partition(f"{title}:\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in part.splitlines()] == list(commands)
    assert sum(map(len, program.groups.values())) == len(program.commands), "a command stands in two groups"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("cente list", "'cente' is not known here; did you mean center?"),
        ("center lst", "'lst' is not known here; did you mean list?"),
        ("center list --jsn", "'--jsn' is no option or argument of this command; did you mean --json?"),
        ("pilot --data-dir x", "'--data-dir' is no option or argument of this command; did you mean --data?"),
        ("standard xyz", "'xyz' is not known here; choose from adopt, check, list, propose, show"),
    ],
)
def test_a_wrong_word_is_answered_with_the_nearest_by_the_verb_that_was_meant(
    line: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = line.split()
    with pytest.raises(SystemExit) as ended:
        parser_of(COLLECTOR, words).parse_args(words)
    shown = capsys.readouterr().err
    assert ended.value.code == 2
    assert error in shown
    verb = "nabz-collector" if words[0] == "cente" else f"nabz-collector {words[0]}"
    assert shown.startswith(f"usage: {verb}")


def ending(how: BaseException) -> Callable[[object], int]:
    def run(_options: object) -> int:
        raise how

    return run


def test_an_interrupt_and_a_reader_that_left_have_their_exit_codes() -> None:
    assert command_line.run(COLLECTOR, ["standard", "show"], ending(KeyboardInterrupt())) == 130
    assert command_line.run(COLLECTOR, ["standard", "show"], lambda _options: 1) == 1


def test_a_namespace_ends_with_the_innermost_parser() -> None:
    parser = Parser(prog="x")
    below = parser.add_subparsers(dest="verb").add_parser("y")
    assert parser.parse_args(["y"], SimpleNamespace()).parser is below
    assert list(parser.leaves()) == [("y",)]


WHAT = {"seats approve": ["PC-1"], "seats accept": ["PC-1"], "seats forget": ["PC-1"], "seats rename": ["PC-1", "PC-2"]}
WITH_SETTINGS = [
    " ".join(path[1:])  # `enrol` asks for its token first
    for path, leaf in LEAVES.items()
    if path[0] == "nabz-agent" and path[1] != "enrol" and "--config" in leaf.words()
]


@pytest.mark.parametrize("verb", WITH_SETTINGS)
def test_settings_that_are_not_there_are_named_by_every_verb_of_the_agent_and_nothing_is_made(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*verb.split(), *WHAT.get(verb, []), "--config", "none.toml"]
    assert agent_main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("nabz-agent: ")
    assert "none.toml: cannot be read" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "verb", ["status", "doctor", "seat-key", "update status", "update check", "seats list", "probe link"]
)
def test_a_verb_that_reads_makes_no_state_where_none_is(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text(f'[agent]\nstate_dir = "{tmp_path}/state"\n')
    agent_main([*verb.split(), "--config", str(settings)])
    assert list(tmp_path.iterdir()) == [settings]
    assert "Traceback" not in capsys.readouterr().err
