"""One speed test by one engine, printed as JSON: `python -m bench.lines.once ENGINE MODE SERVER`."""

from __future__ import annotations

import json
import resource
import secrets
import sys
from dataclasses import asdict

from agent.probes.probe import ProbeFailed
from agent.probes.speed import ENGINES
from agent.probes.speed.engine import SpeedRequest


def main(engine: str, mode: str, server: str) -> None:
    request = SpeedRequest(
        server=server,
        mode=mode,
        test_id=secrets.token_hex(16),
        explain=lambda text: print(text, file=sys.stderr),
    )
    try:
        found = asdict(ENGINES[engine](request))
    except ProbeFailed as failed:
        found = {"failure": str(failed)}
    found["test_id"] = request.test_id
    found["rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
