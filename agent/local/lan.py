"""The gateway's listener on the LAN: accepts seat snapshots by ``POST /seat`` and nothing else.

Order of the checks, cheapest first, so that a hostile PC costs little: rate and number of connections, size, MAC,
shape, rate of the seat, time window, replay, registry. Only what carries a key of this center gets past the third.

Two kinds of key: the center's lets a PC in; once it is approved, seat and gateway agree on a key of its own (see
agent.seat.keys), and from its first use on nobody speaks for that seat without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path

from agent.common.errors import describe
from agent.common.releases import signers
from agent.common.releases.trial import Release
from agent.common.releases.version import is_older
from agent.common.tcp.http_server import HttpRefused, RateLimiter
from agent.local import http
from agent.probes.seats.registry import Registry, RegistryFull
from agent.seat import keys
from agent.seat import snapshot as contract

WINDOW_MS = 120_000  # how far a seat's clock may be from the gateway's
MAX_NONCES = 20_000  # 500 seats, every 6 s, for a window on either side
LIMITS = http.HttpLimits(body_bytes=contract.MAX_BYTES + 65)
SEAT_RATE_PER_S, SEAT_BURST, MAX_PACED_SEATS = 0.5, 20.0, 1024  # a seat; else one could use up all nonces

Clock = Callable[[], int]
HandedOn = Callable[[], tuple[Release, Path] | None]  # the release that seats may have, and its file


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def mono_ms() -> int:
    return time.monotonic_ns() // 1_000_000


async def listen(
    registry: Registry,
    address: str,
    seat_key: bytes,
    handed_on: HandedOn = lambda: None,
    *,
    seen: Path = Path(),
    conditions: bool = False,
    wall: Clock = wall_ms,
    mono: Clock = mono_ms,
) -> asyncio.Server:
    """Listens on ``HOST:PORT`` and enters the seats' snapshots into ``registry`` (by monotonic milliseconds).
    With ``conditions`` seats are asked for theirs. ``seen`` is the folder of what this gateway saw last in its
    repository of releases: seats verify by it.

    Raises ValueError for an address that is none, OSError when it cannot be listened on.
    """
    listener = _SeatListener(registry, seat_key, handed_on, wall, mono, seen=seen, conditions=conditions)
    return await http.serve(address, listener.handle, LIMITS)


class Nonces:
    """Remembers each nonce for as long as its message would pass the time window; bounded."""

    def __init__(self, limit: int = MAX_NONCES) -> None:
        self.limit = limit
        self.seen: OrderedDict[str, int] = OrderedDict()  # nonce: received at, oldest first

    def is_fresh(self, nonce: str, now_ms: int) -> bool:
        """True once for each nonce. False too when there is no room: better one snapshot lost than one replayed."""
        while self.seen and now_ms - next(iter(self.seen.values())) > 2 * WINDOW_MS:
            self.seen.popitem(last=False)
        if nonce in self.seen or len(self.seen) >= self.limit:
            return False
        self.seen[nonce] = now_ms
        return True


class _SeatListener:
    def __init__(
        self,
        registry: Registry,
        key: bytes,
        handed_on: HandedOn,
        wall: Clock,
        mono: Clock,
        *,
        seen: Path = Path(),
        conditions: bool = False,
    ) -> None:
        self.seen, self.conditions = seen, conditions
        self.registry, self.key, self.handed_on, self.wall, self.mono = registry, key, handed_on, wall, mono
        self.nonces = Nonces()
        self.rate = RateLimiter(SEAT_RATE_PER_S, SEAT_BURST, MAX_PACED_SEATS)

    async def handle(self, request: http.HttpRequest) -> http.HttpAnswer:
        if request.path not in ("/seat", "/release", "/signed-list"):
            raise HttpRefused(404, "only POST /seat is accepted here")
        if request.method != "POST":
            raise HttpRefused(405, "only POST /seat is accepted here")
        claimed = contract.claimed_id(request.body)
        if request.path != "/seat":
            return await self.program(request, claimed)
        try:
            body, key = self.opened(request.body, claimed)
        except contract.SnapshotError as error:
            raise HttpRefused(401, str(error)) from None
        try:
            snapshot = contract.decode(body)
        except contract.SnapshotError as error:
            raise HttpRefused(400, str(error)) from None
        if snapshot.id != claimed:  # the key was looked up by the claim: it must be what is read, too
            raise HttpRefused(400, "snapshot: `v` and `id` must come first, in this order")
        problem = self.take(snapshot, key, request.peer)
        hand = "" if problem else self.hand(snapshot, key)
        release = "" if problem or key == self.key else self.offered(snapshot)
        answer = contract.GatewayReply(
            nonce=snapshot.nonce, ok=not problem, now_ms=self.wall(), error=problem, hand=hand, release=release,
            conditions=self.conditions,
        )  # fmt: skip
        sealed = contract.seal(contract.encode_answer(answer), key, contract.ANSWER)
        return http.HttpAnswer(status=403 if problem else 200, body=sealed)

    def offered(self, snapshot: contract.Snapshot) -> str:
        """Only to a seat under its own key: whoever has the center's could pose as this gateway."""
        offer = self.handed_on()
        if offer is None or not is_older(snapshot.version, offer[0].version):
            return ""
        return f"{offer[0].version} {offer[0].digest}"

    async def program(self, request: http.HttpRequest, claimed: str) -> http.HttpAnswer:
        """The file of the release, or the signed list that it is in, for a seat under its own key."""
        for key in self.registry.keys_of(claimed):
            with contextlib.suppress(contract.SnapshotError):
                digest = contract.decode_wish(contract.unseal(request.body, key, contract.WISH))
                break
        else:
            raise HttpRefused(401, "the signature is not made with a key of this seat's own")
        if not self.rate.admits(claimed, self.mono() / 1000):
            raise HttpRefused(429, "this seat sends too often")
        offer = self.handed_on()
        if offer is None or offer[0].digest != digest:
            raise HttpRefused(404, "there is no such release here")
        read = offer[1].read_bytes if request.path == "/release" else partial(signers.collect, self.seen)
        try:
            content = await asyncio.to_thread(read)  # half a megabyte
        except OSError as error:
            raise HttpRefused(404, f"the release cannot be handed on: {describe(error)}") from None
        return http.HttpAnswer(status=200, body=content, kind="application/octet-stream")

    def opened(self, payload: bytes, claimed: str) -> tuple[bytes, bytes]:
        """(body, the key it is sealed under). Raises SnapshotError."""
        for key in self.registry.keys_of(claimed):
            with contextlib.suppress(contract.SnapshotError):
                return contract.unseal(payload, key, contract.SNAPSHOT), key
        return contract.unseal(payload, self.key, contract.SNAPSHOT), self.key

    def hand(self, snapshot: contract.Snapshot, key: bytes) -> str:
        """Our half of the seat's own key, when it is approved, requests one and has none."""
        if key != self.key or not snapshot.hand or not self.registry.seats[snapshot.id].approved:
            return ""
        secret = keys.make_secret()
        try:
            own = keys.agree(secret, snapshot.hand, self.key, snapshot.id)
        except ValueError:
            return ""
        self.registry.offer(snapshot.id, own)
        return keys.half(secret)

    def take(self, snapshot: contract.Snapshot, key: bytes, address: str) -> str:
        """Why the snapshot was not taken, or nothing."""
        if key == self.key and self.is_keyed(snapshot.id):
            self.registry.intruded(snapshot.id, self.mono())
            return (
                "key: this seat has a key of its own; if it was installed anew, `nabz-agent seats approve` accepts it"
            )
        if not self.rate.admits(snapshot.id, self.mono() / 1000):
            return "rate: this seat sends too often; once in 5 seconds is the limit"
        if abs(snapshot.at_ms - self.wall()) > WINDOW_MS:
            return "clock: this seat's clock differs from the gateway's; count from `now_ms`"
        if not self.nonces.is_fresh(snapshot.nonce, self.mono()):
            return "replay: this nonce was used before"
        try:
            self.registry.take(snapshot, self.mono(), address)
        except RegistryFull as full:
            return str(full)
        if key != self.key:
            self.registry.proved(snapshot.id, key)
        return ""

    def is_keyed(self, seat_id: str) -> bool:
        seat = self.registry.seats.get(seat_id)
        return seat is not None and seat.key is not None
