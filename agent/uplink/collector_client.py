"""The HTTPS client of the collector, with a pinned root: enrolment, renewal, the signed time, and files."""

from __future__ import annotations

import http.client
import itertools
import secrets
import ssl
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from agent import wire
from agent.common.errors import describe
from agent.identity import verify
from agent.uplink import trust

TIMEOUT_S = 90.0  # connecting takes up to 120 s over the worst lines; half of them answer within 8
MAX_ANSWER_BYTES = 64 * 1024
LANES = 4  # connections of a fetch, as a browser has; one alone is slow on a lossy line
FETCH_S = 90.0
READ_BYTES = 64 * 1024
FINGERPRINT_DIGITS = 32  # as many of the root's SHA-256 as a token carries: 128 bits

Shape = TypeVar("Shape")


class CollectorUnreachable(OSError):
    """No answer that can be used; the text names the thing, the rule and the fix."""


class CollectorRefused(CollectorUnreachable):
    """The collector refused. ``code`` is the reason as one fixed word (empty from collectors before 0.2), ``status`` is
    HTTP's; the text is the collector's own, for people."""

    def __init__(self, sentence: str, status: int, code: str) -> None:
        super().__init__(sentence)
        self.status, self.code = status, code


class RefusalBody(msgspec.Struct, frozen=True):
    error: str
    code: str = ""


class SignedTime(msgspec.Struct, frozen=True):
    challenge: str
    at_ms: int
    signature: bytes


@dataclass(frozen=True)
class HttpReply:
    status: int
    body: bytes


