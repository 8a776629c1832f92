"""Which seat is this? Made from several hardware facts, so that no single one can merge two seats or split one.

Cloned disk images share the machine id; cheap boards share a serial or say ``To be filled by O.E.M.``; disks and
network cards are swapped. So: generic values are no facts, what comes with an image counts only where there is no
hardware to count (a container), and a seat keeps its id as long as more than half of its facts are still there. Facts
travel as hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

GENERIC = frozenset({
    "", "none", "null", "n/a", "na", "unknown", "default", "default string", "not specified", "not applicable",
    "not available", "system serial number", "chassis serial number", "base board serial number", "serial",
    "to be filled by o.e.m.", "to be filled by o.e.m", "o.e.m.", "oem", "invalid", "empty", "123456789", "1234567890",
    "0123456789", "03000200-0400-0500-0006-000700080009", "fefefefe-fefe-fefe-fefe-fefefefefefe",
    "00020003-0004-0005-0006-000700080009", "12345678-1234-5678-90ab-cddeefaabbcc",
})  # fmt: skip
# What hypervisors write where a maker's name stands (DMI type 1, SMBIOS 3).
HYPERVISORS = (
    "qemu",
    "kvm",
    "vmware",
    "virtualbox",
    "innotek",
    "virtual machine",
    "hyper-v",
    "xen",
    "bochs",
    "parallels",
)
WEAK = frozenset({"machine", "lmac"})  # copied with an image, or self-given: no hardware


@dataclass(frozen=True, kw_only=True)
class SeatIdentity:
    """A seat's id and the hashed facts it was last seen with, ``kind:16 hex digits``, sorted."""

    id: str
    facts: tuple[str, ...]


def facts_of(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Hashes of what was found, ``(kind, value)`` pairs, without what many machines share."""
    return tuple(sorted({fact(kind, value) for kind, value in pairs if not is_generic(value)}))


def is_generic(value: str) -> bool:
    """True for values that do not identify a machine: fillers, or one sign repeated."""
    plain = value.strip().lower()
    return plain in GENERIC or len(plain) < 4 or len(set(plain) - set(" -_.:")) < 2


def is_hypervisor(maker: str) -> bool:
    """Whether a maker's and product's name is that of a virtual machine."""
    return any(name in maker.lower() for name in HYPERVISORS)


def is_burnt_in(mac: str) -> bool:
    """A maker's own unicast address (IEEE 802: neither the local nor the group bit), not a virtual or random one."""
    octets = mac.replace("-", ":").split(":")
    try:
        return len(octets) == 6 and int(octets[0], 16) & 0b11 == 0
    except ValueError:
        return False


def identify(facts: tuple[str, ...], kept: SeatIdentity | None) -> SeatIdentity | None:
    """The id for a machine that shows ``facts`` now and was ``kept`` before; None when nothing identifies it."""
    if kept is not None and same_machine(facts, kept.facts):
        return SeatIdentity(id=kept.id, facts=facts)
    if not facts:
        return None
    return SeatIdentity(
        id="s" + hashlib.sha256("\n".join(sorted(counting(facts))).encode()).hexdigest()[:16], facts=facts
    )


def same_machine(now: Iterable[str], before: Iterable[str]) -> bool:
    """More than half of the facts that count agree, taken on the side that could read fewer of them."""
    these, those = counting(now), counting(before)
    return 2 * len(these & those) > min(len(these), len(those))


def counting(facts: Iterable[str]) -> frozenset[str]:
    """The hardware facts; the weak ones where there is no hardware to see."""
    known = frozenset(facts)
    return frozenset(entry for entry in known if entry.partition(":")[0] not in WEAK) or known


def fact(kind: str, value: str) -> str:
    """What is sent of one part: its kind and 16 hex digits of a hash; the value itself never leaves the PC."""
    digest = hashlib.sha256(f"nabz-seat\n{kind}\n{value.strip().lower()}".encode()).hexdigest()
    return f"{kind}:{digest[:16]}"
