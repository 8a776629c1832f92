"""One group of readings as the bytes a spool keeps: self-describing and self-checking, so that it can be told from
noise even in the raw pages of a broken file. Pure: no file, no clock.

    magic 4 | spool 16 | first_seq 8 | count 2 | value 1 | wall_ms 8 | chain before 32 | length 4 | deflated | check 16
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

from agent import wire
from agent.common.errors import describe

Value = Literal["low", "normal", "high"]
Ident = tuple[str, int]  # a group by its spool and last number
VALUES: tuple[Value, ...] = ("low", "normal", "high")  # the order in which a full spool gives groups up

MAGIC = b"NbG1"
HEADER = struct.Struct(">4s16sQHBQ32sI")
VALUE_OFFSET = 30  # in a record
CHECK_BYTES = 16
MAX_RECORD_BYTES = HEADER.size + wire.MAX_BATCH_BYTES + 1024 + CHECK_BYTES

# Room for the batch's own fields beside its readings, so that one group always fits one batch.
FRAME_BYTES = 1024

# What a minute of readings mostly holds. Part of the format: a change needs a new MAGIC.
DICTIONARY = (
    b'"failure":{"cause":"unreachable","detail":""}{"cause":"timeout","detail":"no answer within  s"}'
    b'{"kind":"boot","previous_end":"power","evidence":[],"last_alive_ms":,"dark_s":}'
    b'{"kind":"shed","first_seq":,"last_seq":,"count":,"why":"full"}'
    b'{"kind":"speed","engine":"librespeed","engine_version":"","server":"http://","mode":"adaptive","purpose":"routine",'
    b'"test_id":"","download_mbps":,"upload_mbps":,"capacity_down_mbps":,"capacity_up_mbps":,'
    b'"cross_traffic_down_pct":0.0,"cross_traffic_up_pct":0.0,"idle_rtt_ms":,"loaded_rtt_down_ms":,"loaded_rtt_up_ms":,'
    b'"jitter_ms":,"loss_pct":0.0,"bytes_total":,"seconds":,"flags":["not_saturated","client_limited","cross_traffic"]}'
    b'"healthy","unhealthy","missing","off","","","",null,null,null,null,'
    b'{"kind":"seats","known":20,"healthy":20,"unhealthy":0,"missing":0,"off":0,"seats":{"id":["seat-01","seat-02"],'
    b'"state":["healthy","healthy","healthy","healthy"],"why":["","","",""],"cpu_pct":[],"memory_pct":[],"disk_pct":[],'
    b'"temperature_c":[],"uptime_s":[]}}'
    b'{"kind":"gateway","cpu_pct":,"memory_pct":,"disk_free_pct":,"temperature_c":,"uptime_s":,"clock_offset_ms":,'
    b'"wan_interface":"eth0","wan_rx_bytes":,"wan_tx_bytes":,"agent_rss_mb":3,"agent_cpu_s":,"spool_readings":0,'
    b'"spool_bytes":,"spool_volatile":false,"version":"0.1.0"}'
    b'{"kind":"ups","subject":"ups","output_state":"online","battery_status":"normal","battery_replace":false,'
    b'"battery_charge_pct":100.0,"runtime_s":,"on_battery_s":0.0,"input_voltage_v":2,"output_voltage_v":2,'
    b'"input_frequency_hz":50.0,"output_frequency_hz":50.0,"load_pct":,"battery_temp_c":,"battery_voltage_v":,'
    b'"alarms_count":0,"manufacturer":"APC","model":"Smart-UPS","firmware":"","serial":"","profiles":["apc","rfc1628"]}'
    b'{"kind":"link","subject":"wan","rtt_min_ms":,"rtt_median_ms":,"rtt_p95_ms":,"jitter_ms":,"loss_pct":0.0,'
    b'"fault_place":"none","hops":[{"role":"lan","target":"192.168.1.1","method":"icmp","sent":20,"received":20,'
    b'"min_ms":0.,"median_ms":0.,"p95_ms":,"jitter_ms":0.},{"role":"isp","target":"10.","method":"icmp","sent":20,'
    b'"received":20,"min_ms":},{"role":"collector","target":"","method":"tcp","sent":20,"received":20,"min_ms":}]}'
    b'"at":{"wall_ms":17,"mono_ms":,"boot":"","clock":"unsynced"},"at":{"wall_ms":17,"mono_ms":,"boot":"","clock":"synced"}'
)


class RecordDamaged(ValueError):
    """Bytes that are not a whole, unaltered record."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Consecutive readings of one spool, kept and forgotten together. ``prev`` is the chain before the first."""

    spool: str  # 32 hex digits
    first_seq: int
    value: Value
    wall_ms: int
    prev: bytes
    raws: tuple[bytes, ...]

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.raws) - 1

    @property
    def ident(self) -> Ident:
        return self.spool, self.last_seq

    @property
    def after(self) -> bytes:
        """The chain after the last reading."""
        return wire.chain(self.prev, self.raws)

    @property
    def wire_bytes(self) -> int:
        """What the readings cost inside a batch."""
        return sum(len(raw) + 1 for raw in self.raws)


