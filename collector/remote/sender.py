"""Sends each gateway the settings that hold for its center, until its batches say that it has them.

Nothing is kept by the broker, and no answer is awaited: what a gateway reports is compared with what holds, again and
again. So a lost message, a restart of either side or a center that moves to another tier need no care of their own.
Settings that failed are not sent again until a person changes them, or has them tried once more.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.common.logs import Event
from collector.common.messages import Message
from collector.remote.standing import GatewaySettings, gateways
from collector.store import Store

SENT = Event(__name__, "info", "settings_sent", "settings were sent to gateways that run with others",
    fields="gateways",
)  # fmt: skip

AGAIN_MS = 20_000
HEARD_MS = 180_000  # one not heard for longer is sent nothing: it will report when it is back
HOLDS_MS = 120_000  # a message under way for longer is refused by the gateway


class SettingsSender:
    """`publish` sends tasks and says whether it could. `look` is to be called every few seconds."""

    def __init__(
        self,
        store: Store,
        key: Ed25519PrivateKey,
        publish: Callable[[Sequence[Message]], bool],
        now_ms: Callable[[], int],
    ) -> None:
        self._store, self._key, self._publish, self._now_ms = store, key, publish, now_ms
        self._sent: dict[str, tuple[str, int]] = {}  # device -> (digest, when)

    def look(self) -> int:
        """Returns to how many gateways it sent."""
        now_ms = self._now_ms()
        with self._store.read() as conn:
            waiting = [one for one in gateways(conn) if one.standing == "waiting"]
        due = [one for one in waiting if self._is_due(one, now_ms)]
        if not due or not self._publish([self._task(one, now_ms) for one in due]):
            return 0
        self._sent = {one.device: self._sent[one.device] for one in waiting if one.device in self._sent}
        self._sent |= {one.device: (one.wanted_digest, now_ms) for one in due}
        SENT.log(gateways=len(due))
        return len(due)

    def _is_due(self, one: GatewaySettings, now_ms: int) -> bool:
        digest, sent_ms = self._sent.get(one.device, ("", 0))
        is_heard = one.heard_ms is not None and now_ms - one.heard_ms <= HEARD_MS
        return is_heard and (digest != one.wanted_digest or now_ms - sent_ms >= AGAIN_MS)

    def _task(self, one: GatewaySettings, now_ms: int) -> Message:
        document = wire.SettingsDocument(digest=one.wanted_digest, issued_ms=now_ms, values=one.wanted)
        task = wire.Task(
            v=wire.VERSION,
            device=one.device,
            id=secrets.token_hex(16),
            do="settings",
            settings=document,
            expires_ms=now_ms + HOLDS_MS,
        )
        return Message(wire.task_topic(one.device), wire.seal(wire.encode(task), self._key.sign))
