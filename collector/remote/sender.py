"""Sends each gateway the settings that hold for its center, until its batches say that it has them.

Nothing is kept by the broker, and no answer is awaited: what a gateway reports is compared with what holds, again and
again. So a lost message, a restart of either side or a center that moves to another tier need no care of their own.
Settings that failed are not sent again until a person changes them, or has them tried once more. Who may have them by
now, and who has to wait for others to try them, `rollout` decides.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.common.logs import Event
from collector.common.messages import Message
from collector.remote import rollout
from collector.remote.standing import GatewaySettings, gateways
from collector.store import Store, schema

SENT = Event(__name__, "info", "settings_sent", "settings were sent to gateways that run with others",
    fields="gateways",
)  # fmt: skip
HELD = Event(__name__, "error", "settings_held", "settings do harm where they were tried: no further gateway is sent "
    "them; a person changes them or sends them to all", key="digest", fields="failed members worse_pct",
)  # fmt: skip

AGAIN_MS = 20_000
HOLDS_MS = 120_000  # a message under way for longer is refused by the gateway

_NOTE = (
    sa.update(schema.device_settings)
    .where(schema.device_settings.c.device == sa.bindparam("one"))
    .values(sent=sa.bindparam("wanted"))
)


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
        self._held: set[str] = set()  # digests, to say so once

    def look(self) -> int:
        """Returns to how many gateways it sent."""
        now_ms = self._now_ms()
        with self._store.read() as conn:
            every = list(gateways(conn))
            rollouts = {one.digest: one for one in rollout.under_way(conn, every, now_ms)}
        chosen = [
            one
            for group in rollout.groups(every)
            if group[0].wanted_digest in rollouts
            for one in rollout.due(group, rollouts[group[0].wanted_digest], now_ms)
        ]
        self._tell(rollouts.values())
        due = [one for one in chosen if self._is_due(one, now_ms)]
        self._remember(due)
        if not due or not self._publish([self._task(one, now_ms) for one in due]):
            return 0
        self._sent = {one.device: self._sent[one.device] for one in chosen if one.device in self._sent}
        self._sent |= {one.device: (one.wanted_digest, now_ms) for one in due}
        SENT.log(gateways=len(due))
        return len(due)

    def _tell(self, rollouts: Iterable[rollout.Rollout]) -> None:
        """Once of each that is held."""
        held = {one.digest: one for one in rollouts if one.is_held}
        for digest in held.keys() - self._held:
            one = held[digest]
            HELD.log(digest=digest, failed=one.failed, members=one.members, worse_pct=one.worse_pct)
        self._held = set(held)

    def _remember(self, due: Iterable[GatewaySettings]) -> None:
        """Before they are sent, so that one that settings cut off is waited for, after a restart of ours too."""
        rows = [{"one": one.device, "wanted": one.wanted_digest} for one in due if one.sent != one.wanted_digest]
        if rows:
            with self._store.write() as conn:
                conn.execute(_NOTE, rows)

    def _is_due(self, one: GatewaySettings, now_ms: int) -> bool:
        digest, sent_ms = self._sent.get(one.device, ("", 0))
        return digest != one.wanted_digest or now_ms - sent_ms >= AGAIN_MS

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
