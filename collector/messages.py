"""What passes between the rooms of the collector: messages as the broker has them, and who sent them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from agent import wire


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


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with what a gateway did: a short fixed word and a sentence. Whose it is stays empty if unknown."""

    device: str
    finding: str
    detail: str
    center: str = ""


class MessageRefused(Exception):
    """A message that cannot be trusted or framed: `finding` is a short fixed word, `reason` a sentence."""

    def __init__(self, finding: str, reason: str, device: str = "") -> None:
        super().__init__(reason)
        self.finding = finding
        self.reason = reason
        self.device = device
