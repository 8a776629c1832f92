"""Why there is no session at the broker, as one fixed word. Pure."""

from __future__ import annotations

import ssl

from agent.common.causes import UplinkCause
from agent.identity import IdentityError
from agent.uplink import trust


class UplinkLost(Exception):
    """The session ended; ``cause`` and the text are the reason."""

    def __init__(self, cause: UplinkCause, detail: str, code: int | None = None) -> None:
        super().__init__(detail)
        self.cause: UplinkCause = cause
        self.code = code  # of a broker that refused


def cause_of(error: Exception) -> UplinkCause:
    """By the kind of the error, never by its text."""
    match error:
        case UplinkLost():
            return error.cause
        case IdentityError():
            return "identity"
        case TimeoutError():
            return "timeout"
        case ssl.SSLCertVerificationError():
            return "clock" if trust.is_about_time(error) else "stranger"
        case trust.Untrusted():
            return "clock"
        case _:
            return "unreachable"
