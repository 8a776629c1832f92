"""The contract between gateways and the collector: topics, messages, encode, decode. No I/O, no clock.

A batch travels as ``body LF base64(signature)``: the signature (Ed25519) covers the exact body bytes, so there is
no canonical form to argue about. Readings keep their own bytes inside the body; each is bound to all before it by a
running hash, ``chain(n) = sha256(chain(n-1) + reading bytes)``, so a batch may be cut anywhere and resent cut
elsewhere and still be held against its neighbours.

Receipts and tasks travel the other way in the same sealed form, signed by the collector. An ask is sealed by the
gateway and kept by nobody: it is repeated until its answer, a task of the same id, has come or is no longer wanted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Annotated, Any, Final, Literal, TypeVar, Union

import msgspec

VERSION = 1
MAX_BATCH_BYTES = 64 * 1024
MAX_BATCH_READINGS = 100
MAX_SMALL_BYTES = 4 * 1024  # receipts, tasks, presence
MAX_ASK_BYTES = 48 * 1024  # asks: one may be the answer to a question
MAX_FETCH_PARTS = 64
MAX_FETCH_PART_BYTES = 1024 * 1024
MAX_ANSWER_CHARS = 12_000  # of up to four bytes each
GENESIS = bytes(32)  # the chain before the first reading of a spool
# The engine whose speed tests are drawn, judged and reported. Others measure by rules of their own: second opinions.
ENGINE_OF_RECORD: Final = "librespeed"

ROOT = "nabz/v1"

# What decoding JSON of strangers may raise; the last for thousands of brackets within each other.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T")

Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Text = Annotated[str, msgspec.Meta(max_length=200)]
Token = Annotated[str, msgspec.Meta(max_length=512)]
Purpose = Literal["routine", "self-test", "retest", "desk", "manual"]
Hex = Annotated[str, msgspec.Meta(max_length=64)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Number = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
SeqNumber = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
MAX_LACKS = 16  # ranges that one receipt names
Setting = (
    bool
    | Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
    | Number
    | Annotated[str, msgspec.Meta(max_length=200)]
    | Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=32)]
)
SettingTables = Annotated[
    dict[Word, Annotated[dict[Word, Setting], msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=16)
]
Words = Annotated[list[Text], msgspec.Meta(max_length=64)]
Clock = Literal["synced", "unsynced"]


class WireError(ValueError):
    """Bytes that are not a message of this contract; says which rule they break."""


# ---------------------------------------------------------------- readings: what a probe returns


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """When a reading was taken, as its gateway knew it (milliseconds).

    ``mono_ms`` counts since the boot named by ``boot``, so a wall clock that was wrong can be put right later.
    """

    wall_ms: Millis
    mono_ms: Millis
    boot: Word
    clock: Clock


class Failure(msgspec.Struct, frozen=True):
    """Why a probe has no values: ``cause`` is a short fixed word, ``detail`` a sentence for people."""

    cause: Word
    detail: Text = ""


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """What every kind carries. A failed measurement is a reading with ``failure`` set and no values."""

    at: Stamp | None = None
    subject: Annotated[str, msgspec.Meta(max_length=64)] = ""  # which link or UPS, when a center has several
    failure: Failure | None = None


class Hop(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Round trips to one place on the way out: the site's router (lan), first hops beyond (isp), the collector."""

    role: Literal["lan", "isp", "collector"]
    target: Text
    method: Literal["icmp", "tcp", "udp"]
    sent: Count
    received: Count
    min_ms: Number | None = None
    median_ms: Number | None = None
    p95_ms: Number | None = None
    jitter_ms: Number | None = None


