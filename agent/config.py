"""The agent's settings: one TOML file, typed, every default visible here, unknown keys refused."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from agent.wire import ENGINE_OF_RECORD

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Engine = Literal["librespeed", "ndt7", "ookla", "iperf3"]
AuthProtocol = Literal["none", "md5", "sha", "sha224", "sha256", "sha384", "sha512"]
PrivProtocol = Literal["none", "des", "aes", "aes192", "aes256"]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class AgentSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file. The help of each key stands in HELP, so that docs and errors say the same."""


class AgentTable(AgentSection, frozen=True, kw_only=True):
    state_dir: str = "/var/lib/nabz-agent"
    cycle_s: Seconds = 60.0
    status_listen: str = "127.0.0.1:8470"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class LinkSection(AgentSection, frozen=True, kw_only=True):
    name: str = "wan"
    target: str = ""  # empty: the collector this gateway is enrolled with
    isp_hops: Annotated[int, msgspec.Meta(ge=0, le=5)] = 2
    probes: Annotated[int, msgspec.Meta(ge=3, le=1000)] = 20
    interval_ms: Annotated[int, msgspec.Meta(ge=20, le=10000)] = 100
    primary_interface: str = ""  # empty: not told
    failover_interfaces: list[str] = []


class SpeedSection(AgentSection, frozen=True, kw_only=True):
    enabled: bool = True
    engine: Engine = ENGINE_OF_RECORD
    server: str = ""  # empty: the measurement server named at enrolment
    mode: Literal["quick", "adaptive", "full"] = "adaptive"
    slots: list[str] = msgspec.field(
        default_factory=lambda: ["08:00-09:00", "10:00-13:00", "14:00-17:00", "19:00-22:00"]
    )
    monthly_budget_mb: Annotated[int, msgspec.Meta(ge=0)] = 8000
    plan_mbps: Annotated[float, msgspec.Meta(gt=0)] | None = None
    at_start: bool = True
    wan_interface: str = ""  # empty: the one that carries the default route
    ca_file: str = ""  # empty: only what the system trusts
    inline: Literal["auto", "yes", "no"] = "auto"
    router_host: str = ""  # empty: the gateway's own counters
    router_interface: str = ""
    router_port: Port = 161
    router_snmp_version: Literal["2c", "3"] = "2c"
    router_community: str = "public"
    router_user: str = ""
    router_auth_protocol: AuthProtocol = "none"
    router_auth_key_file: str = ""
    router_priv_protocol: PrivProtocol = "none"
    router_priv_key_file: str = ""
    locate_url: str = "https://locate.measurementlab.net/v2/nearest/ndt/ndt7"


class PowerSection(AgentSection, frozen=True, kw_only=True):
    trap_listen: str = ""  # empty: traps are not listened to
    nut_listen: str = ""  # empty: no NUT server


class UpsSection(AgentSection, frozen=True, kw_only=True):
    name: str = "ups"
    driver: Literal["snmp", "nut"] = "snmp"
    host: str = ""
    port: Port | None = None  # left out: 161 for SNMP, 3493 for NUT
    ups: str = ""  # one server or card may have several
    snmp_version: Literal["1", "2c", "3"] = "2c"
    community: str = "public"
    user: str = ""
    auth_protocol: AuthProtocol = "none"
    auth_key_file: str = ""
    priv_protocol: PrivProtocol = "none"
    priv_key_file: str = ""
    password_file: str = ""
    write_community_file: str = ""
    context: str = ""
    answer_s: Annotated[float, msgspec.Meta(ge=0.2, le=4.5)] = 3.0
    poll_s: Seconds = 10.0
    self_test: Literal["never", "monthly", "quarterly"] = "never"


class SeatsSection(AgentSection, frozen=True, kw_only=True):
    enabled: bool = True
    listen: str = "0.0.0.0:8471"
    approve: Literal["first", "always", "never"] = "first"
    missing_after_s: Seconds = 180.0
    max_cpu_pct: float = 97.0
    max_memory_pct: float = 97.0
    max_disk_pct: float = 97.0
    max_temperature_c: float = 95.0


class SpoolSection(AgentSection, frozen=True, kw_only=True):
    max_mb: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64


class AgentSettings(AgentSection, frozen=True, kw_only=True):
    """The whole file."""

    agent: AgentTable = AgentTable()
    link: LinkSection = LinkSection()
    speed: SpeedSection = SpeedSection()
    power: PowerSection = PowerSection()
    ups: list[UpsSection] = []
    seats: SeatsSection = SeatsSection()
    spool: SpoolSection = SpoolSection()

    @property
    def state_dir(self) -> Path:
        return Path(self.agent.state_dir)


