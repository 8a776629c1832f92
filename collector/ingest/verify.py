"""From bytes on a topic to a batch or an ask that is proven to come from a known gateway. Everything is hostile until
then."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from agent import pack, wire
from agent.common.reasons import Reason
from collector.access.enrolment import is_signed
from collector.common.messages import Device, Message, MessageRefused, SpeedRequestReceived, printable, unframed
from collector.common.sequence_ranges import ChainedRun, run_of

DEVICE = re.compile(r"[a-z0-9-]{1,64}")

Verify = Callable[[bytes, bytes, bytes], bool]  # (public key, body, signature)
StampedReading = tuple[wire.Reading, wire.Stamp]


@dataclass(frozen=True, slots=True)
class AddressedMessage:
    """A message with the device whose topic it came by: empty when the topic can be nobody's."""

    message: Message
    device: str
    is_ask: bool


@dataclass(frozen=True)
class VerifiedBatch:
    """A batch signed by its gateway. `readable` is false when it is of a version that is held but not understood."""

    device: Device
    batch: wire.Batch
    body: bytes
    signature: bytes
    raws: tuple[bytes, ...]
    run: ChainedRun
    readable: bool

    @cached_property
    def readings(self) -> tuple[StampedReading | wire.WireError, ...]:
        """Decoded in the order of `raws`, or why that is not possible. To be used of a readable batch."""
        return tuple(_stamped(raw) for raw in self.raws)


def addressed(message: Message) -> AddressedMessage:
    try:
        device = wire.device_of(message.topic)
    except wire.WireError:
        device = ""
    asks = message.topic == wire.ask_topic(device)
    named = DEVICE.fullmatch(device) is not None and (asks or message.topic == wire.batch_topic(device))
    return AddressedMessage(message, device, asks) if named else AddressedMessage(message, "", False)


def open_message(message: AddressedMessage, known: Mapping[str, Device], verify: Verify = is_signed) -> VerifiedBatch:
    """A batch. Raises MessageRefused."""
    return _decoded(*_proven(message, known, wire.MAX_BATCH_BYTES, verify))


def open_ask(
    message: AddressedMessage, known: Mapping[str, Device], verify: Verify = is_signed
) -> SpeedRequestReceived:
    """A request for a test. Raises MessageRefused."""
    device, body, _ = _proven(message, known, wire.MAX_ASK_BYTES, verify)
    try:
        ask = wire.decode_ask(body)
    except wire.WireError as error:
        raise MessageRefused("unframed", unframed(error), device.device) from None
    if ask.device != device.device:
        raise _other_device(device, ask.device)
    return SpeedRequestReceived(device, ask)


def _proven(
    sent: AddressedMessage, known: Mapping[str, Device], limit: int, verify: Verify
) -> tuple[Device, bytes, bytes]:
    """(sender, body, signature). Sizes first, then who it is, then the signature; only then may anything be decoded."""
    message, name = sent.message, sent.device
    if not name:
        reason = Reason.of("refused.topic", topic=printable(message.topic, 80), asked=wire.batch_topic("DEVICE"))
        raise MessageRefused("wrong_topic", reason)
    try:
        body, signature = (wire if sent.is_ask else pack).unseal(message.payload, limit)
    except wire.WireError as error:
        raise MessageRefused("unframed", unframed(error), name if name in known else "") from None
    device = known.get(name)
    if device is None:
        raise MessageRefused("unknown_device", Reason.of("refused.unknown_device", device=name))
    if device.revoked_ms is not None:
        raise MessageRefused("revoked_device", Reason.of("refused.revoked_device", device=name), name)
    if not verify(device.public_key, body, signature):
        raise MessageRefused("bad_signature", Reason.of("refused.bad_signature", device=name), name)
    return device, body, signature


def _decoded(device: Device, body: bytes, signature: bytes) -> VerifiedBatch:
    try:
        batch = wire.decode_frame(body)
    except wire.WireError as error:
        raise MessageRefused("unframed", unframed(error), device.device) from None
    if batch.device != device.device:
        raise _other_device(device, batch.device)
    if batch.last_seq > 2**53:
        raise MessageRefused("unframed", Reason.of("refused.sequence_limit", number=str(batch.last_seq)), device.device)
    raws = tuple(bytes(raw) for raw in batch.readings)
    run = run_of(batch.first_seq, batch.prev, raws)
    return VerifiedBatch(device, batch, body, signature, raws, run, readable=batch.v == wire.VERSION)


def _other_device(device: Device, named: str) -> MessageRefused:
    """A gateway may speak for itself alone."""
    reason = Reason.of("refused.other_device", device=device.device, other=printable(named))
    return MessageRefused("wrong_topic", reason, device.device)


def _stamped(raw: bytes) -> StampedReading | wire.WireError:
    try:
        reading = wire.decode_reading(raw)
    except wire.WireError as error:
        return error.with_traceback(None)
    return wire.WireError("reading: has no stamp") if reading.at is None else (reading, reading.at)
