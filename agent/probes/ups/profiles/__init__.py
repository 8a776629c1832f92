"""PROFILES: every vendor table, the most trusted first, and nothing else."""

from agent.probes.ups.profiles import (
    apc,
    cyberpower,
    dc_plants,
    eaton,
    huawei,
    liebert,
    megatec,
    others,
    rfc1628,
    socomec,
    tripplite,
    voltronic,
)
from agent.probes.ups.profiles.table import Profile

__all__ = ["PROFILES", "rfc1628", "table"]

PROFILES: tuple[Profile, ...] = (
    apc.POWERNET,
    cyberpower.CYBERPOWER,
    eaton.XUPS,
    eaton.MGE,
    eaton.CPQPOWER,
    socomec.NEW,
    socomec.OLD,
    huawei.HUAWEI,
    others.DELTA,
    megatec.EPPC,
    megatec.XPPC,
    voltronic.VOLTRONIC,
    liebert.LIEBERT,
    liebert.ITA2,
    tripplite.PRODUCTS,
    others.USHA,
    others.DELL,
    others.CET,
    others.SYNOLOGY,
    dc_plants.NETSURE,
    dc_plants.ELTEK,
    *rfc1628.COPIES,
    rfc1628.RFC1628,
    tripplite.TWELVE_X,
)
