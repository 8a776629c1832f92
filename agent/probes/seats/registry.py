"""The roll of a center's seats: who is known, what each last said, and what that makes it now.

Held in memory. What must outlive a restart (names, hardware, approval, keys, who said good-bye) goes to one small file,
when it changed, before the roll call that counts it and at the end of the agent: a gateway's flash is not for
heartbeats, and twenty seats that come in one minute are one write.

Hardware that is new is `waiting` until people approve it, but for what the policy lets in by itself: a seat counts only
once somebody answers for it.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypedDict

from agent.common import code_text
from agent.common.reading_codes import fault
from agent.common.reasons import Reason
from agent.config import SeatsSection
from agent.probes import parts
from agent.probes.probe import SilentSeat
from agent.probes.seats import reachability, registry_file
from agent.probes.seats.registry_file import SeatRecord
from agent.seat.identity import same_machine
from agent.seat.snapshot import SeatCondition, Snapshot
from agent.wire import SeatColumns, SeatFacts, SeatsReading

MAX_SEATS = 500  # the wire's limit for one roll call
MAX_WAITING = 64  # hardware not approved: the one longest unheard makes room
CONFLICT_MS = 15 * 60_000
LATELY_S = 15 * 60.0  # for so long the time of a last word is told
BACK_MS = 30 * 60_000  # how long a seat that came back says what its silence was
SILENT_S = 150.0  # from here on a pause is a silence that wants a reason
FIRST_DAY_MS = 24 * 3600_000
CLOCK_SET_MS = 1_600_000_000_000  # a wall clock before September 2020 was never set
MOST_AN_ADDRESS = 8  # seats that one address may bring in unasked
MAX_SYSTEMS = 32
LATE_DAYS = 35.0  # a month of updates, and some days; ours, no official figure exists
MAX_FAULTS = 200  # characters of one seat's faults on the wire

UNIQUE_PARTS = ("mac:", "disk:")  # kinds of facts that two machines never share; boards share serial numbers

State = Literal["healthy", "unhealthy", "missing", "off"]
Policy = Literal["first", "always", "never"]


class RegistryFull(Exception):
    """More seats than a roll can hold: a new one is not taken."""


class Registry:
    """All seats ever heard at this gateway. Every `now_ms` must come from one monotonic clock."""

    def __init__(self, state_dir: Path | None, now_ms: int = 0, policy: Policy = "first") -> None:
        self.folder = state_dir
        self.policy = policy
        self.seats = registry_file.load(state_dir)
        self.started_ms = now_ms
        self.unsaved = False

    def take(self, snapshot: Snapshot, now_ms: int, address: str = "") -> SeatRecord:
        """Enters what a seat said, in memory: `call` writes it. Raises RegistryFull."""
        before = self.seats.get(snapshot.id)
        approved = before.approved if before else is_let_in(self.policy, self.seats.values(), snapshot, address)
        if before is None:
            self.make_room(approved=approved)
        seat = replace(enter(before, snapshot, now_ms), approved=approved, address=address)
        self.seats[seat.id] = seat
        is_new = before is None or before.called != seat.called
        self.unsaved |= is_new or (before is not None and registry_file.durable(before) != registry_file.durable(seat))
        return seat

    def make_room(self, *, approved: bool) -> None:
        """For one more seat. Raises RegistryFull."""
        strangers = [seat for seat in self.seats.values() if not seat.approved]
        if approved and len(self.seats) - len(strangers) >= MAX_SEATS:
            raise RegistryFull(f"this gateway's roll holds {MAX_SEATS} seats and takes no more")
        if not approved and len(strangers) >= MAX_WAITING:
            del self.seats[min(strangers, key=lambda seat: seat.heard_ms or 0).id]

    def call(self, now_ms: int, limits: SeatsSection) -> SeatsReading | None:
        """Every seat's state now. None while seats known from before still have time to report after a start. A seat
        that it counts is in the file."""
        self.obey()
        self.save()
        if self.is_settling(now_ms, limits):
            return None
        return roll_call(list(self.seats.values()), now_ms, self.started_ms, limits)

    def is_settling(self, now_ms: int, limits: SeatsSection) -> bool:
        """True while silence since the agent's start proves nothing yet."""
        if now_ms - self.started_ms > limits.missing_after_s * 1000:
            return False
        return any(seat.heard_ms is None and not seat.said_goodbye for seat in self.seats.values() if seat.approved)

    # ------------------------------------------------------------ keys

    def keys_of(self, seat_id: str) -> tuple[bytes, ...]:
        """The keys under which this seat may speak for itself: its own, and one that it was just given."""
        seat = self.seats.get(seat_id)
        return tuple(key for key in (seat.key, seat.offered) if key) if seat else ()

    def offer(self, seat_id: str, key: bytes) -> None:
        self.seats[seat_id] = replace(self.seats[seat_id], offered=key)

    def proved(self, seat_id: str, key: bytes) -> None:
        """The seat has spoken under this key: from now on it is the only one."""
        seat = self.seats[seat_id]
        if seat.key != key:
            self.seats[seat_id] = replace(seat, key=key, offered=None)
            self.unsaved = True

    def intruded(self, seat_id: str, now_ms: int) -> None:
        self.seats[seat_id] = replace(self.seats[seat_id], intruder_ms=now_ms)

    # ------------------------------------------------------------ silence, orders, the file

    def silent(self, now_ms: int, limits: SeatsSection) -> list[SilentSeat]:
        """The missing seats whose machine may be asked after, those never asked first."""
        missing = [
            seat
            for seat in self.seats.values()
            if seat.approved and seat.address and _judge(seat, now_ms, self.started_ms, limits)[0] == "missing"
        ]
        return [
            SilentSeat(id=seat.id, address=seat.address, facts=seat.facts, probed=seat.answers is not None)
            for seat in sorted(missing, key=lambda seat: seat.answers is not None)
        ]

    def note_answers(self, answers: Mapping[str, bool]) -> None:
        for seat_id, is_on in answers.items():
            if seat_id in self.seats:
                self.seats[seat_id] = replace(self.seats[seat_id], answers=is_on)

    def obey(self) -> None:
        """Takes up the orders that lie in the folder."""
        for path, order in registry_file.waiting(self.folder):
            if order is not None:
                self.seats = registry_file.obeyed(self.seats, order)
                self.unsaved = True
            with contextlib.suppress(OSError):  # one that stays is taken up again: each may be obeyed twice
                path.unlink()

    def save(self) -> None:
        if self.folder is None or not self.unsaved:
            return
        with contextlib.suppress(OSError):  # a full disk: tried again at the next call, a minute later
            registry_file.save(self.folder, self.seats.values())
            self.unsaved = False


