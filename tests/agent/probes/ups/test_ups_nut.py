"""UPSs behind NUT: a real upsd with NUT's own dummy driver, and servers that no NUT would be."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import config
from agent.__main__ import main
from agent.probes.probe import Context, ProbeFailed
from agent.probes.ups import UpsProbe, nut, settle
from agent.probes.ups.draft import Memory
from agent.probes.ups.selftest import start
from agent.wire import UpsReading
from tests.helpers.ports import free_port

NUT = Path("/lib/nut")
VARIABLES = {
    "ups.mfr": "Example",
    "ups.model": "Line 600",
    "ups.serial": "EX-7",
    "ups.status": "OL CHRG",
    "battery.charge": "88",
    "battery.runtime": "1800",
    "input.voltage": "231.2",
    "input.frequency": "50.0",
    "output.voltage": "230.0",
    "ups.load": "24",
    "battery.voltage": "27.1",
    "ups.test.result": "Done and passed",
}


class Nut:
    """upsd and dummy-ups, unprivileged, in a folder of their own."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.variables = {name: dict(VARIABLES) for name in names}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.written_s = 0
        (folder / "state").mkdir(mode=0o700)
        driver = "driver = dummy-ups\n mode = dummy-once\n pollinterval = 1\n"
        files = {
            "ups.conf": "".join(f"[{name}]\n {driver} port = {name}.dev\n" for name in names),
            "upsd.conf": f"LISTEN 127.0.0.1 {self.port}\nMAXAGE 2\n",
            "upsd.users": '[nabz]\n password = "s e\\"c"\n instcmds = ALL\n',
        }
        for name, text in files.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        for name in names:
            self.tell(name)
            self.drive(name)
        self.run("upsd", str(NUT / "upsd"), "-F")
        wait(lambda: all(self.look(ups=name).failure is None for name in names))

    def tell(self, name: str, **variables: str) -> None:
        """What the driver reads from now on; dots of names as underscores."""
        self.variables[name] |= {key.replace("_", "."): value for key, value in variables.items()}
        lines = "".join(f"{key}: {value}\n" for key, value in self.variables[name].items())
        fresh = self.folder / f"{name}.new"
        fresh.write_text(lines)
        # dummy-ups reads a file again when its time has another second: each version gets one of its own.
        self.written_s = max(self.written_s + 1, int(time.time()))
        os.utime(fresh, (self.written_s, self.written_s))
        fresh.replace(self.folder / f"{name}.dev")

    def drive(self, name: str) -> None:
        self.run(name, str(NUT / "dummy-ups"), "-a", name, "-F")

    def run(self, name: str, *words: str) -> None:
        state = str(self.folder / "state")
        nut_folders = {"NUT_CONFPATH": str(self.folder), "NUT_STATEPATH": state, "NUT_ALTPIDPATH": state}
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*words, "-u", getpass.getuser()], env=os.environ | nut_folders, stdout=log, stderr=log
            )

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def look(self, say: Callable[[str], None] = lambda _: None, **server: Any) -> UpsReading:
        given: dict[str, Any] = {"host": "127.0.0.1", "port": self.port}
        target = nut.NutServer(**given | server)
        return asyncio.run(UpsProbe().measure(target, 5.0, say))


def read(variables: dict[str, str]) -> UpsReading | None:
    return settle.settle(nut.gather(variables, lambda _: None), Memory(), 0.0, lambda _: None).reading


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(struct)


