"""Why there is no session: a word by the kind of the error, whatever its text says."""

from __future__ import annotations

import ssl
from typing import Any, get_args

import pytest

from agent.common.causes import UplinkCause
from agent.identity import IdentityError
from agent.uplink.causes import TWIN_ENDS, UplinkLost, cause_of, explained
from agent.uplink.trust import TIME_CODES, Untrusted


def verification_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (UplinkLost("silent", "timeout"), "silent"),
        (IdentityError("no certificate", "enrol"), "identity"),
        (TimeoutError("refused"), "timeout"),
        *((verification_error(code), "clock") for code in sorted(TIME_CODES)),
        (verification_error(20), "stranger"),
        (Untrusted("its time"), "clock"),
        (ssl.SSLError("wrong version number"), "unreachable"),
        (ConnectionRefusedError(), "unreachable"),
        (ValueError("a port"), "unreachable"),
    ],
)
def test_the_kind_of_an_error_is_its_cause(error: Exception, cause: str) -> None:
    assert cause in get_args(UplinkCause)
    assert cause_of(error) == cause


@pytest.mark.parametrize(
    ("cause", "facts", "named"),
    [
        ("ended", {}, "ended"),
        ("ended", {"young_ends": TWIN_ENDS}, "twin"),
        ("ended", {"young_ends": TWIN_ENDS, "refusal": "enrol.revoked"}, "revoked"),
        ("refused", {"refusal": "enrol.unknown_gateway"}, "unknown"),
        ("refused", {"refusal": "enrol.too_many"}, "refused"),
        ("refused", {"is_expired": True}, "expired"),
        ("refused", {"young_ends": TWIN_ENDS}, "refused"),
        ("unreachable", {"is_expired": True, "refusal": "enrol.revoked", "young_ends": 9}, "unreachable"),
    ],
)
def test_what_a_broker_does_not_say_is_known_otherwise(cause: UplinkCause, facts: dict[str, Any], named: str) -> None:
    usual: dict[str, Any] = {"is_expired": False, "refusal": "", "young_ends": 0}
    assert explained(cause, **usual | facts) == named