class LinkReading(Reading, frozen=True, kw_only=True, omit_defaults=True, tag="link"):
    """A WAN line: latency, jitter and loss to the collector, and to each hop before it, so that a fault has a place.

    ``hops`` ends with the far end as it counts; before it stands what else was tried there: the other address family,
    echoes that somebody on the way drops. ``causes`` are what is wrong with the line besides loss: ``portal`` (somebody
    else answers in the far end's place), ``filtered`` (somebody else refuses in its place), ``dns`` (names do not
    resolve, or to another's address), ``mtu`` (large packets vanish), ``ipv4_dead`` and ``ipv6_dead`` (the other family
    carries). ``names_ms`` is how long a name took, waiting for silent servers included, ``names_by`` the server that
    resolved it, ``names_silent`` those that did not.
    """

    rtt_min_ms: Number | None = None
    rtt_median_ms: Number | None = None
    rtt_p95_ms: Number | None = None
    jitter_ms: Number | None = None
    loss_pct: Number | None = None
    fault_place: Literal["none", "lan", "isp", "beyond"] | None = None
    causes: Words = []
    path_mtu_bytes: Count | None = None  # the largest packet that gets to the far end whole
    names_ms: Number | None = None
    names_failed_pct: Number | None = None
    names_by: Text | None = None
    names_silent: Words = []
    hops: Annotated[list[Hop], msgspec.Meta(max_length=16)] = []


class SpeedReading(Reading, frozen=True, kw_only=True, omit_defaults=True, tag="speed"):
    """One speed test. Goodput in Mbit/s; ``capacity`` adds back what others moved over the line meanwhile.

    ``test_id`` is the one of the collector's grant, under which the measurement server signed what it saw. ``slot`` is
    the time of day it was due in; a test that was due and not made is a ``failure`` with the reason.
    """

    engine: Text | None = None
    engine_version: Text | None = None
    server: Text | None = None
    mode: Text | None = None
    purpose: Purpose = "routine"
    slot: Text | None = None
    test_id: Text | None = None
    tls: bool | None = None
    download_mbps: Number | None = None
    upload_mbps: Number | None = None
    capacity_down_mbps: Number | None = None
    capacity_up_mbps: Number | None = None
    cross_traffic_down_pct: Number | None = None
    cross_traffic_up_pct: Number | None = None
    idle_rtt_ms: Number | None = None
    loaded_rtt_down_ms: Number | None = None
    loaded_rtt_up_ms: Number | None = None
    jitter_ms: Number | None = None
    loss_pct: Number | None = None
    bytes_total: Count | None = None
    seconds: Number | None = None
    others_from: Literal["interface", "router"] | None = None  # whose counters told other traffic; None: nobody's
    public_address: Text | None = None
    network: Text | None = None  # ASN or ISP of that address, where known
    wan_interface: Text | None = None
    failover: bool | None = None
    flags: Words = []


def is_second_opinion(reading: Reading) -> bool:
    """Whether this is the other engine's test of a day on which engines are compared: no news of the line."""
    if not isinstance(reading, SpeedReading) or reading.engine in (None, ENGINE_OF_RECORD):
        return False
    return reading.purpose == "manual" and reading.slot is not None


class UpsReading(Reading, frozen=True, kw_only=True, omit_defaults=True, tag="ups"):
    """One UPS in the one vocabulary every vendor table is read into. ``None`` is unknown, never zero.

    A UPS that does not answer is a ``failure`` with the time of the first look in vain: its last values are not
    repeated. ``last_gasp`` says that this may be the gateway's last word, and why.
    """

    output_state: Literal["online", "battery", "bypass", "boost", "trim", "eco", "standby", "off", "none"] | None = None
    battery_status: Literal["normal", "low", "depleted", "fault"] | None = None
    battery_replace: bool | None = None
    battery_charge_pct: Number | None = None
    runtime_s: Number | None = None
    on_battery_s: Number | None = None
    input_voltage_v: Number | None = None
    output_voltage_v: Number | None = None
    input_frequency_hz: Number | None = None
    output_frequency_hz: Number | None = None
    load_pct: Number | None = None
    battery_temp_c: Number | None = None
    battery_voltage_v: Number | None = None
    alarms_count: Count | None = None
    manufacturer: Text | None = None
    model: Text | None = None
    firmware: Text | None = None
    serial: Text | None = None
    profiles: Words = []  # the vendor tables that matched, best first
    corrected: Words = []  # fields whose scale was put right: a code with parameters each; a sentence before 0.2
    input_source: Literal["mains", "mains2", "bypass", "generator", "flywheel", "fuel_cell", "none"] | None = None
    self_test: Literal["running", "passed", "warning", "failed", "aborted", "refused"] | None = None  # the last one
    self_test_ms: Millis | None = None  # when the agent started it; None for one that it did not start
    unreadable_since_ms: Millis | None = None
    last_gasp: Literal["battery_low", "runtime_short", "comms_lost"] | None = None
    # What feeds the load, where `output_state` does not say it: grid or generator (by the device's own name for its
    # input: volts do not tell them apart), solar, battery (beside "online": a hybrid inverter by its owner's choice,
    # with the grid there), unknown (beside "battery": whether the mains is gone cannot be told yet). A word, not an
    # enumeration, so that an older collector takes new ones.
    source: Word | None = None


