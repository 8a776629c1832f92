"""What was sampled of one connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from agent.probes.speed.multistream.tcpinfo import TcpInfo

Direction = Literal["down", "up"]


@dataclass(kw_only=True)
class Lane:
    """Entry i is of tick `first` + i; a connection that ended has fewer. `moved` is what the process read or handed
    over. `info` is empty where the kernel is silent."""

    first: int
    info: list[TcpInfo] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)
