"""`nabz-agent probe KIND`: measure one thing once, now, and explain it.

A table for people, or with `--json` one flat object (a list when there are several readings). What failed is one
line on stderr and exit code 1; wrong use is exit code 2.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from agent.common.bufferbloat import bloat
from agent.common.errors import describe
from agent.common.files import asked_secret, on_command_line, read_text
from agent.config import AgentSettings, Engine
from agent.config_file import DEFAULT_PATH, SettingsError, load_or_default
from agent.probes import PROBES
from agent.probes.probe import Context, ProbeFailed
from agent.remote import trial
from agent.wire import KINDS, Reading, SpeedReading

if TYPE_CHECKING:
    from agent.probes.ups import nut
    from agent.probes.ups.snmp import SnmpTarget

EXAMPLE = "nabz-agent probe ups --host 192.168.1.50 --community public --explain"
EXAMPLES = {
    "link": "--target 1.1.1.1 --explain",
    "speed": "--mode quick --json",
    "ups": "--host 192.168.1.20 --explain",
    "seats": "--json",
    "gateway": "--json",
}
HIDDEN = frozenset({"at", "failure"})
AUTH_PROTOCOLS = ("none", "md5", "sha", "sha224", "sha256", "sha384", "sha512")
ENGINES = get_args(Engine)
PRIV_PROTOCOLS = ("none", "des", "aes", "aes192", "aes256")


class WrongUse(Exception):
    """Options that contradict each other: one sentence for people."""


def arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind in PROBES:
        summary = KINDS[kind].summary
        one = kinds.add_parser(kind, help=summary, description=summary)
        OPTIONS.get(kind, _no_options)(one)
        one.add_argument("--json", action="store_true", help="one JSON object instead of a table")
        one.add_argument("--explain", action="store_true", help="explain on stderr how each value came about")
        one.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help=f"settings to start from (default: {DEFAULT_PATH}, if it is there)",
        )


def run(options: argparse.Namespace) -> int:
    try:
        settings = settings_for(options)
        readings = asyncio.run(measure(options, settings))
    except SettingsError as error:
        return _complain(options.kind, "; ".join(error.mistakes), 2)
    except WrongUse as error:
        return _complain(options.kind, str(error), 2)
    except ProbeFailed as error:
        return _complain(options.kind, str(error), 2 if error.cause in ("settings", "not_configured") else 1)
    return show(options.kind, readings, as_json=options.json)


def settings_for(options: argparse.Namespace) -> AgentSettings:
    """The settings file, if any, with the collector's over it, and the options of the command line over both."""
    settings = trial.in_force(load_or_default(options.config))
    if options.kind == "link" and options.target:
        return msgspec.structs.replace(settings, link=msgspec.structs.replace(settings.link, target=options.target))
    if options.kind == "speed":
        given = {name: value for name in ("server", "engine", "mode") if (value := getattr(options, name))}
        return msgspec.structs.replace(settings, speed=msgspec.structs.replace(settings.speed, **given))
    return settings


async def measure(options: argparse.Namespace, settings: AgentSettings) -> Sequence[Reading]:
    explain: Callable[[str], None] = _to_stderr if options.explain else _nowhere
    deadline_s = KINDS[options.kind].deadline_s
    if options.kind == "ups" and options.host:
        from agent.probes.ups import UpsProbe

        target = _nut_server(options) if options.driver == "nut" else _target(options)
        return [await UpsProbe().measure(target, deadline_s, explain)]
    context = Context(settings=settings, deadline_s=deadline_s, explain=explain)
    return await PROBES[options.kind](_enrolled(context) if options.kind in ("link", "speed") else context)


def _enrolled(context: Context) -> Context:
    """With the collector and the measurement server as enrolment gave them; as it is on a gateway not enrolled."""
    from agent.identity import IdentityError, load

    try:
        mine = load(context.settings.state_dir)
    except IdentityError:
        return context
    return replace(
        context, collector_host=mine.broker_host, measure_url=mine.measure_url, collector_tls_port=mine.tls_port
    )


def show(kind: str, readings: Sequence[Reading], *, as_json: bool) -> int:
    """Good readings on stdout, failed ones as a line each on stderr and in the exit code."""
    good = [reading for reading in readings if reading.failure is None]
    for reading in readings:
        if reading.failure is not None:
            detail = f"{reading.failure.cause}: {reading.failure.detail}"
            _complain(kind, f"{reading.subject}: {detail}" if len(readings) > 1 else detail, 1)
    if as_json and good:
        flat = [_flat(reading) for reading in good]
        print(msgspec.json.encode(flat[0] if len(readings) == 1 else flat).decode())
    elif good:
        print("\n\n".join(table(reading) for reading in good))
    return 0 if len(good) == len(readings) else 1