class SeatColumns(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The roll call as columns: entry ``i`` of every list is seat ``i``. Columns cost a fifth of rows to decode.

    ``changed`` names the parts a seat has lost since they were accepted. ``quiet_s`` is how long ago a seat that is off
    or missing spoke its last word, for a quarter of an hour: who closes a center leaves such words, a power cut none.
    ``waiting`` and ``faults`` are no columns. The one names hardware that nobody has approved yet, which is not counted
    and in no column; the other says what is wrong with a seat, or worth knowing, as codes with parameters
    (``disk_gone:size_gb=256;silent:silent_s=300``), only for seats of which there is something to say. Gateways before
    0.2 say it in ``why``, as a sentence; it is empty since.
    """

    id: Annotated[list[Word], msgspec.Meta(max_length=500)]
    state: list[Literal["healthy", "unhealthy", "missing", "off"]]
    why: list[Text]
    cpu_pct: list[Number | None] = []
    memory_pct: list[Number | None] = []
    disk_pct: list[Number | None] = []
    temperature_c: list[Number | None] = []
    uptime_s: list[Number | None] = []
    changed: list[Text] = []
    quiet_s: list[Number | None] = []
    waiting: Annotated[list[Word], msgspec.Meta(max_length=64)] = []
    faults: Annotated[dict[Word, Text], msgspec.Meta(max_length=500)] = {}

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            column = getattr(self, name) if name not in ("waiting", "faults") else []
            if (column or name in ("state", "why")) and len(column) != len(self.id):
                raise ValueError(f"column `{name}` has {len(column)} entries for {len(self.id)} seats")


class SeatFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Counts of seats that are there and said so of themselves: ``seats`` said anything, ``systems`` by their name,
    ``updates_late`` were last updated over 35 days ago, of the ``updates_known``."""

    seats: Count = 0
    systems: Annotated[dict[Word, Count], msgspec.Meta(max_length=32)] = {}
    updates_known: Count = 0
    updates_late: Count = 0
    antivirus_on: Count = 0
    antivirus_off: Count = 0


class SeatsReading(Reading, frozen=True, kw_only=True, omit_defaults=True, tag="seats"):
    """The roll call of a center's seats. ``known`` counts every seat approved at this gateway. ``in_use`` counts those
    with a session present, and ``facts`` what else they say, where ``[seats] conditions`` asks for it; absent from
    gateways before 0.3."""

    known: Count | None = None
    healthy: Count | None = None
    unhealthy: Count | None = None
    missing: Count | None = None
    off: Count | None = None
    seats: SeatColumns | None = None
    in_use: Count | None = None
    facts: SeatFacts | None = None


class GatewayReading(Reading, frozen=True, kw_only=True, omit_defaults=True, tag="gateway"):
    """The gateway's own health, its clock, its WAN counters and what the agent itself costs.

    ``machine`` and ``router`` are hashes of the hardware addresses of its line and of its router, ``hardware`` is
    ``virtual`` or ``physical``. ``answers`` is the id of the task that asked for this reading, at a moment that nobody
    could know. All four are absent from gateways before 0.3.

    ``release`` is ``trial`` or ``proven`` where a release runs instead of the installed program. ``failed_release`` is
    the version that failed here last, ``failed_why`` the reason: ``starts``, ``no_receipt`` or ``damaged``. Absent from
    gateways before 0.4.
    """

    cpu_pct: Number | None = None
    memory_pct: Number | None = None
    disk_free_pct: Number | None = None
    temperature_c: Number | None = None
    uptime_s: Number | None = None
    clock_offset_ms: Number | None = None
    wan_interface: Text | None = None
    wan_rx_bytes: Count | None = None
    wan_tx_bytes: Count | None = None
    agent_rss_mb: Number | None = None
    agent_cpu_s: Number | None = None
    spool_readings: Count | None = None
    spool_bytes: Count | None = None
    spool_volatile: bool | None = None
    version: Text | None = None
    machine: Hex | None = None
    router: Hex | None = None
    hardware: Word | None = None
    answers: Word | None = None
    release: Word | None = None
    failed_release: Text | None = None
    failed_why: Word | None = None


class BootReading(Reading, frozen=True, kw_only=True, omit_defaults=True, tag="boot"):
    """Sent once at each start of the agent: what ended the run before it, and the evidence for that, a code with
    parameters each (``new_boot:up_s=75``); a sentence before 0.2."""

    previous_end: Literal["first", "clean", "power", "crash", "killed", "reboot", "unknown"] = "unknown"
    evidence: Words = []
    last_alive_ms: Millis | None = None
    dark_s: Number | None = None


class ShedReading(Reading, frozen=True, kw_only=True, omit_defaults=True, tag="shed"):
    """An account of readings this spool no longer has: a range of numbers and why they are gone.

    ``receipted`` ones were let go for room after the collector had them, and it lacks them now; ``spans`` are the times
    in which they were taken, by this gateway's clock, both ends included, as far as it still knows them.
    """

    first_seq: SeqNumber
    last_seq: SeqNumber
    count: Count
    why: Literal["full", "unreadable", "disk", "receipted"]
    spans: Annotated[list[tuple[Millis, Millis]], msgspec.Meta(max_length=64)] = []


# ---------------------------------------------------------------- kinds: one row for each


class Aggregate(msgspec.Struct, frozen=True):
    """A figure that is drawn, and how the readings of one hour, or of one pixel of a chart, become one of it: the worse
    side where a mean would hide it.

    ``how`` is ``avg``, ``min`` or ``max`` of the field; ``any`` is 1 if a reading had something there, ``is WORD`` if
    one had that word. ``source`` is the field, where the figure has another name.
    """

    name: str
    how: str
    source: str = ""

    @property
    def field(self) -> str:
        return self.source or self.name

    @property
    def is_number(self) -> bool:
        return self.how in ("avg", "min", "max")

    @property
    def unit(self) -> str:
        return unit_of(self.name) if self.is_number else ""


Measured = Literal["round", "line", "apart", "event"]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """All that is asked of a kind of reading beside its values; agent, collector and their pages have it from here.

    ``measured`` says when: in each ``round``; in each round, while nothing else uses the ``line``; ``apart``, by a
    schedule of its own; or never: ``event`` readings are stated by the agent, and have no probe. ``summary`` is what
    `nabz-agent probe KIND` says of itself. On a judged kind criteria can be written, and the month's report reads it.
    A reading that is news outlives routine ones in a full spool; one with a failure always does. A pause of more than
    ``gap_ms`` is drawn as a gap; None: it is seldom by design. ``figures`` are summed by the hour and day, those named
    in ``chart`` are drawn. Its words are ``kind.NAME`` of the catalogue, ``series.NAME`` of its figures and, with a
    chart, ``chart.NAME``.
    """

    struct: type[Reading]
    measured: Measured = "round"
    deadline_s: float = 10.0
    summary: str = ""
    is_judged: bool = True
    is_news: Callable[[Any], bool] = lambda _reading: False
    gap_ms: int | None = 180_000
    figures: tuple[Aggregate, ...] = ()
    chart: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.struct.__struct_config__.tag)

    @property
    def drawn(self) -> tuple[Aggregate, ...]:
        """The figures of its chart, in the order of ``chart``."""
        return tuple(figure for name in self.chart for figure in self.figures if figure.name == name)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            struct=LinkReading,
            measured="line",
            deadline_s=45.0,
            summary="latency, jitter and loss to the collector and the hops before it",
            is_news=lambda reading: bool(reading.loss_pct),
            figures=(
                Aggregate("rtt_median_ms", "avg"),
                Aggregate("rtt_p95_ms", "max"),
                Aggregate("jitter_ms", "avg"),
                Aggregate("loss_pct", "max"),
            ),
            chart=("rtt_median_ms", "rtt_p95_ms", "loss_pct"),
        ),
        Kind(
            struct=SpeedReading,
            measured="apart",
            deadline_s=240.0,
            summary="one speed test against a measurement server",
            is_news=lambda _reading: True,
            gap_ms=None,
            figures=(
                Aggregate("download_mbps", "avg"),
                Aggregate("upload_mbps", "avg"),
                Aggregate("self_test", "is self-test", "purpose"),
                Aggregate("failed", "any", "failure"),
            ),
            chart=("download_mbps", "upload_mbps", "self_test", "failed"),
        ),
        Kind(
            struct=UpsReading,
            measured="apart",
            deadline_s=8.0,
            summary="one UPS over SNMP or through NUT, or every one of the settings",
            is_news=lambda reading: reading.output_state != "online",
            figures=(
                Aggregate("battery_charge_pct", "min"),
                Aggregate("load_pct", "max"),
                Aggregate("input_voltage_v", "min"),
                Aggregate("runtime_s", "min"),
                Aggregate("on_battery", "is battery", "output_state"),
            ),
            chart=("battery_charge_pct", "load_pct", "on_battery"),
        ),
        Kind(
            struct=SeatsReading,
            summary="the roll call of this center's seats",
            figures=(
                Aggregate("healthy", "min"),
                Aggregate("unhealthy", "max"),
                Aggregate("missing", "max"),
                Aggregate("off", "max"),
                Aggregate("known", "max"),
                Aggregate("in_use", "avg"),
            ),
            chart=("healthy", "known"),
        ),
        Kind(
            struct=GatewayReading,
            deadline_s=20.0,
            summary="this machine's own health",
            figures=(
                Aggregate("cpu_pct", "avg"),
                Aggregate("memory_pct", "avg"),
                Aggregate("disk_free_pct", "min"),
                Aggregate("spool_readings", "max"),
            ),
        ),
        Kind(struct=BootReading, measured="event", is_judged=False),
        Kind(struct=ShedReading, measured="event", is_judged=False),
    )
}


