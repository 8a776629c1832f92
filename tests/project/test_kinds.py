"""A kind of reading is a row of `wire.KINDS`: what cannot be derived of the row is named here when it is missing."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import msgspec
import pytest

from agent import wire
from agent.probes import PROBES
from agent.wire import KINDS, Aggregate, Kind
from collector.store import schema
from collector.web.pages.centers import OWN_TILES
from tests.helpers import ROOT

GOLDEN = ROOT / "tests" / "wire" / "v1"
TEXTS = sorted((ROOT / "agent" / "common" / "text").glob("*.json"))
TEMPLATE = ROOT / "collector" / "web" / "templates" / "center.html"


def mistakes(kind: Kind) -> list[str]:
    """What is wrong with a row in itself: figures of fields that the struct lacks, charts of figures that it lacks."""
    fields, figures = kind.struct.__struct_fields__, [figure.name for figure in kind.figures]
    complaints = [
        f"figure {figure.name!r}: {kind.struct.__name__} has no field {figure.field!r}"
        for figure in kind.figures
        if figure.field not in fields
    ]
    complaints += [
        f"figure {figure.name!r}: {figure.how!r} is none of avg, min, max, any, is WORD"
        for figure in kind.figures
        if not (figure.is_number or figure.how == "any" or figure.how.startswith("is "))
    ]
    complaints += [f"chart: {name!r} is no figure of it" for name in kind.chart if name not in figures]
    complaints += [f"figure {name!r}: stands twice" for name in set(figures) if figures.count(name) > 1]
    if kind.measured != "event" and not kind.summary:
        complaints.append("summary: is empty; `nabz-agent probe --help` shows it")
    if len(kind.name) > schema.latest.c.kind.type.length:
        complaints.append(f"name: is over {schema.latest.c.kind.type.length} letters, as many as table `latest` holds")
    if kind.measured != "event" and any(field.required for field in msgspec.structs.fields(kind.struct)):
        complaints.append("struct: a field has no default, so that a failed measurement could not be a reading")
    return [f"agent/wire.py: KINDS: {kind.name}: {what}" for what in complaints]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_row_is_of_its_struct(kind: Kind) -> None:
    assert not mistakes(kind), "\n".join(mistakes(kind))


class Broken(wire.Reading, frozen=True, kw_only=True, tag="broken_kind_of_reading"):
    size: float


def test_a_row_that_is_not_of_its_struct_is_seen() -> None:
    figures = (Aggregate("colour", "avg"), Aggregate("size", "mean"), Aggregate("size", "max"))
    found = "\n".join(mistakes(Kind(struct=Broken, figures=figures, chart=("weight",))))
    for word in ("no field 'colour'", "'mean' is none", "'weight' is no", "twice", "summary", "letters", "no default"):
        assert word in found


def test_every_struct_of_a_reading_has_its_row() -> None:
    """A struct without a row would be decoded by nobody: told apart from parts of readings by its base."""
    structs = {struct.__name__ for struct in wire.Reading.__subclasses__() if struct.__module__ == wire.__name__}
    assert structs == {kind.struct.__name__ for kind in KINDS.values()}, "add its row to KINDS in agent/wire.py"


def test_every_kind_that_is_measured_has_its_probe() -> None:
    measured = {name for name, kind in KINDS.items() if kind.measured != "event"}
    missing = sorted(measured - PROBES.keys())
    assert not missing, f"agent/probes/__init__.py: PROBES has no line for {', '.join(missing)}"
    assert not PROBES.keys() - measured, "agent/wire.py: KINDS has no measured kind for a line of PROBES"


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.measured != "event"])
def test_every_kind_that_is_measured_has_its_module(name: str) -> None:
    path = ROOT / "agent" / "probes" / name
    assert path.is_dir() or path.with_suffix(".py").exists(), f"agent/probes/{name}.py: is missing"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_every_language_has_the_words_of_every_kind_and_figure(path: Path) -> None:
    keys = {f"kind.{name}" for name in KINDS}
    keys |= {f"field.{figure.name}" for kind in KINDS.values() for figure in kind.figures}
    missing = sorted(keys - json.loads(path.read_text("utf-8")).keys())
    assert not missing, f"{path.relative_to(ROOT)} has no text for {', '.join(missing)}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_no_language_has_two_texts_for_one_key(path: Path) -> None:
    def counted(pairs: list[tuple[str, str]]) -> dict[str, str]:
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), sorted({key for key in keys if keys.count(key) > 1})
        return dict(pairs)

    json.loads(path.read_text("utf-8"), object_pairs_hook=counted)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_a_golden_message(name: str) -> None:
    path = GOLDEN / f"{name}.json"
    assert path.exists(), f"{path.relative_to(ROOT)}: is missing; write one reading of this kind as it is sent"


def test_kinds_with_a_tile_of_their_own_have_it() -> None:
    named = set(re.findall(r'call\(\w+, at\) one\("(\w+)"\)', TEMPLATE.read_text("utf-8")))
    assert named == OWN_TILES, "collector/web/pages/centers.py: OWN_TILES and templates/center.html differ"


# Where three kinds or more stand together by hand, and what becomes there of a kind that is not among them.
BY_HAND = {
    "agent/commands/probe.py": "it has no options of its own",
    "agent/local/status_page.py": "its figures are shown",
    "agent/remote/settings.py": "its table of settings is the gateway's own",
    "agent/diagnostics/questions.py": "the desk asks for it once somebody writes what it may ask",
    "collector/remote/questions.py": "the desk asks for it once somebody writes what it may ask",
    "collector/judging/patterns/facts.py": "a recording of it that is played again is not found",
    "collector/remote/funnel.py": "a center is complete without it",
    "agent/probes/__init__.py": "a test above names it",
    "collector/desk/symptoms.py": "its trouble is of the family `other`",
    "collector/commands/simulation/readings.py": "its figures are made up by their units",
    "collector/reports/day_samples.py": "its samples need no more than the fields of their criteria",
    "collector/store/quotas.py": "it has the share of other kinds",
    "collector/web/pages/centers.py": "its figures are shown",
    "collector/web/fleet/mine.py": "the page of the center shows its figures",
}


def listed_by_hand(source: str) -> set[str]:
    """The kinds of the longest collection, by their names or structs, in a source."""
    structs = {kind.struct.__name__: name for name, kind in KINDS.items()}
    found: list[set[str]] = [set()]
    if sum(word in source for kind in KINDS.items() for word in (kind[0], kind[1].struct.__name__)) < 3:
        return set()  # to parse all of them takes seconds
    for node in ast.walk(ast.parse(source)):
        parts = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", getattr(node, "args", []))
        items = parts if isinstance(parts, list) else []
        words = [getattr(part, key, None) for part in items for key in ("value", "id", "attr")]
        found.append({structs.get(word, word) for word in words if isinstance(word, str)} & KINDS.keys())
    return max(found, key=len)


def test_no_module_lists_kinds_by_hand_that_could_have_them_from_their_rows() -> None:
    paths = [path for top in ("agent", "collector") for path in sorted((ROOT / top).rglob("*.py"))]
    lists = {
        str(path.relative_to(ROOT))
        for path in paths
        if "migrations" not in path.parts and len(listed_by_hand(path.read_text("utf-8"))) >= 3
    } - {"agent/wire.py"}
    assert lists == BY_HAND.keys(), "derive it from wire.KINDS, or say in BY_HAND what becomes of a new kind"


@pytest.mark.parametrize(
    "source",
    [
        'DEADLINE_S = {"link": 45.0, "speed": 240.0, "ups": 8.0}',
        'KINDS = ("link", "speed", "ups")',
        "SHOWN = [wire.LinkReading, wire.SpeedReading, UpsReading]",
        'GAP_MS = dict.fromkeys(["link", "speed", "ups"], 180_000)',
    ],
)
def test_a_list_by_hand_is_seen(source: str) -> None:
    assert listed_by_hand(source) == {"link", "speed", "ups"}


def test_units_are_found_by_the_longest_end_of_a_name() -> None:
    names = ("rtt_median_ms", "runtime_s", "download_mbps", "agent_rss_mb", "spool_bytes", "loss_pct", "healthy")
    assert [wire.unit_of(name) for name in names] == ["ms", "s", "Mbit/s", "MB", "B", "%", ""]
