"""WebSocket frames: against a well-kept library in both directions, in every cut, and against hostile bytes."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from agent.common.tcp import websocket_frames
from agent.common.tcp.websocket_frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, FrameError, FrameMessage, Reader


def theirs(opcode: int, payload: bytes, *, masked: bool, final: bool = True) -> bytes:
    return Frame(Opcode(opcode), payload, fin=final).serialize(mask=masked)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
def test_what_a_library_frames_is_read_and_the_load_only_counted(size: int, masked: bool) -> None:
    reader = Reader(masked=masked)
    sent = theirs(BINARY, os.urandom(size), masked=masked) + theirs(TEXT, b'{"a":1}', masked=masked)
    assert reader.feed(sent) == [FrameMessage(opcode=TEXT, payload=b'{"a":1}')]
    assert reader.load == size
    assert (len(reader.kept), len(reader.text)) == (0, 0)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 1 << 20])
def test_our_heads_are_those_of_a_library(size: int) -> None:
    payload = bytes(size)
    assert websocket_frames.head(BINARY, size) + payload == theirs(BINARY, payload, masked=False)
    ours = websocket_frames.head(BINARY, size, b"abcd")
    assert ours == theirs(BINARY, payload, masked=True)[: len(ours) - 4] + b"abcd"


@given(st.randoms(use_true_random=False), st.booleans())
def test_where_the_network_cuts_the_bytes_does_not_matter(dice: random.Random, masked: bool) -> None:
    sent, expected, load = b"", [], 0
    for _ in range(dice.randint(1, 6)):
        kind, size = dice.choice((BINARY, TEXT, PING)), dice.choice((0, 3, 125, 126, 1000))
        payload = dice.randbytes(min(size, 125) if kind == PING else size)
        parts = 1 if kind == PING else dice.randint(1, 3)
        for part in range(parts):
            piece = payload[part * size // parts : (part + 1) * size // parts] if parts > 1 else payload
            opcode = kind if part == 0 else CONTINUATION
            sent += theirs(opcode, piece, masked=masked, final=part == parts - 1)
            if part < parts - 1:
                sent += theirs(PING, b"", masked=masked)
                expected.append(FrameMessage(opcode=PING, payload=b""))
        load += size if kind == BINARY else 0
        expected += [FrameMessage(opcode=kind, payload=payload)] if kind != BINARY else []
    reader, found, at = Reader(masked=masked), [], 0
    while at < len(sent):
        step = dice.randint(1, 200)
        assert reader.expects <= len(sent) - at  # so many do come: whoever waits for them does not wait in vain
        found += reader.feed(sent[at : at + step])
        at += step
    assert (found, reader.load) == (expected, load)


def test_the_answer_to_a_key_is_that_of_the_standards_example() -> None:
    assert websocket_frames.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_closing_has_its_code_and_fits() -> None:
    (frame,) = Reader(masked=True).feed(websocket_frames.closing(1009, "x" * 300, masked=True))
    assert frame == FrameMessage(opcode=CLOSE, payload=(1009).to_bytes(2, "big") + b"x" * 123)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\xc2\x80abcd", 1002),  # a reserved bit
        (b"\x83\x80abcd", 1002),  # an opcode of nobody
        (b"\x82\x01x", 1002),  # not masked
        (b"\x89\xfe\x00\x7e", 1002),  # a ping of 126 bytes
        (b"\x09\x80abcd", 1002),  # half a ping
        (b"\x80\x80abcd", 1002),  # goes on with nothing
        (b"\x02\x80abcd\x82\x80abcd", 1002),  # begins twice
        (b"\x82\xff\x00\x00\x00\x00\x01\x00\x00\x01abcd", 1009),
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xffabcd", 1009),
        (b"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x01abcd", 1009),
    ],
)
def test_what_is_no_frame_of_ours_is_refused_with_its_code(sent: bytes, code: int) -> None:
    with pytest.raises(FrameError) as caught:
        Reader(masked=True).feed(sent + bytes(200))
    assert caught.value.code == code


@given(st.lists(st.binary(max_size=40), max_size=20), st.booleans())
def test_no_bytes_crash_it_or_make_it_keep_much(pieces: list[bytes], masked: bool) -> None:
    reader = Reader(masked=masked)
    try:
        for piece in pieces:
            reader.feed(piece)
    except FrameError:
        pass
    assert len(reader.kept) + len(reader.text) <= 40 * 20