def kind_of(reading: Reading) -> Kind:
    return KINDS[str(reading.__struct_config__.tag)]


# What the end of the name of a field, or of a reason's parameter, says of its unit. Mbit/s are 10⁶ bits, MB 2²⁰ bytes.
UNITS = {
    "_bytes": "B",
    "_days": "d",
    "_mbps": "Mbit/s",
    "_min": "min",
    "_pct": "%",
    "_ms": "ms",
    "_hz": "Hz",
    "_mb": "MB",
    "_gb": "GB",
    "_c": "°C",
    "_v": "V",
    "_s": "s",
}


def unit_of(field: str) -> str:
    """The unit of a field by its name, "" for a count or a word."""
    return next((unit for ending, unit in UNITS.items() if field.endswith(ending)), "")


# ---------------------------------------------------------------- messages


class SettingsReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which of the collector's settings a gateway runs with: ``digest`` names them, empty for none.

    ``state`` is ``applied``, or ``trial`` until a receipt shows that the collector is reached with them. ``failed`` is
    the digest of the last ones that were refused or taken back, ``why`` the code of the reason, and what was wrong;
    empty where nothing failed. ``fetches``: this program takes tasks to ``fetch``; none before 0.4 does.
    """

    digest: Hex = ""
    state: Word = "applied"
    failed: Hex = ""
    why: Text = ""
    fetches: bool = False


class SettingsDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of the collector for one gateway: by table of its file, then by key. They hold over the file's.

    ``digest`` is a name for exactly these values; a gateway repeats it. ``issued_ms`` orders documents: an older one
    than the last that was taken is refused.
    """

    digest: Hex
    issued_ms: Millis
    values: SettingTables = {}