# ---------------------------------------------------------------- entering


def is_let_in(policy: Policy, seats: Iterable[SeatRecord], snapshot: Snapshot, address: str) -> bool:
    """Pure. Whether new hardware counts at once: ``always``, ``never``, or ``first``: in the roll's first day.

    One address brings in a few seats at most: a PC that makes up machines does not fill the roll.
    """
    if policy == "never":
        return False
    known = list(seats)
    if not _is_local(address) and sum(seat.address == address for seat in known) >= MOST_AN_ADDRESS:
        return False
    began_ms = min((seat.since_ms for seat in known if seat.since_ms > CLOCK_SET_MS), default=snapshot.at_ms)
    return policy == "always" or snapshot.at_ms - began_ms <= FIRST_DAY_MS


def _is_local(address: str) -> bool:
    """This machine itself, or unknown."""
    try:
        return not address or ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def enter(before: SeatRecord | None, snapshot: Snapshot, now_ms: int) -> SeatRecord:
    """The seat after it spoke. Another machine under the same id (a cloned identity) is noted as a conflict."""
    now = parts.parts_of(snapshot)
    if before is None:
        fresh = SeatRecord(
            id=snapshot.id, name=snapshot.name, facts=snapshot.facts, since_ms=snapshot.at_ms, accepted=now
        )
        return _heard(fresh, snapshot, now_ms)
    other = bool(before.facts and snapshot.facts) and not same_machine(snapshot.facts, before.facts)
    accepted = parts.grown(before.accepted, now) if before.accepted else now
    came_back = _back(before, snapshot, now_ms)
    return replace(
        _heard(before, snapshot, now_ms),
        name=snapshot.name,
        facts=snapshot.facts,
        accepted=before.accepted if accepted == before.accepted else accepted,
        conflict_ms=now_ms if other else before.conflict_ms,
        back_ms=now_ms if came_back else before.back_ms,
        back=came_back or before.back,
    )


def _heard(seat: SeatRecord, snapshot: Snapshot, now_ms: int) -> SeatRecord:
    return replace(seat, said_goodbye=snapshot.state == "stopping", last=snapshot, heard_ms=now_ms, answers=None)


