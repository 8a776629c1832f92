"""Renews this gateway's certificate at half of its life, and also long after its end: the signing key is what counts.

The collector is contacted with the pinned root. New files are written beside and renamed into place; the uplink reads
them at its next session, and other brokers at once. The key stays: it was made here and never left. A gateway without a
receipt for an hour or two renews too, due or not: its brokers may have moved, or have another root by now.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent import identity, validity
from agent.common.errors import describe
from agent.common.logs import Event
from agent.uplink import trust
from agent.uplink.collector_client import CollectorClient, CollectorRefused
from agent.uplink.enrol import Certified, EnrolFailed, checked_certificate, csr_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

RENEWED = Event(__name__, "info", "certificate_renewed", "this gateway's certificate was renewed")
NOT_RENEWED = Event(
    __name__, "warning", "renewal_failed", "the certificate, or the list of brokers, cannot be renewed now; the next "
    "try follows", fields="error",
)  # fmt: skip

POLL_INTERVAL_S = 600.0  # the clock may be set meanwhile, so nobody sleeps until a date
JITTER = 0.1  # of a certificate's life, after half of it
RETRY_MIN_S, RETRY_MAX_S = 60.0, 3600.0
ISOLATED_S = 3600.0  # without a receipt, and up to twice that, so that an outage does not bring all gateways at once


def due_ms(life: validity.Validity, chance: float) -> int:
    """When to renew: after half of its life and up to a tenth more, so that a fleet does not come at once."""
    return life.start_ms + int((life.end_ms - life.start_ms) * (0.5 + JITTER * chance))


def is_due(life: validity.Validity, chance: float, now_ms: int) -> bool:
    """A certificate of the future is due too: then the local clock is wrong, and the collector corrects it."""
    return now_ms >= due_ms(life, chance) or now_ms < life.start_ms


class Renewal:
    """Polls whether the certificate is due. ``clock`` is shared with the uplink, so both use what either learns of the
    time. ``since_receipt_s`` is the time without a receipt; `run` calls ``move`` with other brokers.
    """

    def __init__(
        self,
        state_dir: Path,
        mine: identity.Identity,
        clock: trust.TrustedClock,
        *,
        chance: Callable[[], float] = random.random,
        since_receipt_s: Callable[[], float] = lambda: 0.0,
        move: Callable[[Sequence[identity.BrokerEndpoint]], None] = lambda _brokers: None,
    ) -> None:
        self._state_dir, self._mine, self._clock = state_dir, mine, clock
        self._chance = chance
        self._share = chance()
        self._since_receipt_s, self._move = since_receipt_s, move
        self._isolated_at_s, self._last_since_receipt_s = self._isolation_limit_s(), 0.0
        self._brokers = list(mine.brokers)
        self.detail = self.refusal = ""  # why the last try failed, and the collector's code where it refused

    async def run(self) -> None:
        """For ever; at once ended for a gateway that was given no certificate."""
        failures = 0
        while self._mine.tls is not None and self._mine.url:
            try:
                before = self._brokers
                if await asyncio.to_thread(self.poll):
                    RENEWED.log()
                if self._brokers != before:
                    self._move(self._brokers)
                failures, self.detail, self.refusal = 0, "", ""
                await asyncio.sleep(POLL_INTERVAL_S * (0.5 + self._chance() / 2))
            except (EnrolFailed, identity.IdentityError, OSError, ValueError) as error:
                failures, self.detail = failures + 1, describe(error)
                self.refusal = error.code if isinstance(error, CollectorRefused) else self.refusal
                NOT_RENEWED.log(error=error)
                await asyncio.sleep(max(RETRY_MIN_S, self._chance() * min(RETRY_MAX_S, RETRY_MIN_S * 2.0**failures)))

    def poll(self) -> bool:
        """Whether a new certificate was taken. Raises EnrolFailed, IdentityError, OSError or ValueError."""
        files = self._mine.tls
        if files is None:
            return False
        current, is_isolated = validity.of_file(files.cert), self._is_isolated()
        if not is_isolated and not is_due(current, self._share, self._clock.now_ms()):
            return False
        key = identity.load_tls_key(self._state_dir)
        if key is None:
            return False
        client = self.client()
        if self._clock.is_wall and not is_isolated:
            client.learn_time()  # a certificate that seems due by a clock that nobody vouched for
            if not is_due(current, self._share, self._clock.now_ms()):
                return False
        before, certified = files.cert.read_bytes(), self._request(client, key)
        self._save(certified, key)
        self._share = self._chance()
        return certified.certificate.encode() != before

    def _is_isolated(self) -> bool:
        """Whether receipts have been missing long enough to renew for that; then not again for another hour or two."""
        since_receipt_s, before_s = self._since_receipt_s(), self._last_since_receipt_s
        self._last_since_receipt_s = since_receipt_s
        if since_receipt_s < before_s:
            self._isolated_at_s = self._isolation_limit_s()
        if since_receipt_s < self._isolated_at_s:
            return False
        self._isolated_at_s = since_receipt_s + self._isolation_limit_s()
        return True

    def _isolation_limit_s(self) -> float:
        return ISOLATED_S * (1 + self._chance())

    def client(self) -> CollectorClient:
        """Over plain http only where enrolment used it. Raises CollectorUnreachable."""
        ca = self._mine.tls.ca if self._mine.tls else None
        return CollectorClient(self._mine.url, ca, self._mine.collector_key, plain=True, clock=self._clock)

    def learn_time(self) -> None:
        """Corrects the clock shared with the uplink. Raises CollectorUnreachable."""
        self.client().learn_time()

    def _request(self, client: CollectorClient, key: ec.EllipticCurvePrivateKey) -> Certified:
        device = self._mine.device
        csr = csr_of(key, device)
        proof = self._mine.key.sign(f"nabz-renew\n{device}\n{csr}".encode())
        return client.post("/api/v1/renew", {"device": device, "csr": csr, "proof": proof}, Certified)[1]

    def _save(self, certified: Certified, key: ec.EllipticCurvePrivateKey) -> None:
        chain = checked_certificate(certified, self._mine.device, key)
        identity.save_certificate(self._state_dir, chain, certified.ca)
        if certified.brokers and self._brokers != certified.brokers:
            identity.save_brokers(self._state_dir, certified.brokers)
            self._brokers = certified.brokers