class Batch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run of consecutive readings of one spool: reading ``i`` has sequence number ``first_seq + i``.

    ``prev`` is the chain before the first reading (hex), ``nonce`` the newest nonce seen from the collector: the
    readings were sent after it was issued. ``live`` marks readings sent ahead of a backlog.

    ``proof`` is a sealed receipt, as it came, of more decisions than newer ones tell of: the collector's journal is an
    older one; or of readings that the collector says it lacks while its epoch is the same:
    its database is an older one (design P10). Absent when there is nothing to prove; unknown to collectors before 0.3.

    ``settings`` says which of the collector's settings were in force when this was sent; a gateway without it takes
    none. Collectors before 0.4 do not read it.
    """

    v: int
    device: Word
    spool: Hex
    first_seq: SeqNumber
    prev: Hex
    nonce: Hex = ""
    live: bool = True
    proof: Annotated[str, msgspec.Meta(max_length=MAX_SMALL_BYTES)] = ""
    settings: SettingsReport | None = None
    readings: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_BATCH_READINGS)]

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.readings) - 1

    def last_chain(self) -> bytes:
        return chain(bytes.fromhex(self.prev), [bytes(raw) for raw in self.readings])


class CenterStanding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the center of a gateway stands, for the gateway's own page: ``state`` is a word of the collector's (`meets`,
    `watch`, `below`, `unknown` …), ``criterion`` the id of its worst flag, ``since_ms`` when the state began;
    ``missed`` is how often a criterion was missed since the month began. Nothing is decided on it."""

    state: Word
    criterion: Text = ""
    since_ms: Millis = 0
    missed: Count = 0


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The collector's word, given after COMMIT, that these readings are held. Only this lets a gateway forget them.

    ``chain`` is the chain after ``last_seq`` (hex); a gateway forgets only when its own says the same. ``set_aside``
    means the bytes are held but were not understood, or not as what they claim to be: ``code`` is the reason as one
    fixed word, empty from collectors before 0.2, and ``reason`` a sentence for the log, on which nothing is decided. On
    `other_history` (other readings are held under these numbers) a gateway begins a new spool. ``pace_ms`` asks for
    that pause before the next batch of backlog.

    ``epoch`` names the collector's database, another after every restore; empty from collectors before 0.3. ``lacks``
    are ranges of numbers before ``last_seq`` that it does not hold of this spool, the newest first: a gateway that
    still has them sends them again, and accounts for what it has no more. ``standing`` comes when it has changed and
    now and then; absent from collectors before 0.3. ``packing`` is the newest form of packed batches that it reads
    (`agent.pack`), 0 from collectors before 0.5: in this session they may be sent so. ``decisions`` is how many its
    journal has (gateways revoked, persons removed …), which never grows less; 0 from collectors before 0.5.
    """

    v: int
    device: Word
    spool: Hex
    first_seq: SeqNumber
    last_seq: SeqNumber
    chain: Hex
    outcome: Literal["stored", "set_aside"] = "stored"
    code: Text = ""
    reason: Text = ""
    nonce: Hex = ""
    at_ms: Millis
    pace_ms: Count = 0
    epoch: Hex = ""
    lacks: Annotated[list[tuple[SeqNumber, SeqNumber]], msgspec.Meta(max_length=MAX_LACKS)] = []
    standing: CenterStanding | None = None
    packing: Count = 0
    decisions: Count = 0


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the desk wants to know of a gateway: ``kind`` is a word of the gateway's list, ``asked_by`` who asks. The
    answer is an ask with the same ``id``."""

    id: Word
    kind: Word
    asked_by: Text = ""


