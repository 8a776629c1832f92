"""What a seat's silence was: off, asleep, unplugged or broken. Pure, and asking the network, apart.

While it lasts, the network is asked: a PC that answers an echo, or the question who has its address (ARP, RFC 826), is
on, and only its reporting has stopped. Once the seat speaks again, its own clocks tell the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

from agent.probes.link.ping import Echoes, ping
from agent.probes.probe import SilentSeat
from agent.seat.identity import fact
from agent.seat.snapshot import Snapshot

MOST_AT_ONCE = 100
ECHO_S = 1.0
CLOCK_SLACK_S = 5.0
COMPLETE = 0x2  # ATF_COM of linux/if_arp.h

SilenceCause = Literal["off", "asleep", "stopped", "network"]
Ask = Callable[[str], Awaitable[bool]]


async def look(
    silent: Sequence[SilentSeat], ask: Ask | None = None, arp: Path = Path("/proc/net/arp")
) -> dict[str, bool]:
    """{seat: whether its machine is on} of at most MOST_AT_ONCE seats, within about ECHO_S."""
    chosen = silent[:MOST_AT_ONCE]
    before = parse_arp(_text(arp))
    echoed = await asyncio.gather(*((ask or echo)(seat.address) for seat in chosen))
    after = parse_arp(_text(arp))
    return {
        seat.id: is_on(seat, heard, before, after.get(seat.address)) for seat, heard in zip(chosen, echoed, strict=True)
    }


async def echo(address: str) -> bool:
    try:
        answer: Echoes = await ping(address, 1, 0.1, ECHO_S)
    except OSError:
        return False
    return any(rtt is not None for rtt in answer.rtts_ms)


def is_on(seat: SilentSeat, echoed: bool, arp_before: dict[str, str], mac_now: str | None) -> bool:
    """Whether this machine, and no other that got its address since, is there."""
    macs = [item for item in seat.facts if item.startswith(("mac:", "lmac:"))]
    if mac_now and macs and not {fact("mac", mac_now), fact("lmac", mac_now)} & set(macs):
        return False
    return echoed or (seat.probed and seat.address in arp_before)


def parse_arp(table: str) -> dict[str, str]:
    """{IPv4 address: hardware address} of the answered entries in the text of /proc/net/arp."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {row[0]: row[3] for row in rows if len(row) >= 4 and _flags(row[2]) & COMPLETE and row[3].strip("0:")}


def _flags(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0


def cause(before: Snapshot, now: Snapshot, silent_s: float) -> SilenceCause | None:
    """What a silence of `silent_s` without a last word was, by the seat's own clocks; None when they do not tell."""
    if now.uptime_s is not None and now.uptime_s < silent_s - CLOCK_SLACK_S:
        return "off"
    if now.slept_s is not None and before.slept_s is not None and now.slept_s - before.slept_s > silent_s / 2:
        return "asleep"
    if now.running_s is not None and now.running_s < silent_s - CLOCK_SLACK_S:
        return "stopped"  # the PC was on, its nabz-seat was not
    if now.uptime_s is not None and now.running_s is not None:
        return "network"  # both were on, and what is between was gone
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:  # not Linux: echoes alone must tell
        return ""
