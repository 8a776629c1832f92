"""Why there is no session at the broker, as one fixed word. Pure.

MQTT 3.1.1 has no word of a broker that ends a session. What is known besides says why: a certificate that has run out,
what the collector answered to the last request for one, sessions that end as often as they begin.
"""

from __future__ import annotations

import ssl

from agent.common.causes import REFUSALS, UplinkCause
from agent.identity import IdentityError
from agent.uplink import trust


class UplinkLost(Exception):
    """The session ended; ``cause`` and the text are the reason."""

    def __init__(self, cause: UplinkCause, detail: str, code: int | None = None) -> None:
        super().__init__(detail)
        self.cause: UplinkCause = cause
        self.code = code  # of a broker that refused


TWIN_ENDS = 3  # sessions in a row that the broker ended young: another machine begins its own each time
BROKER_ENDED: tuple[UplinkCause, ...] = ("ended", "refused")


def explained(cause: UplinkCause, *, is_expired: bool, refusal: str, young_ends: int) -> UplinkCause:
    """The cause by all that is known. `refusal` is the code with which the collector last refused a certificate, empty
    when it did not; `young_ends` how many sessions in a row ended soon after they began."""
    if cause not in BROKER_ENDED:
        return cause
    if refusal in REFUSALS:
        return REFUSALS[refusal]
    if is_expired:
        return "expired"
    return "twin" if cause == "ended" and young_ends >= TWIN_ENDS else cause


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
