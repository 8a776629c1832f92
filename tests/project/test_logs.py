"""Whatever the programs log is a declared event with its declared fields, and with JSON nothing else is written."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent import identity
from tests.helpers import ROOT
from tests.helpers.ports import free_ports
from tests.helpers.processes import child
from tests.helpers.texts import tree
from tests.helpers.waiting import PATIENCE_S, wait_until

MACHINERY = ROOT / "agent" / "common" / "logs"
FILES = [
    path
    for top in ("agent", "collector")
    for path in sorted((ROOT / top).rglob("*.py"))
    if "migrations" not in path.parts and MACHINERY not in path.parents
]
TERMINAL = (  # answer at once: a person, or the process that started them
    "agent/commands/", "collector/commands/", "collector/store/draft.py", "collector/reports/pdf/layout.py",
)  # fmt: skip
SERVICES = ("run.py", "serve.py", "measure.py", "ingest.py", "broker.py")  # but these run for months


# ---------------------------------------------------------------- what stands in the code


def declarations(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """(constant, call) of each event that a module declares."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and is_event(node.value):
            yield ast.unparse(node.targets[0]), node.value


def is_event(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or "Event" not in (getattr(node.func, "id", ""), getattr(node.func, "attr", "")):
        return False
    return ast.unparse(node.func) in ("Event", "logs.Event")


def fields_of(call: ast.Call) -> set[str]:
    words = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg in ("key", "fields")}
    return set(" ".join(map(str, words.values())).split())


def mistakes(source: ast.Module, *, is_service: bool = True) -> Iterator[str]:
    declared = dict(declarations(source))
    logged: Counter[str] = Counter()
    for node in ast.walk(source):
        if is_event(node) and node not in declared.values():
            yield f"line {node.lineno}: an event is declared at the top of a module, as a constant"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "log":
            for name in filter(str.isupper, named(node.func.value)):
                logged[name] += 1
                given = {word.arg for word in node.keywords}
                if name not in declared:
                    yield f"line {node.lineno}: {name} is not declared in this module"
                elif given != fields_of(declared[name]) or node.args:
                    yield f"line {node.lineno}: {name} has the fields {sorted(fields_of(declared[name]))}"
        elif re.match(r"(logging|log|logger|warnings)\.\w+$", called):
            yield f"line {node.lineno}: {called} is not an event"
        elif is_service and ("stderr" in ast.unparse(node) and called in ("print", "sys.stderr.write")):
            yield f"line {node.lineno}: what a service writes is an event, or logs.complain as it ends"
    yield from (f"{name} is never logged" for name in declared if not logged[name])


def named(value: ast.expr) -> list[str]:
    """The constants that a call may be of: of `(ONE if so else OTHER).log(...)` both."""
    return [*named(value.body), *named(value.orelse)] if isinstance(value, ast.IfExp) else [ast.unparse(value)]


def is_service(path: Path) -> bool:
    place = str(path.relative_to(ROOT))
    return not place.startswith(TERMINAL) or path.name in SERVICES


def test_every_line_is_a_declared_event() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} {mistake}"
        for path in FILES
        for mistake in mistakes(tree(path), is_service=is_service(path))
    ]
    assert not wrong, "\n".join(wrong)


