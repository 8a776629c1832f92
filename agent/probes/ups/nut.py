"""UPSs on USB or a serial line, through NUT's `upsd` (RFC 9271): read into the same vocabulary as those with a card.

NUT's driver knows the device; `upsd` tells its variables as text lines over TCP. What `upsd` calls stale, or a driver
that is not connected, is a UPS that cannot be read: its last variables are never taken for present ones.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agent.common.causes import Cause
from agent.probes.probe import ProbeFailed
from agent.probes.ups.judge import possible
from agent.probes.ups.merge import ON_MAINS, correction
from agent.probes.ups.profiles.table import number_of, text_of
from agent.probes.ups.snmp import secret_of
from agent.wire import UpsReading

if TYPE_CHECKING:
    from agent.config import UpsSection

Say = Callable[[str], None]

PORT = 3493
LINE_BYTES = 4096
MOST_LINES = 2000

# field -> the variables that tell it, in the order of trust (NUT's list of names, docs/nut-names.txt)
NUMBERS: dict[str, tuple[str, ...]] = {
    "battery_charge_pct": ("battery.charge", "battery.charge.approx"),
    "runtime_s": ("battery.runtime",),
    "input_voltage_v": ("input.voltage", "input.L1-N.voltage", "input.L1-L2.voltage"),
    "output_voltage_v": ("output.voltage", "output.L1-N.voltage", "output.L1-L2.voltage"),
    "input_frequency_hz": ("input.frequency",),
    "output_frequency_hz": ("output.frequency",),
    "load_pct": ("ups.load", "output.L1.power.percent"),
    "battery_temp_c": ("battery.temperature", "ups.temperature"),
    "battery_voltage_v": ("battery.voltage",),
}
NAMES: dict[str, tuple[str, ...]] = {
    "manufacturer": ("device.mfr", "ups.mfr"),
    "model": ("device.model", "ups.model"),
    "firmware": ("ups.firmware",),
    "serial": ("device.serial", "ups.serial"),
}
# The words of `ups.status` that name a state of the output; the first that is there counts.
STATES = {
    "OFF": "off", "OB": "battery", "BYPASS": "bypass", "BOOST": "boost", "TRIM": "trim", "ECO": "eco", "OL": "online",
}  # fmt: skip
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
    return [re.sub(r"\\(.)", r"\1", found[1]) if found[2] is None else found[2] for found in _WORD.finditer(line)]


def quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def read(variables: Mapping[str, str], say: Say) -> UpsReading | None:
    """The reading these variables make, or None when they tell nothing of state, charge or runtime. Pure."""
    for name, value in sorted(variables.items()):
        say(f"  {name} = {value!r}")
    status = variables.get("ups.status", "").upper().split()
    fields: dict[str, Any] = state_of(status)
    corrected: list[str] = []
    for key, names in NUMBERS.items():
        _number(key, names, variables, fields, corrected, say)
    for key, names in NAMES.items():
        fields[key] = next((text for name in names if (text := text_of(variables.get(name)))), None)
    fields["self_test"] = test_result(variables.get("ups.test.result", ""))
    if all(fields.get(key) is None for key in ("output_state", "battery_charge_pct", "runtime_s")):
        return None
    for key, value in fields.items():
        if value is not None:
            say(f"    {key} = {value!r}")
    return UpsReading(**fields, profiles=["nut"], corrected=corrected)


def state_of(status: list[str]) -> dict[str, Any]:
    """What the words of `ups.status` say. FSD is NUT's forced shutdown: the battery is at its end."""
    if not status:
        return {}
    low = "LB" in status or "FSD" in status
    return {
        "output_state": next((state for word, state in STATES.items() if word in status), None),
        "battery_status": "low" if low else "normal" if {"OL", "OB"} & set(status) else None,
        "battery_replace": "RB" in status,
        "alarms_count": int("ALARM" in status),
    }


def test_result(text: str) -> str | None:
    """A driver's sentence about the last self-test in the wire's words."""
    return next((word for part, word in RESULTS if part in text.lower()), None)


def _number(
    key: str,
    names: tuple[str, ...],
    variables: Mapping[str, str],
    fields: dict[str, Any],
    corrected: list[str],
    say: Say,
) -> None:
    for name in names:
        number = number_of(variables.get(name))
        if number is None:
            continue
        verdict = possible(key, number, on_mains=fields.get("output_state") in ON_MAINS)
        if verdict.value is None:
            say(f"    {key}: {name} refused: {verdict.why}")
            continue
        fields[key] = round(verdict.value, 3)
        if verdict.why:
            corrected.append(correction(verdict.code, field=key, raw=number, mib="nut"))
        return


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


async def look(server: NutServer, say: Say) -> UpsReading:
    """One reading. Raises ProbeFailed, OSError."""
    async with connected(server) as upsd:
        variables = await upsd.variables()
        say(f"nut: {upsd.place}, driver {variables.get('driver.name', 'unknown')} (RFC 9271)")
        reading = read(variables, say)
        say(f"{upsd.questions} questions")
    if reading is None:
        raise ProbeFailed("not_ready", f"{server.place}: the driver tells no state, charge or runtime (yet)")
    return reading


async def start_test(server: NutServer) -> None:
    """Starts the shortest battery self-test that the driver knows. Raises ProbeFailed, OSError."""
    async with connected(server) as upsd:
        known = {row[0] for row in await upsd.listing("CMD", upsd.ups) if row}
        command = next((test for test in TESTS if test in known), None)
        if command is None:
            raise ProbeFailed("unsupported", f"{server.place}: neither driver nor UPS knows a battery self-test")
        await upsd.ask("INSTCMD", upsd.ups, command)
