"""UPSs on USB or a serial line, through NUT's `upsd` (RFC 9271): read into the same vocabulary as those with a card.

NUT's driver knows the device; `upsd` tells its variables as text lines over TCP. What `upsd` calls stale, or a driver
that is not connected, is a UPS that cannot be read: its last variables are never taken for present ones.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from agent.common.causes import Cause
from agent.probes.probe import ProbeFailed
from agent.probes.ups.draft import Candidate, Evidence, Gathered
from agent.probes.ups.profiles.table import number_of, text_of
from agent.probes.ups.snmp import secret_of

if TYPE_CHECKING:
    from agent.config import UpsSection

Say = Callable[[str], None]

PORT = 3493
LINE_BYTES = 4096
MOST_LINES = 2000

SOURCE = "nut"

# field -> the variables that tell it, in the order of trust
NUMBERS: dict[str, tuple[str, ...]] = {
    "battery_charge_pct": ("battery.charge", "battery.charge.approx"),
    "runtime_s": ("battery.runtime",),
    "on_battery_s": ("battery.runtime.elapsed",),
    "input_voltage_v": ("input.voltage", *(f"input.L{n}-N.voltage" for n in "123"), "input.L1-L2.voltage"),
    "output_voltage_v": ("output.voltage", *(f"output.L{n}-N.voltage" for n in "123"), "output.L1-L2.voltage"),
    "input_frequency_hz": ("input.frequency",),
    "output_frequency_hz": ("output.frequency",),
    "load_pct": ("ups.load",),
    "battery_temp_c": ("battery.temperature", "ups.temperature"),
    "battery_voltage_v": ("battery.voltage",),
}
LINES: dict[str, tuple[str, ...]] = {  # of several lines the largest counts
    "load_pct": (*(f"output.L{n}.power.percent" for n in "123"), *(f"ups.L{n}.load" for n in "123")),
}
NAMES: dict[str, tuple[str, ...]] = {
    "manufacturer": ("device.mfr", "ups.mfr"),
    "model": ("device.model", "ups.model"),
    "firmware": ("ups.firmware",),
    "serial": ("device.serial", "ups.serial"),
}
LIMITS: dict[str, tuple[str, ...]] = {
    "charge_low_pct": ("battery.charge.low",),
    "runtime_low_s": ("battery.runtime.low",),
    "transfer_low_v": ("input.transfer.low",),
    "transfer_high_v": ("input.transfer.high",),
    "input_nominal_v": ("input.voltage.nominal",),
    "output_nominal_v": ("output.voltage.nominal",),
    "battery_nominal_v": ("battery.voltage.nominal",),
    "real_power_w": ("ups.realpower", "output.realpower"),
    "power_nominal_va": ("ups.power.nominal", "output.power.nominal"),
    "real_power_nominal_w": ("ups.realpower.nominal", "output.realpower.nominal"),
}
# The words of `ups.status` that name a state of the output; the first that is there counts.
STATES = {
    "OB": "battery", "OFF": "off", "BYPASS": "bypass", "BOOST": "boost", "TRIM": "trim", "ECO": "eco", "OL": "online",
}  # fmt: skip
WORDS = {
    "OB": "on_battery", "OL": "on_mains", "OFF": "off", "CHRG": "charging", "DISCHRG": "discharging", "CAL": "testing",
    "TEST": "testing", "RB": "replace", "LB": "low",
}  # fmt: skip
# Parts of the sentences in `ups.alarm` (each driver has its own), and what they say.
ALARMS = (
    (("self", "test", "fail"), "test_failed"),
    (("test", "fail"), "test_failed"),
    (("communicat", "lost"), "lost"),
    (("communicat", "fail"), "lost"),
    (("no battery",), "no_battery"),
    (("battery disconnected",), "no_battery"),
    (("battery not", "present"), "no_battery"),
    (("replace", "battery"), "replace"),
    (("battery", "needs replacement"), "replace"),
    (("input failure",), "input_bad"),
    (("utility", "fail"), "input_bad"),
)
RESULTS = (  # what drivers write into `ups.test.result`, in no agreed spelling
    ("progress", "running"),
    ("warning", "warning"),
    ("passed", "passed"),
    ("ok", "passed"),
    ("error", "failed"),
    ("fail", "failed"),
    ("bad", "failed"),
    ("abort", "aborted"),
)
GRIDS = ("utility", "grid")  # how drivers name the grid where they know of other sources; "mains" may be any line
PANELS = ("pv", "solar")  # how drivers of solar inverters name the power of their panels
# What upsd answers instead of a value (RFC 9271 section 4.2.1): our cause, and a sentence with the fix.
REFUSALS: dict[str, tuple[Cause, str]] = {
    "DATA-STALE": ("stale", "its driver has heard nothing from the UPS: check the cable, then the driver"),
    "DRIVER-NOT-CONNECTED": ("stale", "its driver does not run: start nut-driver, or see why it stopped"),
    "UNKNOWN-UPS": ("settings", "the server has no UPS of this name: set `ups` (--ups) to one of `upsc -l`"),
    "ACCESS-DENIED": ("refused", "check user and password against upsd.users"),
    "USERNAME-REQUIRED": ("refused", "the server wants a user: set `user` and `password_file`"),
    "PASSWORD-REQUIRED": ("refused", "the server wants a password: set `password_file`"),
    "CMD-NOT-SUPPORTED": ("unsupported", "this UPS or its driver does not know that command"),
}
TESTS = ("test.battery.start.quick", "test.battery.start")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


@dataclass(frozen=True, kw_only=True)
class NutServer:
    """Where a NUT server answers, and which of its UPSs is meant; an empty `ups` is the only one it has."""

    name: str = "ups"
    host: str
    port: int = PORT
    ups: str = ""
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        return f"{self.ups or 'ups'}@{self.host}:{self.port}"


def server_of(ups: UpsSection) -> NutServer:
    """The server a `[[ups]]` table describes. Raises ProbeFailed for a password file that cannot be read."""
    return NutServer(
        name=ups.name,
        host=ups.host,
        port=ups.port or PORT,
        ups=ups.ups,
        user=ups.user,
        password=secret_of(ups.password_file),
    )


# ---------------------------------------------------------------- parsing: pure


def words_of(line: str) -> list[str]:
    """A line's words; a quoted one may hold blanks, and quotes and backslashes behind a backslash."""
    return [re.sub(r"\\(.)", r"\1", match[1]) if match[2] is None else match[2] for match in _WORD.finditer(line)]


def quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


# ---------------------------------------------------------------- variables and words: pure


class Status(NamedTuple):
    """What the words of a status say."""

    state: str | None
    battery: str | None
    replace: bool | None
    words: frozenset[str]


def status_of(text: str) -> Status:
    """The words of `ups.status`. FSD is NUT's forced shutdown: the UPS will be switched off."""
    words = text.upper().split()
    if not words:
        return Status(None, None, None, frozenset())
    low = "LB" in words or "FSD" in words
    return Status(
        next((state for word, state in STATES.items() if word in words), None),
        "low" if low else "normal" if {"OL", "OB"} & set(words) else None,
        "RB" in words,
        frozenset(WORDS[word] for word in words if word in WORDS),
    )


def alarms_of(text: str) -> tuple[int, frozenset[str]]:
    """How many alarms `ups.alarm` tells, and what they say. Drivers end each with an exclamation mark."""
    sentences = [sentence.lower() for part in text.split("!") if (sentence := part.strip(" .,;"))]
    words = {
        next((word for parts, word in ALARMS if all(part in sentence for part in parts)), "") for sentence in sentences
    }
    return len(sentences), frozenset(words - {""})


def test_result(text: str) -> str | None:
    """A driver's sentence about the last self-test in the wire's words."""
    return next((word for part, word in RESULTS if part in text.lower()), None)


def spoken(status: str, alarm: str, result: str) -> tuple[dict[str, list[Candidate]], frozenset[str]]:
    """Candidates and words of evidence out of NUT's three texts."""
    state, (alarms, alarm_words) = status_of(status), alarms_of(alarm)
    facts: dict[str, object] = {
        "output_state": state.state,
        "battery_status": state.battery,
        "battery_replace": True if "replace" in alarm_words else state.replace,
        "self_test": test_result(result),
    }
    if status.split():
        facts["alarms_count"] = max(alarms, int("ALARM" in status.upper().split()))
    return _candidates(facts), state.words | alarm_words


def _candidates(facts: Mapping[str, object]) -> dict[str, list[Candidate]]:
    return {
        name: [Candidate(value, SOURCE)] for name, value in facts.items() if isinstance(value, (bool, str, int, float))
    }


def gather(variables: Mapping[str, str], say: Say) -> Gathered:
    """All that these variables tell."""
    for name, value in sorted(variables.items()):
        say(f"  {name} = {value!r}")
    candidates, words = spoken(*(variables.get(name, "") for name in ("ups.status", "ups.alarm", "ups.test.result")))
    for name, sources in NUMBERS.items():
        candidates[name] = _numbers(name, sources, variables)
    for name, sources in LINES.items():
        lines = _numbers(name, sources, variables)
        candidates[name] += [max(lines, key=lambda line: line.value)] if lines else []
    names = {name: _text(sources, variables) for name, sources in NAMES.items()}
    limits = {
        name: known[0][0]
        for name, sources in LIMITS.items()
        if (known := [it for it in _known(sources, variables) if it[0] > 0])
    }
    evidence = Evidence(words=words | _more_words(variables), limits=limits)
    return Gathered(candidates=candidates | _candidates(names), evidence=evidence, makers={SOURCE: ""})


def _text(sources: Iterable[str], variables: Mapping[str, str]) -> str | None:
    return next((text for it in sources if (text := text_of(variables.get(it)))), None)


def _numbers(name: str, sources: Iterable[str], variables: Mapping[str, str]) -> list[Candidate]:
    """The candidates of one field; of several lines the live ones come first (an unused line reads 0)."""
    known = [Candidate(number, SOURCE, f"{SOURCE} {variable}") for number, variable in _known(sources, variables)]
    if name in ("input_voltage_v", "output_voltage_v") and len(known) > 1:
        return [*(it for it in known if it.value), *(it for it in known if not it.value)]
    return known