@dataclass(frozen=True)
class Head:
    """The end of a spool: its last number, the chain and the time there. Kept even when every reading is forgotten."""

    spool: str
    seq: int = 0
    chain: bytes = wire.GENESIS
    wall_ms: int = 0

    def after(self, group: Group) -> Head:
        return replace(self, seq=group.last_seq, chain=group.after, wall_ms=group.wall_ms)


def build(head: Head, raws: Sequence[bytes], value: Value, wall_ms: int) -> list[Group]:
    """``raws`` numbered on from ``head``, each group cut to fit one batch. Raises ValueError for a bad reading."""
    groups = []
    for piece in _pieces(raws):
        group = Group(
            spool=head.spool, first_seq=head.seq + 1, value=value, wall_ms=wall_ms, prev=head.chain, raws=tuple(piece)
        )
        groups.append(group)
        head = head.after(group)
    return groups


def _pieces(raws: Sequence[bytes]) -> Iterator[list[bytes]]:
    room = wire.MAX_BATCH_BYTES - FRAME_BYTES
    piece: list[bytes] = []
    used = 0
    for raw in raws:
        if not raw or b"\n" in raw or len(raw) >= room:
            raise ValueError(f"a reading of {len(raw)} bytes cannot be kept: 1 to {room - 1} bytes, no line feed")
        if piece and (len(piece) == wire.MAX_BATCH_READINGS or used + len(raw) + 1 > room):
            yield piece
            piece, used = [], 0
        piece.append(raw)
        used += len(raw) + 1
    if piece:
        yield piece


def pack(group: Group) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    body = deflate.compress(b"\n".join(group.raws)) + deflate.flush()
    header = HEADER.pack(
        MAGIC,
        bytes.fromhex(group.spool),
        group.first_seq,
        len(group.raws),
        VALUES.index(group.value),
        group.wall_ms,
        group.prev,
        len(body),
    )
    return header + body + check(header + body)


def unpack(record: bytes) -> Group:
    """Raises RecordDamaged for anything but the exact bytes `pack` made."""
    if len(record) < HEADER.size + CHECK_BYTES or check(record[:-CHECK_BYTES]) != record[-CHECK_BYTES:]:
        raise RecordDamaged("the record's check does not match its bytes")
    magic, spool, first_seq, count, value, wall_ms, prev, length = HEADER.unpack_from(record)
    body = record[HEADER.size : -CHECK_BYTES]
    if magic != MAGIC or length != len(body) or value >= len(VALUES):
        raise RecordDamaged("the record is of another format")
    inflate = zlib.decompressobj(-15, DICTIONARY)
    try:
        raws = tuple(inflate.decompress(body, wire.MAX_BATCH_BYTES).split(b"\n"))
    except zlib.error as error:
        raise RecordDamaged(f"the record does not inflate: {describe(error)}") from None
    if len(raws) != count or not inflate.eof:
        raise RecordDamaged(f"the record holds {len(raws)} readings and claims {count}")
    return Group(spool=spool.hex(), first_seq=first_seq, value=VALUES[value], wall_ms=wall_ms, prev=prev, raws=raws)


def record_bytes(header: bytes) -> int | None:
    """The length of the record that ``header`` opens, or None when it opens none."""
    magic, _spool, _first, count, value, _wall, _prev, length = HEADER.unpack(header)
    total = HEADER.size + int(length) + CHECK_BYTES
    if magic != MAGIC or not 1 <= count <= wire.MAX_BATCH_READINGS or value >= len(VALUES):
        return None
    return total if total <= MAX_RECORD_BYTES else None


def check(content: bytes) -> bytes:
    return blake2b(content, digest_size=CHECK_BYTES).digest()


# ---------------------------------------------------------------- groups to batches


def first_batch(groups: Iterator[Group]) -> list[Group]:
    """As many groups as one batch could hold at most; the run within is cut by `run_of`."""
    taken: list[Group] = []
    count = 0
    for group in groups:
        taken.append(group)
        count += len(group.raws)
        if count >= wire.MAX_BATCH_READINGS:
            break
    return taken


def run_of(groups: Sequence[Group], since_ms: int) -> list[Group]:
    """The longest prefix of ``groups`` that is consecutive in number (up or down), recent enough and fits one batch."""
    run: list[Group] = []
    count = size = 0
    for group in groups:
        count += len(group.raws)
        size += group.wire_bytes
        too_much = count > wire.MAX_BATCH_READINGS or size > wire.MAX_BATCH_BYTES - FRAME_BYTES
        if group.wall_ms < since_ms or (run and (too_much or not _neighbours(run[-1], group))):
            break
        run.append(group)
    return run


def _neighbours(one: Group, other: Group) -> bool:
    low, high = sorted((one, other), key=lambda group: group.first_seq)
    return low.spool == high.spool and low.last_seq + 1 == high.first_seq


def whole_or_none(record: object) -> Group | None:
    try:
        return unpack(record if isinstance(record, bytes) else b"")
    except RecordDamaged:
        return None
