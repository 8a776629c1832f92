"""nabz-seat as a process: against a real ear, with a wrong clock, with wrong settings, and its last word."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.config import SeatsSection
from agent.local import lan
from agent.probes.seats.registry import Registry
from agent.seat.__main__ import SeatProgram, main, read_identity, report
from agent.seat.identity import SeatIdentity
from agent.seat.keyring import Keyring
from agent.seat.measure import disks, hardware, measure
from agent.seat.post import PostFailed, check_gateway, post

KEY = bytes(range(32))
ME = SeatIdentity(id="s0123456789abcdef", facts=("mac:0123456789abcdef",))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "seat.key"
    file.write_text(KEY.hex() + "\n")
    return file


async def start(port: int, key_file: Path, *more: str) -> Process:
    words = ["--gateway", f"http://127.0.0.1:{port}", "--key-file", str(key_file), "--name", "SEAT-01"]
    words += ["--state-dir", str(key_file.parent / "seat"), *more]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.seat", "run", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def with_ear(story: Callable[[int, Registry], Awaitable[None]], ahead_ms: int = 0) -> None:
    async def run() -> None:
        roll = Registry(None)
        async with await lan.listen(roll, "127.0.0.1:0", KEY, wall=lambda: lan.wall_ms() + ahead_ms) as server:
            await story(server.sockets[0].getsockname()[1], roll)

    asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 — what is waited for happens in another process
            await asyncio.sleep(0.02)


def states(roll: Registry) -> list[str]:
    reading = roll.call(lan.mono_ms(), SeatsSection(max_cpu_pct=101.0))
    assert reading is not None
    assert reading.seats is not None
    return list(reading.seats.state)


def test_a_seat_reports_and_says_goodbye_when_stopped(key_file: Path) -> None:
    async def story(port: int, roll: Registry) -> None:
        seat = await start(port, key_file)
        await until(lambda: roll.seats)
        assert states(roll) == ["healthy"]
        seat.send_signal(signal.SIGTERM)
        out, err = await seat.communicate()
        assert (seat.returncode, out) == (0, b"")
        assert re.fullmatch(rb".{24} INFO seat_started: [^\n]*\n", err)
        # Off, by its own word; never merely missing.
        assert states(roll) == ["off"]

    with_ear(story)


def test_a_killed_seat_says_nothing(key_file: Path) -> None:
    async def story(port: int, roll: Registry) -> None:
        seat = await start(port, key_file)
        await until(lambda: roll.seats)
        seat.kill()
        await seat.communicate()
        later_ms = lan.mono_ms() + 181_000
        reading = roll.call(later_ms, SeatsSection())
        assert reading is not None
        assert reading.missing == 1

    with_ear(story)


@pytest.mark.parametrize("ahead_ms", [-50 * 365 * 86_400_000, 3_600_000])
def test_a_seat_whose_clock_is_wrong_goes_by_the_gateways(key_file: Path, ahead_ms: int) -> None:
    async def story(port: int, roll: Registry) -> None:
        seat = await start(port, key_file)
        await until(lambda: roll.seats)
        seat.terminate()
        await seat.communicate()
        assert states(roll) == ["off"]

    with_ear(story, ahead_ms)


def test_a_seat_whose_key_the_gateway_has_lost_comes_back_under_the_centers(key_file: Path) -> None:
    async def story(port: int, roll: Registry) -> None:
        for _ in range(2):
            seat = await start(port, key_file)
            await until(lambda: roll.seats)
            seat.terminate()
            await seat.communicate()
            # Its last word came under the key of its own.
            assert [known.key is not None for known in roll.seats.values()] == [True]
            assert states(roll) == ["off"]
            roll.seats.clear()

    with_ear(story)


def test_what_answers_without_the_key_is_not_believed() -> None:
    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    async def story() -> None:
        async with await asyncio.start_server(impostor, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/seat"
            with pytest.raises(PostFailed, match="not this center's gateway"):
                await asyncio.to_thread(post, measure(ME, "", "0" * 32, 1), url, KEY)

    asyncio.run(story())


def test_trouble_is_logged_once_when_it_begins(free_port: int, caplog: pytest.LogCaptureFixture) -> None:
    seat = SeatProgram(
        identity=ME,
        name="SEAT-01",
        url=f"http://127.0.0.1:{free_port}/seat",
        keyring=Keyring(KEY, ME.id),
        interval_s=60.0,
    )
    waits = iter([False, False, True])
    report(seat, lambda _interval_s: next(waits))
    assert caplog.text.count("no gateway answers") == 1


def test_once_without_a_gateway_fails_in_one_line(
    key_file: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["once", "--gateway", f"http://127.0.0.1:{free_port}", "--key-file", str(key_file)]
    assert main([*words, "--state-dir", str(key_file.parent)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--gateway", "gateway:8471"], "not http://HOST:PORT"),
        (["--gateway", "https://gateway:8471"], "not http://HOST:PORT"),
        (["--gateway", "http://gateway:99999"], "not http://HOST:PORT"),
        (["--gateway", "http://[::1"], "not http://HOST:PORT"),
        (["--interval", "1"], "between 5 and 600"),
        (["--interval", "nan"], "between 5 and 600"),
        (["--name", "Ali's PC"], "at most 32 letters"),
        (["--key-file", "/nonexistent"], "/nonexistent"),
        (["--key-file", __file__], "hexadecimal"),
    ],
)
def test_wrong_settings_are_one_line_and_exit_2(
    words: list[str], rule: str, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = [
        "once",
        "--gateway",
        "http://127.0.0.1:1",
        "--key-file",
        str(key_file),
        "--state-dir",
        str(key_file.parent),
    ]
    assert main([*right, *words]) == 2
    printed = capsys.readouterr().err
    assert rule in printed
    assert printed.count("\n") == 1


def test_show_prints_what_would_be_sent_and_keeps_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--state-dir", str(tmp_path / "seat")]) == 0
    assert json.loads(capsys.readouterr().out)["id"].startswith("s")
    assert not (tmp_path / "seat").exists()


def test_a_seat_keeps_its_id_on_disk(key_file: Path, free_port: int) -> None:
    words = ["once", "--gateway", f"http://127.0.0.1:{free_port}", "--key-file", str(key_file)]
    main([*words, "--state-dir", str(key_file.parent / "seat")])
    kept = read_identity(key_file.parent / "seat" / "identity.json")
    assert kept is not None
    assert kept.facts == hardware()
    for text in ("", "{}", "[" * 100_000, '{"id": 1, "facts": 1}'):
        (key_file.parent / "seat" / "identity.json").write_text(text)
        assert read_identity(key_file.parent / "seat" / "identity.json") is None


def test_this_machine_can_be_measured() -> None:
    printed = measure(ME, "SEAT-01", "0" * 32, 1)
    assert printed.memory_pct is not None
    assert 0 < printed.memory_pct <= 100
    assert printed.uptime_s is not None
    assert all(0 <= disk.used_pct <= 100 for disk in disks())


def test_the_gateways_address_needs_scheme_host_and_port() -> None:
    assert check_gateway("http://192.168.1.10:8471/") == "http://192.168.1.10:8471/seat"


def test_a_seat_needs_nothing_that_windows_has_not() -> None:
    blocked = "for name in ('fcntl', 'pwd', 'grp', 'termios', 'resource'): sys.modules[name] = None"
    code = f"import sys, psutil\n{blocked}\nimport agent.seat.__main__"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_seat_pc_needs_no_library_but_psutil() -> None:
    others = "{'msgspec', 'cryptography', 'paho', 'asyncio'}"
    code = f"import agent.seat.__main__, sys; print(sorted({others} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
