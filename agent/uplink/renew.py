"""Renews this gateway's certificate at half of its life, and also long after its end: the signing key is what counts.

The collector is asked over the pinned door. What it gives is written beside and renamed into place; the uplink reads it
at its next session, and other brokers at once. The key stays: it was made here and never left. A gateway without a
receipt for an hour or two asks too, due or not: its brokers may have moved, or believe another root by now.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from agent import identity
from agent.common.errors import describe
from agent.common.logs import Event
from agent.uplink import trust
from agent.uplink.collector_client import CollectorClient
from agent.uplink.enrol import Certified, EnrolFailed, checked_certificate, csr_of

RENEWED = Event(__name__, "info", "certificate_renewed", "this gateway's certificate was renewed")
NOT_RENEWED = Event(
    __name__, "warning", "renewal_failed", "the certificate, or the list of brokers, cannot be renewed now; the next "
    "try follows", fields="error",
)  # fmt: skip

LOOK_S = 600.0  # the clock may be set meanwhile, so nobody sleeps until a date
JITTER = 0.1  # of a certificate's life, after half of it
RETRY_MIN_S, RETRY_MAX_S = 60.0, 3600.0
ALONE_S = 3600.0  # without a receipt, and up to twice that, so that an outage does not bring all to the door at once


def due_ms(certificate: x509.Certificate, chance: float) -> int:
    """When to renew: after half of its life and up to a tenth more, so that a fleet does not come at once."""
    start_ms, end_ms = (
        int(at.timestamp() * 1000) for at in (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    )
    return start_ms + int((end_ms - start_ms) * (0.5 + JITTER * chance))


def is_due(certificate: x509.Certificate, chance: float, now_ms: int) -> bool:
    """A certificate of the future is due too: then the clock here is wrong, and the collector will say so."""
    return now_ms >= due_ms(certificate, chance) or now_ms < int(certificate.not_valid_before_utc.timestamp() * 1000)


class Renewal:
    """Looks now and then whether the certificate is due. ``clock`` is shared with the uplink: what one learns of the
    time, both know. ``alone_s`` tells for how long there has been no receipt; ``move`` is told other brokers, by `run`.
    """

    def __init__(
        self,
        state_dir: Path,
        mine: identity.Identity,
        clock: trust.TrustedClock,
        *,
        chance: Callable[[], float] = random.random,
        alone_s: Callable[[], float] = lambda: 0.0,
        move: Callable[[Sequence[identity.BrokerEndpoint]], None] = lambda _brokers: None,
    ) -> None:
        self._state_dir, self._mine, self._clock = state_dir, mine, clock
        self._chance = chance
        self._share = chance()
        self._alone_s, self._move = alone_s, move
        self._asks_alone_s, self._was_alone_s = self._patience_s(), 0.0
        self._brokers = list(mine.brokers)
        self.detail = ""  # why the last try failed

    async def run(self) -> None:
        """For ever; at once ended for a gateway that was given no certificate."""
        failures = 0
        while self._mine.tls is not None and self._mine.url:
            try:
                before = self._brokers
                if await asyncio.to_thread(self.look):
                    RENEWED.log()
                if self._brokers != before:
                    self._move(self._brokers)
                failures, self.detail = 0, ""
                await asyncio.sleep(LOOK_S * (0.5 + self._chance() / 2))
            except (EnrolFailed, identity.IdentityError, OSError, ValueError) as error:
                failures, self.detail = failures + 1, describe(error)
                NOT_RENEWED.log(error=error)
                await asyncio.sleep(max(RETRY_MIN_S, self._chance() * min(RETRY_MAX_S, RETRY_MIN_S * 2.0**failures)))

    def look(self) -> bool:
        """Whether a new certificate was taken. Raises EnrolFailed, IdentityError, OSError (DoorShut) or ValueError."""
        files, key = self._mine.tls, identity.load_tls_key(self._state_dir)
        if files is None or key is None:
            return False
        held = x509.load_pem_x509_certificates(files.cert.read_bytes())[0]
        is_stranded = self._is_stranded()
        if not is_stranded and not is_due(held, self._share, self._clock.now_ms()):
            return False
        door = self.door()
        if self._clock.is_wall and not is_stranded:
            door.learn_time()  # a certificate that seems due by a clock that nobody vouched for
            if not is_due(held, self._share, self._clock.now_ms()):
                return False
        before, given = files.cert.read_bytes(), self._asked(door, key)
        self._take(given, key)
        self._share = self._chance()
        return given.certificate.encode() != before

    def _is_stranded(self) -> bool:
        """Whether it is time to ask for that reason; then not again for another hour or two of it."""
        alone_s, before_s = self._alone_s(), self._was_alone_s
        self._was_alone_s = alone_s
        if alone_s < before_s:
            self._asks_alone_s = self._patience_s()
        if alone_s < self._asks_alone_s:
            return False
        self._asks_alone_s = alone_s + self._patience_s()
        return True

    def _patience_s(self) -> float:
        return ALONE_S * (1 + self._chance())

    def door(self) -> CollectorClient:
        """Over plain http only where enrolment was told to go by it. Raises DoorShut."""
        ca = self._mine.tls.ca if self._mine.tls else None
        return CollectorClient(self._mine.url, ca, self._mine.collector_key, plain=True, clock=self._clock)

    def learn_time(self) -> None:
        """Puts the clock that the uplink shares right. Raises DoorShut."""
        self.door().learn_time()

    def _asked(self, door: CollectorClient, key: ec.EllipticCurvePrivateKey) -> Certified:
        device = self._mine.device
        csr = csr_of(key, device)
        proof = self._mine.key.sign(f"nabz-renew\n{device}\n{csr}".encode())
        return door.ask("/api/v1/renew", {"device": device, "csr": csr, "proof": proof}, Certified)[1]

    def _take(self, given: Certified, key: ec.EllipticCurvePrivateKey) -> None:
        chain = checked_certificate(given, self._mine.device, key)
        identity.save_certificate(self._state_dir, chain, given.ca)
        if given.brokers and self._brokers != given.brokers:
            identity.save_brokers(self._state_dir, given.brokers)
            self._brokers = given.brokers
