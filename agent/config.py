"""The agent's settings, typed: each key with what it is, its default and its rules. The file is read elsewhere
(agent.config_file)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from agent.common import logs
from agent.common.center_time import slot_minutes
from agent.wire import ENGINE_OF_RECORD

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Engine = Literal["librespeed", "ndt7", "ookla", "iperf3"]
AuthProtocol = Literal["none", "md5", "sha", "sha224", "sha256", "sha384", "sha512"]
PrivProtocol = Literal["none", "des", "aes", "aes192", "aes256"]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]

SPEED_SCHEMES = ("http://", "https://", "ws://", "wss://", "iperf3://")


def described(text: str) -> msgspec.Meta:
    """What a key is, in one sentence."""
    return msgspec.Meta(description=text)


class AgentSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file. Each key says what it is: docs and errors quote it."""


class AgentTable(AgentSection, frozen=True, kw_only=True):
    state_dir: Annotated[
        str, described("folder for identity, spool and small state files; readable by the agent alone")
    ] = "/var/lib/nabz-agent"
    cycle_s: Annotated[
        Seconds, described("seconds between two rounds of measuring, and the longest a reading waits for the disk")
    ] = 60.0
    status_listen: Annotated[str, described("HOST:PORT of the local status page")] = "127.0.0.1:8470"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        described("how much the agent says: debug, info, warning or error"),
    ] = "info"
    log_format: Annotated[
        logs.Format, described("the log as text for people, or as json: one object a line (docs/logs.md)")
    ] = "text"


class LinkSection(AgentSection, frozen=True, kw_only=True):
    name: Annotated[str, described("what this line is called in readings")] = "wan"
    target: Annotated[str, described("host to measure to; empty for the collector this gateway is enrolled with")] = ""
    lookup: Annotated[
        str,
        msgspec.Meta(max_length=253),
        described("name that is looked up at each name server where `target` is an address; empty: none is"),
    ] = "example.com"
    timeout_s: Annotated[
        float, msgspec.Meta(ge=0.3, le=3.5), described("an echo's answer that is later than this many seconds is lost")
    ] = 3.5
    isp_hops: Annotated[
        int, msgspec.Meta(ge=0, le=5), described("how many of the ISP's first hops are measured too")
    ] = 2
    probes: Annotated[int, msgspec.Meta(ge=3, le=1000), described("echoes sent to each hop in a round")] = 20
    interval_ms: Annotated[int, msgspec.Meta(ge=20, le=10000), described("milliseconds between two echoes")] = 100
    primary_interface: Annotated[
        str,
        described(
            "interface that has the default route while the main line works, by name or pattern (`ppp*`); on any "
            "other the center counts as on its backup line; ppp0 is also meant where it comes back as ppp1; empty if "
            "not known"
        ),
    ] = ""
    failover_interfaces: Annotated[
        list[str],
        described(
            "interfaces of backup lines that are paid by the megabyte, by name or pattern: no heavy speed tests there"
        ),
    ] = []


