"""Writes small files in the MaxMind DB format, version 2.0: a search tree of 24-bit records, data and metadata."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

MARKER = b"\xab\xcd\xefMaxMind.com"
BITS = 128  # an IPv6 tree; IPv4 networks lie in ::/96


def database(entries: Mapping[str, Any], kind: str = "GeoLite2-ASN") -> bytes:
    """The file's bytes: `entries` by network, none within another."""
    nodes: list[list[Any]] = [[None, None]]
    data, places = b"", {}
    for number, (network, value) in enumerate(entries.items()):
        places[number] = len(data)
        data += _value(value)
        _enter(nodes, ipaddress.ip_network(network), ("data", number))
    tree = b"".join(_record(side, len(nodes), places).to_bytes(3) for node in nodes for side in node)
    facts = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1_790_000_000,
        "database_type": kind,
        "description": {"en": "made by a test"},
        "ip_version": 6,
        "languages": ["en"],
        "node_count": len(nodes),
        "record_size": 24,
    }
    return tree + bytes(16) + data + MARKER + _value(facts)


def _enter(nodes: list[list[Any]], network: ipaddress.IPv4Network | ipaddress.IPv6Network, leaf: Any) -> None:
    depth = network.prefixlen + (96 if network.version == 4 else 0)
    bits = int(network.network_address)
    here = 0
    for place in range(depth):
        side = bits >> (BITS - 1 - place) & 1
        if place == depth - 1:
            nodes[here][side] = leaf
        elif nodes[here][side] is None:
            nodes.append([None, None])
            nodes[here][side] = here = len(nodes) - 1
        else:
            here = nodes[here][side]


def _record(side: Any, count: int, places: Mapping[int, int]) -> int:
    if side is None:
        return count
    return count + 16 + places[side[1]] if isinstance(side, tuple) else int(side)


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return _head(2, len(value.encode())) + value.encode()
    if isinstance(value, dict):
        return _head(7, len(value)) + b"".join(_value(key) + _value(item) for key, item in value.items())
    if isinstance(value, list):
        return _head(11, len(value)) + b"".join(map(_value, value))
    if value >= 1 << 32:
        return _head(9, 8) + value.to_bytes(8)
    return _head(6, 4) + value.to_bytes(4)


def _head(kind: int, size: int) -> bytes:
    small, rest = (size, b"") if size < 29 else (29, bytes([size - 29]))
    return bytes([kind << 5 | small]) + rest if kind <= 7 else bytes([small, kind - 7]) + rest
