"""`nabz-agent probe KIND`: the parts every kind shares."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.__main__ import main
from agent.commands.probe import OPTIONS, show, table
from agent.probes import PROBES
from agent.wire import Failure, Hop, LinkReading, SpeedReading, UpsReading

Captured = pytest.CaptureFixture[str]


def test_options_are_those_of_probes_that_there_are() -> None:
    assert OPTIONS.keys() <= PROBES.keys()


def test_the_table_of_probes_loads_none_of_them() -> None:
    code = (
        "import agent.probes, sys; "
        "print([m for m in sys.modules if m.startswith(('pysnmp', 'psutil', 'agent.probes.'))])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "['agent.probes.probe']"


def test_an_unknown_kind_is_wrong_use() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["probe", "weather"])
    assert caught.value.code == 2


@pytest.mark.parametrize("kind", sorted(PROBES))
def test_every_kind_explains_its_options(kind: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["probe", kind, "--help"])

    assert caught.value.code == 0
    assert {"--json", "--explain", "--config"} <= set(capsys.readouterr().out.replace("[", " ").split())


def test_gateway_prints_its_reading_as_one_json_object(capsys: Captured) -> None:
    assert main(["probe", "gateway", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "gateway"


def test_a_settings_file_with_a_mistake_is_wrong_use_in_one_line(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("[ping]\nspeed = 1\n")

    assert main(["probe", "gateway", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert str(path) in error


def test_no_configured_ups_is_said_with_the_fix(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("")

    assert main(["probe", "ups", "--config", str(path)]) == 2
    assert "--host" in capsys.readouterr().err


def test_failed_readings_go_to_stderr_and_into_the_exit_code(capsys: Captured) -> None:
    readings = [
        UpsReading(subject="a", output_state="online"),
        UpsReading(subject="b", failure=Failure("timeout", "mute")),
    ]

    assert show("ups", readings, as_json=True) == 1
    captured = capsys.readouterr()
    assert [reading["subject"] for reading in json.loads(captured.out)] == ["a"]
    assert captured.err == "nabz-agent: probe ups: b: timeout: mute\n"


def test_parts_with_parts_of_their_own_stay_readable() -> None:
    hop = Hop(role="lan", target="192.168.1.1", method="icmp", sent=3, received=3, median_ms=0.5)

    assert "role=lan target=192.168.1.1 method=icmp sent=3 received=3 median_ms=0.5" in table(LinkReading(hops=[hop]))


def test_the_table_of_a_speed_test_grades_what_the_load_did_to_round_trips() -> None:
    loaded = SpeedReading(idle_rtt_ms=20.0, loaded_rtt_down_ms=118.0, loaded_rtt_up_ms=40.0)
    assert "bufferbloat         B (+98 ms down, +20 ms up)" in table(loaded)
    assert "bufferbloat" not in table(SpeedReading(download_mbps=20.0))
