"""Who gets a turn at a measurement server, and when. Pure: `now` is an argument, every answer has its reason.

1. A gateway asks, the desk asks, or a missed figure asks for a second opinion; each wish is for one server.
2. Turns are given by purpose and by waiting time, never more at once than a server has places, one a gateway.
3. Whoever has waited long goes first whatever the purpose, so that nobody starves.

No figure here is official: they bound what a fleet may ask of its servers and its lines.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agent import wire

MINUTE_MS, DAY_MS = 60_000, 86_400_000
START_MS = 90_000  # a test must begin so soon after its turn was given
HOLD_MS = START_MS + 150_000  # and a turn nobody hears the end of holds its place for as long as a test may take
TAIL_MS = 6_000  # a server holds a test for a while after its last byte, and so does its place here
PATIENCE_MS = 10 * MINUTE_MS
MOST_WAIT_MS = 120 * MINUTE_MS  # a wish is kept no longer than this, whatever it says
MOST_BYTES = 2 * 1024**3  # of one test, both ways
FIRST = {"desk": 0, "retest": 1}  # the others come after them

# What one gateway may ask for within a day: a test a slot with one at start and one spare, as many retests, a few by
# hand. The desk and the collector ask for the others themselves.
ASKS_A_DAY: Mapping[wire.Purpose, int] = {"routine": 6, "retest": 6, "manual": 4}
DESK_A_DAY = 12  # for one center
RETESTS_A_DAY = 6

TEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

State = Literal["asked", "granted", "done", "expired", "refused"]
Reason = Literal["your_turn", "running", "server_full", "gateway_busy", "too_late", "no_result", "server_gone"]
AskReason = Literal["ok", "bad_id", "not_yours", "too_big", "late", "too_many"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlaces:
    """A measurement server as the pacer needs it. `tests_at_once` is how many it may run together."""

    name: str
    tests_at_once: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRequest:
    """A wish that waits (``asked``), a turn that has been given (``granted``), or one just over (``done``).

    `expires_ms` is when the first two end by themselves, `closed_ms` when the last one did.
    """

    test_id: str
    device: str
    server: str
    purpose: str
    asked_ms: int
    expires_ms: int
    state: State
    closed_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    test_id: str
    state: State
    reason: Reason


def decide(turns: Iterable[TestRequest], servers: Mapping[str, ServerPlaces], now_ms: int) -> list[Decision]:
    """What becomes of each turn now: one decision for each that is not over, those that wait with the reason."""
    turns = [turn for turn in turns if not _is_over(turn, now_ms)]
    decisions = [ended for turn in turns if (ended := _ended(turn, servers, now_ms))]
    left = {decision.test_id for decision in decisions}
    held = [turn for turn in turns if turn.state != "asked" and turn.test_id not in left]
    running = Counter(turn.server for turn in held)
    busy = {turn.device for turn in held}
    decisions += [Decision(turn.test_id, turn.state, "running") for turn in held]
    waiting = (turn for turn in turns if turn.state == "asked" and turn.test_id not in left)
    for turn in sorted(waiting, key=lambda turn: place(turn, now_ms)):
        if running[turn.server] >= servers[turn.server].tests_at_once:
            decisions.append(Decision(turn.test_id, "asked", "server_full"))
        elif turn.device in busy:
            decisions.append(Decision(turn.test_id, "asked", "gateway_busy"))
        else:
            running[turn.server] += 1
            busy.add(turn.device)
            decisions.append(Decision(turn.test_id, "granted", "your_turn"))
    return decisions


def _is_over(turn: TestRequest, now_ms: int) -> bool:
    return turn.closed_ms is not None and turn.closed_ms <= now_ms - TAIL_MS


def place(turn: TestRequest, now_ms: int) -> tuple[int, int, str]:
    """Where a wish stands in the queue, least first. Long waiting outweighs the purpose."""
    starving = now_ms - turn.asked_ms >= PATIENCE_MS
    return (-1 if starving else FIRST.get(turn.purpose, len(FIRST)), turn.asked_ms, turn.test_id)


def _ended(turn: TestRequest, servers: Mapping[str, ServerPlaces], now_ms: int) -> Decision | None:
    if turn.state == "done":
        return None
    if turn.expires_ms <= now_ms:
        return Decision(turn.test_id, "expired", "no_result" if turn.state == "granted" else "too_late")
    if turn.server not in servers:
        return Decision(turn.test_id, "refused", "server_gone")
    return None


# ---------------------------------------------------------------- asking


def may_ask(ask: wire.Ask, counts: Mapping[str, int], now_ms: int) -> AskReason:
    """Whether a gateway's wish is taken. `asked` counts what it asked for within a day, by purpose."""
    if TEST_ID.fullmatch(ask.id) is None:
        return "bad_id"
    if ask.purpose not in ASKS_A_DAY:
        return "not_yours"
    if ask.expected_bytes > MOST_BYTES:
        return "too_big"
    if ask.expires_ms <= now_ms:
        return "late"
    return "ok" if counts.get(ask.purpose, 0) < ASKS_A_DAY[ask.purpose] else "too_many"


# ---------------------------------------------------------------- servers


def home(center: str, servers: Sequence[ServerPlaces], avoid: str = "") -> ServerPlaces | None:
    """The server of a center's tests: always the same while servers stay, so that its figures can be compared; shared
    out by their places (weighted rendezvous hashing). Another than `avoid`, if there is one; None without servers."""
    others = [server for server in servers if server.name != avoid] or servers
    return max(others, key=lambda server: _draw(center, server), default=None)


def _draw(center: str, server: ServerPlaces) -> tuple[float, str]:
    digest = hashlib.sha256(f"{center}\0{server.name}".encode()).digest()
    share = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 1)
    return -server.tests_at_once / math.log(share), server.name


def places(bandwidth_mbps: float, line_mbps: float) -> int:
    """How many tests a server runs at once: as many of its centers' fastest lines as its own line carries, at least
    one. Then no test measures the server instead of the center."""
    return max(1, int(bandwidth_mbps // line_mbps))
