"""References made from the code: settings, commands, and the criteria of the example standard."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agent import commands as agent_commands
from agent import config as agent_config
from agent.common.command_line import Program, parser_of
from agent.common.words import plain
from agent.config_file import DEFAULT_PATH, help_of
from agent.probes import PROBES
from agent.probes.speed import ENGINES
from agent.probes.ups.profiles import PROFILES
from agent.remote.settings import REMOTE
from agent.seat import __main__ as seat_main
from agent.wire import ENGINE_OF_RECORD
from collector import commands as collector_commands
from collector.common import config as collector_config
from collector.standard import Standards, example, examples
from collector.standard.criteria import AUDIT, CLOCK, DEAF, Criterion, Matching, Standard, Window
from collector.standard.names import fix_of, name_of

# ---------------------------------------------------------------- settings


@dataclass(frozen=True)
class Setting:
    """`table` as it stands in brackets in the file; `default` as it is written in TOML, empty when there is none."""

    table: str
    key: str
    default: str
    help: str


def agent_settings() -> list[Setting]:
    return [
        Setting(
            f"[[{table}]]" if table == "ups" else f"[{table}]", field.name, _toml(_default(field)), _help(table, field)
        )
        for table in agent_config.AgentSettings.__struct_fields__
        for field in msgspec.structs.fields(_section(table))
    ]


def _help(table: str, field: msgspec.structs.FieldInfo) -> str:
    """What a key is; and whether the collector may set it, too."""
    return help_of(field) + (" *(remote)*" if field.name in REMOTE.get(table, ()) else "")


def _section(table: str) -> type[agent_config.AgentSection]:
    """The type of one table of the agent's file; `[[ups]]` is a list of its type."""
    found = typing.get_type_hints(agent_config.AgentSettings)[table]
    section: object = typing.get_args(found)[0] if typing.get_origin(found) is list else found
    assert isinstance(section, type)
    assert issubclass(section, agent_config.AgentSection)
    return section


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def collector_settings() -> list[Setting]:
    return [
        setting
        for table, section in collector_config.Settings.model_fields.items()
        for setting in _tables(f"[{table}]", section.annotation)
    ]


def _tables(table: str, section: object) -> Iterator[Setting]:
    """The settings of a table and of the lists of tables inside it."""
    assert isinstance(section, type)
    assert issubclass(section, BaseModel)
    for key, field in section.model_fields.items():
        inner = _listed(field)
        if inner is None:
            shown = "" if field.is_required() else _toml(field.default)
            yield Setting(table, key, shown, field.description or "")
        else:
            yield from _tables(f"[[{table.strip('[]')}.{key}]]", inner)


