"""WebSocket frames (RFC 6455), as both ends of an ndt7 speed test need them. Pure.

What carries the load is never kept, copied or unmasked: it is random, and only its size counts. A library would hand
over whole messages, which ndt7 lets grow to 16 MiB each.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, PROTOCOL_ERROR, POLICY, TOO_BIG = 1000, 1002, 1008, 1009
MESSAGE_BYTES = 1 << 24  # the largest an ndt7 receiver has to take
TEXT_BYTES = 64 * 1024
CONTROL_BYTES = 125
SPARE_FRAMES, LEAST_LOAD = 2000, 1 << 9  # each frame costs us; beyond these it has to carry so much
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class FrameError(ValueError):
    """Bytes that are no frame of ours to take; `code` is the status to close with."""

    def __init__(self, why: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class FrameMessage:
    """A text or control message, unmasked. The load itself makes none."""

    opcode: int
    payload: bytes


def accept(key: str) -> str:
    """What a server answers to a client's Sec-WebSocket-Key (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()).decode()


def head(opcode: int, size: int, mask: bytes = b"") -> bytes:
    """The head of a whole message of `size` bytes. With a mask, random bytes sent after it are random once unmasked."""
    masked = 0x80 if mask else 0
    if size <= CONTROL_BYTES:
        return bytes((0x80 | opcode, masked | size)) + mask
    if size < 1 << 16:
        return bytes((0x80 | opcode, masked | 126)) + size.to_bytes(2, "big") + mask
    return bytes((0x80 | opcode, masked | 127)) + size.to_bytes(8, "big") + mask


def message(opcode: int, payload: bytes, *, masked: bool) -> bytes:
    """A small message in one frame."""
    mask = os.urandom(4) if masked else b""
    return head(opcode, len(payload), mask) + _unmasked(payload, mask)


def closing(code: int, why: str = "", *, masked: bool) -> bytes:
    return message(CLOSE, code.to_bytes(2, "big") + why.encode()[: CONTROL_BYTES - 2], masked=masked)


class Reader:
    """Takes a connection's bytes as they come. `masked` says what the other end has to do (clients must mask).
    `load` counts the payload bytes of binary messages so far."""

    def __init__(self, *, masked: bool) -> None:
        self.masked = masked
        self.load = self.frames = 0
        self.begun = bytearray()  # of a frame's head
        self.missing = 0  # of the current frame's payload
        self.opcode = 0
        self.final = True
        self.mask = b""
        self.kept = bytearray()
        self.open = 0  # the opcode of a message whose last fragment has not come; 0: none
        self.size = 0  # of that message so far
        self.text = bytearray()

    @property
    def expects(self) -> int:
        """So many bytes at least are still to come before a frame is complete."""
        return self.missing or 2 - min(1, len(self.begun))

    def feed(self, data: bytes | memoryview) -> list[FrameMessage]:
        """The messages that these bytes complete. Raises FrameError."""
        messages, view = [], memoryview(data)
        while view:
            if not self.missing:
                self._check_count()
                view = self._take_head(view)
            view = self._take_payload(view)
            done = self._ended()
            if done is not None:
                messages.append(done)
        return messages

    def _check_count(self) -> None:
        if not self.begun:
            self.frames += 1
        if self.frames > SPARE_FRAMES + self.load // LEAST_LOAD:
            raise FrameError("more small frames than a measurement needs", POLICY)

    def _take_head(self, view: memoryview) -> memoryview:
        """Adds to the head; what is left of the bytes. The frame's fields are set once the head is complete."""
        while view and len(self.begun) < self._head_bytes():
            need = self._head_bytes() - len(self.begun)
            self.begun += view[:need]
            view = view[need:]
        if len(self.begun) >= 2 and len(self.begun) == self._head_bytes():
            self._start(bytes(self.begun))
        return view

    def _head_bytes(self) -> int:
        if len(self.begun) < 2:
            return 2
        return 2 + {126: 2, 127: 8}.get(self.begun[1] & 0x7F, 0) + (4 if self.begun[1] & 0x80 else 0)

    def _start(self, begun: bytes) -> None:
        size, at = begun[1] & 0x7F, 2
        if size >= 126:
            at = 4 if size == 126 else 10
            size = int.from_bytes(begun[2:at], "big")
        self.final, self.opcode, self.mask = bool(begun[0] & 0x80), begun[0] & 0x0F, begun[at:]
        self._check(bool(begun[0] & 0x70), bool(begun[1] & 0x80), size)
        self.missing = size

    def _check(self, reserved: bool, masked: bool, size: int) -> None:
        if reserved or self.opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise FrameError("a frame of a kind that was not agreed on")
        if masked != self.masked:
            raise FrameError("a client has to mask its frames, a server must not")
        if self.opcode >= CLOSE:
            if size > CONTROL_BYTES or not self.final:
                raise FrameError(f"a control frame is whole and has at most {CONTROL_BYTES} bytes")
            return
        if (self.opcode == CONTINUATION) != bool(self.open):
            raise FrameError("a message begins once, and its fragments follow each other")
        self.open = self.open or self.opcode
        self.size += size
        most = TEXT_BYTES if self.open == TEXT else MESSAGE_BYTES
        if self.size > most:
            raise FrameError(f"a message of this kind may have {most} bytes", TOO_BIG)

    def _take_payload(self, view: memoryview) -> memoryview:
        taken = view[: self.missing]
        if self.opcode < CLOSE and self.open == BINARY:
            self.load += len(taken)
        else:
            self.kept += taken
        self.missing -= len(taken)
        return view[len(taken) :]

    def _ended(self) -> FrameMessage | None:
        """Closes a frame that is complete; the message it completes, if that is one to hand over."""
        if self.missing or len(self.begun) < 2 or len(self.begun) < self._head_bytes():
            return None
        payload, opcode = _unmasked(bytes(self.kept), self.mask), self.opcode
        self.begun.clear()
        self.kept.clear()
        if opcode >= CLOSE:
            return FrameMessage(opcode=opcode, payload=payload)
        kind = self.open
        self.text += payload
        if not self.final:
            return None
        text = bytes(self.text)
        self.text.clear()
        self.open = self.size = 0
        return FrameMessage(opcode=TEXT, payload=text) if kind == TEXT else None


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    if not mask:
        return payload
    stream = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")
