"""Messages to the devices on which a person turned them on, by Web Push (RFC 8030): encrypted for the device, sent to
the push service of its browser. A message is sent if one of the devices gets it; one that is gone is forgotten."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from collector.access.accounts import push_devices
from collector.access.accounts.push_devices import PushDevice
from collector.desk.alerts import links
from collector.desk.alerts.channel import AlertMessage, Channel, Event, SendFailed
from collector.desk.alerts.channels.post import post
from collector.desk.alerts.channels.push_encryption import authorization, encrypted
from collector.store import Store

TTL_S = 4 * 3600  # how long a push service keeps it for a device without a connection
GONE = (404, 410)  # RFC 8030 §7.3: there is no such device any more
MAX_TEXT = 600  # letters; a notification shows fewer
MAX_BYTES = 3000  # of a payload; RFC 8291 §4 leaves 3993
_PAGE = re.compile(r"/(?:incidents|disputes)/\d{1,15}")


@dataclass(frozen=True)
class PushSender:
    """`key` is ours to push services (VAPID); `services` are the only ones that are asked."""

    store: Store
    key: ec.EllipticCurvePrivateKey
    services: Sequence[str]
    clock_s: Callable[[], float] = time.time

    def send(self, contact: str, message: AlertMessage) -> None:
        """To the person whose key is the message's address. Raises SendFailed."""
        with self.store.read() as conn:
            devices = push_devices.of_person(conn, message.address)
        if not devices:
            raise SendFailed("the person has no device that takes messages any more", permanent=True)
        problems = [self._to_device(contact, device, message) for device in devices]
        failed = [one for one in problems if one is not None]
        if len(failed) == len(devices):
            raise next((one for one in failed if not one.permanent), failed[0])

    def _to_device(self, contact: str, device: PushDevice, message: AlertMessage) -> SendFailed | None:
        if not push_devices.is_service(device.endpoint, self.services):
            return SendFailed("the push service is none of [alerts] push_services", permanent=True)
        own = ec.generate_private_key(ec.SECP256R1())
        body = encrypted(payload(message), device.public_key, device.auth, own=own, salt=secrets.token_bytes(16))
        headers = {
            "authorization": authorization(device.endpoint, contact, self.key, int(self.clock_s())),
            "content-encoding": "aes128gcm", "content-type": "application/octet-stream", "ttl": str(TTL_S),
            "urgency": "high" if message.event == "raised" else "normal",
        }  # fmt: skip
        try:
            post(device.endpoint, body, headers)
        except SendFailed as failed:
            if failed.status in GONE:
                with self.store.write() as conn:
                    push_devices.drop(conn, device.id)
            return failed
        return None


def payload(message: AlertMessage) -> bytes:
    """JSON for collector/web/static/worker.js: what is shown, and the page behind it."""
    secret = links.secret_in(message.text)
    page = _PAGE.search(message.text)
    path = f"{links.PATH}{secret}" if secret else page[0] if page else "/"
    lines = [line for line in message.text.splitlines() if "://" not in line]
    text = "\n".join(lines)[:MAX_TEXT]
    while len(body := _json(message, text, path)) > MAX_BYTES:
        text = text[:-50]
    return body


def _json(message: AlertMessage, text: str, path: str) -> bytes:
    facts = {"title": message.title[:200], "text": text, "path": path, "tag": f"nabz-{message.id}"}
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()


def channel(name: str, contact: str, events: tuple[Event, ...], sender: PushSender | None) -> Channel:
    """`contact` is mailto: or https:. Without a sender it can be named, not used."""

    def send(message: AlertMessage) -> None:
        if sender is None:
            raise SendFailed("this process has no database to find devices in", permanent=True)
        sender.send(contact, message)

    return Channel(name, send, events, address="push")
