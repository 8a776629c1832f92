"""Whether a test stayed on its provider's network."""

from __future__ import annotations

import pytest

from collector.register.providers import asns_of, path_of

PROVIDERS = {"PTCL": (17557, 45595), "Nayatel": (23674,)}


@pytest.mark.parametrize(
    ("provider", "asn", "server_asn", "path"),
    [
        ("PTCL", 45595, 17557, "on_net"),
        (" ptcl ", 17557, 17557, "on_net"),
        ("PTCL", 45595, 23674, "off_net"),
        ("PTCL", 23674, 45595, "other_network"),
        ("PTCL", 23674, None, "other_network"),
        ("PTCL", 45595, None, None),  # our own server's network is not known
        ("PTCL", None, 45595, None),
        ("Wateen", 45595, 45595, None),  # nobody has listed its networks
        ("", 45595, 45595, None),
    ],
)
def test_a_test_is_on_or_off_the_providers_network_or_that_is_not_known(
    provider: str, asn: int | None, server_asn: int | None, path: str | None
) -> None:
    assert path_of(asns_of(provider, PROVIDERS), asn, server_asn) == path