HEAD = 'LOST = Event(__name__, "warning", "lost", "a thing is lost", key="device", fields="error")\n'
RIGHT = "LOST.log(device=device, error=error)\n"


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        (HEAD + RIGHT, ""),
        (HEAD + HEAD.replace("LOST", "GONE") + "(LOST if so else GONE).log(device=device, error=error)", ""),
        (HEAD + RIGHT + "LOST.log(device=device)", "line 3: LOST has the fields ['device', 'error']"),
        (HEAD + RIGHT + "LOST.log(device, error=error)", "line 3: LOST has the fields ['device', 'error']"),
        (HEAD + RIGHT + "GONE.log()", "line 3: GONE is not declared in this module"),
        (HEAD, "LOST is never logged"),
        (HEAD + RIGHT + "log = logging.getLogger('x')", "line 3: logging.getLogger is not an event"),
        (HEAD + RIGHT + "log.warning('x')", "line 3: log.warning is not an event"),
        (HEAD + RIGHT + "logging.error('x')", "line 3: logging.error is not an event"),
        (HEAD + RIGHT + "print('x', file=sys.stderr)", "line 3: what a service writes is an event, or logs.complain"),
        (HEAD + RIGHT + "def f():\n    Event('x', 'info', 'y', 'z').log()", "line 4: an event is declared at the top"),
    ],
)
def test_what_is_not_is_seen(source: str, wrong: str) -> None:
    found = list(mistakes(ast.parse(source)))
    assert any(mistake.startswith(wrong) for mistake in found) if wrong else not found


def test_events_have_names_levels_and_sentences_for_people_and_filters() -> None:
    names: Counter[str] = Counter()
    for path in [*FILES, *MACHINERY.glob("*.py")]:
        for _constant, call in declarations(tree(path)):
            _logger, level, name, meaning = (ast.unparse(word) for word in call.args)
            name, meaning = ast.literal_eval(name), ast.literal_eval(meaning)
            names[name] += 1
            assert ast.literal_eval(level) in ("debug", "info", "warning", "error", "critical"), name
            assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name), name
            assert meaning[0].islower(), f"{name}: {meaning}"
            assert not meaning.endswith("."), f"{name}: {meaning}"
            assert len(meaning) <= 120, f"{name}: {meaning}"
            assert not set("[]|\n") & set(meaning), f"{name}: {meaning}"
    assert {name: number for name, number in names.items() if number > 1} == {}
    page = (ROOT / "docs" / "logs.md").read_text()
    assert [name for name in names if f"| `{name}` |" not in page] == []
    assert len(names) > 80


# ---------------------------------------------------------------- what real processes write


@dataclass
class Started:
    """A program with its standard error in a file."""

    process: subprocess.Popen[bytes]
    file: Path

    def lines(self) -> list[Mapping[str, object]]:
        """Every line that is whole, each of which must be JSON."""
        whole = self.file.read_text().rpartition("\n")[0]
        return [json.loads(row) for row in whole.splitlines()]

    def wait_for(self, *events: str) -> None:
        wait_until(lambda: set(events) <= {line["event"] for line in self.lines()}, ", ".join(events))

    def ended(self) -> list[Mapping[str, object]]:
        """All it wrote, every line of the right keys."""
        self.process.wait(PATIENCE_S)
        assert self.file.read_text().endswith("\n")
        for line in (lines := self.lines()):
            assert set(line) - {"trace", "repeated"} == {"ts", "level", "logger", "event", "fields"}, line
        return lines


@contextmanager
def started(folder: Path, *words: str) -> Iterator[Started]:
    file = folder / "stderr"
    with (
        file.open("wb") as stderr,
        child(
            [sys.executable, "-m", *words], stderr=stderr, stdout=subprocess.DEVNULL, cwd=ROOT, env=plain()
        ) as process,
    ):
        yield Started(process, file)


def plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}


def test_a_collector_writes_nothing_but_json_whoever_speaks(tmp_path: Path) -> None:
    """Its child and its libraries too, in full detail, with strangers at every listener."""
    web, broker, tls, websocket, measure = ports = free_ports(5)
    settings = tmp_path / "collector.toml"
    settings.write_text(
        f'[collector]\ndata_dir = "{tmp_path}/data"\nlog_format = "json"\nlog_level = "debug"\n'
        f'[web]\nlisten = "127.0.0.1:{web}"\n[measure]\nlisten = "127.0.0.1:{measure}"\n[broker]\n'
        f'listen = "127.0.0.1:{broker}"\ntls_listen = "127.0.0.1:{tls}"\nwebsocket_listen = "127.0.0.1:{websocket}"\n'
    )
    with started(tmp_path, "collector", "serve", "--config", str(settings)) as serve:
        serve.wait_for("collector_started", "subscribed", "measurement_server_started")
        for port in ports:
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(b"\x16\x03\x01\n\r\n\x1b[31m\r\n\r\n")
        serve.process.terminate()
        lines = serve.ended()
    assert serve.process.returncode == 0
    assert "collector_stopping" in {line["event"] for line in lines}
    loggers = {str(line["logger"]).partition(".")[0] for line in lines if line["event"] == "library"}
    assert {"asyncio", "websockets"} <= loggers


