"""Nothing that a person can use or meet is undocumented, and nothing documented is missing."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from agent import config as agent_config
from agent import wire
from agent.commands import PROGRAM as AGENT
from agent.config_file import help_of
from agent.probes import PROBES
from agent.probes.speed import ENGINES
from agent.probes.ups.profiles import PROFILES
from collector.commands import PROGRAM as COLLECTOR
from collector.common import config as collector_config
from collector.desk.alerts import queue as outbox
from collector.standard import example
from tests.helpers import ROOT

DOCS = ROOT / "docs"
GOLDEN = ROOT / "tests" / "wire" / "v1"
FOR_PEOPLE = ("operator.md", "desk.md", "auditor.md")
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "systemd" / "README.md", *sorted(DOCS.rglob("*.md"))]
PROGRAMS = {"nabz-agent": ("agent", AGENT.commands), "nabz-collector": ("collector", COLLECTOR.commands)}
ALL_COMMANDS = [(program, name) for program, (_, commands) in PROGRAMS.items() for name in commands]


def page(name: str) -> str:
    return (DOCS / name).read_text()


def section(text: str, head: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    level = len(head) - len(head.lstrip("#"))
    after = text.partition(f"{head}\n")[2]
    return re.split(rf"^#{{1,{level}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


# ---------------------------------------------------------------- nothing undocumented


def test_the_pages_made_from_the_code_are_as_the_code_is() -> None:
    words = [sys.executable, str(DOCS / "generate.py"), "--check"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("program", "name"), ALL_COMMANDS)
def test_every_command_is_documented_with_all_its_options(program: str, name: str) -> None:
    text = section(page("commands.md"), f"### {program} {name}")
    assert text, f"{program} {name} has no section"
    for option in options_in_help(PROGRAMS[program][0], [name]):
        assert f"`{option}" in text or f", {option}" in text, option


def options_in_help(package: str, words: list[str]) -> Iterator[str]:
    """Every --option that `--help` shows, of the command and of those below it."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit) as ended:
        importlib.import_module(f"{package}.__main__").main([*words, "--help"])
    assert ended.value.code == 0
    yield from set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", shown.getvalue().partition("example:")[0])) - {"--help"}
    below = re.search(r"^(?:positional arguments):\n  [A-Z]+\n((?:    .*\n)+)", shown.getvalue(), re.MULTILINE)
    for verb in re.findall(r"^    ([a-z][a-z-]*)\b", below[1], re.MULTILINE) if below else ():
        yield from options_in_help(package, [*words, verb])


def test_every_option_of_the_seat_is_documented() -> None:
    text = section(page("commands.md"), "## nabz-seat")
    options = set(options_in_help("agent.seat", []))
    assert {"--gateway", "--key-file"} <= options
    assert all(option in text for option in options - {"--version"})


@pytest.mark.parametrize("table", agent_config.AgentSettings.__struct_fields__)
def test_every_setting_of_the_agent_is_documented_with_its_help(table: str) -> None:
    part = page("settings.md").partition("## The collector")[0]
    head = "### `[[ups]]`" if table == "ups" else f"### `[{table}]`"
    types = {field.name: field.type for field in msgspec.structs.fields(agent_config.AgentSettings)}
    keys = msgspec.structs.fields(agent_config.UpsSection if table == "ups" else types[table])
    assert keys
    for key in keys:
        assert f"| `{key.name}` |" in section(part, head)
        assert help_of(key) in section(part, head)


@pytest.mark.parametrize("table", collector_config.Settings.model_fields)
def test_every_setting_of_the_collector_is_documented_with_its_help(table: str) -> None:
    text = section(page("settings.md").partition("## The collector")[2], f"### `[{table}]`")
    fields = collector_config.Settings.model_fields[table].annotation.model_fields  # type: ignore[union-attr]
    for key, field in fields.items():
        assert field.description, f"[{table}] {key} has no description"
        assert f"| `{key}` |" in text or f"### `[[{table}.{key}]]`" in page("settings.md")


def test_every_probe_engine_and_profile_is_documented() -> None:
    text = page("probes.md")
    assert all(len(section(text, f"## {name}")) > 40 for name in (*PROBES, *ENGINES))
    assert all(f"| `{profile.name}` |" in text for profile in PROFILES)


