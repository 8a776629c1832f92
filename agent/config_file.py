"""The agent's settings file: TOML in, typed settings out, or every mistake at once; unknown keys are refused."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from agent.common.errors import describe
from agent.common.files import parse_toml
from agent.config import AgentSection, AgentSettings, UpsSection, rules

DEFAULT_PATH = Path("/etc/nabz/agent.toml")


class SettingsError(Exception):
    """All mistakes of a settings file, one line each: ``FILE: [section] key: rule; fix``."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def load_or_default(path: str | Path | None) -> AgentSettings:
    """The settings of ``path``; without one those of DEFAULT_PATH, or the defaults where that is missing."""
    if path is None and not DEFAULT_PATH.exists():
        return AgentSettings()
    return load(Path(path or DEFAULT_PATH))


def load(path: Path) -> AgentSettings:
    """The settings in a TOML file. Raises SettingsError with every mistake at once."""
    try:
        table = parse_toml(path.read_bytes())
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read ({error.strerror}); create it or name another"]) from None
    except (ValueError, RecursionError) as error:  # tomllib's own, broken UTF-8, numbers of thousands of digits
        raise SettingsError([f"{path}: is not TOML ({describe(error)}); correct that line"]) from None
    if problems := [*mistakes(table)]:
        raise SettingsError([f"{path}: {mistake}" for mistake in problems])
    return msgspec.convert(table, AgentSettings)


def mistakes(table: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with the tables of a settings file: ``[table] key: rule; fix``."""
    known = {field.name: field.type for field in msgspec.structs.fields(AgentSettings)}
    for name, content in table.items():
        if name not in known:
            yield f"[{_plain(name)}]: no such section{_meant(name, known)}"
        elif name == "ups":
            yield from _ups_mistakes(content)
        elif not isinstance(content, dict):
            yield f"[{name}]: must be a table; write [{name}] on a line of its own"
        else:
            yield from _section_mistakes(f"[{name}]", known[name], content)


def _ups_mistakes(content: object) -> Iterator[str]:
    if not isinstance(content, list) or not all(isinstance(ups, dict) for ups in content):
        yield "[[ups]]: must be a list of tables; write [[ups]] with two brackets"
        return
    names = [ups.get("name", "ups") for ups in content]
    for number, (name, ups) in enumerate(zip(names, content, strict=True), 1):
        where = f"[[ups]] {number}"
        yield from _section_mistakes(where, UpsSection, ups)
        if isinstance(name, str) and names.count(name) > 1:
            yield f"{where} name: two UPSs have the name {name!r}; give each its own"


def _section_mistakes(where: str, section: type[AgentSection], content: dict[str, object]) -> Iterator[str]:
    """Each key by itself, then the rules that types cannot tell, over the keys that are right."""
    fields = {field.name: field for field in msgspec.structs.fields(section)}
    wrong = {key: mistake for key, value in content.items() if (mistake := _key_mistake(fields, key, value))}
    for key, mistake in wrong.items():
        yield f"{where} {_plain(key)}: {mistake}"
    right = msgspec.convert({key: value for key, value in content.items() if key not in wrong}, section)
    for key, rule in rules(right):
        if key not in wrong:
            yield f"{where} {key}: {rule}"


def _key_mistake(fields: dict[str, FieldInfo], key: str, value: object) -> str | None:
    if key not in fields:
        return f"no such key{_meant(key, fields)}"
    field = fields[key]
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        return f"{_rule_of(field, describe(error))}, not {_toml(value)}; {_example(field)}"
    return None


def _rule_of(field: FieldInfo, problem: str) -> str:
    """What msgspec found wrong, in words of a settings file."""
    bare = get_args(field.type)[0]
    if get_origin(bare) is Literal:
        return f"must be one of {', '.join(get_args(bare))}"
    rule = problem.split(" - at ")[0].split(", got")[0].replace("`", "").replace("Expected", "must be")
    for word, plain in _PLAIN.items():
        rule = re.sub(rf"\b{word}\b", plain, rule)
    return rule


def _example(field: FieldInfo) -> str:
    shown = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    what = "correct it or leave it out" if shown in (None, "") else f"write {field.name} = {_toml(shown)}"
    return f"{what} ({help_of(field)})"


def help_of(field: FieldInfo) -> str:
    """What a key is, as it stands beside it."""
    return next(meta.description or "" for meta in get_args(field.type)[::-1] if isinstance(meta, msgspec.Meta))


_PLAIN = {"str": "text", "bool": "true or false", "int": "a whole number", "float": "a number", "array": "a list"}


def _meant(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(known)}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # Python writes no whole number of over 4,300 digits
        return "a number of thousands of digits"


def _plain(key: str) -> str:
    """A key as it stands, or quoted when it would break the line."""
    return key if key.isprintable() else repr(key)
