"""What a probe is: one coroutine that measures one thing and returns readings, or raises why it could not.

A probe knows no threshold, stamps nothing and retries nothing: the scheduler gives it a deadline, stamps what it
returns, and turns `ProbeFailed` into a reading whose `failure` has the cause.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.common.causes import Cause
from agent.config import AgentSettings, SeatsSection
from agent.wire import Failure, Reading, SeatsReading


@dataclass(frozen=True, kw_only=True)
class SilentSeat:
    """A seat to probe. `probed` is whether it was probed a round ago too: only then the ARP cache is an answer."""

    id: str
    address: str
    facts: tuple[str, ...]
    probed: bool


class SeatRegistry(Protocol):
    """The seats' last snapshots; `agent.probes.seats.registry` has the one of the running agent. Times are of the
    monotonic clock, in milliseconds."""

    def silent(self, now_ms: int, limits: SeatsSection) -> Sequence[SilentSeat]: ...

    def note_answers(self, answers: Mapping[str, bool]) -> None: ...

    def call(self, now_ms: int, limits: SeatsSection) -> SeatsReading | None: ...


class ProbeFailed(Exception):
    """The measurement could not be made. `cause` is one of the fixed words of `agent.common.causes`, `detail` one
    sentence for the log and the doctor that names the thing and the fix."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause: Cause = cause
        self.detail = detail

    @property
    def failure(self) -> Failure:
        return failure(self.cause, self.detail)


def failure(cause: Cause, detail: str) -> Failure:
    """What a reading without values carries; as much of the detail as the wire takes."""
    return Failure(cause, detail[:200])


def _silent(_line: str) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Context:
    """All that a probe may use besides the network.

    `registry` holds the seats' last snapshots (None outside the running agent). `explain` takes one line of reasoning
    at a time, for `nabz-agent probe KIND --explain`. `collector_host`, `measure_url` and `collector_tls_port` (where
    that host shows a certificate of the collector's root; 0: nowhere) come from enrolment, `test_id` and `test_token`
    of a grant at a measurement server."""

    settings: AgentSettings
    deadline_s: float
    collector_host: str | None = None
    measure_url: str | None = None
    collector_tls_port: int = 0
    test_id: str = ""
    test_token: str = ""
    purpose: str = "manual"
    registry: SeatRegistry | None = None
    explain: Callable[[str], None] = field(default=_silent)


Probe = Callable[[Context], Awaitable[Sequence[Reading]]]
