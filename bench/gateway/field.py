"""How many of the conditions that people met in the field each reader gets right: ours beside NUT's `snmp-ups`.

Each card of the tests' own folders, or of those named, is served once; our probe reads it, and the driver dumps what it
reads (``snmp-ups -d 1``), which is taken as it stands. A condition is right when every field that it names is. A folder
holds `NAME.snmprec` beside `NAME.json` or `NAME.expected.json` with the fields under `expected`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.probes.ups import UpsProbe, nut
from agent.wire import UpsReading

TESTS = Path(__file__).parents[2] / "tests" / "agent" / "probes" / "ups"
SNMP_UPS = "/lib/nut/snmp-ups"
TOLERANCE = {"on_battery_s": 1.0, "runtime_s": 60.0, "battery_voltage_v": 0.11, "alarms_count": 0.0}
# What is held against what is right: no names, which each reader writes its own way, nor what only ours tells.
FIELDS = frozenset(UpsReading.__struct_fields__) - {
    "manufacturer", "model", "firmware", "serial", "profiles", "corrected", "alarms_count",
}  # fmt: skip
Fields = Mapping[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    own = [TESTS / "field", TESTS / "devices"]
    parser.add_argument("folders", nargs="*", type=Path, default=own, help="of recordings; the tests' own by default")
    parser.add_argument("--all", action="store_true", help="name what is right too")


def run(options: argparse.Namespace) -> int:
    if not Path(SNMP_UPS).exists():
        print("bench field needs snmp-ups: install nut-snmp", file=sys.stderr)
        return 2
    cards = _cards()
    for folder in options.folders:
        _hold(cards, folder, name_all=options.all)
    return 0


def _hold(cards: Any, folder: Path, *, name_all: bool) -> None:
    """Prints how many conditions, and how many of their fields, each reader gets right."""
    right, fields, conditions, wanted_fields = {"ours": 0, "snmp-ups": 0}, {"ours": 0, "snmp-ups": 0}, 0, 0
    for case in sorted(folder.glob("*.snmprec")):
        wanted = _wanted(case)
        if wanted is None:
            continue
        conditions, wanted_fields = conditions + 1, wanted_fields + len(wanted)
        device = cards.Card(cards.rows_of(case))
        device.socket.bind(("127.0.0.1", 0))
        threading.Thread(target=device.serve, daemon=True).start()
        wrong = {"ours": _wrong(wanted, _ours(device)), "snmp-ups": _wrong(wanted, _theirs(device.port))}
        for who, mistakes in wrong.items():
            right[who] += not mistakes
            fields[who] += len(wanted) - len(mistakes)
            if mistakes or name_all:
                print(f"{case.stem}: {who}: {'; '.join(mistakes) or 'right'}")
    for who, count in right.items():
        print(f"{folder.name}: {who}: {count} of {conditions} right, {fields[who]} of {wanted_fields} fields")


def _wanted(case: Path) -> Mapping[str, Any] | None:
    """The fields that are right of a recording; None if nobody has said."""
    for path in (case.with_suffix(".json"), case.with_suffix(".expected.json")):
        if path.exists():
            document = json.loads(path.read_text())
            fields: dict[str, Any] = document.get("expected", document)
            return {name: value for name, value in fields.items() if name in FIELDS and not _is_open(value)}
    return None


def _is_open(want: object) -> bool:
    """Whether the recording leaves a field open: a reason in the place of a value."""
    return isinstance(want, dict) and want.get("value") is None and "accept" not in want


def _cards() -> Any:
    """The tests' own card: an SNMP agent with the manners of real ones."""
    spec = importlib.util.spec_from_file_location("ups_cards", TESTS / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ups_cards"] = module
    spec.loader.exec_module(module)
    return module


def _ours(device: Any) -> Fields:
    reading = asyncio.run(UpsProbe().measure(device.target(), 5.0, lambda _line: None))
    return {name: getattr(reading, name) for name in reading.__struct_fields__}


def _theirs(port: int) -> Fields:
    command = [SNMP_UPS, "-s", "bench", "-d", "1", "-x", f"port=127.0.0.1:{port}", "-x", "community=public"]
    try:
        done = subprocess.run(
            [*command, "-x", "snmp_version=v2c", "-x", "mibs=auto"], capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        return {}
    values = {name: value for name, _, value in (line.partition(": ") for line in done.stdout.splitlines()) if value}
    words = set(values.get("ups.status", "").split())
    fields: dict[str, Any] = {
        name: float(next(values[it] for it in variables if it in values).split()[0])
        for name, variables in nut.NUMBERS.items()
        if any(it in values for it in variables)
    }
    states = (state for word, state in nut.STATES.items() if word in words)
    running = words & {"CAL", "TEST"} or "rogress" in values.get("ups.test.result", "")
    return {
        **fields,
        "output_state": next(states, None),
        "battery_replace": "RB" in words,
        "battery_status": "low" if "LB" in words else "normal" if words else None,
        "self_test": "running" if running else nut.test_result(values.get("ups.test.result", "")),
        "model": values.get("ups.model"),
        "manufacturer": values.get("ups.mfr"),
    }


def _wrong(wanted: Mapping[str, Any], got: Fields) -> list[str]:
    """The fields that are not right. A failure that is wanted is right when no power state is told."""
    wrong = []
    for name, want in wanted.items():
        accepted = [want["value"], *want.get("accept", [])] if isinstance(want, dict) else [want]
        if not any(_agrees(got.get(name), value, TOLERANCE.get(name, 1.0)) for value in accepted):
            wrong.append(f"{name}={got.get(name)!r} (want {accepted[0]!r})")
    return wrong


def _agrees(got: object, want: object, tolerance: float) -> bool:
    if isinstance(want, (int, float)) and not isinstance(want, bool) and isinstance(got, (int, float)):
        return abs(got - want) <= tolerance
    return got == want