def _back(before: SeatRecord, snapshot: Snapshot, now_ms: int) -> Reason | None:
    """What the silence was from which a seat comes back without having said good-bye; None when there was none."""
    if before.heard_ms is None or before.last is None or before.said_goodbye:
        return None
    silent_s = (now_ms - before.heard_ms) / 1000
    if silent_s < max(SILENT_S, 2.5 * before.last.interval_s):
        return None
    cause = reachability.cause(before.last, snapshot, silent_s)
    return fault(f"back_{cause}", silent_s=round(silent_s)) if cause else None


# ---------------------------------------------------------------- calling


THERE: tuple[State, ...] = ("healthy", "unhealthy")


def roll_call(seats: list[SeatRecord], now_ms: int, started_ms: int, limits: SeatsSection) -> SeatsReading:
    """Pure. One column entry a seat, by label; `faults` says what is wrong. Who waits is named, not counted."""
    labels = label(seats)
    ordered = sorted((seat for seat in seats if seat.approved), key=lambda seat: labels[seat.id])
    judged = _judged(ordered, now_ms, started_ms, limits)
    count = Counter(state for state, _faults in judged)
    shown = [seat.last if state in THERE else None for seat, (state, _) in zip(ordered, judged, strict=True)]
    changed = [_text(lost_parts(seat)) for seat in ordered]
    faults = {labels[seat.id]: _text(causes) for seat, (_state, causes) in zip(ordered, judged, strict=True) if causes}
    quiet_s = [
        _quiet_s(seat, now_ms) if state in ("off", "missing") else None
        for seat, (state, _) in zip(ordered, judged, strict=True)
    ]
    return SeatsReading(
        known=len(ordered),
        healthy=count["healthy"],
        unhealthy=count["unhealthy"],
        missing=count["missing"],
        off=count["off"],
        seats=SeatColumns(
            id=[labels[seat.id] for seat in ordered],
            state=[state for state, _faults in judged],
            why=[""] * len(ordered),
            cpu_pct=_column(last.cpu_pct if last else None for last in shown),
            memory_pct=_column(last.memory_pct if last else None for last in shown),
            disk_pct=_column(last.disk_pct if last else None for last in shown),
            temperature_c=_column(last.temperature_c if last else None for last in shown),
            uptime_s=_column(last.uptime_s if last else None for last in shown),
            changed=changed if any(changed) else [],
            quiet_s=_column(quiet_s),
            waiting=sorted(labels[seat.id] for seat in seats if not seat.approved)[:MAX_WAITING],
            faults=faults,
        ),
        **conditions([last.condition for last in shown if last is not None and last.condition is not None]),
    )


class ConditionCounts(TypedDict):
    in_use: int | None
    facts: SeatFacts | None


def conditions(seats: Sequence[SeatCondition]) -> ConditionCounts:
    """Pure. Only counts: which seat said what leaves the gateway in no form."""
    if not seats:
        return {"in_use": None, "facts": None}
    used = [one.in_use for one in seats if one.in_use is not None]
    days = [one.updated_days for one in seats if one.updated_days is not None]
    systems = Counter(one.system for one in seats if one.system).most_common(MAX_SYSTEMS)
    facts = SeatFacts(
        seats=len(seats),
        systems=dict(sorted(systems)),
        updates_known=len(days),
        updates_late=sum(passed > LATE_DAYS for passed in days),
        antivirus_on=sum(one.antivirus is True for one in seats),
        antivirus_off=sum(one.antivirus is False for one in seats),
    )
    return {"in_use": sum(used) if used else None, "facts": facts}


def _judged(
    ordered: Sequence[SeatRecord], now_ms: int, started_ms: int, limits: SeatsSection
) -> list[tuple[State, list[Reason]]]:
    """Each seat by itself, and then beside the others that are there."""
    alone = [judge_seat(seat, now_ms, started_ms, limits) for seat in ordered]
    present = [seat for seat, (state, _) in zip(ordered, alone, strict=True) if state in THERE]
    shared = in_common(present)
    return [(state, [*faults, *shared.get(seat.id, ())]) for seat, (state, faults) in zip(ordered, alone, strict=True)]


