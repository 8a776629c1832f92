"""What the gateway knows of its UPSs, as a read-only NUT server (RFC 9271): unmodified `upsmon`, `upsc` and WinNUT on
seat PCs see a cut, and shut down before the battery is empty.

1. It is off until `[power] nut_listen` names an address. Nothing can be written or commanded: who asks for it is
   refused, and no password is looked at, for there is nothing to protect but the readings themselves.
2. ``LB`` is said only once the watch has found the battery at its end (`agent.scheduling.power`): two looks, and charge
   or limits that agree. A PC must not be shut down by a word that stood for one poll.
3. A reading that failed or is old is ``DATA-STALE``, as NUT's own server calls it: its clients know what to do then.
4. Whoever connects may be hostile: lines, connections and pauses have bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agent import __version__
from agent.common.logs import Event
from agent.common.tcp import ConnectionLimits, ListeningSocket, listening
from agent.local.http import split_address
from agent.wire import UpsReading

OVERLONG = Event(
    __name__, "info", "nut_line_overlong", "a NUT client sends longer lines than the protocol has", key="client"
)
BROKEN = Event(
    __name__, "error", "nut_request_broken", "a request of a NUT client could not be answered: a fault of this program",
    key="client", fields="error", has_trace=True,
)  # fmt: skip

PORT = 3493
PROTOCOL = "1.3"
LINE_BYTES = 512
CONNECTIONS, CONNECTIONS_PER_ADDRESS = 64, 4
IDLE_S = 300.0  # clients ask every 5 to 30 s
LINE_S = 10.0  # from a line's first octet to its end, and for a client to read an answer
LINES_PER_S, LINES_AT_ONCE = 50.0, 200.0
STALE_S, STALE_POLLS = 30.0, 3  # a reading older than the longer of them is not shown

# field -> NUT's names for it (docs/nut-names.txt)
NUMBERS = {
    "battery_charge_pct": "battery.charge",
    "runtime_s": "battery.runtime",
    "battery_voltage_v": "battery.voltage",
    "battery_temp_c": "battery.temperature",
    "input_voltage_v": "input.voltage",
    "input_frequency_hz": "input.frequency",
    "output_voltage_v": "output.voltage",
    "output_frequency_hz": "output.frequency",
    "load_pct": "ups.load",
}
NAMES = {
    "manufacturer": ("device.mfr", "ups.mfr"),
    "model": ("device.model", "ups.model"),
    "serial": ("device.serial", "ups.serial"),
    "firmware": ("ups.firmware",),
}
STATES = {
    "online": "OL",
    "bypass": "OL BYPASS",
    "boost": "OL BOOST",
    "trim": "OL TRIM",
    "eco": "OL ECO",
    "battery": "OB DISCHRG",
    "standby": "OFF",
    "off": "OFF",
    "none": "OFF",
}
RESULTS = {
    "running": "In progress",
    "passed": "Done and passed",
    "warning": "Done and warning",
    "failed": "Done and error",
    "aborted": "Aborted",
}


@dataclass(frozen=True, kw_only=True)
class UpsState:
    """One UPS as it is shown: its newest reading, how old that is, how often it is read, and whether its battery is
    known to be at its end."""

    name: str
    reading: UpsReading | None
    age_s: float
    poll_s: float = 10.0
    ends: bool = False

    @property
    def is_fresh(self) -> bool:
        failed = self.reading is None or self.reading.failure is not None
        return not failed and self.age_s <= max(STALE_S, STALE_POLLS * self.poll_s)


View = Callable[[], Sequence[UpsState]]


# ---------------------------------------------------------------- what is shown: pure


def variables_of(state: UpsState) -> dict[str, str] | None:
    """NUT's variables, or None when there is nothing fresh to show."""
    reading = state.reading
    if reading is None or not state.is_fresh:
        return None
    shown = {
        "device.type": "ups",
        "driver.name": "nabz-agent",
        "driver.version": __version__,
        "server.info": f"nabz-agent {__version__}",
        "ups.status": status_of(reading, ends=state.ends),
    }
    for name, variable in NUMBERS.items():
        value = getattr(reading, name)
        if value is not None:
            shown[variable] = f"{value:.3f}".rstrip("0").rstrip(".")
    for name, variables in NAMES.items():
        if text := getattr(reading, name):
            shown |= dict.fromkeys(variables, text)
    if result := RESULTS.get(reading.self_test or ""):
        shown["ups.test.result"] = result
    return dict(sorted(shown.items()))