def test_every_criterion_is_documented_with_what_to_do_in_both_languages() -> None:
    for criterion in example().criteria:
        text = section(page("criteria.md"), f"## {criterion.id}")
        assert criterion.fix.en in text
        assert criterion.fix.of("ur") in text


def test_the_desks_page_tells_every_state_of_an_alert_and_of_a_flag() -> None:
    text = page("desk.md")
    for word in ("waiting", "sending", "sent", "failed", "unsure", "pending", "raised", "recovering", "clear"):
        assert f"**{word}**" in text, word


def test_the_desks_page_tells_when_alerts_are_tried_again_and_when_they_become_a_summary() -> None:
    text = " ".join(page("desk.md").split())
    words = [f"{s} s" if s < 60 else f"{s // 60} min" if s < 3600 else f"{s // 3600} h" for s in outbox.BACKOFF_S]
    assert f"{', '.join(words[:-1])} and {words[-1]}" in text
    assert f"more than {outbox.BRAKE} messages come within {outbox.BRAKE_MS // 60_000} minutes" in text
    assert "Many changes at once" in text


def test_every_kind_of_reading_and_message_is_documented_with_a_golden_message() -> None:
    text = page("wire.md")
    for name in (*wire.KINDS, "batch", "receipt", "task", "presence"):
        assert (GOLDEN / f"{name}.json").read_text() in section(text, f"### {name}")


# ---------------------------------------------------------------- nothing documented is missing