def _flat(reading: Reading) -> dict[str, Any]:
    """Every field of the kind but the stamp; what is unknown is null."""
    fields = [name for name in reading.__struct_fields__ if name not in HIDDEN]
    return {"kind": reading.__struct_config__.tag, **{name: getattr(reading, name) for name in fields}}


def table(reading: Reading) -> str:
    """What is known, one line a field, names aligned."""
    shown = _flat(reading) | _graded(reading)
    known = [(name, value) for name, value in shown.items() if value not in (None, "", [])]
    width = max(len(name) for name, _ in known)
    return "\n".join(f"{name:<{width}}  {_cell(value)}" for name, value in known)


def _graded(reading: Reading) -> dict[str, Any]:
    """What the load of a speed test did to round trips."""
    inflation = bloat(reading) if isinstance(reading, SpeedReading) else None
    if inflation is None:
        return {}
    increases = ((word, ms) for word, ms in (("down", inflation.down_ms), ("up", inflation.up_ms)) if ms is not None)
    return {"bufferbloat": f"{inflation.grade} ({', '.join(f'+{ms:.0f} ms {word}' for word, ms in increases)})"}


def _cell(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case list():
            return "; ".join(_cell(part) for part in value)
        case dict():
            return "; ".join(f"{name} {_cell(part)}" for name, part in value.items())
        case msgspec.Struct():
            known = ((name, getattr(value, name)) for name in value.__struct_fields__)
            return " ".join(f"{name}={_cell(part)}" for name, part in known if part not in (None, [], {}))
        case _:
            return str(value)


# ---------------------------------------------------------------- options of each kind


def _link_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", metavar="HOST", help="the far end (default: the collector)")


def _speed_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", metavar="URL", help="measurement server (default: the one named at enrolment)")
    parser.add_argument("--engine", metavar="NAME", choices=ENGINES, help=", ".join(ENGINES))
    parser.add_argument("--mode", choices=("quick", "adaptive", "full"), help="how long to measure")


def _ups_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="its network card's address, or the NUT server's (default: every [[ups]] set)")
    parser.add_argument("--driver", choices=("snmp", "nut"), default="snmp", help="how it is read (default: snmp)")
    parser.add_argument("--port", type=_port, help="default: UDP 161 of SNMP, TCP 3493 of NUT")
    parser.add_argument("--ups", default="", metavar="NAME", help="NUT: which UPS (default: the only one)")
    parser.add_argument("--community", default="public", help="SNMP v1 and v2c (default: public)")
    parser.add_argument("--snmp-version", choices=("1", "2c", "3"), default="2c", help="default: 2c")
    parser.add_argument("--user", default="", help="SNMP v3 user, or NUT user")
    parser.add_argument("--password", type=_secret, default="", metavar="@FILE", help="NUT password, in a file")
    parser.add_argument("--auth-protocol", choices=AUTH_PROTOCOLS, default="none", help="SNMP v3 (default: none)")
    parser.add_argument("--auth-key", type=_secret, default="", metavar="@FILE", help="pass phrase, in a file")
    parser.add_argument("--priv-protocol", choices=PRIV_PROTOCOLS, default="none", help="SNMP v3 (default: none)")
    parser.add_argument("--priv-key", type=_secret, default="", metavar="@FILE", help="pass phrase, in a file")


def _no_options(_parser: argparse.ArgumentParser) -> None:
    return None


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 1 to 65535")
    return int(text)


def _secret(text: str) -> str:
    """Of `@FILE`; `@-` is one line of standard input, nothing is none."""
    if not text:
        return ""
    if not text.startswith("@"):
        raise argparse.ArgumentTypeError(on_command_line("a password", "write it into a file and name that as @FILE"))
    if text == "@-":
        return asked_secret("Password: ")
    try:
        return read_text(Path(text[1:])).strip()
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"key file {text[1:]} cannot be read: {describe(error)}") from None


def _nut_server(options: argparse.Namespace) -> nut.NutServer:
    from agent.probes.ups.nut import PORT, NutServer

    return NutServer(
        host=options.host,
        port=options.port or PORT,
        ups=options.ups,
        user=options.user,
        password=options.password,
    )


def _target(options: argparse.Namespace) -> SnmpTarget:
    from agent.probes.ups.snmp import PORT, SnmpTarget

    target = SnmpTarget(
        host=options.host,
        port=options.port or PORT,
        version=options.snmp_version,
        community=options.community,
        user=options.user,
        auth_protocol=options.auth_protocol,
        auth_key=options.auth_key,
        priv_protocol=options.priv_protocol,
        priv_key=options.priv_key,
    )
    problem = target.mistake()
    if problem:
        raise WrongUse(problem)
    return target


OPTIONS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "link": _link_options,
    "speed": _speed_options,
    "ups": _ups_options,
}


def _nowhere(_line: str) -> None:
    return None


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _complain(kind: str, sentence: str, code: int) -> int:
    print(f"nabz-agent: probe {kind}: {sentence}", file=sys.stderr)
    return code
