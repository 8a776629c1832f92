"""Why there is no session: a word by the kind of the error, whatever its text says."""

from __future__ import annotations

import ssl
from typing import get_args

import pytest

from agent.common.causes import UplinkCause
from agent.identity import IdentityError
from agent.uplink.causes import UplinkLost, cause_of
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
