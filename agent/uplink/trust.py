"""What this gateway trusts: the collector's roots alone, and signed time where its own clock is wrong.

A certificate is judged by a clock. Where that is the only thing wrong (a board without a battery wakes in 1970), the
collector gives its time: it signs our challenge with the key of its receipts, which enrolment pinned. From then
on certificates are judged by that time, carried on by the monotonic clock. Nothing is ever left unjudged: the check
that OpenSSL makes by the wall clock is only made by us instead, on the same connection and before anything is sent.
"""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from agent import validity
from agent.common import tls
from agent.common.errors import describe
from agent.identity import ENROL_AGAIN, IdentityError, TlsFiles

NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL 1.1.0 and later, which Python does not name
TIME_CODES = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
CLOSE_MS = 5 * 60_000  # a wall clock this near to the collector's time judges by itself again


class Untrusted(OSError):
    """A server is not our collector's; the text is the reason and what to do."""


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class TrustedClock:
    """The wall clock until a signed time is known; from then on that time, carried on by the monotonic clock."""

    def __init__(self, wall: Callable[[], int] = wall_ms, boot: Callable[[], int] = boot_ms) -> None:
        self._wall, self._boot = wall, boot
        self._ahead_ms: int | None = None  # of the signed time before the monotonic clock

    def learn(self, at_ms: int, within_ms: int = 0) -> None:
        """``at_ms`` was true at some moment of the last ``within_ms``: the collector signed it. What is known already
        moves no further than that requires."""
        least_ms = at_ms - self._boot()
        known_ms = least_ms if self._ahead_ms is None else self._ahead_ms
        self._ahead_ms = min(max(known_ms, least_ms), least_ms + within_ms)

    def now_ms(self) -> int:
        return self._wall() if self._ahead_ms is None else self._ahead_ms + self._boot()

    @property
    def has_learnt(self) -> bool:
        return self._ahead_ms is not None

    @property
    def is_wall(self) -> bool:
        """Whether OpenSSL, which knows only the wall clock, judges as this clock does."""
        return abs(self.now_ms() - self._wall()) <= CLOSE_MS


def context(ca: Path | str, clock: TrustedClock, files: TlsFiles | None = None) -> ssl.SSLContext:
    """TLS 1.3 to a server whose certificate ``ca`` (a file, or PEM text) vouches for; names are checked. With ``files``
    we show who we are. While the wall clock is known to be wrong, `check_time` must be called once connected.

    Raises TlsFileError.
    """
    made = tls.client_context(ca, files.cert, files.key) if files else tls.client_context(ca)
    if not clock.is_wall:
        made.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    return made


def broker_context(files: TlsFiles | None, clock: TrustedClock) -> ssl.SSLContext:
    """For a session with the broker: the web's authorities count for nothing, so whoever stands in between (a captive
    portal, an ISP's proxy) is refused in the handshake, before a byte of ours is sent.

    Made anew for each session, so that a renewed certificate is used at once. Raises IdentityError.
    """
    if files is None:
        raise IdentityError("this gateway has no certificate", ENROL_AGAIN)
    try:
        return context(files.ca, clock, files)
    except OSError as error:
        raise IdentityError(describe(error), ENROL_AGAIN) from None


def check_time(connected: ssl.SSLSocket, clock: TrustedClock) -> None:
    """Judges the server's certificate by the signed time. Raises Untrusted."""
    if clock.is_wall:
        return
    if not validity.of_der(connected.getpeercert(binary_form=True) or b"").covers(clock.now_ms()):
        raise Untrusted("the server's certificate is not valid at the collector's own time; tell its operator")


def is_expired(files: TlsFiles | None, clock: TrustedClock) -> bool:
    """Whether our own certificate has run out, which no broker says; False where there is none to read."""
    try:
        return files is not None and validity.of_file(files.cert).end_ms < clock.now_ms()
    except (OSError, ValueError):
        return False


def is_about_time(error: BaseException) -> bool:
    """Whether a certificate failed for its time alone: OpenSSL looks at the chain and at names first of all."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in TIME_CODES


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
