"""Webhooks as a receiver sees them, which checks them with the library of Standard Webhooks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from collector.desk.alerts.channel import AlertMessage, SendFailed
from collector.desk.alerts.channels import schemes

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FACTS = json.dumps({"act": "opened", "at_ms": 1, "incident": {"id": 7}})


@dataclass
class Receiver:
    """What it was sent, and the answers that it gives."""

    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    location: str = ""
    url: str = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    room = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            room.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(room.statuses.pop(0) if room.statuses else 204)
            if room.location:
                self.send_header("location", room.location)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    room.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield room
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_a_receiver_can_prove_who_sent_it_and_that_nobody_changed_it(receiver: Receiver) -> None:
    channel = schemes.make("ops", f"webhook+{receiver.url}", secret=SECRET)
    channel.send(AlertMessage("title", "text", facts=FACTS, id=41))
    ((headers, body),) = receiver.got
    found = Webhook(SECRET).verify(body, headers)
    assert (found["type"], found["data"]["incident"]["id"], found["data"]["title"]) == ("incident.opened", 7, "title")
    assert headers["webhook-id"] == "nabz_ops_41"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"title", b"other"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(body, headers)


def test_another_attempt_has_the_same_id(receiver: Receiver) -> None:
    channel = schemes.make("ops", f"webhook+{receiver.url}", secret=SECRET)
    receiver.statuses = [503]
    with pytest.raises(SendFailed) as failed:
        channel.send(AlertMessage("t", "x", facts=FACTS, id=5))
    assert not failed.value.permanent
    channel.send(AlertMessage("t", "x", facts=FACTS, id=5))
    assert [headers["webhook-id"] for headers, _ in receiver.got] == ["nabz_ops_5"] * 2


@pytest.mark.parametrize(("status", "permanent"), [(400, True), (410, True), (429, False), (500, False), (302, True)])
def test_what_an_answer_says_of_another_attempt(receiver: Receiver, status: int, permanent: bool) -> None:
    receiver.statuses, receiver.location = [status], receiver.url
    with pytest.raises(SendFailed, match=f"HTTP {status}") as failed:
        schemes.make("ops", f"webhook+{receiver.url}", secret=SECRET).send(AlertMessage("t", "x", facts=FACTS))
    assert failed.value.permanent is permanent
    assert len(receiver.got) == 1  # a redirect is not followed


@pytest.mark.parametrize("secret", ["whsec_", "whsec_é"])
def test_what_is_no_secret_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ValueError, match="channel 'ops'"):
        schemes.make("ops", "webhook+https://example.pk/", secret=secret)
