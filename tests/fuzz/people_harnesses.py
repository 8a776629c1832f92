"""Ways in of people and other services, as in `harnesses`: log-in by an issuer, answers to messages, browsers' devices,
beacons, releases, proofs of the log, and what the broker sends to ingest.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from agent.beacons import text as beacon_text
from agent.common.reasons import UNREADABLE
from agent.updates import offers
from collector.access.accounts import oidc, push_devices
from collector.access.accounts.policy import Account
from collector.access.users import PersonError
from collector.common.messages import Message
from collector.desk.alerts.answers import mail, sms, text
from collector.desk.alerts.channels import telegram
from collector.ingest import verify
from collector.ingest.mqtt import client
from collector.log import inclusion
from collector.store.journal import leaves
from tests.fuzz.shared import Harness, refused

NOW_MS = 1_790_000_000_000
PROOF: dict[str, Any] = {"origin": "o", "number": 1, "leaf": "", "hashes": (), "checkpoint": ""}
ISSUER, CLIENT = "https://issuer.example", "nabz"
_KEY = ec.derive_private_key(7, ec.SECP256R1())
ACCOUNT = Account("Asma", "desk", key="asma")
PLACE = offers.GatewayPlace(center="LHR-014", device="g" + "0" * 16, running="0.3.0", installed="0.3.0")


def beacons(data: bytes) -> None:
    """As a gateway of text messages hands them on, in any letters, and as HTTP brings them."""
    for words in (data.decode("utf-8", "replace"), data.decode("ascii", "replace")):
        found = beacon_text.parse(words)
        if found is not None:
            assert len(found.signature) == 64
            assert found.signed.isascii()
            signed = found.signature
            again = beacon_text.make(found.device, found.at_s, lambda _bytes, signed=signed: signed)  # type: ignore[misc]
            assert beacon_text.parse(again) == found


def push(data: bytes) -> None:
    found = refused(
        PersonError,
        lambda words: push_devices.parse(words, ACCOUNT, ("*.push.example", "127.0.0.1:9"), "browser", NOW_MS),
        data.decode("utf-8", "replace"),
    )
    if found is not None:
        assert found.endpoint.startswith(("https://", "http://127.0.0.1:9"))
        assert (len(found.public_key), len(found.auth)) == (65, 16)


def id_tokens(data: bytes) -> None:
    """As it comes, which no key signed, and as the issuer's own word, for what is behind the signature."""
    from joserfc import jws
    from joserfc.jwk import ECKey

    key = ECKey.import_key(_KEY)
    desk = oidc.OidcClient(ISSUER, CLIENT, "", "https://n.example/back", "issuer")
    places = {name: f"{ISSUER}/{name}" for name in oidc.ENDPOINTS}
    desk._known = {
        "metadata": (NOW_MS, {"issuer": ISSUER, **places}),
        "keys": (NOW_MS, {"keys": [key.as_dict(private=False)]}),
    }
    for token in (data.decode("utf-8", "replace"), jws.serialize_compact({"alg": "ES256"}, data, key)):
        found = refused(PersonError, lambda token: desk._claims(token, "n", NOW_MS), token)
        assert found is None or (found["sub"] and token.count(".") == 2)
    attempt = oidc.LoginAttempt.decode(data.decode("utf-8", "replace"), NOW_MS)
    assert attempt is None or 0 <= NOW_MS - attempt.made_ms < oidc.ATTEMPT_LASTS_MS


def mails(data: bytes) -> None:
    found = mail.reply_of(data)
    if found is not None:
        assert len(found.secret) == 22
        answers(found.text.encode(errors="replace"))


def answers(data: bytes) -> None:
    """Written ones, by mail or text message; and presses of buttons."""
    found = text.answer_of(data.decode("utf-8", "replace"), "sms")
    if found is not None:
        number, rest = sms._numbered(found)
        assert number is None or 0 <= number < 10**15
        assert rest.act == found.act
    try:
        update = json.loads(data)
    except (ValueError, RecursionError):
        return
    pressed = telegram._press(update) if isinstance(update, dict) else None
    assert pressed is None or all(isinstance(part, str) for part in pressed)


def releases(data: bytes) -> None:
    """The signed list, and behind a line feed the pace of the first release."""
    listed, _, pace = data.partition(b"\n")
    try:
        index = msgspec.json.decode(listed, type=offers.ReleaseIndex).releases
        open_ = msgspec.json.decode(pace, type=offers.Pace) if pace else offers.Pace()
    except UNREADABLE:
        return
    chosen = offers.choose(index, {release.version: open_ for release in index[:1]}, PLACE, NOW_MS)
    assert (chosen.release is None) == (chosen.code == "current")


def log_proofs(data: bytes) -> None:
    """The proof of a leaf, as a month's bundle or PDF brings it, and the leaf in it."""
    leaves.marks_in(data)
    words = data.decode("utf-8", "replace")
    assert isinstance(inclusion.InclusionProof(**PROOF, entry=words).facts, dict)


def broker_streams(data: bytes) -> None:
    """What a broker sends to ingest, which holds what gateways chose: topics and payloads."""
    for has_properties in (False, True):
        try:
            for _first, begin, end in client.packets(data):
                topic, payload, mid = client.published(data[begin:end], has_properties=has_properties)
                assert 0 <= mid < 65_536
                assert len(topic) + len(payload) <= len(data)
                verify.addressed(Message(topic, payload))
        except client.Malformed:
            pass


HARNESSES: dict[str, Harness] = {
    "beacons": Harness(one=beacons),
    "push": Harness(one=push),
    "id_tokens": Harness(one=id_tokens, quick=50),
    "mails": Harness(one=mails, quick=50),
    "answers": Harness(one=answers),
    "releases": Harness(one=releases),
    "log_proofs": Harness(one=log_proofs),
    "broker_streams": Harness(one=broker_streams),
}