def status_of(reading: UpsReading, *, ends: bool) -> str:
    """The words of `ups.status`. A UPS that tests its battery, or feeds from it with the grid there, is on line: no
    client shall count down to its shutdown."""
    state = reading.output_state
    words = [STATES.get(state or "", "")]
    if state == "battery" and reading.self_test == "running":
        words = ["OL CAL"]
    elif state == "online" and reading.source == "battery":
        words = ["OL DISCHRG"]
    if ends and words == ["OB DISCHRG"]:
        words.append("LB")
    if reading.battery_replace:
        words.append("RB")
    if (reading.load_pct or 0) > 100:
        words.append("OVER")
    return " ".join(word for word in words if word)


def plain_name(name: str) -> str:
    """A name that NUT can ask for: no blanks, quotes or signs of other lands."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:64] or "ups"


def quoted(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'


_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


def words_of(line: str) -> list[str]:
    return [re.sub(r"\\(.)", r"\1", match[1]) if match[2] is None else match[2] for match in _WORD.finditer(line)]


# ---------------------------------------------------------------- one conversation: pure but for the view


@dataclass
class NutClient:
    """One client. `answer` gives the lines that answer one of its own."""

    view: View
    address: str = ""
    logins: Mapping[str, Sequence[str]] = field(default_factory=dict)  # addresses by UPS, of all clients
    logged_in: str = ""
    done: bool = False

    def answer(self, line: str) -> Iterable[str]:
        words = words_of(line)
        command = words[0].upper() if words else ""
        match command, words[1:]:
            case "VER", []:
                return [f"nabz-agent {__version__}, read-only"]
            case (("NETVER" | "PROTVER"), []):
                return [PROTOCOL]
            case "HELP", []:
                return ["Commands: HELP VER NETVER PROTVER GET LIST USERNAME PASSWORD LOGIN LOGOUT"]
            case "LOGOUT", []:
                self.done = True
                return ["OK Goodbye"]
            case (("USERNAME" | "PASSWORD"), [_]):
                return ["OK"]
            case "LOGIN", [name]:
                return self._login(name)
            case (("PRIMARY" | "MASTER" | "FSD" | "SET" | "INSTCMD" | "ATTACH" | "DETACH"), [_, *_]):
                return ["ERR ACCESS-DENIED"]
            case "STARTTLS", []:
                return ["ERR FEATURE-NOT-CONFIGURED"]
            case (("GET" | "LIST"), arguments) if not "".join(arguments).isprintable():  # parts of it come back
                return ["ERR INVALID-ARGUMENT"]
            case "GET", [what, name, *more] if len(more) <= 1:
                return self._get(what.upper(), name, more[0] if more else "")
            case "LIST", [what, *more] if len(more) <= 2:
                return self._list(what.upper(), more)
            case (("VER" | "GET" | "LIST" | "LOGIN" | "USERNAME" | "PASSWORD" | "SET" | "FSD" | "INSTCMD"), _):
                return ["ERR INVALID-ARGUMENT"]
        return ["ERR UNKNOWN-COMMAND"]

    def _states(self) -> dict[str, UpsState]:
        return {plain_name(state.name): state for state in self.view()}

    def _login(self, name: str) -> list[str]:
        if name not in self._states():
            return ["ERR UNKNOWN-UPS"]
        if self.logged_in:
            return ["ERR ALREADY-LOGGED-IN"]
        self.logged_in = name
        return ["OK"]

    def _get(self, what: str, name: str, variable: str) -> list[str]:
        state = self._states().get(name)
        if state is None:
            return ["ERR UNKNOWN-UPS"]
        if what == "NUMLOGINS":
            return [f"NUMLOGINS {name} {len(self.logins.get(name, ()))}"]
        if what == "UPSDESC":
            return [f"UPSDESC {name} {quoted(_description(state))}"]
        if what not in ("VAR", "TYPE", "DESC"):
            return ["ERR INVALID-ARGUMENT"]
        variables = variables_of(state)
        if variables is None:
            return ["ERR DATA-STALE" if state.reading is not None else "ERR DRIVER-NOT-CONNECTED"]
        if variable not in variables:
            return ["ERR VAR-NOT-SUPPORTED"]
        if what == "VAR":
            return [f"VAR {name} {variable} {quoted(variables[variable])}"]
        if what == "TYPE":
            return [f"TYPE {name} {variable} {'NUMBER' if variable in NUMBERS.values() else 'STRING:200'}"]
        return [f'DESC {name} {variable} "Description unavailable"']

    def _list(self, what: str, more: Sequence[str]) -> Iterable[str]:
        states = self._states()
        if what == "UPS" and not more:
            rows = [f"UPS {name} {quoted(_description(state))}" for name, state in states.items()]
            return _listing("UPS", rows)
        if not more or more[0] not in states:
            return ["ERR UNKNOWN-UPS" if more else "ERR INVALID-ARGUMENT"]
        name = more[0]
        if what == "CLIENT":
            return _listing(f"CLIENT {name}", [f"CLIENT {name} {address}" for address in self.logins.get(name, ())])
        if what in ("RW", "CMD"):
            return _listing(f"{what} {name}", [])
        if what in ("ENUM", "RANGE") and len(more) == 2:
            return _listing(f"{what} {name} {more[1]}", [])
        if what != "VAR":
            return ["ERR INVALID-ARGUMENT"]
        variables = variables_of(states[name])
        if variables is None:
            return ["ERR DATA-STALE" if states[name].reading is not None else "ERR DRIVER-NOT-CONNECTED"]
        return _listing(f"VAR {name}", [f"VAR {name} {it} {quoted(value)}" for it, value in variables.items()])


def _listing(what: str, rows: Iterable[str]) -> Iterator[str]:
    yield f"BEGIN LIST {what}"
    yield from rows
    yield f"END LIST {what}"


def _description(state: UpsState) -> str:
    return (state.reading.model if state.reading is not None else None) or state.name


# ---------------------------------------------------------------- the listener


async def serve(address: str, view: View) -> asyncio.Server:
    """Listens on ``HOST:PORT``. Raises ValueError for an address that is none, OSError when it cannot be had."""
    host, port = split_address(address)
    limits = ConnectionLimits(connections=CONNECTIONS, per_address=CONNECTIONS_PER_ADDRESS, group=str)
    place = await listening(host, port, limits)
    return await asyncio.start_server(_Listener(view, place).serve_client, sock=place, limit=LINE_BYTES)


@dataclass
class _Listener:
    """Of an address, or of all, that have no room the client that was silent longest gives way to one that comes."""

    view: View
    place: ListeningSocket
    clients: list[NutClient] = field(default_factory=list)

    async def serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peername = writer.get_extra_info("peername")
        client = NutClient(self.view, str(peername[0]) if peername else "")
        self.clients.append(client)
        try:
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                await self._converse(client, reader, writer)
        except asyncio.LimitOverrunError:
            OVERLONG.log(client=client.address)
        except asyncio.CancelledError:  # the loop ends; asyncio would report this connection as a fault of the program
            pass
        except Exception as error:  # a fault of ours must neither leave the client hanging nor stay unseen
            BROKEN.log(client=client.address, error=error)
        finally:
            self.clients.remove(client)
            writer.transport.abort()

    async def _converse(self, client: NutClient, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, fileno = asyncio.get_running_loop(), writer.get_extra_info("socket").fileno()
        left, then_s = LINES_AT_ONCE, loop.time()
        while not client.done:
            async with asyncio.timeout(IDLE_S):
                line = await reader.readuntil(b"\n")
            self.place.wait(fileno)
            now_s = loop.time()
            left, then_s = min(LINES_AT_ONCE, left + (now_s - then_s) * LINES_PER_S) - 1, now_s
            if left < 0:
                return
            client.logins = self._logins()
            writer.write("".join(f"{it}\n" for it in client.answer(line.decode("utf-8", "replace"))).encode())
            async with asyncio.timeout(LINE_S):
                await writer.drain()

    def _logins(self) -> dict[str, list[str]]:
        logins: dict[str, list[str]] = {}
        for client in self.clients:
            if client.logged_in:
                logins.setdefault(client.logged_in, []).append(client.address)
        return logins
