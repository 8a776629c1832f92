"""While the agent runs: looks once a night whether there is a release for it, and sees how the trial of one ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from agent.common.center_time import CENTER_TIME, slot_minutes
from agent.common.logs import Event
from agent.common.releases import launch
from agent.common.releases.trial import Release, ReleaseFolder
from agent.updates.offers import lot
from agent.wire import GatewayReading

LOOKED = Event(__name__, "info", "releases_looked_at", "the repository of releases was looked at",
    key="code", fields="version detail bytes",
)  # fmt: skip
NOT_LOOKED = Event(
    __name__, "warning", "releases_unlooked", "the repository of releases could not be looked at", key="error"
)
NOT_KEPT = Event(
    __name__, "error", "release_unsaved", "how the trial of a release ended cannot be written down", fields="error"
)

CHECK_S = 60.0
TAKE_S = 900.0
TICK_S = 1.0
RECEIPT_S = 300.0  # the uplink is well when the last one is no older
CLOCK_MS = 300_000
MINUTE_MS = 60_000


class TakeReport(msgspec.Struct, frozen=True):
    """What `nabz-agent update take --json` prints."""

    code: str
    version: str = ""
    detail: str = ""
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """``skew_ms`` is how far this machine's clock is from the collector's."""

    on_battery: bool
    since_receipt_s: float
    skew_ms: int

    @property
    def are_good(self) -> bool:
        """Such that a trial that fails is the release's fault, and that signatures are judged by a right clock."""
        return not self.on_battery and self.since_receipt_s <= RECEIPT_S and abs(self.skew_ms) <= CLOCK_MS


def due_ms(now_ms: int, window: str, device: str) -> tuple[int, int]:
    """(moment, end) of today's look, wall clock: every gateway has a moment of its own in the window."""
    start_min, end_min = slot_minutes(window)
    today = datetime.fromtimestamp(now_ms / 1000, CENTER_TIME).replace(hour=0, minute=0, second=0, microsecond=0)
    midnight_ms = round(today.timestamp() * 1000)
    length_ms = (end_min - start_min) * MINUTE_MS
    moment_ms = midnight_ms + start_min * MINUTE_MS + int(lot(today.date().isoformat(), device) * length_ms)
    return moment_ms, midnight_ms + end_min * MINUTE_MS


def is_due(now_ms: int, looked_ms: int, window: str, device: str) -> bool:
    moment_ms, end_ms = due_ms(now_ms, window, device)
    return looked_ms < moment_ms <= now_ms < end_ms


class ReleaseWatch:
    """``ended`` is set when the agent is to start again, with another program. ``take`` looks, and takes what there is;
    it returns the JSON of a TakeReport. ``running`` is the digest of the release that this process runs."""

    def __init__(
        self,
        releases: ReleaseFolder,
        *,
        window: str,
        device: str,
        now_ms: Callable[[], int],
        conditions: Callable[[], Conditions],
        take: Callable[[], Awaitable[bytes]],
        proof_s: float = 90.0,
        end_s: float = 600.0,
        check_s: float = CHECK_S,
        running: str | None = None,
    ) -> None:
        self._releases, self._window, self._device = releases, window, device
        self._now_ms, self._conditions, self._take = now_ms, conditions, take
        self._proof_s, self._end_s, self._check_s = proof_s, end_s, check_s
        self._running = launch.running() if running is None else running
        self._looked_ms = 0
        self.ended = asyncio.Event()

    @property
    def is_on_trial(self) -> bool:
        trial = self._releases.state.trial
        return trial is not None and trial.digest == self._running

    def handed_on(self) -> tuple[Release, Path] | None:
        """What seats may have of this gateway: the release that it runs and has proven."""
        offer = self._releases.handed_on if self._running else None
        return offer if offer is not None and offer[0].digest == self._running else None

    async def look_nightly(self) -> None:
        """Never, without a window."""
        while self._window and not self.ended.is_set():
            await asyncio.sleep(self._check_s)
            now_ms = self._now_ms()
            is_time = not self.is_on_trial and is_due(now_ms, self._looked_ms, self._window, self._device)
            if is_time and self._conditions().are_good:
                self._looked_ms = now_ms
                await self._look()

    def enrich(self, reading: GatewayReading) -> GatewayReading:
        """With which program runs here, and which failed."""
        state = self._releases.state
        in_force = ("trial" if self.is_on_trial else "proven") if self._running else None
        failed = state.failed.version if state.failed is not None else None
        return msgspec.structs.replace(reading, release=in_force, failed_release=failed, failed_why=state.why or None)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(TAKE_S):
                report = msgspec.json.decode(await self._take(), type=TakeReport)
        except (OSError, TimeoutError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            NOT_LOOKED.log(error=error)
            return
        LOOKED.log(code=report.code, version=report.version, detail=report.detail, bytes=report.bytes)
        if report.code == "taken":
            self.ended.set()

    async def watch_trial(self) -> None:
        """A receipt for what this release measured ends its trial well; its time without one, badly."""
        begun_s = time.monotonic()
        while self.is_on_trial:
            await asyncio.sleep(min(TICK_S, self._proof_s))
            lasted_s = time.monotonic() - begun_s
            if lasted_s - self._conditions().since_receipt_s > self._proof_s:
                await self._end(self._releases.prove)
                launch.disarm()
                return
            if lasted_s > self._end_s:
                await self._end(lambda: self._releases.take_back("no_receipt"))
                self.ended.set()
                return

    async def _end(self, write: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(write)
        except OSError as error:  # the next start counts the time and the starts
            NOT_KEPT.log(error=error)


async def taken(words: list[str]) -> bytes:
    """What the command printed. Raises OSError."""
    process = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return output