def test_a_collector_that_cannot_start_says_so_in_json(tmp_path: Path) -> None:
    settings = tmp_path / "collector.toml"
    settings.write_text('[web]\nlisten = "x"\nlisten2 = 1\n')
    with started(tmp_path, "collector", "serve", "--config", str(settings), "--log-format", "json") as serve:
        lines = serve.ended()
    assert serve.process.returncode == 2
    assert [line["event"] for line in lines] == ["failed", "failed"]
    assert all("collector.toml: [web]" in str(line["fields"]) for line in lines)


def enrol(folder: Path, broker_port: int) -> None:
    key = identity.make_key(folder)
    device = identity.device_name(key.public_key().public_bytes_raw())
    known = identity.Enrolled(
        device=device, center="LHR-1", name="One", collector_key=b"k" * 32,
        broker_host="127.0.0.1", broker_port=broker_port, measure_url="", enrolled_ms=1, nonce="n",
    )  # fmt: skip
    identity.save(folder, known)


def test_a_gateway_without_its_collector_writes_nothing_but_json(tmp_path: Path, free_port: int) -> None:
    enrol(tmp_path / "state", free_port)
    status, seats = free_ports(2)
    settings = tmp_path / "agent.toml"
    settings.write_text(
        f'[agent]\nstate_dir = "{tmp_path}/state"\ncycle_s = 1.0\nstatus_listen = "127.0.0.1:{status}"\n'
        f'[seats]\nlisten = "127.0.0.1:{seats}"\n[speed]\nenabled = false\n[link]\nprobes = 3\n'
        'timeout_s = 0.5\nlookup = ""\n'
    )
    with started(tmp_path, "agent", "run", "--config", str(settings), "--log-format", "json") as run:
        run.wait_for("broker_session_ended")
        run.process.terminate()
        lines = run.ended()
    assert run.process.returncode == 0
    (ended, *_) = [line for line in lines if line["event"] == "broker_session_ended"]
    fields = ended["fields"]
    assert isinstance(fields, dict)
    assert (fields["center"], fields["code"], fields["error"]) == ("LHR-1", "ECONNREFUSED", "Connection refused")


def test_a_gateway_that_is_not_enrolled_says_so_in_json(tmp_path: Path) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text(f'[agent]\nstate_dir = "{tmp_path}/none"\nlog_format = "json"\n')
    with started(tmp_path, "agent", "run", "--config", str(settings), "--log-format", "json") as run:
        assert [line["event"] for line in run.ended()] == ["failed"]
    assert run.process.returncode == 2


def test_a_seat_without_its_gateway_writes_nothing_but_json(tmp_path: Path, free_port: int) -> None:
    key = tmp_path / "seat.key"
    key.write_text("0" * 64)
    words = ["--gateway", f"http://127.0.0.1:{free_port}", "--key-file", str(key), "--name", "SEAT-01"]
    words += ["--state-dir", str(tmp_path / "seat"), "--log-format", "json"]
    with started(tmp_path, "agent.seat", "run", *words) as seat:
        seat.wait_for("snapshot_unsent")
        seat.process.terminate()
        lines = seat.ended()
    assert seat.process.returncode == 0
    assert [line["event"] for line in lines] == ["seat_started", "snapshot_unsent", "stop_unsent"]
    assert all("'seat': 'SEAT-01'" in str(line["fields"]) for line in lines)
