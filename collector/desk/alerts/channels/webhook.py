"""Webhooks signed as Standard Webhooks wants it (standardwebhooks.com): the receiver proves with the shared secret that
a message is ours and new, and knows a repeated one by its id."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from collector.desk.alerts.channel import AlertMessage, Channel, Event
from collector.desk.alerts.channels.post import post


def channel(name: str, url: str, secret: str, events: tuple[Event, ...]) -> Channel:
    """Raises ValueError for what is no secret."""
    from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook  # of no use without such a channel

    try:
        signer = Webhook(secret)
    except (ValueError, RuntimeError, EmptyWebhookSecretError):
        rule = "its secret is none; make one: whsec_ and 32 random bytes in base64"
        raise ValueError(f"channel {name!r}: {rule}") from None

    def send(message: AlertMessage) -> None:
        at, id = datetime.now(UTC), f"nabz_{name}_{message.id}"
        body = body_of(message, at)
        signature = signer.sign(id, at, body)
        headers = {
            "webhook-id": id, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature,
        }  # fmt: skip
        post(url, body.encode(), headers)

    return Channel(name, send, events, ("en",), is_structured=True)


def body_of(message: AlertMessage, at: datetime) -> str:
    """{type, timestamp, data}; data has the words of the message and the facts behind them."""
    facts = json.loads(message.facts) if message.facts else {}
    kind = f"incident.{facts['act']}" if facts else "message"
    data = {"title": message.title, "text": message.text, **facts}
    return json.dumps({"type": kind, "timestamp": at.isoformat(), "data": data}, ensure_ascii=False)
