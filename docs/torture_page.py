"""The page of the torture catalogue: what each row breaks, the tests that play it, and the bugs planted to see it red.

Read from the source of the tests by their marks, `row(N, …)` and `control("bug", row=N)`: nothing is imported or run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"

CATALOGUE: dict[int, str] = {
    1: "The agent is killed outright, at any step",
    2: "The collector is killed outright, between any two steps of a batch",
    3: "The broker is killed outright",
    4: "The broker loses all it kept, in the middle of a backlog",
    5: "PostgreSQL is killed, or shut down at once",
    6: "The gateway's power is cut",
    7: "The server's power is cut: database, broker and collector on one disk",
    8: "What was written last is torn, zeroed, out of order or garbage",
    9: "A bit flips in the middle of the spool",
    10: "The power is cut again while the spool recovers",
    11: "The gateway's disk is full",
    12: "A sync fails once",
    13: "The gateway's disk turns read-only, or its card is pulled",
    14: "Wear: bytes and syncs a day",
    15: "A boot in 1970, without a clock of its own",
    16: "TLS with a wrong clock",
    17: "The clock jumps, back too, and in the middle of a batch",
    18: "A day and a month without the line",
    19: "The line goes dark without a word",
    20: "30 % loss each way and a round trip of 800 ms",
    21: "A portal in between, an interceptor, a port that is shut",
    22: "The database is away",
    23: "The database is slow: 200 ms a group",
    24: "All gateways come back at once, each with hours to tell",
    25: "Connected, and put out again at once",
    26: "A cloned identity: two gateways live with one key",
    27: "A restored image: an old spool goes on",
    28: "Signed batches sent again later",
    29: "Batches reordered, cut anew, doubled",
    30: "Forged: another's signature, topic or name",
    31: "Malformed messages and files",
    32: "Oversized, deep, endless numbers, bombs",
    33: "Certificates expired, revoked, not yet valid, of another authority, weak",
    34: "Rollover of an authority's or the collector's key",
    35: "A hostile seat PC",
    36: "A UPS card that answers garbage, too late or without end",
    37: "Scripts in names: of centers, seats, UPSs, topics",
    38: "Requests forged, framed, fixed or sent on to elsewhere",
    39: "Every page and route asked for by everybody",
    40: "Records changed behind the program's back, by each role",
    41: "Passphrases guessed",
    42: "Formulas in cells",
    43: "Paths that lead out of their folder",
    44: "Statements, templates and addresses smuggled in",
    45: "An update that is broken, cut short, or goes back",
    46: "The arithmetic of a month's report",
    47: "A storm of alerts: a region loses its power",
    48: "Hours of everything at once",
    49: "A database is restored from an older copy",
    50: "A database, a key or an authority is missing at a start",
    51: "A file is moved, replaced or deleted under its process",
    52: "Two collectors on one folder or database",
    53: "What was decided after a copy, when it is restored",
    54: "A backup that is damaged, of other keys, or not what it says",
    55: "Half-open connections at a listener, from one address and from many",
    56: "The server's disk is full, or turns read-only",
    57: "The server has few descriptors",
    58: "The server has little address space",
    59: "One gateway floods: messages, readings, subjects, bytes",
    60: "Bad requests for enrolment beside good ones",
    61: "A center's owner cheats: results, past, place, seats, power",
    62: "A settings file with a mistake, at a start and at a reload",
}
# What agent, wire, broker, collector and database are held to: no row of these may be without a test and a control.
HELD_TO = (*range(1, 37), 46, *range(49, 63))

# A row whose fault nothing of ours could let through, with the reason.
WITHOUT_CONTROL: dict[int, str] = {}


@dataclass(frozen=True)
class Test:
    """One test function: `counts` are what it states as ``X if torture else Y``; `slow` is not part of `make test`."""

    path: str
    name: str
    slow: bool = False
    counts: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = self.name.removeprefix("test_").replace("_", " ")
        notes = [*self.counts, *(["in the long run only"] if self.slow else [])]
        return f"[{words}](../{self.path})" + (f" ({'; '.join(notes)})" if notes else "")


@dataclass
class Row:
    fault: str
    tests: list[Test] = field(default_factory=list)
    controls: list[tuple[str, Test]] = field(default_factory=list)


def catalogue(folder: Path = TESTS) -> dict[int, Row]:
    """Every row with what the tests' marks say of it. A mark of no row is a ValueError that names the test."""
    rows = {number: Row(fault) for number, fault in CATALOGUE.items()}
    for path in sorted(folder.rglob("test_*.py")):
        for test, marks in _marked(path, folder.parent):
            for mark in marks:
                _enter(rows, test, mark)
    return rows


