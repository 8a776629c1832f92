"""Bytes made from good ones by a few edits: cut, filled in, repeated, spliced. Hypothesis chooses and shrinks them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import hypothesis
from hypothesis import strategies as st

Edit = tuple[int, int, bytes | None, int]  # (where, how many go, what comes, how often); None: what stood there

STUFF = (
    b"", b"\0", b"\xff", b"\x80", b"0", b"9", b"-", b".", b":", b"/", b" ", b"\n", b"\r\n", b'"', b"'", b"\\", b"[",
    b"{", b"[[", b"{a=", b'{"a":', b"0x", b"1e999", b"nan", b"NaN", b"null", b"true", b"\\ud800", b"\\u0000", b"-1",
    b"\\n", "\u0661".encode(), "\u0679".encode(), "\u2028".encode(), b"2025-02-30",
    b"\x30\x82", b"\x30\x84\xff\xff\xff\xff",
)  # fmt: skip
TIMES = (1, 1, 1, 1, 2, 40, 6000)
LONGEST = 80_000  # more than any way in takes

edits = st.lists(
    st.tuples(
        st.integers(0, 2**16),
        st.integers(0, 40),
        st.one_of(st.none(), st.sampled_from(STUFF), st.binary(max_size=4)),
        st.sampled_from(TIMES),
    ),
    min_size=1,
    max_size=5,
)


def edited(data: bytes, changes: Sequence[Edit]) -> bytes:
    for where, gone, stuff, times in changes:
        digits = [
            place for place, octet in enumerate(data) if octet in b"0123456789"
        ]  # numbers are few, and weak spots
        at = digits[where % len(digits)] if digits and where % 3 == 0 else where % (len(data) + 1)
        before, there, after = data[:at], data[at : at + gone], data[at + gone :]
        data = (before + (there if stuff is None else stuff) * times + after)[:LONGEST]
    return data


@dataclass
class Meter:
    """A harness that counts, and remembers the input that took longest."""

    one: Callable[[bytes], None]
    runs: int = 0
    slowest_s: float = 0.0
    slowest: bytes = b""

    def __call__(self, data: bytes) -> None:
        began_s = time.perf_counter()
        self.runs += 1
        self.one(data)
        took_s = time.perf_counter() - began_s
        if took_s > self.slowest_s:
            self.slowest_s, self.slowest = took_s, data

    def __str__(self) -> str:
        start = f"{self.slowest[:40]!r}{'…' if len(self.slowest) > 40 else ''}"
        return f"{self.runs} runs, slowest {self.slowest_s * 1000:.1f} ms ({len(self.slowest)} bytes: {start})"


def play(one: Callable[[bytes], None], corpus: Sequence[bytes], runs: int, seed: int) -> Meter:
    """The corpus as it is, then `runs` mutants of it. Raises what the harness raises, for the smallest input found."""
    meter = Meter(one)
    for data in corpus:
        meter(data)

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=runs,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.sampled_from(corpus), edits)
    def mutants(start: bytes, changes: Sequence[Edit]) -> None:
        data = edited(start, changes)
        hypothesis.note(f"{len(data)} bytes: {data[:400]!r}")
        meter(data)

    mutants()
    return meter