def _known(sources: Iterable[str], variables: Mapping[str, str]) -> list[tuple[float, str]]:
    return [(number, it) for it in sources if (number := number_of(variables.get(it))) is not None]


def _more_words(variables: Mapping[str, str]) -> frozenset[str]:
    words = set()
    source = variables.get("input.source", "").lower()
    if "gen" in source:
        words.add("generator")
    elif any(name in source for name in GRIDS):
        words.add("grid")
    panels = [number_of(variables[it]) or 0 for it in variables if it.startswith(PANELS) and it.endswith("power")]
    if max(panels, default=0) > 0 and "OB" in variables.get("ups.status", "").upper().split():
        words.add("solar")
    return frozenset(words)


# ---------------------------------------------------------------- the conversation


@dataclass
class Upsd:
    """One connection. Every method raises ProbeFailed for a refusal or for what is no NUT."""

    server: NutServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ups: str = ""
    questions: int = 0

    @property
    def place(self) -> str:
        return replace(self.server, ups=self.ups or self.server.ups).place

    async def ask(self, *words: str) -> list[str]:
        """The words of the one line that answers."""
        self.questions += 1
        self.writer.write((" ".join(words) + "\n").encode())
        await self.writer.drain()
        return await self._line()

    async def listing(self, *words: str) -> list[list[str]]:
        """The rows of a LIST, each without the words that only repeat the question."""
        first = await self.ask("LIST", *words)
        if first[:2] != ["BEGIN", "LIST"]:
            raise self._no_nut(first)
        rows: list[list[str]] = []
        while len(rows) < MOST_LINES:
            row = await self._line()
            if row[:2] == ["END", "LIST"]:
                return rows
            rows.append(row[len(words) :])
        raise ProbeFailed("garbage", f"{self.place} lists without end")

    async def login(self) -> None:
        if self.server.user:
            await self.ask("USERNAME", quoted(self.server.user))
        if self.server.password:
            await self.ask("PASSWORD", quoted(self.server.password))

    async def find(self) -> None:
        """Which UPS is meant, when the settings leave it open."""
        known = [] if self.server.ups else [row[0] for row in await self.listing("UPS") if row]
        if not self.server.ups and len(known) != 1:
            names = ", ".join(known) or "none"
            raise ProbeFailed("settings", f"{self.place} has more or fewer than one UPS ({names}): set `ups`")
        self.ups = self.server.ups or known[0]

    async def variables(self) -> dict[str, str]:
        return {row[0]: row[1] for row in await self.listing("VAR", self.ups) if len(row) == 2}

    async def _line(self) -> list[str]:
        try:
            line = await self.reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            raise ProbeFailed("unreachable", f"{self.place} closed the connection") from None
        except asyncio.LimitOverrunError:
            raise ProbeFailed("garbage", f"{self.place} sends lines over {LINE_BYTES} bytes: no NUT") from None
        words = words_of(line.decode("utf-8", "replace"))
        if words[:1] == ["ERR"]:
            raise self._refusal(words[1] if len(words) > 1 else "")
        return words

    def _refusal(self, word: str) -> ProbeFailed:
        cause, fix = REFUSALS.get(word, ("refused", "see RFC 9271 for what that means"))
        return ProbeFailed(cause, f"{self.place} says {word[:40] or 'ERR'}: {fix}")

    def _no_nut(self, words: list[str]) -> ProbeFailed:
        return ProbeFailed("garbage", f"{self.place} does not speak NUT: {' '.join(words)[:40]!r}")


@asynccontextmanager
async def connected(server: NutServer) -> AsyncIterator[Upsd]:
    """Raises OSError when nobody listens, ProbeFailed for a refusal."""
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=LINE_BYTES)
    try:
        upsd = Upsd(server, reader, writer)
        await upsd.login()
        await upsd.find()
        yield upsd
    finally:
        writer.close()
        with suppress(OSError):  # a connection that breaks while it is closed is closed
            await writer.wait_closed()


async def look(server: NutServer, say: Say) -> dict[str, str]:
    """The variables of one UPS. Raises ProbeFailed, OSError."""
    async with connected(server) as upsd:
        variables = await upsd.variables()
        say(f"nut: {upsd.place}, driver {variables.get('driver.name', 'unknown')} (RFC 9271)")
        say(f"{upsd.questions} questions")
    return variables


async def start_test(server: NutServer) -> None:
    """Starts the shortest battery self-test that the driver knows. Raises ProbeFailed, OSError."""
    async with connected(server) as upsd:
        known = {row[0] for row in await upsd.listing("CMD", upsd.ups) if row}
        command = next((test for test in TESTS if test in known), None)
        if command is None:
            raise ProbeFailed("unsupported", f"{server.place}: neither driver nor UPS knows a battery self-test")
        await upsd.ask("INSTCMD", upsd.ups, command)
