"""Which worker runs what: a file stays together, as its tests share fixtures, but the long ones go their own ways."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# Begun first, so that none of them is left for a lonely end: most of their time they wait for something.
LONGEST = (
    "tests/agent/probes/link/",
    "tests/faults/",
    "tests/timelines/",
    "tests/project/test_",
    "tests/collector/run/",
    "tests/collector/web/test_browser.py",
    "tests/agent/probes/speed/",
    "tests/collector/judging/outages/",
    "tests/collector/speedtests/measure/",
    "tests/collector/reports/",
)
APART = ("tests/agent/probes/link/", "tests/faults/")  # no two of them share more than a session does
TOGETHER = "tests/project/test_"  # they look through the same sources, which a process parses once


def begins(nodeid: str) -> int:
    """The place in the order of beginning; by it files sort stably."""
    return next((place for place, start in enumerate(LONGEST) if nodeid.startswith(start)), len(LONGEST))


class LongestFirst(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(TOGETHER):
            return TOGETHER
        return nodeid if nodeid.startswith(APART) else nodeid.partition("::")[0]
