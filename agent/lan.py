"""The gateway's ear on the LAN: takes seat snapshots by ``POST /seat`` and nothing else.

Order of the checks, cheapest first, so that a hostile PC costs little: pace and number of connections, size, MAC,
shape, time window, replay, roll. Only what carries this center's seat key gets past the third.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from agent import http1
from agent.probes.roll import Roll, RollFull
from agent.seat import snapshot as contract

WINDOW_MS = 120_000  # how far a seat's clock may be from the gateway's
MAX_NONCES = 20_000  # 500 seats, every 6 s, for a window on either side
LIMITS = http1.Limits(body_bytes=contract.MAX_BYTES + 65)

Clock = Callable[[], int]


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def mono_ms() -> int:
    return time.monotonic_ns() // 1_000_000


async def listen(
    roll: Roll, address: str, seat_key: bytes, *, wall: Clock = wall_ms, mono: Clock = mono_ms
) -> asyncio.Server:
    """Listens on ``HOST:PORT`` and enters what seats say into ``roll`` (by monotonic milliseconds).

    Raises ValueError for an address that is none, OSError when it cannot be listened on.
    """
    ear = _Ear(roll, seat_key, wall, mono)
    return await http1.serve(address, ear.hear, LIMITS)


class Nonces:
    """Remembers each nonce for as long as its message would pass the time window; bounded."""

    def __init__(self, most: int = MAX_NONCES) -> None:
        self.most = most
        self.seen: OrderedDict[str, int] = OrderedDict()  # nonce: heard at, oldest first

    def is_fresh(self, nonce: str, now_ms: int) -> bool:
        """True once for each nonce. False too when there is no room: better one snapshot lost than one replayed."""
        while self.seen and now_ms - next(iter(self.seen.values())) > 2 * WINDOW_MS:
            self.seen.popitem(last=False)
        if nonce in self.seen or len(self.seen) >= self.most:
            return False
        self.seen[nonce] = now_ms
        return True


class _Ear:
    def __init__(self, roll: Roll, key: bytes, wall: Clock, mono: Clock) -> None:
        self.roll, self.key, self.wall, self.mono = roll, key, wall, mono
        self.nonces = Nonces()

    async def hear(self, request: http1.Request) -> http1.Answer:
        if request.path != "/seat":
            raise http1.Refused(404, "only POST /seat is heard here")
        if request.method != "POST":
            raise http1.Refused(405, "only POST /seat is heard here")
        try:
            body = contract.unseal(request.body, self.key, contract.SNAPSHOT)
        except contract.SnapshotError as error:
            raise http1.Refused(401, str(error)) from None
        try:
            snapshot = contract.decode(body)
        except contract.SnapshotError as error:
            raise http1.Refused(400, str(error)) from None
        problem = self.take(snapshot)
        answer = contract.Answer(nonce=snapshot.nonce, ok=not problem, now_ms=self.wall(), error=problem)
        sealed = contract.seal(contract.encode_answer(answer), self.key, contract.ANSWER)
        return http1.Answer(status=403 if problem else 200, body=sealed)

    def take(self, snapshot: contract.Snapshot) -> str:
        """Why the snapshot was not taken, or nothing."""
        if abs(snapshot.at_ms - self.wall()) > WINDOW_MS:
            return "clock: this seat's clock differs from the gateway's; count from `now_ms`"
        if not self.nonces.is_fresh(snapshot.nonce, self.mono()):
            return "replay: this nonce was heard before"
        try:
            self.roll.take(snapshot, self.mono())
        except RollFull as full:
            return str(full)
        return ""