class Ask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A gateway's wish for a turn at a measurement server. The answer is a task of the same id, in its turn.

    With ``want`` of ``answer`` it is no wish, but the gateway's answer to the question of that id.

    ``expected_bytes`` is what such a test moved last time. After ``expires_ms`` the gateway no longer waits.
    """

    v: int
    device: Word
    id: Word
    want: Literal["speed", "answer"]
    purpose: Purpose
    slot: Text = ""
    expected_bytes: Count = 0
    nonce: Hex = ""
    answer: Annotated[str, msgspec.Meta(max_length=MAX_ANSWER_CHARS)] = ""
    expires_ms: Millis


class FetchOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file of the collector to be fetched once and thrown away, over a few connections: ``parts`` of ``part_bytes``
    each. ``name`` admits to it."""

    name: Hex
    parts: Annotated[int, msgspec.Meta(ge=1, le=MAX_FETCH_PARTS)]
    part_bytes: Annotated[int, msgspec.Meta(ge=1, le=MAX_FETCH_PART_BYTES)]


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing the collector asks a gateway to do once, before ``expires_ms``.

    For a speed test ``id`` is its test id, ``token`` admits it once at ``server``. ``slot`` is the time of day for
    which the collector drew it: it is that slot's test. Absent for other tests, and from collectors before 0.3.
    ``settings`` and ``question`` are sent to gateways whose batches say that they take settings, ``fetch`` to those
    that say they do.
    """

    v: int
    device: Word
    id: Word
    do: Literal["speed", "probe", "settings", "question", "fetch"]
    probe: Word | None = None
    purpose: Purpose = "desk"
    nonce: Hex = ""
    token: Token = ""
    server: Text = ""
    slot: Text = ""
    settings: SettingsDocument | None = None
    question: Question | None = None
    fetch: FetchOrder | None = None
    expires_ms: Millis


class Presence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Retained; the last will says ``offline``. A hint to look sooner, never evidence."""

    v: int
    device: Word
    state: Literal["online", "offline"]
    boot: Word
    version: Text = ""


