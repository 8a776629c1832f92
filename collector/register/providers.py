"""Which networks are an internet provider's, as data, and whether a speed test stayed on them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

Providers = Mapping[str, Collection[int]]  # a provider as the register calls it -> the numbers of its networks (ASNs)

# on_net: gateway and measurement server are both in the provider's networks; off_net: the server is outside, so other
# networks have their part in the figure; other_network: the test did not leave by the registered provider at all.
ProviderPath = Literal["on_net", "off_net", "other_network"]


def asns_of(provider: str, providers: Providers) -> frozenset[int]:
    """The networks of a provider, whatever the case and the spaces of its name; none where it is not listed."""
    return frozenset(asn for name, asns in providers.items() if _key(name) == _key(provider) for asn in asns)


def path_of(own: Collection[int], asn: int | None, server_asn: int | None) -> ProviderPath | None:
    """Where a test went, of whose provider `own` are the networks; None where one of the three is not known."""
    if not own or asn is None:
        return None
    if asn not in own:
        return "other_network"
    if server_asn is None:
        return None
    return "on_net" if server_asn in own else "off_net"


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()
