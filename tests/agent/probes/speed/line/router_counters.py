"""For snmpd's `pass_persist`: one interface's 64-bit counters (IF-MIB), shown anew every so many seconds.

`router_counters.py INTERFACE SECONDS`
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

IF_X = ".1.3.6.1.2.1.31.1.1.1"
INDEX = 7


def counted(name: str) -> tuple[int, int]:
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        label, _, numbers = line.partition(":")
        if label.strip() == name:
            fields = numbers.split()
            return int(fields[0]), int(fields[8])
    return 0, 0


def main(name: str, every_s: float) -> None:
    shown, at_s = (0, 0), -1e9
    for line in iter(sys.stdin.readline, ""):
        if line.strip() == "PING":
            print("PONG", flush=True)
            continue
        request = sys.stdin.readline().strip()
        if time.monotonic() - at_s >= every_s:
            shown, at_s = counted(name), time.monotonic()
        rows = [
            (f"{IF_X}.1.{INDEX}", "string", name),
            (f"{IF_X}.6.{INDEX}", "counter64", shown[0]),
            (f"{IF_X}.10.{INDEX}", "counter64", shown[1]),
        ]
        order = [
            arcs(request) <= arcs(row[0]) if line.strip() == "get" else arcs(request) < arcs(row[0]) for row in rows
        ]
        found = [row for row, fits in zip(rows, order, strict=True) if fits]
        exact = line.strip() != "get" or (found and found[0][0].strip(".") == request.strip("."))
        print("\n".join(map(str, found[0])) if found and exact else "NONE", flush=True)


def arcs(oid: str) -> tuple[int, ...]:
    return tuple(map(int, oid.strip(".").split(".")))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
