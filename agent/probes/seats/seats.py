"""The roll call: every seat this gateway knows, healthy, unhealthy, missing or off.

1. What each seat PC last said is held against the settings' limits, and its parts against those accepted.
2. Who fell silent without a last word is asked after on the LAN (an echo, ARP): on but not reporting, or off, asleep or
   unplugged. Back again, its own clocks tell which of these it was.
3. Hardware that nobody has approved is named, not counted.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

import msgspec

from agent.common import http
from agent.common.errors import describe
from agent.probes.probe import Context, ProbeFailed
from agent.probes.seats import reachability
from agent.wire import Reading, SeatsReading

MAX_PAGE_BYTES = 1024 * 1024


async def probe(context: Context) -> Sequence[Reading]:
    """One SeatsReading from the running agent's roll; outside it, what its status page last said.

    Raises ProbeFailed: ``settling`` just after a start, ``no_agent`` and ``no_reading`` outside a running agent.
    """
    if context.registry is None:
        return [await asyncio.to_thread(last_call, context.settings.agent.status_listen, context.deadline_s)]
    silent = context.registry.silent(mono_ms(), context.settings.seats)
    if silent:
        context.registry.note_answers(await reachability.look(silent))
    reading = context.registry.call(mono_ms(), context.settings.seats)
    if reading is None:
        raise ProbeFailed("settling", "the agent has just started and known seats still have time to report")
    return [reading]


def mono_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def last_call(status_listen: str, timeout_s: float) -> SeatsReading:
    """The seats reading on a running agent's status page. Raises ProbeFailed."""
    url = f"http://{status_listen}/status.json"
    try:
        page = json.loads(http.ask(url, limit=MAX_PAGE_BYTES, within_s=timeout_s).body)
        return msgspec.convert(page["last"]["seats"], SeatsReading)
    except OSError as error:
        raise ProbeFailed(
            "no_agent", f"no agent answers at {url} ({describe(error)}): start it with `nabz-agent run`"
        ) from None
    except (KeyError, TypeError):
        raise ProbeFailed(
            "no_reading", "the running agent has not called the roll yet: try again in a minute"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ProbeFailed(
            "not_an_agent", f"what answers at {url} is not a Nabz agent: {describe(error)[:80]}"
        ) from None
