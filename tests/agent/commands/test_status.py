"""`nabz-agent status`: what is wrong between this gateway and its collector is said in words."""

from __future__ import annotations

from typing import Any

import pytest

from agent.commands.status import lines

VIEW: dict[str, Any] = {"center": "LHR-1", "uplink": "off", "spool_readings": 7, "spool_bytes": 4096}


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"uplink_cause": "twin"}, "another machine uses this gateway's name"),
        ({"uplink_cause": "revoked", "collector_refusal": "enrol.revoked"}, "this gateway was revoked"),
        ({"uplink_cause": "expired"}, "this gateway's certificate has run out"),
        ({"uplink_cause": "unreachable"}, "the broker cannot be reached"),
        ({"messages_refused": 3}, "3 receipts refused: our collector did not seal them"),
        ({"batches_disputed": 1}, "1 batch disputed"),
        ({"collector_refusal": "enrol.unknown_gateway"}, "this gateway is not known to this collector"),
    ],
)
def test_a_trouble_is_a_line_of_its_own(facts: dict[str, Any], sentence: str) -> None:
    found = [line for line in lines(VIEW | facts) if sentence in line]
    assert len(found) == 1
    assert found[0].startswith("uplink  ")


def test_without_trouble_there_is_none() -> None:
    assert len(lines(VIEW | {"uplink": "connected", "messages_refused": 0, "collector_refusal": "enrol.csr"})) == 2