class SpeedSection(AgentSection, frozen=True, kw_only=True):
    enabled: Annotated[bool, described("whether speed tests run by themselves")] = True
    engine: Annotated[
        Engine, described("which engine measures: librespeed (of record), ndt7, ookla (speedtest-cli) or iperf3")
    ] = ENGINE_OF_RECORD
    server: Annotated[
        str, described("measurement server's URL; empty for the one named at enrolment, public for a public service")
    ] = ""
    cross_check_engine: Annotated[
        Engine, described("the engine that is held against `engine` on some days; both run at the server of enrolment")
    ] = "ndt7"
    cross_checks_per_month: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=4)],
        described("on how many days of a month each test is followed by one of `cross_check_engine`; 0 for none"),
    ] = 1
    mode: Annotated[
        Literal["quick", "adaptive", "full"], described("how long a test lasts: quick, adaptive or full")
    ] = "adaptive"
    slots: Annotated[
        list[str],
        described("times of day, center's local time, in each of which one test starts at random: HH:MM-HH:MM"),
    ] = msgspec.field(default_factory=lambda: ["08:00-09:00", "10:00-13:00", "14:00-17:00", "19:00-22:00"])
    monthly_budget_mb: Annotated[
        int,
        msgspec.Meta(ge=0),
        described("megabytes a month that tests may move; further tests are skipped, and that is reported"),
    ] = 8000
    plan_mbps: Annotated[
        Annotated[float, msgspec.Meta(gt=0)] | None,
        described("the line's download rate by contract, in Mbit/s; leave out if unknown"),
    ] = None
    at_start: Annotated[bool, described("whether one test runs when the agent starts")] = True
    wan_interface: Annotated[
        str,
        described(
            "interface whose counters tell other traffic, by name or pattern; empty for that of the default route"
        ),
    ] = ""
    ca_file: Annotated[
        str, described("PEM file of certificates trusted besides the system's, for https servers of your own")
    ] = ""
    inline: Annotated[
        Literal["auto", "yes", "no"],
        described(
            "whether all of the center's traffic passes this gateway: yes, no, or auto (it does "
            "when the gateway forwards packets)"
        ),
    ] = "auto"
    router_host: Annotated[
        str,
        described(
            "address of the router whose WAN counters tell other traffic when this gateway is no router; "
            "empty for the gateway's own counters"
        ),
    ] = ""
    router_interface: Annotated[
        str, described("the router's WAN interface, as its ifName or ifDescr, or its ifIndex")
    ] = ""
    router_port: Annotated[Port, described("UDP port of the router's SNMP agent")] = 161
    router_snmp_version: Annotated[Literal["2c", "3"], described("2c or 3; version 1 has no counters wide enough")] = (
        "2c"
    )
    router_community: Annotated[str, described("SNMP v2c community")] = "public"
    router_user: Annotated[str, described("SNMP v3 user")] = ""
    router_auth_protocol: Annotated[
        AuthProtocol, described("SNMP v3 authentication: none, md5, sha, sha224, sha256, sha384 or sha512")
    ] = "none"
    router_auth_key_file: Annotated[str, described("file that holds the SNMP v3 authentication pass phrase")] = ""
    router_priv_protocol: Annotated[PrivProtocol, described("SNMP v3 privacy: none, des, aes, aes192 or aes256")] = (
        "none"
    )
    router_priv_key_file: Annotated[str, described("file that holds the SNMP v3 privacy pass phrase")] = ""
    locate_url: Annotated[
        str, described("Locate service that names a public ndt7 server when none is set; such results are published")
    ] = "https://locate.measurementlab.net/v2/nearest/ndt/ndt7"


class PowerSection(AgentSection, frozen=True, kw_only=True):
    trap_listen: Annotated[
        str, described("HOST:PORT (UDP, 1024 or above) where UPSs report at once, such as 0.0.0.0:1162; empty for none")
    ] = ""
    nut_listen: Annotated[
        str,
        described(
            "HOST:PORT (TCP) where NUT clients on seat PCs (upsmon, WinNUT) are shown the UPSs, read-only, such as "
            "0.0.0.0:3493; empty for none"
        ),
    ] = ""


class UpsSection(AgentSection, frozen=True, kw_only=True):
    name: Annotated[str, described("what this UPS is called in readings")] = "ups"
    driver: Annotated[
        Literal["snmp", "nut"],
        described("how it is read: snmp (its network card) or nut (USB and serial UPSs, through NUT's upsd)"),
    ] = "snmp"
    host: Annotated[str, described("address of the UPS's network card, or of the NUT server")] = ""
    port: Annotated[Port | None, described("its port; left out: UDP 161 of SNMP, TCP 3493 of NUT")] = None
    ups: Annotated[
        str,
        described(
            "which UPS is meant, of several: NUT: what the server calls it; SNMP: its number in the card's tables; "
            "empty for the only or first one"
        ),
    ] = ""
    snmp_version: Annotated[Literal["1", "2c", "3"], described("1, 2c or 3")] = "2c"
    community: Annotated[str, described("SNMP v1 and v2c community")] = "public"
    user: Annotated[str, described("SNMP v3 user, or NUT user")] = ""
    auth_protocol: Annotated[
        AuthProtocol, described("SNMP v3 authentication: none, md5, sha, sha224, sha256, sha384 or sha512")
    ] = "none"
    auth_key_file: Annotated[str, described("file that holds the SNMP v3 authentication pass phrase")] = ""
    priv_protocol: Annotated[PrivProtocol, described("SNMP v3 privacy: none, des, aes, aes192 or aes256")] = "none"
    priv_key_file: Annotated[str, described("file that holds the SNMP v3 privacy pass phrase")] = ""
    password_file: Annotated[str, described("NUT: file that holds the user's password; NUT sends it in the clear")] = ""
    write_community_file: Annotated[
        str,
        described("SNMP v1 and v2c: file that holds the community that may start a self-test; empty for `community`"),
    ] = ""
    context: Annotated[str, described("SNMP v3: context name, for cards that tell several UPSs apart by it")] = ""
    answer_s: Annotated[
        float,
        msgspec.Meta(ge=0.2, le=4.5),
        described("seconds that the card may take for one answer; a whole look takes 5 at most"),
    ] = 3.0
    poll_s: Annotated[
        Seconds, described("seconds between two looks at the UPS on mains; on battery and after a trap it is 2")
    ] = 10.0
    self_test: Annotated[
        Literal["never", "monthly", "quarterly"],
        described("whether the agent starts a battery self-test by night: never, monthly or quarterly"),
    ] = "never"


