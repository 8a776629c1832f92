"""`nabz-agent probe ups`: what people and scripts get."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.__main__ import main

CardMaker = Callable[..., Any]
Captured = pytest.CaptureFixture[str]


def at(device: Any, *more: str) -> list[str]:
    return ["probe", "ups", "--host", "127.0.0.1", "--port", str(device.port), *more]


def test_json_is_one_flat_object_without_stamp_and_with_null_for_unknown(card: CardMaker, capsys: Captured) -> None:
    assert main(at(card("cyberpower"), "--json")) == 0
    printed = json.loads(capsys.readouterr().out)

    assert printed["output_state"] == "boost"
    assert printed["on_battery_s"] is None
    assert "at" not in printed
    assert all(not isinstance(value, dict) for value in printed.values())


def test_the_table_shows_what_is_known_in_aligned_lines(card: CardMaker, capsys: Captured) -> None:
    assert main(at(card("powernet"))) == 0
    lines = capsys.readouterr().out.splitlines()

    assert any(line.split() == ["output_state", "trim"] for line in lines)
    assert any(line.split() == ["battery_replace", "no"] for line in lines)
    assert not any("None" in line for line in lines)
    assert len({line.index(line.split(maxsplit=1)[1]) for line in lines}) == 1


def test_the_explanation_goes_to_stderr_so_that_json_stays_clean(card: CardMaker, capsys: Captured) -> None:
    assert main(at(card("rfc1628"), "--json", "--explain")) == 0
    captured = capsys.readouterr()

    json.loads(captured.out)
    assert "rfc1628: matches" in captured.err
    assert "questions" in captured.err


def test_what_is_no_ups_is_one_line_and_exit_1(card: CardMaker, capsys: Captured) -> None:
    assert main(at(card("not-a-ups-pdu"), "--json")) == 1
    captured = capsys.readouterr()

    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert "not_a_ups" in captured.err


@pytest.mark.parametrize(
    "words",
    [
        ["--port", "0"],
        ["--port", "http"],
        ["--snmp-version", "4"],
        ["--host", "x", "--auth-key", "@/no/such/file"],
        ["--host", "x", "--auth-key", "correct horse"],
        ["--host", "x", "--password", "secret"],
    ],
)
def test_wrong_use_is_exit_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["probe", "ups", *words])
    assert caught.value.code == 2


def test_v3_without_a_user_is_wrong_use(capsys: Captured) -> None:
    assert main(["probe", "ups", "--host", "127.0.0.1", "--snmp-version", "3"]) == 2
    assert "--user" in capsys.readouterr().err


def settings_file(folder: Path, *tables: str) -> str:
    path = folder / "agent.toml"
    path.write_text("".join(f"[[ups]]\n{table}\n" for table in tables))
    return str(path)


def test_several_upses_of_the_settings_are_a_list_with_their_names(
    card: CardMaker, capsys: Captured, tmp_path: Path
) -> None:
    tables = [f'name = "{name}"\nhost = "127.0.0.1"\nport = {card(name).port}' for name in ("delta", "huawei")]

    assert main(["probe", "ups", "--json", "--config", settings_file(tmp_path, *tables)]) == 0
    assert [reading["subject"] for reading in json.loads(capsys.readouterr().out)] == ["delta", "huawei"]


def test_one_unreadable_ups_does_not_hide_the_other(card: CardMaker, capsys: Captured, tmp_path: Path) -> None:
    good, bad = card("delta"), card("not-a-ups-switch")
    path = settings_file(
        tmp_path,
        f'name = "hall"\nhost = "127.0.0.1"\nport = {good.port}',
        f'name = "rack"\nhost = "127.0.0.1"\nport = {bad.port}',
    )

    assert main(["probe", "ups", "--json", "--config", path]) == 1
    captured = capsys.readouterr()
    assert [reading["subject"] for reading in json.loads(captured.out)] == ["hall"]
    assert "rack: not_a_ups" in captured.err


def test_an_unreadable_key_file_is_that_upss_failure(capsys: Captured, tmp_path: Path) -> None:
    table = (
        'host = "127.0.0.1"\nsnmp_version = "3"\nuser = "nabz"\nauth_protocol = "sha"\n'
        f'auth_key_file = "{tmp_path / "missing"}"'
    )

    assert main(["probe", "ups", "--config", settings_file(tmp_path, table)]) == 1
    assert "key file" in capsys.readouterr().err