def lines_of_commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every command line of ours in an indented block or between backticks."""
    for path in PAGES:
        for line in re.findall(r"^    .*$|`[^`\n]+`", path.read_text(), re.MULTILINE):
            for found in re.finditer(r"(?:^|[\s/`])(nabz-(?:agent|collector|seat)(?![-.\w:/])[^`#]*)", line):
                yield path.name, found[1].split()


def test_every_command_shown_anywhere_exists_with_the_options_shown() -> None:
    shown = list(lines_of_commands())
    assert len(shown) > 20
    known = {program: set(commands) for program, (_, commands) in PROGRAMS.items()}
    known["nabz-seat"] = {"run", "once", "show"}
    for name, (program, *words) in shown:
        if words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
            assert words[0] in known[program], f"{name}: {program} {words[0]}"
            text = page("commands.md")
            part = section(text, f"### {program} {words[0]}") or section(text, f"## {program}")
            for option in (word.partition("=")[0] for word in words if word.startswith("--")):
                assert option in part or option in ("--help", "--version"), f"{name}: {program} {words[0]} {option}"


def test_every_make_word_shown_exists() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in PAGES:
        for word in re.findall(r"(?:^    |`)make ([a-z-]+)", path.read_text(), re.MULTILINE):
            assert word in known, f"{path.name}: make {word}"


def test_every_link_leads_somewhere() -> None:
    for path in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in link:
                assert (path.parent / link).exists(), f"{path.name}: {link}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(path: Path) -> None:
    """A name in capitals is a place to fill: `tests/wire/v1/KIND.json`. The changelog tells of files that are gone."""
    if path.name != "CHANGELOG.md":
        for name in re.findall(r"`((?:agent|collector|tests|docs|bench|systemd)/[^`\s]*)`", path.read_text()):
            assert re.search(r"\b[A-Z]{3,}\b", name) or (ROOT / name).exists(), f"{path.name}: {name}"


def test_every_function_that_the_architecture_names_is_in_its_file() -> None:
    named = re.findall(r"`([a-z_/0-9]+\.py)`((?:,? (?:and )?`[A-Za-z_.]+`)+)", page("architecture.md"))
    assert len(named) > 20
    for file, names in named:
        code = (ROOT / file).read_text()
        for name in re.findall(r"`([A-Za-z_.]+)`", names):
            last = name.rpartition(".")[2]
            assert re.search(rf"^ *(?:(?:async )?def|class) {last}\b|^{last}\b.*=", code, re.MULTILINE), (file, name)


def test_the_architecture_lists_every_room_of_the_collector_on_its_floor() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    table = page("architecture.md").partition("| layer |")[2].partition("\n## ")[0]
    rows = [set(re.findall(r"`collector/(\w+)/`", line)) for line in table.splitlines()]
    assert [row for row in rows if row] == [set(floor.split(" | ")) for floor in floors if floor != "__main__"]


# ---------------------------------------------------------------- what people must be told


@pytest.mark.parametrize("name", FOR_PEOPLE)
def test_pages_for_people_say_that_no_official_standard_exists(name: str) -> None:
    assert "No official technical standard" in page(name)


@pytest.mark.parametrize("name", ["operator.md", "wire.md", "probes.md"])
def test_what_is_never_collected_is_said_where_people_look(name: str) -> None:
    text = page(name)
    assert all(word in text for word in ("screens", "keystrokes", "files", "addresses visited"))


@pytest.mark.parametrize("name", FOR_PEOPLE)
def test_pages_for_people_are_short(name: str) -> None:
    assert len(page(name).split()) < 1200


# ---------------------------------------------------------------- the wire's schema holds the golden messages


SCHEMAS: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())["components"]["schemas"]
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
KNOWN = {
    "$ref",
    "anyOf",
    "oneOf",
    "enum",
    "type",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "items",
    "properties",
    "additionalProperties",
    "prefixItems",
    "propertyNames",
    "maxProperties",
    "required",
    "title",
    "description",
    "default",
}


def fits(value: object, schema: dict[str, Any]) -> bool:
    """JSON Schema (2020-12), the words our document uses; another word is a mistake here, not silently ignored."""
    assert schema.keys() <= KNOWN, schema.keys() - KNOWN
    if "$ref" in schema:
        return fits(value, SCHEMAS[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema or "oneOf" in schema:
        hits = [fits(value, item) for item in schema.get("anyOf", schema.get("oneOf", ()))]
        return any(hits) if "anyOf" in schema else hits.count(True) == 1
    if "enum" in schema:
        return value in schema["enum"]
    if "type" not in schema:
        return True
    if not isinstance(value, TYPES[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean"):
        return False
    return within(value, schema) and inside(value, schema)


def within(value: object, schema: dict[str, Any]) -> bool:
    """Its own limits."""
    if isinstance(value, str | list):
        word = "Length" if isinstance(value, str) else "Items"
        return schema.get(f"min{word}", 0) <= len(value) <= schema.get(f"max{word}", len(value))
    if isinstance(value, int | float):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value)
    return True


def inside(value: object, schema: dict[str, Any]) -> bool:
    """Its parts."""
    if isinstance(value, list):
        if "prefixItems" in schema:  # a list of fixed length
            return all(fits(value_part, part) for value_part, part in zip(value, schema["prefixItems"], strict=True))
        return all(fits(item, schema.get("items", {})) for item in value)
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        return (
            len(value) <= schema.get("maxProperties", len(value))
            and all(name in value for name in schema.get("required", ()))
            and all(fits(name, schema.get("propertyNames", {})) for name in value)
            and all(fits(value_part, known.get(name, others)) for name, value_part in value.items())
        )
    return True


def schema_of(path: Path) -> dict[str, Any]:
    word = path.stem.partition("-")[0]
    return SCHEMAS[wire.KINDS[word].struct.__name__ if word in wire.KINDS else word.capitalize()]


MESSAGES = [path for path in sorted(GOLDEN.glob("*.json")) if path.stem != "key"]


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_every_golden_message_fits_the_published_schema(path: Path) -> None:
    assert fits(json.loads(path.read_text()), schema_of(path))


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_the_published_schema_refuses_what_the_code_refuses(path: Path) -> None:
    message = json.loads(path.read_text())
    wrong = dict(message)
    wrong["kind" if "kind" in message else "v"] = "weather"
    assert not fits(wrong, schema_of(path))
    for name in schema_of(path).get("required", ()):
        assert not fits({key: value for key, value in message.items() if key != name}, schema_of(path))


def test_the_published_channels_are_the_topics_of_the_code() -> None:
    channels = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())["channels"]
    topics = {"batch": wire.batch_topic, "receipt": wire.receipt_topic, "task": wire.task_topic}
    topics |= {"ask": wire.ask_topic, "presence": wire.presence_topic}
    assert {name: channel["address"] for name, channel in channels.items()} == {
        name: topic("{device}") for name, topic in topics.items()
    }


def test_every_module_that_a_command_names_has_an_example() -> None:
    for program, name in ALL_COMMANDS:
        module = importlib.import_module(f"{PROGRAMS[program][0]}.commands.{name.replace('-', '_')}")
        assert module.EXAMPLE.startswith(f"{program} {name}")