def _enter(rows: dict[int, Row], test: Test, mark: ast.Call) -> None:
    is_row = _mark_name(mark) == "row"
    numbers = mark.args if is_row else [word.value for word in mark.keywords if word.arg == "row"] or mark.args[1:]
    try:
        given = [ast.literal_eval(each) for each in numbers]
    except ValueError:
        raise ValueError(f"{test.path}: {test.name}: write the row's number itself: {ast.unparse(mark)}") from None
    for number in (one for each in given for one in (each if isinstance(each, tuple) else (each,))):
        if number not in rows:
            raise ValueError(f"{test.path}: {test.name} is marked for row {number}, which the catalogue does not have")
        if is_row:
            rows[number].tests.append(test)
        else:
            rows[number].controls.append((ast.literal_eval(mark.args[0]), test))


def _marked(path: Path, root: Path) -> Iterator[tuple[Test, list[ast.Call]]]:
    """Test functions with marks: their own, those of their parameters, and those of the whole file."""
    tree = ast.parse(path.read_text())
    known = dict(_assigned(tree))
    for_all = _marks([known["pytestmark"]], {}) if "pytestmark" in known else []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            marks = [*for_all, *_marks(node.decorator_list, known)]
            told = [mark for mark in marks if isinstance(mark, ast.Call) and _mark_name(mark) in ("row", "control")]
            slow = any(_mark_name(each) == "slow" for each in [*for_all, *map(_bare, node.decorator_list)])
            if told:
                where = path.relative_to(root).as_posix()
                yield Test(where, node.name, slow, tuple(_counts(node, known))), told


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Names of the module with the expressions they stand for."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield from _pairs(node.targets[0], node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield from _pairs(node.target, node.value)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for each, its in zip(target.elts, value.elts, strict=True):
            yield from _pairs(each, its)


def _marks(expressions: Sequence[ast.expr], known: Mapping[str, ast.expr]) -> list[ast.expr]:
    """Every `pytest.mark.…` in these expressions and in the module's names that they use."""
    found: list[ast.expr] = []
    for expression in expressions:
        for node in ast.walk(expression):
            if isinstance(node, ast.Call | ast.Attribute) and _mark_name(node):
                found.append(node)
            elif isinstance(node, ast.Name) and node.id in known:
                found += _marks([known[node.id]], {})
    return found


def _mark_name(node: ast.expr) -> str:
    """`row` of `pytest.mark.row(…)`; empty for what is no mark."""
    bare = _bare(node)
    if isinstance(bare, ast.Attribute) and isinstance(bare.value, ast.Attribute) and bare.value.attr == "mark":
        return bare.attr
    return ""


def _bare(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _counts(test: ast.AST, known: Mapping[str, ast.expr]) -> Iterator[str]:
    """What a test states as `name = FULL if torture else QUICK`."""
    for node in ast.walk(test):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.IfExp)
            and "torture" in ast.dump(node.value.test)
        ):
            full, quick = (
                dict(_pairs(node.targets[0], node.value.body)),
                dict(_pairs(node.targets[0], node.value.orelse)),
            )
            for name in full:
                few, many = _figure(quick.get(name), known), _figure(full[name], known)
                if few and many:
                    yield f"{name.replace('_', ' ')}: {few}, full {many}"


def _figure(node: ast.expr | None, known: Mapping[str, ast.expr]) -> str:
    """A number as people write it; empty for what is none."""
    node = known.get(node.id, node) if isinstance(node, ast.Name) else node
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return f"{node.value:,g}" if abs(node.value) < 1e6 else f"{node.value:,.0f}"
    return ""


# ---------------------------------------------------------------- the page

INTRODUCTION = """# The torture catalogue

What each row breaks, the tests that play it, and the negative controls: bugs planted on purpose, each with the test
that must see it go red. Made from the marks of the tests by `make docs`. `make test` plays the quick
counts without the planted bugs,
`make torture` the full ones; a failure prints its seed, and `--fault-seed` plays it again. Of n trials without a loss
it can be said with 95 % confidence that fewer than 3/n lose anything.

| row | the fault | played by | planted bugs, and who sees them |
|---|---|---|---|
"""


def torture_page() -> str:
    rows = catalogue()
    return INTRODUCTION + "".join(_line(number, row) for number, row in rows.items() if number in HELD_TO or row.tests)


def _line(number: int, row: Row) -> str:
    controls = [f"{bug}: {test}" for bug, test in row.controls] or [WITHOUT_CONTROL.get(number, "")]
    cells = (str(number), row.fault, "<br>".join(map(str, row.tests)), "<br>".join(controls))
    return f"| {' | '.join(cells)} |\n"