SPEED_SCHEMES = ("http://", "https://", "ws://", "wss://", "iperf3://")
DEFAULT_PATH = Path("/etc/nabz/agent.toml")

# One sentence a key: what it is. Docs and errors quote these.
HELP: dict[str, dict[str, str]] = {
    "agent": {
        "state_dir": "folder for identity, spool and small state files; readable by the agent alone",
        "cycle_s": "seconds between two rounds of measuring, and the longest a reading waits for the disk",
        "status_listen": "HOST:PORT of the local status page",
        "log_level": "how much the agent says: debug, info, warning or error",
    },
    "link": {
        "name": "what this line is called in readings",
        "target": "host to measure to; empty for the collector this gateway is enrolled with",
        "isp_hops": "how many of the ISP's first hops are measured too",
        "probes": "echoes sent to each hop in a round",
        "interval_ms": "milliseconds between two echoes",
        "primary_interface": "interface that has the default route while the main line works; on any other the center "
        "counts as on its backup line; empty if not known",
        "failover_interfaces": "interfaces of backup lines that are paid by the megabyte: no heavy speed tests there",
    },
    "speed": {
        "enabled": "whether speed tests run by themselves",
        "engine": "which engine measures: librespeed (of record), ndt7, ookla (speedtest-cli) or iperf3",
        "server": "measurement server's URL; empty for the one named at enrolment, public for a public service",
        "mode": "how long a test lasts: quick, adaptive or full",
        "slots": "times of day, center's local time, in each of which one test starts at random: HH:MM-HH:MM",
        "monthly_budget_mb": "megabytes a month that tests may move; further tests are skipped, and that is reported",
        "plan_mbps": "the line's download rate by contract, in Mbit/s; leave out if unknown",
        "at_start": "whether one test runs when the agent starts",
        "wan_interface": "interface whose counters tell other traffic; empty for the one with the default route",
        "ca_file": "PEM file of certificates trusted besides the system's, for https servers of your own",
        "inline": "whether all of the center's traffic passes this gateway: yes, no, or auto (it does when the gateway "
        "forwards packets)",
        "router_host": "address of the router whose WAN counters tell other traffic when this gateway is no router; "
        "empty for the gateway's own counters",
        "router_interface": "the router's WAN interface, as its ifName or ifDescr, or its ifIndex",
        "router_port": "UDP port of the router's SNMP agent",
        "router_snmp_version": "2c or 3; version 1 has no counters wide enough",
        "router_community": "SNMP v2c community",
        "router_user": "SNMP v3 user",
        "router_auth_protocol": "SNMP v3 authentication: none, md5, sha, sha224, sha256, sha384 or sha512",
        "router_auth_key_file": "file that holds the SNMP v3 authentication pass phrase",
        "router_priv_protocol": "SNMP v3 privacy: none, des, aes, aes192 or aes256",
        "router_priv_key_file": "file that holds the SNMP v3 privacy pass phrase",
        "locate_url": "Locate service that names a public ndt7 server when none is set; such results are published",
    },
    "power": {
        "trap_listen": "HOST:PORT (UDP, 1024 or above) where UPSs report at once, such as 0.0.0.0:1162; empty for none",
        "nut_listen": "HOST:PORT (TCP) where NUT clients on seat PCs (upsmon, WinNUT) are shown the UPSs, read-only, "
        "such as 0.0.0.0:3493; empty for none",
    },
    "ups": {
        "name": "what this UPS is called in readings",
        "driver": "how it is read: snmp (its network card) or nut (USB and serial UPSs, through NUT's upsd)",
        "host": "address of the UPS's network card, or of the NUT server",
        "port": "its port; left out: UDP 161 of SNMP, TCP 3493 of NUT",
        "ups": "which UPS is meant, of several: NUT: what the server calls it; SNMP: its number in the card's tables; "
        "empty for the only or first one",
        "snmp_version": "1, 2c or 3",
        "community": "SNMP v1 and v2c community",
        "user": "SNMP v3 user, or NUT user",
        "auth_protocol": "SNMP v3 authentication: none, md5, sha, sha224, sha256, sha384 or sha512",
        "auth_key_file": "file that holds the SNMP v3 authentication pass phrase",
        "priv_protocol": "SNMP v3 privacy: none, des, aes, aes192 or aes256",
        "priv_key_file": "file that holds the SNMP v3 privacy pass phrase",
        "password_file": "NUT: file that holds the user's password; NUT sends it in the clear",
        "write_community_file": "SNMP v1 and v2c: file that holds the community that may start a self-test; "
        "empty for `community`",
        "context": "SNMP v3: context name, for cards that tell several UPSs apart by it",
        "answer_s": "seconds that the card may take for one answer; a whole look takes 5 at most",
        "poll_s": "seconds between two looks at the UPS on mains; on battery and after a trap it is 2",
        "self_test": "whether the agent starts a battery self-test by night: never, monthly or quarterly",
    },
    "seats": {
        "enabled": "whether seat PCs are listened to",
        "listen": "HOST:PORT on the LAN where seat PCs report",
        "approve": "which new hardware counts by itself: first (that of the first day; later PCs wait for "
        "`nabz-agent seats approve`), always or never",
        "missing_after_s": "seconds of silence after which a seat counts as missing",
        "max_cpu_pct": "processor load above which a seat is unhealthy",
        "max_memory_pct": "memory use above which a seat is unhealthy",
        "max_disk_pct": "disk use above which a seat is unhealthy",
        "max_temperature_c": "temperature above which a seat is unhealthy",
    },
    "spool": {
        "max_mb": "size of the file of readings not yet delivered; 64 holds 30 days",
    },
}


