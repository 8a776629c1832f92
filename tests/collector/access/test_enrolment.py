"""Joining: a token works once, for whoever proves a key, within its time."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.__main__ import main
from collector.access.enrolment import EnrolmentFacts, EnrolmentRefused, device_name, enrol, is_signed, issue_token
from collector.access.signing_key import load_or_make
from collector.register import centers
from collector.register.centers import CenterError
from collector.store import Store, nonces, schema
from tests.collector.empty_stores import empty_store

NOW = 1_795_000_000_000
FACTS = EnrolmentFacts(
    collector_key=b"k" * 32, broker_host="b.example.pk", broker_port=1883, measure_url="http://m.example.pk"
)
ROW = {"name": "One", "tier": "one", "seats_promised": "20", "opening": "always"}


@pytest.fixture
def store(either_store: Store) -> Store:
    with either_store.write() as conn:
        for code in ("LHR-1", "LHR-2"):
            centers.add(conn, {"center": code, **ROW}, NOW)
    return either_store


def token_for(store: Store, center: str = "LHR-1", now_ms: int = NOW, ttl_s: int = 3600) -> str:
    with store.write() as conn:
        return issue_token(conn, center, now_ms, ttl_s)


def request(key: Ed25519PrivateKey, token: str, /, **changes: object) -> bytes:
    public_key = key.public_key().public_bytes_raw()
    fields = {
        "token": token,
        "public_key": base64.b64encode(public_key).decode(),
        "proof": base64.b64encode(key.sign(b"nabz-enrol\n" + token.encode())).decode(),
        "hostname": "gw-1",
        "version": "0.1",
    }
    return json.dumps(fields | changes).encode()


def ask(store: Store, body: bytes, now_ms: int = NOW) -> dict[str, object]:
    with store.write() as conn:
        return enrol(conn, body, now_ms, FACTS)


def refusal(store: Store, body: bytes, now_ms: int = NOW) -> tuple[int, str]:
    with pytest.raises(EnrolmentRefused) as refused:
        ask(store, body, now_ms)
    return refused.value.status, str(refused.value)


def devices(store: Store) -> list[str]:
    with store.read() as conn:
        return list(conn.scalars(sa.select(schema.devices.c.device)))


def test_a_gateway_joins_and_learns_all_it_needs(store: Store) -> None:
    key = Ed25519PrivateKey.generate()
    reply = ask(store, request(key, token_for(store)))
    with store.write() as conn:
        nonce = nonces.current(conn, NOW)
    assert reply == {
        "device": device_name(key.public_key().public_bytes_raw()),
        "center": "LHR-1",
        "name": "One",
        "collector_key": base64.b64encode(b"k" * 32).decode(),
        "broker": {"host": "b.example.pk", "port": 1883},
        "measure_url": "http://m.example.pk",
        "nonce": nonce,
    }
    assert devices(store) == [reply["device"]]


def test_a_lost_answer_may_be_asked_for_again_by_the_same_gateway(store: Store) -> None:
    body = request(Ed25519PrivateKey.generate(), token_for(store))
    assert ask(store, body) == ask(store, body, NOW + 1)
    assert len(devices(store)) == 1


def test_a_token_works_for_one_gateway(store: Store) -> None:
    token = token_for(store)
    ask(store, request(Ed25519PrivateKey.generate(), token))
    assert refusal(store, request(Ed25519PrivateKey.generate(), token)) == (
        403, "the token was used by another gateway; ask the desk for a new one",
    )  # fmt: skip
    assert len(devices(store)) == 1


def test_of_many_gateways_with_one_token_at_once_one_joins(store: Store) -> None:
    token, joined, refused = token_for(store), [], []

    def try_it() -> None:
        try:
            joined.append(ask(store, request(Ed25519PrivateKey.generate(), token)))
        except EnrolmentRefused as error:
            refused.append(error.status)

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(joined), refused, len(devices(store))) == (1, [403] * 7, 1)


def test_a_token_expires(store: Store) -> None:
    body = request(Ed25519PrivateKey.generate(), token_for(store, ttl_s=60))
    assert refusal(store, body, NOW + 60_000) == (403, "the token has expired; ask the desk for a new one")
    assert ask(store, body, NOW + 59_999)["center"] == "LHR-1"


def test_the_proof_must_fit_the_key_and_the_token(store: Store) -> None:
    key, other, token = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate(), token_for(store)
    stolen = base64.b64encode(other.sign(b"nabz-enrol\n" + token.encode())).decode()
    replayed = base64.b64encode(key.sign(b"nabz-enrol\n" + b"0" * 32)).decode()
    for proof in (stolen, replayed, ""):
        assert refusal(store, request(key, token, proof=proof))[0] == 401
    assert devices(store) == []
    assert ask(store, request(key, token))["center"] == "LHR-1"  # the failed tries did not use the token


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"public_key": "!"}, 400),
        ({"public_key": base64.b64encode(b"short").decode()}, 400),
        ({"proof": "not base64"}, 400),
        ({"hostname": 7}, 400),
        ({"hostname": "x" * 201}, 400),
        ({"token": "0" * 101}, 400),
        ({"padding": "x" * 5000}, 413),
    ],
)
def test_malformed_requests_are_refused(store: Store, changes: dict[str, object], status: int) -> None:
    assert refusal(store, request(Ed25519PrivateKey.generate(), token_for(store), **changes))[0] == status


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"null", b"[" * 4000])
def test_what_is_no_request_is_refused(store: Store, body: bytes) -> None:
    assert refusal(store, body)[0] == 400


def test_an_unknown_token_is_refused(store: Store) -> None:
    assert refusal(store, request(Ed25519PrivateKey.generate(), "0" * 32))[0] == 403


def test_a_gateway_cannot_serve_two_centers_or_come_back_revoked(store: Store) -> None:
    key = Ed25519PrivateKey.generate()
    device = ask(store, request(key, token_for(store)))["device"]
    second = request(key, token_for(store, "LHR-2"))
    assert refusal(store, second) == (409, f"gateway {device} serves LHR-1; make a new key to serve LHR-2")
    with store.write() as conn:
        conn.execute(sa.update(schema.devices).values(revoked_ms=NOW))
    assert refusal(store, request(key, token_for(store)))[0] == 403


def test_what_a_gateway_says_of_itself_cannot_carry_controls(store: Store) -> None:
    ask(store, request(Ed25519PrivateKey.generate(), token_for(store), hostname="gw\x00\x1b[31m"))
    with store.read() as conn:
        assert conn.scalar(sa.select(schema.devices.c.hostname)) == "gw??[31m"


def test_only_the_hash_of_a_token_is_kept(store: Store) -> None:
    token = token_for(store)
    with store.read() as conn:
        row = conn.execute(sa.select(schema.tokens)).one()
    assert len(token) == 32
    assert token not in str(row)


def test_no_token_for_a_center_that_is_unknown_or_closed(store: Store) -> None:
    with store.write() as conn:
        centers.move(conn, "LHR-2", "closed", NOW)
    for center, why in (("LHR-9", "is not registered"), ("LHR-2", "is closed")):
        with pytest.raises(CenterError, match=why):
            token_for(store, center)


def test_a_nonce_lasts_ten_minutes_and_is_remembered(store: Store) -> None:
    with store.write() as conn:
        first = nonces.current(conn, NOW)
        assert nonces.current(conn, NOW + nonces.ROTATE_MS - 1) == first
        second = nonces.current(conn, NOW + nonces.ROTATE_MS)
        assert second != first
        assert nonces.issued_ms(conn, [first, second, "made up"]) == {first: NOW, second: NOW + nonces.ROTATE_MS}


def test_a_bad_key_verifies_nothing() -> None:
    assert not is_signed(b"short", b"body", b"s" * 64)


# ---------------------------------------------------------------- the command


def test_the_command_prints_a_token_and_the_line_to_use_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path)]
    words = ["--name", "One", "--tier", "one", "--seats-promised", "20", "--opening", "always"]
    assert main(["center", "add", "--code", "LHR-1", *words, *data]) == 0
    capsys.readouterr()
    assert main(["token", "LHR-1", "--ttl", "30m", "--json", *data]) == 0
    facts = json.loads(capsys.readouterr().out)
    load_or_make(tmp_path)  # as the collector has by then
    assert facts["enrol"] == "nabz-agent enrol http://127.0.0.1:8480"
    store = empty_store(tmp_path / "nabz.db")
    assert (
        ask(store, request(Ed25519PrivateKey.generate(), facts["token"]), facts["expires_ms"] - 1)["center"] == "LHR-1"
    )
    store.close()
    assert main(["token", "LHR-9", *data]) == 1
    assert "is not registered" in capsys.readouterr().err


@pytest.mark.parametrize("ttl", ["0h", "24", "h", "91d", "-1h", "1y"])
def test_the_command_refuses_a_time_that_is_none(ttl: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["token", "LHR-1", f"--ttl={ttl}"])
    assert refused.value.code == 2
    assert "write e.g. 30m, 24h or 7d" in capsys.readouterr().err
