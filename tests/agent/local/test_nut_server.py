"""The gateway as a NUT server: what it shows, what it refuses, and what Debian's own clients make of it."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.local import nut_server
from agent.local.nut_server import NutClient, UpsState
from agent.probes.ups import UpsProbe, nut
from agent.wire import Failure, UpsReading
from tests.helpers.ports import free_port

UPSC, UPSMON = shutil.which("upsc"), "/lib/nut/upsmon"
# It does not start beside another of this machine, whose number it reads from /run/nut: it has one of its own.
OWN_RUN = () if os.geteuid() else ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run/nut; exec "$0" "$@"')
MAINS = UpsReading(
    output_state="online",
    battery_status="normal",
    battery_replace=False,
    battery_charge_pct=97.0,
    runtime_s=1620.0,
    input_voltage_v=231.5,
    load_pct=24.0,
    manufacturer="Example",
    model='Line "600"',
    self_test="passed",
)
BATTERY = UpsReading(output_state="battery", battery_status="normal", battery_charge_pct=71.0, source="battery")
FAILED = UpsReading(failure=Failure("timeout", "no answer"))


def state(reading: UpsReading | None = MAINS, **more: Any) -> UpsState:
    return UpsState(**{"name": "ups", "reading": reading, "age_s": 2.0, **more})


def said(line: str, *states: UpsState) -> list[str]:
    return list(NutClient(lambda: states or [state()]).answer(line))


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("reading", "ends", "words"),
    [
        (MAINS, False, "OL"),
        (UpsReading(output_state="boost"), False, "OL BOOST"),
        (UpsReading(output_state="bypass", load_pct=120.0), False, "OL BYPASS OVER"),
        (BATTERY, False, "OB DISCHRG"),
        (BATTERY, True, "OB DISCHRG LB"),
        # A word that the watch does not confirm shuts no PC down.
        (UpsReading(output_state="battery", battery_status="low"), False, "OB DISCHRG"),
        (UpsReading(output_state="battery", self_test="running", input_voltage_v=230.0), True, "OL CAL"),
        (UpsReading(output_state="online", source="battery"), False, "OL DISCHRG"),
        (UpsReading(output_state="online", battery_replace=True), False, "OL RB"),
        (UpsReading(output_state="off"), False, "OFF"),
        (UpsReading(battery_charge_pct=5.0), False, ""),
    ],
)
def test_a_reading_becomes_the_words_of_nut(reading: UpsReading, ends: bool, words: str) -> None:
    assert nut_server.status_of(reading, ends=ends) == words


@pytest.mark.parametrize(
    ("stale", "answer"),
    [
        (state(FAILED), "ERR DATA-STALE"),
        (state(age_s=31.0), "ERR DATA-STALE"),
        (state(None), "ERR DRIVER-NOT-CONNECTED"),
    ],
)
def test_what_failed_or_is_old_is_stale(stale: UpsState, answer: str) -> None:
    assert said("GET VAR ups ups.status", stale) == said("LIST VAR ups", stale) == [answer]
    assert said("GET VAR ups ups.status", state(age_s=170.0, poll_s=60.0)) == ['VAR ups ups.status "OL"']


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("VER", None),
        ("NETVER", ["1.3"]),
        ("PROTVER", ["1.3"]),
        ("netver", ["1.3"]),
        ("LIST UPS", ["BEGIN LIST UPS", 'UPS ups "Line \\"600\\""', "END LIST UPS"]),
        ("GET UPSDESC ups", ['UPSDESC ups "Line \\"600\\""']),
        ("GET VAR ups battery.charge", ['VAR ups battery.charge "97"']),
        ("GET VAR ups ups.test.result", ['VAR ups ups.test.result "Done and passed"']),
        ("GET VAR ups battery.temperature", ["ERR VAR-NOT-SUPPORTED"]),
        ("GET VAR other ups.status", ["ERR UNKNOWN-UPS"]),
        ("GET TYPE ups input.voltage", ["TYPE ups input.voltage NUMBER"]),
        ("GET NUMLOGINS ups", ["NUMLOGINS ups 0"]),
        ("LIST RW ups", ["BEGIN LIST RW ups", "END LIST RW ups"]),
        ("LIST CMD ups", ["BEGIN LIST CMD ups", "END LIST CMD ups"]),
        ("LIST CLIENT ups", ["BEGIN LIST CLIENT ups", "END LIST CLIENT ups"]),
        ("LIST VAR other", ["ERR UNKNOWN-UPS"]),
        ("LIST", ["ERR INVALID-ARGUMENT"]),
        ("GET", ["ERR INVALID-ARGUMENT"]),
        ("USERNAME a b", ["ERR INVALID-ARGUMENT"]),
        ("USERNAME any", ["OK"]),
        ('PASSWORD "any \\" one"', ["OK"]),
        ("LOGIN ups", ["OK"]),
        ("LOGIN other", ["ERR UNKNOWN-UPS"]),
        ("LOGOUT", ["OK Goodbye"]),
        ("STARTTLS", ["ERR FEATURE-NOT-CONFIGURED"]),
        ("PRIMARY ups", ["ERR ACCESS-DENIED"]),
        ("MASTER ups", ["ERR ACCESS-DENIED"]),
        ("FSD ups", ["ERR ACCESS-DENIED"]),
        ("SET VAR ups ups.id x", ["ERR ACCESS-DENIED"]),
        ("INSTCMD ups load.off", ["ERR ACCESS-DENIED"]),
        ("SHUTDOWN", ["ERR UNKNOWN-COMMAND"]),
        ("", ["ERR UNKNOWN-COMMAND"]),
    ],
)
def test_a_request_is_answered_as_rfc_9271_has_it(line: str, answer: list[str] | None) -> None:
    got = said(line)
    assert got == answer if answer is not None else got[0].startswith("nabz-agent")


def test_a_name_that_nut_cannot_ask_for_is_made_one_that_it_can() -> None:
    rows = said("LIST UPS", state(name='UPS of "Hall" 1'), state(name="ہال"))
    assert [row.split()[1] for row in rows[1:-1]] == ["UPS_of__Hall__1", "___"]
    assert said("GET VAR UPS_of__Hall__1 ups.status", state(name='UPS of "Hall" 1')) != ["ERR UNKNOWN-UPS"]


def test_a_reading_never_breaks_the_line_it_stands_in() -> None:
    evil = UpsReading(output_state="online", model='x"\nFSD ups\n\\', serial="a\tb\0c")
    for line in said("LIST VAR ups", state(evil)):
        assert "\n" not in line
        assert line.isprintable()


# ---------------------------------------------------------------- the listener


@contextlib.asynccontextmanager
async def listening(view: Callable[[], list[UpsState]]) -> AsyncIterator[int]:
    server = await nut_server.serve("127.0.0.1:0", view)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ask(port: int, *lines: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(lines))
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def test_our_own_probe_reads_it_as_it_reads_upsd() -> None:
    async def story() -> UpsReading:
        async with listening(lambda: [state()]) as port:
            server = nut.NutServer(host="127.0.0.1", port=port, user="any", password="any")
            return await UpsProbe().measure(server, 5.0, lambda _: None)

    reading = asyncio.run(story())
    assert (reading.output_state, reading.battery_charge_pct, reading.model) == ("online", 97.0, MAINS.model)


def test_a_line_without_end_and_bytes_that_are_no_text_end_their_own_connection_only() -> None:
    async def story() -> tuple[bytes, bytes, bytes]:
        async with listening(lambda: [state()]) as port:
            endless = await ask(port, b"x" * 10_000)
            binary = await ask(port, b"\xff\xfe\0\n", b"NETVER\n")
            return endless, binary, await ask(port, b"GET VAR ups ups.status\n")

    endless, binary, after = asyncio.run(story())
    assert endless == b""
    assert binary == b"ERR UNKNOWN-COMMAND\n1.3\n"
    assert after == b'VAR ups ups.status "OL"\n'


def test_an_address_has_so_many_connections_and_the_silent_ones_give_way() -> None:
    async def story() -> tuple[list[bytes], bytes]:
        async with listening(lambda: [state()]) as port:
            reader, talker = await asyncio.open_connection("127.0.0.1", port)
            held = []
            for _ in range(8):
                held.append(await asyncio.open_connection("127.0.0.1", port))
                talker.write(b"NETVER\n")
                assert await asyncio.wait_for(reader.readline(), 20) == b"1.3\n"
            answers = []
            for silent, writer in held:
                with contextlib.suppress(ConnectionError):
                    writer.write(b"NETVER\n")
                    answers.append(await asyncio.wait_for(silent.readline(), 20))
            for _, writer in held:
                writer.close()
            talker.close()
            return answers, await ask(port, b"NETVER\n")

    answers, after = asyncio.run(story())
    assert answers.count(b"1.3\n") == nut_server.CONNECTIONS_PER_ADDRESS - 1
    assert after == b"1.3\n"


def test_a_flood_of_requests_ends_its_connection() -> None:
    async def story() -> bytes:
        async with listening(lambda: [state()]) as port:
            return await ask(port, b"NETVER\n" * 5000)

    assert asyncio.run(story()).count(b"1.3") <= nut_server.LINES_AT_ONCE + 100


# ---------------------------------------------------------------- Debian's own clients


class Gateway:
    """The listener on a loop of its own, showing whatever `states` holds."""

    def __init__(self) -> None:
        self.states = [state()]
        self.port = free_port()
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.ready.wait(10)

    def run(self) -> None:
        self.server = self.loop.run_until_complete(nut_server.serve(f"127.0.0.1:{self.port}", lambda: self.states))
        self.ready.set()
        self.loop.run_forever()

    def stop(self) -> None:
        async def end() -> None:
            self.server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    if UPSC is None and not os.environ.get("CI"):
        pytest.skip("NUT's clients are not installed (apt install nut-client)")
    made = Gateway()
    yield made
    made.stop()


def upsc(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [UPSC or "upsc", *words], capture_output=True, text=True, timeout=20, env={**os.environ, "LC_ALL": "C"}
    )


def test_upsc_lists_what_is_known(gateway: Gateway) -> None:
    place = f"127.0.0.1:{gateway.port}"
    names = upsc(gateway, "-l", place)
    assert names.stdout.split() == ["ups"]
    listed = dict(line.split(": ", 1) for line in upsc(gateway, f"ups@{place}").stdout.splitlines())
    assert (listed["ups.status"], listed["battery.charge"], listed["device.model"]) == ("OL", "97", MAINS.model)
    gateway.states = [state(FAILED)]
    assert "Data stale" in upsc(gateway, f"ups@{place}").stderr


def test_upsmon_of_a_seat_pc_sees_the_cut_and_shuts_down_at_its_end(gateway: Gateway, tmp_path: Path) -> None:
    if not Path(UPSMON).exists() and not os.environ.get("CI"):
        pytest.skip("upsmon is not installed (apt install nut-client)")
    notes, down = tmp_path / "notes", tmp_path / "down"
    note = tmp_path / "note"
    note.write_text(f'#!/bin/sh\necho "$NOTIFYTYPE" >> {notes}\n')
    note.chmod(0o755)
    settings = [
        f"MONITOR ups@127.0.0.1:{gateway.port} 1 seat secret slave",
        f"NOTIFYCMD {note}",
        f'SHUTDOWNCMD "touch {down}"',
        f"RUN_AS_USER {getpass.getuser()}",
        *("MINSUPPLIES 1", "POLLFREQ 1", "POLLFREQALERT 1", "DEADTIME 5", "HOSTSYNC 1", "FINALDELAY 0"),
        *(f"NOTIFYFLAG {kind} EXEC" for kind in ("ONLINE", "ONBATT", "LOWBATT", "COMMBAD", "SHUTDOWN")),
    ]
    (tmp_path / "upsmon.conf").write_text("\n".join(settings) + "\n")
    nut_folders = {"NUT_CONFPATH": str(tmp_path), "NUT_STATEPATH": str(tmp_path), "NUT_ALTPIDPATH": str(tmp_path)}
    log = (tmp_path / "log").open("wb")
    monitor = subprocess.Popen(
        [*OWN_RUN, UPSMON, "-D", "-F", "-p"], env={**os.environ, **nut_folders}, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(lambda: logged_in(gateway), "upsmon logs in")
        gateway.states = [state(BATTERY)]
        wait_for(lambda: "ONBATT" in read(notes), "the cut is told")
        gateway.states = [state()]
        wait_for(lambda: "ONLINE" in read(notes), "and its end")
        assert not down.exists()
        gateway.states = [state(BATTERY, ends=True)]
        wait_for(down.exists, "the battery's end shuts the PC down")
        assert "LOWBATT" in read(notes)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(monitor.pid, signal.SIGTERM)
        monitor.wait(10)
        log.close()


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def logged_in(gateway: Gateway) -> bool:
    with socket.create_connection(("127.0.0.1", gateway.port), 2) as line:
        line.sendall(b"GET NUMLOGINS ups\nLOGOUT\n")
        return line.makefile().readline().strip() == "NUMLOGINS ups 1"


def wait_for(true: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    end_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_s, what
        time.sleep(0.2)