M = TypeVar("M", Batch, Receipt, Ask, Task, Presence)


# ---------------------------------------------------------------- topics


def batch_topic(device: str) -> str:
    return f"{ROOT}/up/{device}"


def receipt_topic(device: str) -> str:
    return f"{ROOT}/receipt/{device}"


def ask_topic(device: str) -> str:
    return f"{ROOT}/ask/{device}"


def task_topic(device: str) -> str:
    return f"{ROOT}/task/{device}"


def presence_topic(device: str) -> str:
    return f"{ROOT}/presence/{device}"


def device_of(topic: str) -> str:
    """The device a topic belongs to; raises WireError for any other topic."""
    parts = topic.split("/")
    if len(parts) != 4 or "/".join(parts[:2]) != ROOT or not parts[3]:
        raise WireError(f"topic {topic[:80]!r} is not {ROOT}/WORD/DEVICE")
    return parts[3]


# ---------------------------------------------------------------- encode, decode


def chain(before: bytes, raws: Sequence[bytes]) -> bytes:
    """The running hash after ``raws``, given the one before them (32 bytes)."""
    for raw in raws:
        before = hashlib.sha256(before + raw).digest()
    return before


def encode_reading(reading: Reading) -> bytes:
    if reading.at is None:
        raise WireError("a reading travels only with its stamp: set `at` first")
    return _encoder.encode(reading)


def decode_reading(raw: bytes) -> Reading:
    return _decode(_reading, raw, "reading")


def encode(message: Batch | Receipt | Ask | Task | Presence) -> bytes:
    return _encoder.encode(message)


def decode_batch(body: bytes) -> Batch:
    """A batch whose frame is right; its readings stay raw, so that one bad reading does not hide the others."""
    return _spoken(decode_frame(body), "batch")