def in_common(present: Sequence[SeatRecord]) -> dict[str, list[Reason]]:
    """Pure. What seats that are there at once have in common and no PCs have: an address, a disk, a network card. Worth
    knowing, and no fault of the seat: a router in between hides its addresses, too."""
    addresses = Counter(seat.address for seat in present if seat.address and not _is_local(seat.address))
    own = Counter(part for seat in present for part in set(seat.facts) if part.startswith(UNIQUE_PARTS))
    by_seat: dict[str, list[Reason]] = {}
    for seat in present:
        mine = [fault("one_address", n=addresses[seat.address])] if addresses[seat.address] > 1 else []
        machines = max((own[part] for part in seat.facts), default=0)
        mine += [fault("one_machine", n=machines)] if machines > 1 else []
        mine += [fault("virtual")] if seat.last and seat.last.is_virtual else []
        if mine:
            by_seat[seat.id] = mine
    return by_seat


def _column(values: Iterable[float | None]) -> list[float | None]:
    """Nothing at all where nothing is known of any seat."""
    known = list(values)
    return known if any(value is not None for value in known) else []


def _text(faults: Sequence[Reason]) -> str:
    """As many of them as the wire takes."""
    return next(text for end in range(len(faults), -1, -1) if len(text := code_text.encode(faults[:end])) <= MAX_FAULTS)


def _quiet_s(seat: SeatRecord, now_ms: int) -> float | None:
    """Since its last word, if that was spoken lately in this run of the agent."""
    quiet_s = None if seat.heard_ms is None else (now_ms - seat.heard_ms) / 1000
    return round(quiet_s) if quiet_s is not None and quiet_s <= LATELY_S else None


def label(seats: Iterable[SeatRecord]) -> dict[str, str]:
    """What each seat is called: the name the center gave it; its id where there is none or two share one."""
    seats = list(seats)
    times = Counter(seat.called for seat in seats)
    return {seat.id: seat.called if seat.called and times[seat.called] == 1 else seat.id for seat in seats}


def judge_seat(seat: SeatRecord, now_ms: int, started_ms: int, limits: SeatsSection) -> tuple[State, list[Reason]]:
    """Pure. (state, faults): *off* said good-bye, *missing* fell silent without it, *unhealthy* says what is wrong."""
    state, faults = _judge(seat, now_ms, started_ms, limits)
    is_back = seat.back_ms is not None and now_ms - seat.back_ms < BACK_MS and state in ("healthy", "unhealthy")
    if is_back and seat.back is not None:
        faults.append(seat.back)
    if seat.intruder_ms is not None and now_ms - seat.intruder_ms < CONFLICT_MS:
        faults.append(fault("intruder"))
    return state, faults


def _judge(seat: SeatRecord, now_ms: int, started_ms: int, limits: SeatsSection) -> tuple[State, list[Reason]]:
    if seat.said_goodbye:
        return "off", [fault("said_bye")]
    since_ms = seat.heard_ms if seat.heard_ms is not None else started_ms
    silent_s = (now_ms - since_ms) / 1000
    if silent_s > limits.missing_after_s or seat.last is None:
        silence = "silent" if seat.heard_ms is not None else "unheard"
        return "missing", [fault(f"{silence}{NETWORK_SAYS[seat.answers]}", silent_s=round(silent_s))]
    faults = [*lost_parts(seat), *limits_passed(seat.last, limits)]
    if seat.conflict_ms is not None and now_ms - seat.conflict_ms < CONFLICT_MS:
        faults.append(fault("clone"))
    return ("unhealthy" if faults else "healthy"), faults


NETWORK_SAYS = {None: "", True: "_on", False: "_gone"}  # whether a silent seat's PC answers the network


def lost_parts(seat: SeatRecord) -> list[Reason]:
    """Pure. What it was made of and is not any more, until people accept that."""
    return parts.lost(seat.accepted, parts.parts_of(seat.last)) if seat.accepted and seat.last else []


def limits_passed(snapshot: Snapshot, limits: SeatsSection) -> list[Reason]:
    """Pure. A fault for every limit that is passed; unknown values pass none. A busy processor is no fault: somebody is
    at work."""
    failing = [
        fault("disk_failing", size_gb=drive.size_gb) for drive in snapshot.drives or () if drive.health == "failing"
    ]
    shares = (
        ("memory", snapshot.memory_pct, limits.max_memory_pct),
        ("disk", snapshot.disk_pct, limits.max_disk_pct),
    )
    full = [
        fault(code, used_pct=round(used_pct), limit_pct=limit_pct)
        for code, used_pct, limit_pct in shares
        if used_pct is not None and used_pct > limit_pct
    ]
    now_c, limit_c = snapshot.temperature_c, limits.max_temperature_c
    hot = [fault("hot", now_c=round(now_c), limit_c=limit_c)] if now_c is not None and now_c > limit_c else []
    return failing + full + hot