def wait(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_s, "it did not come about in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def nuts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nut]:
    if not (NUT / "dummy-ups").exists() and not os.environ.get("CI"):
        pytest.skip("NUT is not installed (apt install nut-server)")
    started = Nut(tmp_path_factory.mktemp("nut"), "center", "second")
    yield started
    for name in list(started.processes):
        started.stop(name)


# ---------------------------------------------------------------- a real NUT


def test_a_ups_behind_nut_is_read_into_the_same_vocabulary(nuts: Nut) -> None:
    assert _fields(nuts.look(ups="center")) == _fields(
        UpsReading(
            subject="ups",
            output_state="online",
            battery_status="normal",
            battery_replace=False,
            battery_charge_pct=88.0,
            runtime_s=1800.0,
            input_voltage_v=231.2,
            input_frequency_hz=50.0,
            output_voltage_v=230.0,
            load_pct=24.0,
            battery_voltage_v=27.1,
            alarms_count=0,
            manufacturer="Example",
            model="Line 600",
            serial="EX-7",
            self_test="passed",
            profiles=["nut"],
        )
    )


def test_a_cut_is_seen_as_soon_as_nut_tells_it(nuts: Nut) -> None:
    nuts.tell("center", ups_status="OB DISCHRG LB", battery_charge="11")
    wait(lambda: nuts.look(ups="center").output_state == "battery")
    low = nuts.look(ups="center")
    assert (low.battery_status, low.battery_charge_pct) == ("low", 11.0)
    nuts.tell("center", ups_status="OL CHRG", battery_charge="88")
    wait(lambda: nuts.look(ups="center").output_state == "online")


def test_a_driver_that_stops_leaves_a_ups_that_cannot_be_read_and_no_last_values(nuts: Nut) -> None:
    nuts.processes["second"].send_signal(signal.SIGSTOP)
    wait(lambda: nuts.look(ups="second").failure is not None)
    hung = nuts.look(ups="second")
    nuts.processes["second"].send_signal(signal.SIGCONT)
    nuts.stop("second")
    wait(lambda: "DRIVER-NOT-CONNECTED" in getattr(nuts.look(ups="second").failure, "detail", ""))
    gone = nuts.look(ups="second")
    nuts.drive("second")
    wait(lambda: nuts.look(ups="second").failure is None)
    for failed in (hung, gone):
        assert failed.failure is not None
        assert failed.failure.cause == "stale"
        assert (failed.output_state, failed.battery_charge_pct) == (None, None)
    assert "DATA-STALE" in getattr(hung.failure, "detail", "")


@pytest.mark.parametrize(
    ("server", "cause", "sentence"),
    [
        ({"ups": "third"}, "settings", "UNKNOWN-UPS"),
        ({}, "settings", "(center, second)"),
        ({"ups": "center", "port": 1}, "unreachable", "cannot be asked"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(nuts: Nut, server: dict[str, Any], cause: str, sentence: str) -> None:
    failure = nuts.look(**server).failure
    assert failure is not None
    assert failure.cause == cause
    assert sentence in failure.detail


def test_a_user_with_a_quote_in_the_password_is_let_in_to_see_what_the_driver_can_do(nuts: Nut) -> None:
    ups = config.UpsSection(driver="nut", host="127.0.0.1", port=nuts.port, ups="center", user="nabz")
    secret = nuts.folder / "password"
    secret.write_text('s e"c\n')
    with pytest.raises(ProbeFailed, match=r"unsupported: .*knows a battery self-test"):  # dummy-ups has none
        asyncio.run(start(config.UpsSection(**{**_fields(ups), "password_file": str(secret)})))


def test_the_command_reads_it_and_explains(nuts: Nut, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["probe", "ups", "--driver", "nut", "--host", "127.0.0.1", "--port", str(nuts.port), "--ups", "center"]
    assert main([*words, "--json", "--explain"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["output_state"] == "online"
    assert "driver dummy-ups" in printed.err
    assert "battery.charge = '88'" in printed.err


def test_the_settings_read_it_under_its_name_beside_a_silent_one(nuts: Nut) -> None:
    settings = config.AgentSettings(
        ups=[
            config.UpsSection(name="usb", driver="nut", host="127.0.0.1", port=nuts.port, ups="center"),
            config.UpsSection(name="gone", driver="nut", host="127.0.0.1", port=1),
        ]
    )
    usb, gone = asyncio.run(UpsProbe()(Context(settings=settings, deadline_s=5.0)))
    assert isinstance(usb, UpsReading)
    assert (usb.subject, usb.output_state) == ("usb", "online")
    assert (gone.subject, gone.failure is None) == ("gone", False)


# ---------------------------------------------------------------- the words of ups.status


@pytest.mark.parametrize(
    ("status", "state", "battery", "replace", "alarms"),
    [
        ("OL", "online", "normal", False, 0),
        ("OL CHRG", "online", "normal", False, 0),
        ("OB DISCHRG", "battery", "normal", False, 0),
        ("OB LB", "battery", "low", False, 0),
        ("FSD OB", "battery", "low", False, 0),
        ("OL RB", "online", "normal", True, 0),
        ("ALARM OL RB", "online", "normal", True, 1),
        ("OL BYPASS", "bypass", "normal", False, 0),
        ("OL BOOST", "boost", "normal", False, 0),
        ("OL TRIM", "trim", "normal", False, 0),
        ("OL ECO", "eco", "normal", False, 0),
        ("OL OFF", "off", "normal", False, 0),
        ("OFF", "off", None, False, 0),
        ("OL CAL", "online", "normal", False, 0),
        ("OB CAL DISCHRG", "battery", "normal", False, 0),
        ("OL OVER", "online", "normal", False, 0),
        ("ob", "battery", "normal", False, 0),
        ("WAIT", None, None, False, 0),
    ],
)
def test_every_word_of_nut_has_its_place(
    status: str, state: str | None, battery: str | None, replace: bool, alarms: int
) -> None:
    reading = read({"ups.status": status, "battery.charge": "50"})
    assert reading is not None
    assert (reading.output_state, reading.battery_status) == (state, battery)
    assert (reading.battery_replace, reading.alarms_count) == (replace, alarms)


def test_a_blank_status_is_unknown_and_a_driver_that_tells_nothing_is_not_ready() -> None:
    blank = read({"ups.status": "", "battery.charge": "50"})
    assert blank is not None
    assert (blank.output_state, blank.battery_replace, blank.alarms_count) == (None, None, None)
    assert read({"ups.status": "WAIT", "driver.name": "x"}) is None


def test_impossible_numbers_are_refused_and_odd_ones_put_right_with_the_reason() -> None:
    odd_variables = {"ups.status": "OL", "battery.charge": "-1", "input.voltage": "2312", "battery.runtime": "many"}
    reading = read(odd_variables)
    assert reading is not None
    assert (reading.battery_charge_pct, reading.runtime_s, reading.input_voltage_v) == (None, None, 231.2)
    assert set(reading.corrected) == {
        "tenths:field=input_voltage_v,raw=2312,mib=nut",
        "sentinel:field=battery_charge_pct,raw=-1,mib=nut",
    }


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Done and passed", "passed"),
        ("Done and warning", "warning"),
        ("Done and error", "failed"),
        ("In progress", "running"),
        ("Aborted", "aborted"),
        ("OK - Battery GOOD", "passed"),
        ("BAD BATTERY", "failed"),
        ("No test initiated", None),
        ("", None),
    ],
)
def test_the_sentences_of_drivers_about_self_tests_are_words_of_the_wire(text: str, word: str | None) -> None:
    assert nut.test_result(text) == word


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('VAR a ups.model "Smart \\"600\\" \\\\x"', ["VAR", "a", "ups.model", 'Smart "600" \\x']),
        ('VAR a x ""', ["VAR", "a", "x", ""]),
        ('VAR a x "never closed', ["VAR", "a", "x", '"never', "closed"]),
        ("", []),
    ],
)
def test_a_line_is_words_and_quoted_words(line: str, words: list[str]) -> None:
    assert nut.words_of(line) == words
    assert nut.words_of(nut.quoted('a "b" \\')) == ['a "b" \\']


# ---------------------------------------------------------------- servers that are no NUT, and one that can test


@pytest.fixture
def server() -> Iterator[Callable[[Callable[[str], str]], nut.NutServer]]:
    """Starts a server that answers each line with what the function says; it keeps no manners."""
    open_sockets: list[socket.socket] = []

    def begin(answer: Callable[[str], str]) -> nut.NutServer:
        listening = socket.create_server(("127.0.0.1", 0))
        open_sockets.append(listening)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, connection.makefile("rw", newline="\n", errors="replace") as lines:
                for line in lines:
                    lines.write(answer(line.rstrip("\n")))
                    lines.flush()

        threading.Thread(target=serve, daemon=True).start()
        return nut.NutServer(host="127.0.0.1", port=listening.getsockname()[1], ups="u")

    yield begin
    for listening in open_sockets:
        listening.close()


ServerMaker = Callable[[Callable[[str], str]], nut.NutServer]


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ("HTTP/1.1 400 Bad Request\r\n", "garbage"),
        ("x" * 10_000 + "\n", "garbage"),
        ("\n", "garbage"),
        ("BEGIN LIST VAR u\n" + 'VAR u a "b"\n' * 5000, "garbage"),
        ("BEGIN LIST VAR u\nVAR u\nVAR\n\nEND LIST VAR u\n", "not_ready"),
        ("ERR\n", "refused"),
        ("ERR SOMETHING-NEW\n", "refused"),
    ],
)
def test_what_is_no_nut_is_a_failure_with_its_cause(server: ServerMaker, answer: str, cause: str) -> None:
    reading = asyncio.run(UpsProbe().measure(server(lambda _line: answer), 5.0, lambda _: None))
    assert reading.failure is not None
    assert reading.failure.cause == cause


def test_a_server_that_says_nothing_is_left_in_time(server: ServerMaker) -> None:
    reading = asyncio.run(asyncio.wait_for(UpsProbe().measure(server(lambda _line: ""), 0.3, lambda _: None), 30))
    assert reading.failure is not None
    assert reading.failure.cause == "timeout"


@pytest.mark.parametrize(
    ("known", "chosen"),
    [
        (["beeper.mute", "test.battery.start", "test.battery.start.quick"], "test.battery.start.quick"),
        (["test.battery.start.deep", "test.battery.start"], "test.battery.start"),
    ],
)
def test_the_shortest_self_test_that_the_driver_knows_is_started(
    server: ServerMaker, known: list[str], chosen: str
) -> None:
    heard: list[str] = []

    def upsd(line: str) -> str:
        heard.append(line)
        if line == "LIST CMD u":
            return "BEGIN LIST CMD u\n" + "".join(f"CMD u {name}\n" for name in known) + "END LIST CMD u\n"
        return "OK\n"

    place = server(upsd)
    asyncio.run(start(config.UpsSection(driver="nut", host=place.host, port=place.port, ups="u", user="nabz")))
    assert heard == ['USERNAME "nabz"', "LIST CMD u", f"INSTCMD u {chosen}"]


def test_a_self_test_that_the_server_forbids_is_refused_with_the_fix(server: ServerMaker) -> None:
    def upsd(line: str) -> str:
        if line.startswith("LIST"):
            return "BEGIN LIST CMD u\nCMD u test.battery.start\nEND LIST CMD u\n"
        return "ERR ACCESS-DENIED\n"

    place = server(upsd)
    with pytest.raises(ProbeFailed, match=r"ACCESS-DENIED: check user and password against upsd\.users"):
        asyncio.run(start(config.UpsSection(driver="nut", host=place.host, port=place.port, ups="u")))
