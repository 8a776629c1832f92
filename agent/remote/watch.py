"""Takes the collector's documents of settings while the agent runs, and sees how a trial ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from agent import wire
from agent.common.logs import Event
from agent.config import AgentSettings
from agent.identity import IdentityError
from agent.remote.trial import RemoteSettings, SettingsRefused

NOT_TAKEN = Event(
    __name__, "error", "remote_settings_unsaved", "settings of the collector cannot be written down and are not taken",
    key="digest", fields="error",
)  # fmt: skip

CHECK_S = 1.0


@dataclass(frozen=True, kw_only=True)
class TrialTimes:
    """In seconds from the start of the agent: receipts before ``proof_s`` may be for what was measured before; without
    one at ``end_s`` the trial has failed."""

    proof_s: float = 90.0
    end_s: float = 600.0


def trial_end(lasted_s: float, since_receipt_s: float, times: TrialTimes) -> Literal["proven", "no_receipt"] | None:
    """Pure. How a trial ends that has lasted so long; None while it goes on."""
    if lasted_s - since_receipt_s > times.proof_s:
        return "proven"
    return "no_receipt" if lasted_s > times.end_s else None


class SettingsWatch:
    """``ended`` is set when the agent is to start again, with other settings. ``now_ms`` is the collector's time,
    ``since_receipt_s`` the time without a receipt."""

    def __init__(
        self,
        remote: RemoteSettings,
        base: AgentSettings,
        *,
        now_ms: Callable[[], int],
        since_receipt_s: Callable[[], float],
        times: TrialTimes,
    ) -> None:
        self._remote, self._base, self.times = remote, base, times
        self._now_ms, self._since_receipt_s = now_ms, since_receipt_s
        self._documents: asyncio.Queue[wire.SettingsDocument] = asyncio.Queue(maxsize=4)
        self._alone = asyncio.Lock()  # with the file
        self.ended = asyncio.Event()

    def offer(self, document: wire.SettingsDocument) -> None:
        """One too many is dropped: the collector repeats it."""
        if not self._documents.full():
            self._documents.put_nowait(document)

    async def take_documents(self) -> None:
        while not self.ended.is_set():
            document = await self._documents.get()
            try:
                async with self._alone:
                    if await asyncio.to_thread(self._remote.accept, document, self._base, self._now_ms()):
                        self.ended.set()
            except SettingsRefused:
                continue  # the log and the next batch name the reason
            except (OSError, IdentityError) as error:
                NOT_TAKEN.log(digest=document.digest, error=error)

    async def watch_trial(self) -> None:
        """A receipt of now ends a trial well; its time without one, badly."""
        begun_s, trial = time.monotonic(), self._remote.state.trial
        while trial is not None:
            await asyncio.sleep(min(CHECK_S, self.times.proof_s))
            lasted_s = time.monotonic() - begun_s
            async with self._alone:
                if self._remote.state.trial is not trial:  # another one is on trial from the next start on
                    return
                end = trial_end(lasted_s, self._since_receipt_s(), self.times)
                if end == "proven":
                    await asyncio.to_thread(self._remote.prove)
                elif end is not None:
                    await asyncio.to_thread(self._remote.take_back, end, f"{lasted_s:.0f} s without a receipt")
                    self.ended.set()
                if end is not None:
                    return