class SeatsSection(AgentSection, frozen=True, kw_only=True):
    enabled: Annotated[bool, described("whether seat PCs are listened to")] = True
    listen: Annotated[str, described("HOST:PORT on the LAN where seat PCs report")] = "0.0.0.0:8471"
    approve: Annotated[
        Literal["first", "always", "never"],
        described(
            "which new hardware counts by itself: first (that of the first day; later PCs wait "
            "for `nabz-agent seats approve`), always or never"
        ),
    ] = "first"
    conditions: Annotated[
        bool,
        described(
            "whether seats are asked if a session is present, and for their system, updates' age and antivirus; only "
            "counts leave the gateway"
        ),
    ] = False
    missing_after_s: Annotated[Seconds, described("seconds of silence after which a seat counts as missing")] = 180.0
    max_cpu_pct: Annotated[float, described("not judged any more (a busy PC is in use); older files may have it")] = (
        97.0
    )
    max_memory_pct: Annotated[float, described("memory use above which a seat is unhealthy")] = 97.0
    max_disk_pct: Annotated[float, described("disk use above which a seat is unhealthy")] = 97.0
    max_temperature_c: Annotated[float, described("temperature above which a seat is unhealthy")] = 95.0


class SpoolSection(AgentSection, frozen=True, kw_only=True):
    max_mb: Annotated[
        int, msgspec.Meta(ge=1, le=4096), described("size of the file of readings not yet delivered; 64 holds 30 days")
    ] = 64


class UpdateSection(AgentSection, frozen=True, kw_only=True):
    url: Annotated[
        str,
        described(
            "http(s) URL of the repository that releases of this program come from; `collector` for the one of the "
            "collector that this gateway is enrolled with; empty: none are taken"
        ),
    ] = ""
    root_file: Annotated[
        str, described("file with the signers that are trusted at first, as the repository's maker gives it out")
    ] = "/etc/nabz/update-root.json"
    window: Annotated[
        str,
        described("time of day, center's local time, outside of open hours, when a release may be taken: HH:MM-HH:MM"),
    ] = "01:00-05:00"
    monthly_mb: Annotated[int, msgspec.Meta(ge=1, le=1000), described("megabytes a month that updates may move")] = 20


class SecondPathSection(AgentSection, frozen=True, kw_only=True):
    enabled: Annotated[
        bool, described("whether this gateway says that it is alive by a second path while no receipts come")
    ] = False
    url: Annotated[
        str,
        described(
            "http(s) URL that beacons go to: posted, or by GET with {text} where the beacon goes, for a gateway of "
            "text messages; empty for the collector itself"
        ),
    ] = ""
    interface: Annotated[
        str, described("interface of the second line, such as wwan0, which beacons leave by; empty for any")
    ] = ""
    after_min: Annotated[
        int, msgspec.Meta(ge=2, le=1440), described("minutes without a receipt before the first beacon")
    ] = 5
    every_min: Annotated[int, msgspec.Meta(ge=5, le=1440), described("minutes between two beacons, at least")] = 60


class AgentSettings(AgentSection, frozen=True, kw_only=True):
    """The whole file."""

    agent: AgentTable = AgentTable()
    link: LinkSection = LinkSection()
    speed: SpeedSection = SpeedSection()
    power: PowerSection = PowerSection()
    ups: list[UpsSection] = []
    seats: SeatsSection = SeatsSection()
    spool: SpoolSection = SpoolSection()
    update: UpdateSection = UpdateSection()
    second_path: SecondPathSection = SecondPathSection()

    @property
    def state_dir(self) -> Path:
        return Path(self.agent.state_dir)


# ---------------------------------------------------------------- rules that types cannot tell


def rules(section: AgentSection) -> Iterator[tuple[str, str]]:
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
        case UpdateSection():
            if section.url not in ("", "collector") and not section.url.startswith(("http://", "https://")):
                yield "url", f"{section.url!r} is not an http(s) URL; write https://HOST/PATH, or collector"
            yield from slot_rules([section.window], "window")
        case SecondPathSection() if section.url and not section.url.startswith(("http://", "https://")):
            yield "url", f"{section.url[:80]!r} is not an http(s) URL; write https://HOST/PATH"
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


def slot_rules(slots: list[str], key: str = "slots") -> Iterator[tuple[str, str]]:
    """What is wrong with the slots: form, order, overlap."""
    last_end = 0
    for slot in slots:
        try:
            start, end = slot_minutes(slot)
        except ValueError:
            yield key, f"{slot!r} is not HH:MM-HH:MM with the end after the start, at most 24:00; write it so"
            return
        if start < last_end:
            yield key, f"{slot!r} begins before the one ahead of it ends; put them in order, apart"
        last_end = end