def _listed(field: FieldInfo) -> type[BaseModel] | None:
    """The table a list holds, when it holds tables."""
    for part in typing.get_args(field.annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _toml(value: object) -> str:
    if value is None:
        return ""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


SETTINGS_HEAD = """# Settings

Made from the code by `make docs`. Both files are TOML. Every key has a default; an unknown or wrong one is refused, all
mistakes at once, each with the file, the key, the rule and the fix. Passwords and pass phrases are never settings
themselves: a setting names the file that holds them. A key of a gateway that is marked *(remote)* may be set from the
collector too (`nabz-collector settings`); its value then holds over that of the file, which stays as it is.
"""


def settings_page() -> str:
    agent_file = f"## The agent: `{DEFAULT_PATH}`\n"
    collector_file = f"## The collector: `{collector_config.DEFAULT_FILE}`\n"
    parts = [SETTINGS_HEAD, agent_file, *_setting_tables(agent_settings())]
    return "\n".join([*parts, collector_file, *_setting_tables(collector_settings())])


def _setting_tables(settings: Sequence[Setting]) -> Iterator[str]:
    for table in dict.fromkeys(setting.table for setting in settings):
        yield f"### `{table}`\n\n| key | default | what it is |\n|---|---|---|"
        for setting in settings:
            if setting.table == table:
                yield f"| `{setting.key}` | {_code(setting.default)} | {_cell(setting.help)} |"
        yield ""


# ---------------------------------------------------------------- commands

COMMANDS_HEAD = """# Commands

Made from the code by `make docs`; `--help` says the same. Exit codes everywhere: 0 done, 1 the thing failed, 2 wrong
use or wrong settings.
"""


def commands_page() -> str:
    parts = [COMMANDS_HEAD]
    parts += _program(agent_commands.PROGRAM)
    parts += ["## nabz-seat\n", *_options(seat_main.arguments(), "nabz-seat")]
    parts += _program(collector_commands.PROGRAM)
    return "\n".join(parts)


def _program(program: Program) -> Iterator[str]:
    yield f"## {program.name}\n"
    parsers = parser_of(program, [], whole=True).verbs()
    for name, summary in program.commands.items():
        example = program.module(name).EXAMPLE
        yield f"### {program.name} {name}\n\n{summary[0].upper()}{summary[1:]}.\n\n    {example}\n"
        yield from _options(parsers[name], f"{program.name} {name}")


def _options(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    """A table of the parser's words, then those of the commands below it."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    shown = [
        action
        for action in parser._actions
        if action not in below and action.dest not in ("help", "version") and action.help != argparse.SUPPRESS
    ]
    if shown:
        yield "| word | default | what it is |\n|---|---|---|"
        yield from (_option(action) for action in shown)
        yield ""
    for action in below:
        summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for word, inner in action.choices.items():
            example = f"\n    {inner.epilog.removeprefix('example: ')}\n" if inner.epilog else ""
            yield f"#### {name} {word}\n\n{_cell(summaries.get(word, ''))}\n{example}"
            yield from _options(inner, f"{name} {word}")


def _option(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else _value(action)
    words = f"{', '.join(action.option_strings)} {value}".strip()
    default = "" if action.default in (None, False, argparse.SUPPRESS, "") else str(action.default)
    text = (action.help or "").replace("%(default)s", default)
    return f"| `{words}` | {_code(default)} | {_cell(text)} |"


def _value(action: argparse.Action) -> str:
    """What stands for the value in the usage line."""
    if isinstance(action.metavar, str):
        return action.metavar
    return "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()


# ---------------------------------------------------------------- probes

PROBES_HEAD = """# Probes

Made from the code by `make docs`. A probe measures one thing and judges nothing. `nabz-agent probe KIND` measures once,
now; `--explain` says how each value came about. Nothing here looks at what people do: no screens, no keystrokes, no
files, no addresses visited.
"""


def probes_page() -> str:
    parts = [PROBES_HEAD, *(f"## {name}\n\n{_docstring(f'agent.probes.{name}')}\n" for name in PROBES)]
    parts.append("# Speed engines\n")
    parts += (f"## {name}\n\n{_docstring(engine.__module__)}\n" for name, engine in ENGINES.items())
    parts += [
        "# UPS profiles\n",
        "One table a vendor; several may apply to one UPS, and the first that knows a value gives it.",
    ]
    parts.append("\n| profile | fields | source |\n|---|---|---|")
    for profile in PROFILES:
        fields = sorted({obj.field for obj in profile.objects})
        parts.append(f"| `{profile.name}` | {', '.join(fields)} | {_cell(profile.source)} |")
    return "\n".join(parts) + "\n"


def _docstring(module: str) -> str:
    return inspect.cleandoc(importlib.import_module(module).__doc__ or "")


# ---------------------------------------------------------------- criteria


OWN = (DEAF, CLOCK, AUDIT)  # about the collector


def criteria_page() -> str:
    standard = example()
    own = "# Kept by the collector itself\n\nNot part of any standard: it is about us, not about a center.\n"
    parts = [_criteria_head(standard), *(line for each in standard.criteria for line in _criterion(each))]
    return "\n".join([*parts, own, *(line for each in OWN for line in _criterion(each))])


def _criteria_head(standard: Standard) -> str:
    return f"""# The criteria of the example standard

Made from `collector/standard/{standard.id}.toml` by `make docs`. The versions that are shipped:

{_versions(Standards.of(examples()))}

**No official technical standard for e-Rozgar centers has been published.** These figures show the form; they bind
nobody. The real standard is a file that PSEB supplies (`[standard] files` in the collector's settings), with the date
from which it holds. A **version** is one file that never changes once it holds: reports name its SHA-256, and a month
is judged by what held then. New figures go into a file of their own with a later `valid_from`; by that the version
before ends, and its own file stays as it is. `nabz-collector standard check FILE` names every mistake of a file.

How to read one: a **flag** is raised when readings fall below the bound for as long as "raised after" says, and clears
when they hold the stricter bound for as long as "cleared after" says. Missing readings never raise and never clear it.
A **month** meets the criterion when the share of its readings says so; with too few readings it is "not enough data",
which is neither a pass nor a fail. A **notice** tells how things stand: it lowers no center, sends no alert and has no
month.
"""


def _versions(standards: Standards) -> str:
    rows = (
        f"| `{item.id}` | {_day(item.valid_from_ms, item.tz)} | {_last_day(item)} | `{item.digest}` |"
        for item in standards.versions
    )
    return "\n".join(("| version | first day | last day | SHA-256 |", "|---|---|---|---|", *rows))


def _last_day(standard: Standard) -> str:
    return "" if standard.valid_to_ms is None else _day(standard.valid_to_ms - 1, standard.tz)


def _day(ms: int, tz: str) -> str:
    return datetime.fromtimestamp(ms / 1000, ZoneInfo(tz)).date().isoformat()


def _criterion(criterion: Criterion) -> Iterator[str]:
    recovery, month = criterion.recovery, criterion.month
    stricter = f" at {recovery.at_pct:g} % of it" if recovery.at_pct != 100 else ""
    english, urdu = plain(), plain("ur")
    yield f"## {criterion.id}\n\n**{name_of(criterion, english)}** · {name_of(criterion, urdu)}\n"
    yield f"- {_bound(criterion)}"
    yield f"- Raised after {_window(criterion.window)}; cleared after {_window(recovery.window)}{stricter}."
    yield f"- Judged {_words(criterion.when)}; {criterion.severity}; readings hold for {criterion.fresh_s / 60:g} min."
    for title, matching in (
        ("Only when", criterion.only),
        ("Not when", criterion.ignore),
        ("May meet it but never fall short when", criterion.lower_bound),
    ):
        if matching:
            yield f"- {title} {_matching(matching)}."
    if criterion.reading == "speed":
        yield f"- Only tests by `{ENGINE_OF_RECORD}`, the engine of record, count."
    if criterion.evidence == "witnessed":
        yield "- A reading counts when the measurement server signed that it saw the same, and no more than it saw."
    if criterion not in OWN and criterion.severity != "notice":
        samples = {"reading": "readings", "day": "days, each with all its packets as one sample,"}[month.per]
        least = f"at least {month.min_samples} {month.per}s on {month.min_days} days"
        yield f"- A month meets it when {month.share_pct:g} % of its {samples} do, with {least}."
    yield f"- What to do: {fix_of(criterion, english)}"
    yield f"- کیا کریں: {fix_of(criterion, urdu)}\n"


def _bound(criterion: Criterion) -> str:
    """What is compared with what, as a sentence."""
    value = f"`{criterion.reading}`: " + ", else ".join(f"`{name}`" for name in criterion.fields)
    figure = criterion.figure
    if figure is None:
        return f"{value} is {_words(criterion.compare)} {', '.join(f'`{word}`' for word in sorted(criterion.words))}."
    if len(set(figure.by_tier.values())) == 1:
        asked = f"{next(iter(figure.by_tier.values())):g}"
    else:
        asked = ", ".join(f"{bound:g} (tier {tier})" for tier, bound in figure.by_tier.items())
    seats = f", or {figure.per_seat:g} for each seat promised where that is more" if figure.per_seat else ""
    from_pct = f"; a test counts from {criterion.count_at_pct:g} % of that" if criterion.count_at_pct != 100 else ""
    return f"{value} is {_words(criterion.compare)} {asked} {criterion.unit}".rstrip() + f"{seats}{from_pct}."


def _window(window: Window) -> str:
    parts = [f"{window.m} of {window.n} readings"] if window.n > 1 else []
    parts += [f"{window.for_s / 60:g} minutes"] if window.for_s else []
    parts[:1] = [f"{part} (in watch from {window.watch})" if window.watch > 1 else part for part in parts[:1]]
    return " and ".join(parts) or "one reading"


def _matching(matching: Matching) -> str:
    return "; ".join(
        f"`{name}` is {', '.join(f'`{word}`' for word in sorted(words))}" for name, words in matching.items()
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