def decode_frame(body: bytes) -> Batch:
    """A batch of any version that still has this frame: enough to hold it and to say so, not to read it."""
    frame = msgspec.structs.asdict(_decode(_frame, body, "batch", MAX_BATCH_BYTES))
    readings = list(takewhile(len, msgspec.structs.astuple(frame.pop("readings"))))
    batch = Batch(readings=readings, **frame)
    for name, value in (("prev", batch.prev), ("spool", batch.spool)):
        if len(value) != (64 if name == "prev" else 32) or not _is_hex(value):
            raise WireError(f"batch: `{name}` must be {64 if name == 'prev' else 32} lower-case hex digits")
    return batch


def decode_receipt(body: bytes) -> Receipt:
    return _spoken(_decode(_receipt, body, "receipt", MAX_SMALL_BYTES), "receipt")


def decode_ask(body: bytes) -> Ask:
    return _spoken(_decode(_ask, body, "ask", MAX_ASK_BYTES), "ask")


def decode_task(body: bytes) -> Task:
    return _spoken(_decode(_task, body, "task", MAX_SMALL_BYTES), "task")


def decode_presence(body: bytes) -> Presence:
    return _spoken(_decode(_presence, body, "presence", MAX_SMALL_BYTES), "presence")


def seal(body: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """``body LF base64(sign(body))``."""
    return body + b"\n" + base64.b64encode(sign(body))


def unseal(payload: bytes, limit: int = MAX_BATCH_BYTES) -> tuple[bytes, bytes]:
    """(body, signature) of a sealed message, unverified. Raises WireError."""
    if len(payload) > limit + 128:
        raise WireError(f"message of {len(payload)} bytes is over the limit of {limit}")
    body, newline, tail = payload.rpartition(b"\n")
    if not newline:
        raise WireError("message has no signature line")
    try:
        signature = base64.b64decode(tail, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError(f"signature is not base64: {error}") from None
    if len(signature) != 64:
        raise WireError(f"signature has {len(signature)} bytes, Ed25519 has 64")
    return body, signature


def _spoken(message: M, what: str) -> M:
    """The message, if its version is ours: what another version means by the same words is not known here."""
    if message.v != VERSION:
        raise WireError(f"{what}: version {message.v} is not spoken here, only {VERSION}")
    return message


def _is_hex(text: str) -> bool:
    return not text.strip("0123456789abcdef")


def _decode(decoder: msgspec.json.Decoder[T], body: bytes, what: str, limit: int = MAX_BATCH_BYTES) -> T:
    if len(body) > limit:
        raise WireError(f"{what} of {len(body)} bytes is over the limit of {limit}")
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        raise WireError(f"{what}: {error}") from None


_encoder = msgspec.json.Encoder()
_kinds: Any = Union[tuple(kind.struct for kind in KINDS.values())]  # noqa: UP007 - told apart by their tags
_reading: msgspec.json.Decoder[Reading] = msgspec.json.Decoder(_kinds)
# A list is built before it is counted: 64 KiB of `0,0,0` took 2 MB and 1 ms. This one ends at the first too many.
_hundred = msgspec.defstruct(
    "_hundred",
    [("reading", msgspec.Raw), *((f"reading{n}", msgspec.Raw, msgspec.Raw()) for n in range(1, MAX_BATCH_READINGS))],
    array_like=True,
    forbid_unknown_fields=True,
)
_frame: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    msgspec.defstruct(
        "_frame",
        [
            (field.name, field.type) if field.required else (field.name, field.type, field.default)
            for field in msgspec.structs.fields(Batch)
            if field.name != "readings"
        ]
        + [("readings", _hundred)],
        kw_only=True,
    )
)
_receipt = msgspec.json.Decoder(Receipt)
_ask = msgspec.json.Decoder(Ask)
_task = msgspec.json.Decoder(Task)
_presence = msgspec.json.Decoder(Presence)
