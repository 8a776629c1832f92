"""What one measurement server gives, to all and to one: every number that keeps it from being an amplifier."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bytes count both directions of one test. An address is one IPv4 address or one IPv6 /64."""

    tests_at_once: int = 8
    tests_per_address: int = 240  # within an hour; several centers may share a carrier's address
    connections: int = 256
    connections_per_address: int = 64
    requests_per_address_s: float = 200.0
    echoes_per_address_s: float = 100.0  # UDP
    bytes_per_test: int = 2 * 1024**3
    head_bytes: int = 8 * 1024
    head_s: float = 10.0  # a request's head must be complete within this
    idle_s: float = 10.0  # no byte either way for so long ends a connection
    connection_s: float = 60.0
    test_s: float = 120.0
    ndt7_s: float = 10.0  # one direction, as the protocol has it
    test_idle_s: float = 5.0  # a test without a connection for so long is over
    retry_after_s: int = 5
    waiting: int = 32  # tests in the queue for a free place
    waiting_per_address: int = 8
    waiting_s: float = 15.0  # a test that did not ask again for so long has left the queue
    records_kept: int = 200
