"""What passes between the rooms of the collector: messages as the broker has them, and who sent them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent import wire
from agent.common.reasons import Reason
from agent.common.words import CodedError


@dataclass(frozen=True, slots=True)
class Message:
    """As the broker delivered it."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Device:
    """A gateway that has enrolled."""

    device: str
    center: str
    public_key: bytes
    enrolled_ms: int
    revoked_ms: int | None


@dataclass(frozen=True, slots=True)
class SpeedRequestReceived:
    """A wish for a turn at a measurement server, signed by its gateway."""

    device: Device
    ask: wire.Ask


Finding = Literal[
    # a message that cannot be trusted or framed
    "wrong_topic", "unframed", "unknown_device", "revoked_device", "bad_signature", "too_many_gaps", "broken",
    "ask_clone", "ask_bad_id", "ask_not_yours", "ask_too_big", "ask_too_many",
    # more than is taken of one gateway (collector.store.quotas; collector.access.floods)
    "over_quota", "flood",
    # a measurement server's record
    "unknown_server", "revoked_server", "record_conflict",
    # a broker's clients
    "forbidden_topic", "clone", "flapping",
    # what a gateway signed itself
    "equivocation", "fork",
    # what the collector lacks of what a gateway numbered
    "hole", "went_back", "older_journal", "lost_by_us",
    # a time before its gateway's enrolment, or before what it had sent already; a spool that follows another one
    "past", "new_spool",
    # a speed test that its server contradicts (collector.judging.flags.witness.FINDINGS)
    "disagrees", "replayed", "not_granted_to_this_device", "lan_server",
    # one that its server saw and no reading speaks for (collector.judging.server_samples)
    "unreported",
    # what the roll calls of several centers say together (collector.judging.shared_seats)
    "shared_seat",
    # what does not fit of the places of gateways (collector.judging.places)
    "shared_address", "shared_machine", "shared_router", "other_network", "vpn", "hotspot", "other_line",
    "new_network", "moved", "virtual",
    # what seats and UPSs say that no real ones do (collector.judging.patterns)
    "twin_seats", "one_boot", "one_machine", "one_address", "virtual_seats",
    "ups_frozen", "ups_unloaded", "ups_never_cut", "ups_contradicted", "repeated_values",
    # a question at a moment that nobody could know, without an answer (collector.judging.challenges)
    "challenge_missed",
    # tests that get a better way than files, and files that are hardly ever fetched (collector.judging.fast_lane)
    "fast_lane", "fetch_missed",
    # what speed engines say of one line on one day (collector.judging.engines)
    "engines_disagree",
    # what is stored of a center otherwise than it was signed (collector.reports.audit)
    "evidence_altered",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeviceFinding:
    """What is wrong with what a gateway did, and why. Whose it is stays empty if unknown."""

    device: str
    finding: Finding
    detail: Reason
    center: str = ""


class MessageRefused(CodedError):
    """A message that cannot be trusted or framed, as what it is counted and recorded, and why."""

    def __init__(self, finding: Finding, reason: Reason, device: str = "") -> None:
        super().__init__(reason)
        self.finding: Finding = finding
        self.device = device


MAX_DETAIL = 300  # characters of what a decoder says of bytes it refuses


def printable(text: str, limit: int = MAX_DETAIL) -> str:
    """What strangers sent, fit to be kept and shown."""
    text = text[:limit]
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def one_line(text: str, limit: int = MAX_DETAIL) -> str:
    """What a person wrote, fit to be kept and shown: on one line, its spaces single."""
    return printable(" ".join(text.split()), limit)


def unframed(error: wire.WireError) -> Reason:
    """What the decoder says of bytes that are no message of this contract."""
    return Reason.of("refused.unframed", text=printable(str(error)))