@dataclass
class CollectorClient:
    """``ca`` are the roots that count (a file, or PEM text). Over plain HTTP there is none, so that is for loopback, or
    for callers that allow it (``plain``). With ``collector_key`` a wrong clock here is no hindrance."""

    url: str
    ca: Path | str | None = None
    collector_key: bytes | None = None
    plain: bool = False
    clock: trust.TrustedClock = field(default_factory=trust.TrustedClock)

    def __post_init__(self) -> None:
        self.url = address(self.url)

    @property
    def is_tls(self) -> bool:
        return self.url.startswith("https:")

    def post(self, path: str, body: object, shape: type[Shape]) -> tuple[int, Shape]:
        """The status and the decoded answer to a JSON request. Raises CollectorUnreachable."""
        reply = self._send("POST", path, msgspec.json.encode(body))
        if reply.status >= 400:
            raise self._refusal(reply, path)
        return reply.status, self._decoded(reply, shape, path)

    def learn_time(self) -> None:
        """Fetches the collector's signed time. Raises CollectorUnreachable."""
        if self.collector_key is None:
            raise CollectorUnreachable(
                f"{self.url}: only its time is wrong, or ours; set this machine's clock, then try again"
            )
        try:
            self._learn(self.collector_key)
        except ssl.SSLCertVerificationError as error:
            raise self._untrusted(error) from None

    def _learn(self, key: bytes) -> None:
        challenge = secrets.token_hex(16)
        path = f"/api/v1/time?challenge={challenge}"
        answer = self._decoded(self._exchange("GET", path, b"", checks_time=False), SignedTime, path)
        signed = f"nabz-time\n{challenge}\n{answer.at_ms}".encode()
        if answer.challenge != challenge or not verify(key, signed, answer.signature):
            raise CollectorUnreachable(
                f"{self.url}: its time is not signed by the collector of this gateway; tell its operator"
            )
        self.clock.learn(answer.at_ms)

    def _send(self, method: str, path: str, body: bytes) -> HttpReply:
        try:
            return self._exchange(method, path, body)
        except ssl.SSLCertVerificationError as error:
            if not trust.is_about_time(error):
                raise self._untrusted(error) from None
        self.learn_time()
        try:
            return self._exchange(method, path, body)
        except ssl.SSLCertVerificationError as error:
            why = f"its certificate is not valid at the collector's own time ({error.verify_message})"
            raise CollectorUnreachable(f"{self.url}: {why}; tell its operator") from None

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> CollectorUnreachable:
        why = f"its certificate is not of the collector that was pinned ({error.verify_message})"
        return CollectorUnreachable(f"{self.url}: {why}; somebody stands in between, or the address is wrong")

    def _exchange(self, method: str, path: str, body: bytes, *, checks_time: bool = True) -> HttpReply:
        """One request. Raises CollectorUnreachable or ssl.SSLCertVerificationError; ``checks_time``: for dates too."""
        connection = self._connection(checks_time=checks_time)
        try:
            connection.connect()
            if checks_time and isinstance(connection.sock, ssl.SSLSocket):
                trust.check_time(connection.sock, self.clock)
            connection.request(method, path, body, {"Content-Type": "application/json", "Connection": "close"})
            answer = connection.getresponse()
            return HttpReply(answer.status, answer.read(MAX_ANSWER_BYTES + 1))
        except ssl.SSLCertVerificationError:
            raise
        except trust.Untrusted as error:
            raise CollectorUnreachable(f"{self.url}: {error}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            what = f"{self.url}{path.partition('?')[0]}"
            raise CollectorUnreachable(
                f"{what}: no answer ({describe(error)}); check the address and this machine's network"
            ) from None
        finally:
            connection.close()

    def connected(self) -> http.client.HTTPConnection:
        """A connection to a collector that was verified, for some requests; to be closed. Raises OSError."""
        connection = self._connection(checks_time=True)
        try:
            connection.connect()
            if isinstance(connection.sock, ssl.SSLSocket):
                trust.check_time(connection.sock, self.clock)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connection(self, *, checks_time: bool) -> http.client.HTTPConnection:
        parts = urllib.parse.urlsplit(self.url)
        host = parts.hostname or ""
        if not self.is_tls:
            if not (self.plain or trust.is_loopback(host)):
                raise CollectorUnreachable(
                    f"{self.url}: plain http shows the token to the network; use the https address"
                )
            return http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
        if self.ca is None:
            raise CollectorUnreachable(
                f"{self.url}: no root is known to judge it by; give the whole token, with its fingerprint"
            )
        made = trust.context(self.ca, self.clock)
        if not checks_time:
            made.verify_flags |= ssl.VerifyFlags(trust.NO_CHECK_TIME)
        return http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT_S, context=made)

    def _refusal(self, reply: HttpReply, path: str) -> CollectorRefused:
        """The collector's refusal, or that the server is no collector."""
        try:
            body = msgspec.json.decode(reply.body, type=RefusalBody)
        except wire.UNREADABLE:
            sentence = f"{self.url}{path}: answered {reply.status} and is not a collector's; check the address"
            return CollectorRefused(sentence, reply.status, "not_a_collector")
        text = "".join(letter if letter.isprintable() else "?" for letter in body.error[:1000])
        return CollectorRefused(f"the collector refused ({reply.status}): {text}", reply.status, body.code[:64])

    def _decoded(self, reply: HttpReply, shape: type[Shape], path: str) -> Shape:
        if len(reply.body) > MAX_ANSWER_BYTES:
            raise CollectorUnreachable(
                f"{self.url}{path}: the answer is over {MAX_ANSWER_BYTES} bytes; check the address"
            )
        try:
            return msgspec.json.decode(reply.body, type=shape)
        except wire.UNREADABLE as error:
            where = f"{self.url}{path.partition('?')[0]}"
            raise CollectorUnreachable(
                f"{where}: the answer is not a collector's ({describe(error)}); check the address"
            ) from None


def address(url: str) -> str:
    """``SCHEME://HOST:PORT`` of a collector. Raises CollectorUnreachable."""
    parts = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
    try:
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise CollectorUnreachable(
            f"URL: {url!r} is not the address of a collector; give for example https://nabz.example:8443"
        )
    return f"{parts.scheme}://{parts.netloc}"


