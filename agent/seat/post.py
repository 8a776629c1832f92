"""One snapshot to the gateway and its answer back: HTTP, standard library only."""

from __future__ import annotations

import urllib.parse

from agent.common import http
from agent.common.errors import describe
from agent.seat import snapshot as contract

MAX_ANSWER_BYTES = 4096


class PostFailed(Exception):
    """The gateway did not take the snapshot; the message is the reason. `now_ms` is the gateway's clock if it sent it,
    `is_key` that it does not know the key that was used."""

    def __init__(self, why: str, now_ms: int | None = None, *, is_key: bool = False) -> None:
        super().__init__(why)
        self.now_ms = now_ms
        self.is_key = is_key


def check_gateway(url: str) -> str:
    """The address snapshots go to, of ``http://HOST:PORT``. Raises ValueError."""
    try:
        parts = urllib.parse.urlsplit(url)
        is_right = parts.scheme == "http" and parts.hostname and parts.port and not parts.path.strip("/")
    except ValueError:  # a port out of range, a broken IPv6 address
        is_right = False
    if not is_right or parts.query:
        raise ValueError(f"gateway {url!r} is not http://HOST:PORT, for example http://192.168.1.10:8471")
    return f"http://{parts.netloc}/seat"


def post(snapshot: contract.Snapshot, url: str, key: bytes, timeout_s: float = 10.0) -> contract.GatewayReply:
    """Raises PostFailed when the gateway does not answer, refuses, or is not the one that holds the key."""
    payload = contract.seal(contract.encode(snapshot), key, contract.SNAPSHOT)
    headers = {"Content-Type": "application/json"}
    try:
        page = http.ask(url, body=payload, headers=headers, limit=MAX_ANSWER_BYTES, within_s=timeout_s)
    except OSError as error:
        raise PostFailed(f"no gateway answers at {url}: {describe(error)}") from None
    if page.status not in (200, 403):  # a refusal of the latter kind is sealed
        text = page.body.decode("utf-8", "replace")[:200]
        raise PostFailed(f"the gateway refused ({page.status}): {text}", is_key=page.status == 401)
    return read_answer(page.body, snapshot.nonce, key)


def fetch_release(
    url: str, seat_id: str, key: bytes, what: str, digest: str, *, limit: int, timeout_s: float = 60.0
) -> bytes:
    """The file of a release, or the signed list that it is in, unverified, up to `limit` bytes. `url` is where
    snapshots go, `what` the last part of the address. Raises OSError."""
    payload = contract.seal(contract.encode_wish(seat_id, digest), key, contract.WISH)
    address = f"{url.removesuffix('/seat')}/{what}"
    page = http.ask(address, body=payload, limit=limit + 1, within_s=timeout_s)
    if page.status != 200:
        raise OSError(f"the gateway answered {page.status}")
    if len(page.body) > limit:
        raise OSError(f"the release is over {limit} bytes")
    return page.body


def read_answer(sealed: bytes, nonce: str, key: bytes) -> contract.GatewayReply:
    """The gateway's answer, if it holds the key and answers this very snapshot. Raises PostFailed."""
    try:
        answer = contract.decode_answer(contract.unseal(sealed, key, contract.ANSWER))
    except contract.SnapshotError as error:
        raise PostFailed(f"what answered is not this center's gateway: {error}") from None
    if answer.nonce != nonce:
        raise PostFailed("what answered repeated an older answer: not this center's gateway")
    if not answer.ok:
        raise PostFailed(f"the gateway did not take the snapshot: {answer.error}", now_ms=answer.now_ms)
    return answer
