"""Finished records on their way to the collector: on the disk before anything else, and there until acknowledged.

A file a record, as in a maildir: whole or not there, whatever ends this process. Sending waits with full jitter after
each failure, so that many servers do not come back at once when a collector does.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from agent.common.logs import Event
from collector.access.atomic_files import put
from collector.speedtests.measure.record import Record, Sign, encode

TOO_MANY = Event(
    __name__, "error", "record_dropped", "the record of a test is lost: too many wait for the collector already",
    fields="test waiting",
)  # fmt: skip
REFUSED = Event(
    __name__, "error", "record_refused", "the collector refuses a record; it is kept in the folder `refused`",
    key="code", fields="detail",
)  # fmt: skip
NO_ANSWER = Event(
    __name__, "warning", "records_waiting", "the collector does not answer; its records wait", key="collector",
    fields="error",
)  # fmt: skip

FIRST_S, LONGEST_S = 1.0, 300.0
TIMEOUT_S = 30.0
MOST = 20_000  # records kept for a collector that does not answer: about a gigabyte
AGAIN = (408, 425, 429)  # refusals that are about the moment, not the record

Answer = Literal["taken", "refused", "later"]
Send = Callable[[bytes], Answer]


class Outgoing:
    """The records of one folder, oldest first. Raises OSError where the disk does."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._refused = folder, folder / "refused"
        self._refused.mkdir(mode=0o700, parents=True, exist_ok=True)

    def add(self, record: Record, sign: Sign) -> None:
        """Returns when it is on the disk. The name sorts by time and takes nothing from what a client wrote."""
        name = f"{record.started_ms:015d}-{hashlib.sha256(record.test.encode()).hexdigest()[:32]}"
        if len(self.waiting()) >= MOST:
            TOO_MANY.log(test=record.test, waiting=MOST)
            return
        put(self._folder / name, encode(record, sign))

    def waiting(self) -> list[Path]:
        return sorted(path for path in self._folder.iterdir() if path.is_file() and path.suffix != ".new")

    def done(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def set_aside(self, path: Path) -> None:
        """Kept for people: the collector will not have it."""
        path.replace(self._refused / path.name)


class RecordSender:
    """Sends what waits until it is cancelled. `news` wakes it; `send` blocks and runs in a thread."""

    def __init__(self, outgoing: Outgoing, send: Send, chance: Callable[[], float] = random.random) -> None:
        self.outgoing, self._send, self._chance = outgoing, send, chance
        self.news = asyncio.Event()
        self.failures = 0

    async def run(self) -> None:
        while True:
            self.news.clear()
            if await self._all():
                self.failures = 0
                await self.news.wait()
            else:
                self.failures += 1
                await asyncio.sleep(pause_s(self.failures, self._chance()))

    async def _all(self) -> bool:
        """Whether everything that waits was answered."""
        for path in self.outgoing.waiting():
            answer = await asyncio.to_thread(self._send, path.read_bytes())
            if answer == "later":
                return False
            (self.outgoing.done if answer == "taken" else self.outgoing.set_aside)(path)
        return True


def pause_s(failures: int, chance: float) -> float:
    """Full jitter: anything up to a bound that doubles with each failure (`chance` is 0 to 1)."""
    return chance * min(LONGEST_S, FIRST_S * 2.0 ** min(failures, 20))


def sender(collector: str) -> Send:
    """Sends to the collector at that address."""
    url = f"{collector.rstrip('/')}/api/v1/records"

    def send(sealed: bytes) -> Answer:
        request = urllib.request.Request(url, sealed, {"Content-Type": "application/octet-stream"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310 - the scheme was checked at joining
                return "taken"
        except urllib.error.HTTPError as error:
            if error.code >= 500 or error.code in AGAIN:
                return "later"
            REFUSED.log(code=error.code, detail=error.read(500).decode(errors="replace"))
            return "refused"
        except OSError as error:
            NO_ANSWER.log(collector=collector, error=error)
            return "later"

    return send