class SettingsError(Exception):
    """All mistakes of a settings file, one line each: ``FILE: [section] key: rule; fix``."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def load_or_default(path: str | Path | None) -> AgentSettings:
    """The settings of ``path``; without one those of DEFAULT_PATH, or the defaults where that is missing."""
    if path is None and not DEFAULT_PATH.exists():
        return AgentSettings()
    return load(Path(path or DEFAULT_PATH))


def load(path: Path) -> AgentSettings:
    """The settings in a TOML file. Raises SettingsError with every mistake at once."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read ({error.strerror}); create it or name another"]) from None
    except (ValueError, RecursionError) as error:  # tomllib's own, broken UTF-8, numbers of thousands of digits
        raise SettingsError([f"{path}: is not TOML ({error}); correct that line"]) from None
    mistakes = [*_mistakes(table)]
    if mistakes:
        raise SettingsError([f"{path}: {mistake}" for mistake in mistakes])
    return msgspec.convert(table, AgentSettings)


def _mistakes(table: dict[str, object]) -> Iterator[str]:
    known = {field.name: field.type for field in msgspec.structs.fields(AgentSettings)}
    for name, content in table.items():
        if name not in known:
            yield f"[{_plain(name)}]: no such section{_meant(name, known)}"
        elif name == "ups":
            yield from _ups_mistakes(content)
        elif not isinstance(content, dict):
            yield f"[{name}]: must be a table; write [{name}] on a line of its own"
        else:
            yield from _section_mistakes(f"[{name}]", known[name], content)


def _ups_mistakes(content: object) -> Iterator[str]:
    if not isinstance(content, list) or not all(isinstance(ups, dict) for ups in content):
        yield "[[ups]]: must be a list of tables; write [[ups]] with two brackets"
        return
    names = [ups.get("name", "ups") for ups in content]
    for number, (name, ups) in enumerate(zip(names, content, strict=True), 1):
        where = f"[[ups]] {number}"
        yield from _section_mistakes(where, UpsSection, ups)
        if isinstance(name, str) and names.count(name) > 1:
            yield f"{where} name: two UPSs have the name {name!r}; give each its own"


def _section_mistakes(where: str, section: type[AgentSection], content: dict[str, object]) -> Iterator[str]:
    """Each key by itself, then the rules that types cannot tell, over the keys that are right."""
    fields = {field.name: field for field in msgspec.structs.fields(section)}
    wrong = {key: mistake for key, value in content.items() if (mistake := _key_mistake(fields, key, value))}
    for key, mistake in wrong.items():
        yield f"{where} {_plain(key)}: {mistake}"
    right = msgspec.convert({key: value for key, value in content.items() if key not in wrong}, section)
    for key, rule in _rules(right):
        if key not in wrong:
            yield f"{where} {key}: {rule}"


def _key_mistake(fields: dict[str, FieldInfo], key: str, value: object) -> str | None:
    if key not in fields:
        return f"no such key{_meant(key, fields)}"
    field = fields[key]
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        return f"{_rule_of(field, str(error))}, not {_toml(value)}; {_example(field)}"
    return None


def _rule_of(field: FieldInfo, problem: str) -> str:
    """What msgspec found wrong, in words of a settings file."""
    if get_origin(field.type) is Literal:
        return f"must be one of {', '.join(get_args(field.type))}"
    rule = problem.split(" - at ")[0].split(", got")[0].replace("`", "").replace("Expected", "must be")
    for word, plain in _PLAIN.items():
        rule = re.sub(rf"\b{word}\b", plain, rule)
    return rule


def _example(field: FieldInfo) -> str:
    shown = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "correct it or leave it out" if shown in (None, "") else f"write {field.name} = {_toml(shown)}"


_PLAIN = {"str": "text", "bool": "true or false", "int": "a whole number", "float": "a number", "array": "a list"}


