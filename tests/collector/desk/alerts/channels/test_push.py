"""Web Push against a service of our own: only the device can read it, the service knows who sends, a device that is
gone is forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.access.accounts import directory, push_devices
from collector.access.accounts.policy import Account
from collector.access.signing_key import push_key
from collector.access.users import PersonError
from collector.desk.alerts import queue
from collector.desk.alerts.channel import AlertMessage, SendFailed
from collector.desk.alerts.channels import schemes
from collector.desk.alerts.channels.push import MAX_BYTES, PushSender, payload
from collector.desk.alerts.channels.push_encryption import encrypted, public_point
from collector.desk.alerts.outbox import Outbox
from collector.store import Store
from tests.collector.desk.alerts.channels.push_service import Device, PushService, claims_of, push_service, unb64
from tests.collector.desk.alerts.test_personal import NOON, STANDARDS, Town

KEY = push_key(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
AYESHA = Account("Ayesha", "desk", key="ayesha")


@pytest.fixture
def service() -> Iterator[PushService]:
    with push_service() as room:
        yield room


@pytest.fixture
def town(either_store: Store, service: PushService) -> Town:
    """Ayesha is reached by Web Push first."""
    town = Town(either_store)
    sender = PushSender(either_store, KEY, [service.place], lambda: NOON / 1000)
    town.channels = [schemes.make("push", "push+mailto:desk@example.pk", push_sender=sender), *town.channels]
    return town


def turned_on(town: Town, service: PushService, name: str) -> Device:
    device = service.device(name)
    with town.store.write() as conn:
        push_devices.add(
            conn, push_devices.parse(device.subscription, AYESHA, [service.place], "Chromium", NOON), AYESHA, NOON
        )
    return device


def look(town: Town) -> int:
    outbox = Outbox(town.store, town.channels, STANDARDS, "http://x", lambda: town.now_ms)
    try:
        return outbox.look()
    finally:
        outbox.stop()


def test_the_body_is_that_of_the_rfc() -> None:
    """RFC 8291 appendix A."""
    own = ec.derive_private_key(
        int.from_bytes(unb64("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), ec.SECP256R1()
    )
    device = unb64("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4")
    made = encrypted(
        b"When I grow up, I want to be a watermelon", device, unb64("BTBZMqHH6r4Tts7J_aSIgg"), own=own,
        salt=unb64("DGv6ra1nlYgDCS1FRnbzlw"),
    )  # fmt: skip
    assert made == unb64(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6"
        "PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_a_person_is_told_on_every_device_and_nobody_else_can_read_it(town: Town, service: PushService) -> None:
    devices = {f"/{name}": turned_on(town, service, name) for name in ("phone", "desk")}
    town.opens("LHR-001")
    assert town.route() == 1
    assert town.rows()[0].address == "ayesha"
    assert look(town) == 1
    assert {path for path, _, _ in service.got} == set(devices)
    for path, headers, body in service.got:
        shown = json.loads(devices[path].decrypted(body))
        assert shown["title"].startswith("LHR-001")
        assert shown["path"].startswith("/a/")
        assert "http" not in shown["text"]
        assert (headers["content-encoding"], headers["urgency"]) == ("aes128gcm", "high")
        claims, key = claims_of(headers["authorization"])
        assert claims == {
            "aud": f"http://{service.place}",
            "exp": NOON // 1000 + 43_200,
            "sub": "mailto:desk@example.pk",
        }
        assert key == public_point(KEY)
        (other,) = (device for name, device in devices.items() if name != path)
        with pytest.raises(Exception):  # noqa: B017, PT011  the cipher has no better word
            other.decrypted(body)
    with town.store.read() as conn:
        assert {row.state for row in town.rows()} == {"sent"}
        assert len(push_devices.of_person(conn, "ayesha")) == 2


def test_a_device_that_is_gone_is_forgotten_and_the_person_told_otherwise(town: Town, service: PushService) -> None:
    turned_on(town, service, "old")
    service.statuses["/old"] = 410
    town.opens("LHR-001")
    town.route()
    assert look(town) == 0
    assert (town.rows()[0].state, str(town.rows()[0].problem)[:8]) == ("failed", "HTTP 410")
    with town.store.read() as conn:
        assert push_devices.people(conn) == set()
    town.opens("LHR-002")
    town.route()
    assert town.rows()[-1].channel == "sms"  # the next one for which she has an address


def test_one_device_that_takes_it_is_enough_and_a_busy_service_is_tried_again(town: Town, service: PushService) -> None:
    turned_on(town, service, "phone")
    turned_on(town, service, "old")
    service.statuses |= {"/old": 404, "/phone": 503}
    town.opens("LHR-001")
    town.route()
    assert look(town) == 0
    assert town.rows()[0].state == "waiting"
    service.statuses["/phone"] = 201
    town.now_ms += 60_000
    assert look(town) == 1


def test_a_message_without_a_device_any_more_fails(town: Town, service: PushService) -> None:
    with town.store.read() as conn:
        (device,) = [turned_on(town, service, "phone")]
    town.opens("LHR-001")
    town.route()
    with town.store.write() as conn:
        push_devices.remove(conn, AYESHA, push_devices.id_of(device.endpoint), NOON)
    look(town)
    assert "no device" in str(town.rows()[0].problem)
    with town.store.write() as conn:
        due = queue.claim(conn, NOON, "push")
    assert due is None
    assert service.got == []


def test_who_is_removed_has_no_devices(town: Town, service: PushService) -> None:
    turned_on(town, service, "phone")
    with town.store.write() as conn:
        directory.remove(conn, "Ayesha", "Root", NOON)
        assert push_devices.people(conn) == set()


@pytest.mark.parametrize(
    ("endpoint", "is_taken"),
    [
        ("https://fcm.googleapis.com/fcm/send/x", True),
        ("https://web.push.apple.com/x", True),
        ("http://fcm.googleapis.com/x", False),
        ("https://fcm.googleapis.com.evil.pk/x", False),
        ("https://fcm.googleapis.com:8443/x", False),
        ("https://fcm.googleapis.com@10.0.0.1/x", False),
        ("https://push.apple.com.evil.pk/", False),
        ("https://127.0.0.1/x", False),
        ("http://127.0.0.1:9/x", False),
        ("https://[::1/x", False),
        ("https://fcm.googleapis.com/\r\nx: y", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
def test_only_known_push_services_are_asked(endpoint: str, is_taken: bool) -> None:
    services = ("fcm.googleapis.com", "*.push.apple.com")
    assert push_devices.is_service(endpoint, services) is is_taken
    if not is_taken:
        with pytest.raises(PersonError):
            push_devices.parse(Device(endpoint).subscription, AYESHA, services, "x", NOON)


@pytest.mark.parametrize(
    "answer",
    ["", "[]", "null", "{", '{"endpoint": 1}', '{"endpoint": "https://a.pk/", "keys": {"p256dh": "AA", "auth": "AA"}}',
     "[" * 5000, '{"endpoint": "https://a.pk/", "keys": {"p256dh": "ä", "auth": []}}'],
)  # fmt: skip
def test_what_is_no_subscription_is_refused(answer: str) -> None:
    with pytest.raises(PersonError) as refused:
        push_devices.parse(answer, AYESHA, ["a.pk"], "x", NOON)
    assert refused.value.reason == "bad_device"


def test_a_person_has_so_many_devices_and_no_more(town: Town, service: PushService) -> None:
    for number in range(push_devices.MAX_DEVICES):
        turned_on(town, service, str(number))
    device = turned_on(town, service, "0")  # a new subscription of the same endpoint takes the place of the old one
    with town.store.read() as conn:
        assert len(push_devices.of_person(conn, "ayesha")) == push_devices.MAX_DEVICES
        assert device.auth in {one.auth for one in push_devices.of_person(conn, "ayesha")}
    with pytest.raises(PersonError, match="turn one off"):
        turned_on(town, service, "more")


def test_a_payload_fits_whatever_its_words_are() -> None:
    made = payload(AlertMessage("ع" * 500, "\u0001ع\n" * 5000 + "see http://x/incidents/12", id=7))
    assert len(made) <= MAX_BYTES
    assert json.loads(made)["path"] == "/incidents/12"


def test_a_channel_needs_a_contact_and_a_database() -> None:
    with pytest.raises(ValueError, match="whom to ask"):
        schemes.make("push", "push+x")
    with pytest.raises(SendFailed, match="no database"):
        schemes.make("push", "push+mailto:a@b.pk").send(AlertMessage("t", "x", address="ayesha"))