def pinned_root(url: str, fingerprint: str) -> str:
    """The root (PEM) whose SHA-256 begins with ``fingerprint``, as the collector at ``url`` gives it out.

    It is fetched from an unverified server: nothing is sent, and only the right root has this fingerprint.

    Raises CollectorUnreachable.
    """
    parts = urllib.parse.urlsplit(address(url))
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S, context=blind)
    try:
        connection.request("GET", "/api/v1/ca", headers={"Connection": "close"})
        roots = root_of(connection.getresponse().read(MAX_ANSWER_BYTES), fingerprint)
    except (OSError, http.client.HTTPException) as error:
        what = f"{parts.scheme}://{parts.netloc}/api/v1/ca"
        raise CollectorUnreachable(
            f"{what}: no answer ({describe(error)}); check the address and this machine's network"
        ) from None
    finally:
        connection.close()
    if not roots:
        why = "shows no root with the token's fingerprint: it is not the collector that made the token"
        raise CollectorUnreachable(f"{parts.netloc}: {why}; check the address, and whether somebody stands in between")
    return roots


def root_of(pem: bytes, fingerprint: str) -> str:
    """The one certificate of ``pem`` with this fingerprint, as PEM; empty when there is none."""
    from cryptography import x509  # 8 MB, which only an enrolment needs
    from cryptography.hazmat.primitives import hashes, serialization

    try:
        held = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return ""
    encoded = {entry.fingerprint(hashes.SHA256()).hex(): entry for entry in held}
    matches = [root for name, root in encoded.items() if name.startswith(fingerprint)]
    return ssl.DER_cert_to_PEM_cert(matches[0].public_bytes(serialization.Encoding.DER)) if matches else ""


def split_token(text: str) -> tuple[str, str]:
    """(secret, fingerprint) of a token as the desk prints it; the fingerprint is empty when it has none.

    Raises CollectorUnreachable.
    """
    secret, _, fingerprint = text.strip().partition(".")
    if not secret:
        raise CollectorUnreachable("TOKEN: is empty; ask the desk for `nabz-collector token CENTER`")
    fingerprint = fingerprint.lower()
    if fingerprint and (len(fingerprint) != FINGERPRINT_DIGITS or not set(fingerprint) <= set("0123456789abcdef")):
        raise CollectorUnreachable("TOKEN: is cut short or mistyped after its full stop; copy all of it")
    return secret, fingerprint


# ---------------------------------------------------------------- files


def fetch(client: CollectorClient, order: wire.FetchOrder, within_s: float = FETCH_S) -> int:
    """Fetches a file over a few connections and throws it away: what any download gets of the line. Returns the bytes
    that came, of all parts and once each. Blocks for `within_s` at most. Raises CollectorUnreachable; the
    collector has no figure then."""
    numbers = itertools.count()  # shared: its next() is one step of the interpreter
    until_s = time.monotonic() + within_s

    def lane(_number: int) -> int:
        connection = client.connected()
        try:
            came = 0
            while (number := next(numbers)) < order.parts:
                came += _part(connection, order, number, until_s)
            return came
        finally:
            connection.close()

    path = _path(order, order.parts)
    try:
        with ThreadPoolExecutor(LANES, thread_name_prefix="fetch") as lanes:
            came = sum(lanes.map(lane, range(min(LANES, order.parts))))
        connection = client.connected()
        try:
            connection.request("GET", path)
            _checked(connection.getresponse(), 204, path)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CollectorUnreachable(f"{client.url}{path.partition('?')[0]}: not fetched ({describe(error)})") from None
    return came


def _path(order: wire.FetchOrder, number: int) -> str:
    return f"/api/v1/files/{order.name}?part={number}"


def _part(connection: http.client.HTTPConnection, order: wire.FetchOrder, number: int, until_s: float) -> int:
    path = _path(order, number)
    connection.request("GET", path)
    answer = _checked(connection.getresponse(), 200, path)
    came = 0
    while block := answer.read(min(READ_BYTES, order.part_bytes + 1 - came)):
        came += len(block)
        if came > order.part_bytes:
            raise CollectorUnreachable(f"{path}: more than the {order.part_bytes} bytes that were announced")
        if time.monotonic() > until_s:
            raise TimeoutError("it takes too long")
    return came


def _checked(answer: http.client.HTTPResponse, status: int, path: str) -> http.client.HTTPResponse:
    if answer.status != status:
        raise CollectorUnreachable(f"{path}: answered {answer.status}")
    return answer