def _rules(section: AgentSection) -> Iterator[tuple[str, str]]:
    """Mistakes that a type cannot tell: (key, rule and fix)."""
    match section:
        case AgentTable():
            yield from _address_rules("status_listen", section.status_listen)
            if not section.state_dir.startswith("/"):
                yield "state_dir", f"{section.state_dir!r} is not an absolute path; begin it with /"
        case LinkSection() if section.probes * section.interval_ms > 30_000:
            yield "probes", f"{section.probes} echoes every {section.interval_ms} ms take over 30 s; lower one of them"
        case SpeedSection():
            yield from slot_rules(section.slots)
            if section.server not in ("", "public") and not section.server.startswith(SPEED_SCHEMES):
                yield "server", f"{section.server!r} is not an http(s), ws(s) or iperf3 URL; write http://HOST:PORT"
            if section.router_host:
                yield from _router_rules(section)
        case PowerSection():
            for key in ("trap_listen", "nut_listen"):
                if address := getattr(section, key):
                    yield from _address_rules(key, address)
        case UpsSection():
            yield from _ups_rules(section)
        case SeatsSection():
            yield from _address_rules("listen", section.listen)
            for key in ("max_cpu_pct", "max_memory_pct", "max_disk_pct"):
                if not 0 < getattr(section, key) <= 100:
                    yield key, f"{getattr(section, key):g} is no share; write a number over 0, at most 100"
            if not 0 < section.max_temperature_c <= 150:
                yield "max_temperature_c", "must be over 0 and at most 150; write max_temperature_c = 95"


def _ups_rules(ups: UpsSection) -> Iterator[tuple[str, str]]:
    if not ups.host:
        yield "host", 'is missing; write host = "ADDRESS" of the UPS\'s network card, or remove the table'
    if ups.driver == "nut":
        if ups.password_file and not ups.user:
            yield "user", "a NUT password needs its user; write the one set in upsd.users"
        return
    yield from _snmp_rules(ups, "", "the UPS's card")


def _router_rules(speed: SpeedSection) -> Iterator[tuple[str, str]]:
    if not speed.router_interface:
        yield "router_interface", 'is missing; write the name of the router\'s WAN interface, such as "ether1"'
    yield from _snmp_rules(speed, "router_", "the router")


def _snmp_rules(section: SpeedSection | UpsSection, prefix: str, device: str) -> Iterator[tuple[str, str]]:
    """Settings of one SNMP agent, in keys with this prefix (RFC 3414 section 11.2)."""

    def value(key: str) -> str:
        return str(getattr(section, prefix + key))

    if value("snmp_version") == "3" and not value("user"):
        yield f"{prefix}user", f"SNMP v3 needs a user; write the one set in {device}"
    for kind in ("auth", "priv"):
        protocol, file_key = value(f"{kind}_protocol"), f"{prefix}{kind}_key_file"
        if protocol != "none" and not value(f"{kind}_key_file"):
            yield file_key, f"{prefix}{kind}_protocol {protocol!r} needs a pass phrase; name the file that holds it"
    if value("priv_protocol") != "none" and value("auth_protocol") == "none":
        yield f"{prefix}priv_protocol", f"SNMP v3 has no privacy without authentication; set {prefix}auth_protocol too"


def _address_rules(key: str, address: str) -> Iterator[tuple[str, str]]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or len(port) > 5 or not 1 <= int(port) <= 65535:
        yield key, f'{address!r} is not HOST:PORT; write for example {key} = "127.0.0.1:8470"'


def slot_rules(slots: list[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the slots: form, order, overlap."""
    last_end = 0
    for slot in slots:
        try:
            start, end = slot_minutes(slot)
        except ValueError:
            yield "slots", f"{slot!r} is not HH:MM-HH:MM with the end after the start, at most 24:00; write it so"
            return
        if start < last_end:
            yield "slots", f"{slot!r} begins before the one ahead of it ends; put them in order, apart"
        last_end = end


def slot_minutes(slot: str) -> tuple[int, int]:
    """(start, end) in minutes of the day. Raises ValueError."""
    found = re.fullmatch(r"(\d\d):([0-5]\d)-(\d\d):([0-5]\d)", slot)
    if found is None:
        raise ValueError(slot)
    start_h, start_m, end_h, end_m = map(int, found.groups())
    start, end = start_h * 60 + start_m, end_h * 60 + end_m
    if not start < end <= 24 * 60:
        raise ValueError(slot)
    return start, end


def _meant(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(known)}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # Python writes no whole number of over 4,300 digits
        return "a number of thousands of digits"


def _plain(key: str) -> str:
    """A key as it stands, or quoted when it would break the line."""
    return key if key.isprintable() else repr(key)
