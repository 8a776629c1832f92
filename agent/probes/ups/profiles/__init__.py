"""PROFILES: every vendor table, the most trusted first, and nothing else."""

from agent.probes.ups.profiles import apc, cyberpower, delta, eaton, huawei, megatec, rfc1628, socomec
from agent.probes.ups.profiles.table import Profile

PROFILES: tuple[Profile, ...] = (
    apc.POWERNET,
    cyberpower.CYBERPOWER,
    eaton.XUPS,
    eaton.MGE,
    eaton.CPQPOWER,
    socomec.NEW,
    socomec.OLD,
    huawei.HUAWEI,
    delta.DELTA,
    megatec.EPPC,
    megatec.XPPC,
    rfc1628.RFC1628,
)
