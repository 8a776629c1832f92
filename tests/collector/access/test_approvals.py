"""Certificates at enrolment and renewal, the second person's word, and the end of a gateway."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.identity import device_name
from agent.uplink import enrol as gateway
from collector.__main__ import main
from collector.access import approvals, devices
from collector.access.approvals import decide
from collector.access.ca import Authority
from collector.access.devices import MAX_A_DAY, DeviceError, revoke
from collector.access.enrolment import EnrolmentFacts, EnrolmentRefused, enrol, issue_token, renew
from collector.access.signing_key import load_or_make
from collector.access.users import PersonError
from collector.register import centers
from collector.store import Store, schema
from tests.collector.empty_stores import empty_store

NOW = 1_795_000_000_000
DAY = 86_400_000
ROW = {"name": "One", "tier": "one", "seats_promised": "20", "opening": "always"}
WAY = {"host": "b.example.pk", "port": 8883, "tls": True, "transport": "tcp"}


class Gateway:
    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.tls_key = ec.generate_private_key(ec.SECP256R1())
        self.device = device_name(self.key.public_key().public_bytes_raw())

    def question(self, token: str) -> bytes:
        request = gateway.enrolment_request(token, self.key, self.tls_key)
        return json.dumps({name: _text(value) for name, value in request.items()}).encode()

    def renewal(self, device: str = "", signer: Ed25519PrivateKey | None = None, csr: str = "") -> bytes:
        device = device or self.device
        csr = csr or gateway.csr_of(self.tls_key, device)
        proof = (signer or self.key).sign(f"nabz-renew\n{device}\n{csr}".encode())
        return json.dumps({"device": device, "csr": csr, "proof": _text(proof)}).encode()


def _text(value: object) -> object:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


class Desk:
    """Answers by one set of rules at a time."""

    def __init__(self, store: Store, facts: EnrolmentFacts) -> None:
        self.store, self.facts = store, facts

    def token(self, by: str = "Ali", now_ms: int = NOW) -> str:
        with self.store.write() as conn:
            return issue_token(conn, "LHR-1", now_ms, 3600, by)

    def enrol(self, body: bytes, now_ms: int = NOW) -> dict[str, object]:
        with self.store.write() as conn:
            return enrol(conn, body, now_ms, self.facts)

    def renew(self, body: bytes, now_ms: int = NOW) -> dict[str, object]:
        with self.store.write() as conn:
            return renew(conn, body, now_ms, self.facts)

    def decide(self, device: str, decision: approvals.Decision, by: str, reason: str = "") -> None:
        with self.store.write() as conn:
            decide(conn, device, decision, by, NOW, reason)

    def revoke(self, device: str, now_ms: int = NOW) -> int:
        with self.store.write() as conn:
            return revoke(conn, device, "Ali", "stolen", now_ms)

    def refusal(self, ask: str, body: bytes, now_ms: int = NOW) -> tuple[int, str]:
        with pytest.raises(EnrolmentRefused) as refused:
            getattr(self, ask)(body, now_ms)
        return refused.value.status, str(refused.value)

    def count(self, table: sa.Table) -> int:
        with self.store.read() as conn:
            return int(conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


@pytest.fixture
def desk(either_store: Store, tmp_path: Path) -> Desk:
    with either_store.write() as conn:
        centers.add(conn, {"center": "LHR-1", **ROW}, NOW)
    facts = EnrolmentFacts(
        collector_key=b"k" * 32, broker_host="b.example.pk", broker_port=1883, measure_url="", brokers=[WAY],
        authority=Authority(tmp_path, NOW),
    )  # fmt: skip
    return Desk(either_store, facts)


@pytest.fixture
def strict(desk: Desk) -> Desk:
    """Asks for a second person."""
    return Desk(desk.store, replace(desk.facts, approval="second_person"))


def leaf(reply: dict[str, object]) -> x509.Certificate:
    return x509.load_pem_x509_certificates(str(reply["certificate"]).encode())[0]


# ---------------------------------------------------------------- certificates


def test_a_gateway_gets_a_certificate_roots_and_brokers(desk: Desk) -> None:
    mine = Gateway()
    reply = desk.enrol(mine.question(desk.token()))
    assert leaf(reply).public_key() == mine.tls_key.public_key()
    assert reply["ca"] == desk.facts.authority.root_pem.decode()
    assert reply["brokers"] == [WAY]
    assert reply["at_ms"] == NOW


def test_a_request_for_another_gateways_name_is_refused_and_uses_no_token(desk: Desk) -> None:
    mine, token = Gateway(), desk.token()
    request = json.loads(mine.question(token))
    for _ in range(20):
        other = Gateway()
        csr = gateway.csr_of(mine.tls_key, other.device)
        proof = mine.key.sign(f"nabz-enrol\n{token}\n{csr}".encode())
        status, why = desk.refusal("enrol", json.dumps(request | {"csr": csr, "proof": _text(proof)}).encode())
        assert (status, mine.device in why) == (400, True)
    assert desk.count(schema.devices) == desk.count(schema.certificates) == 0
    assert desk.enrol(mine.question(token))["device"] == mine.device


def test_a_request_that_was_swapped_on_its_way_is_refused(desk: Desk) -> None:
    mine = Gateway()
    request = json.loads(mine.question(desk.token()))
    swapped = request | {"csr": gateway.csr_of(Gateway().tls_key, mine.device)}
    assert desk.refusal("enrol", json.dumps(swapped).encode())[0] == 401


def test_a_replayed_enrolment_gives_nothing_new(desk: Desk) -> None:
    mine = Gateway()
    body = mine.question(desk.token())
    first = desk.enrol(body)["certificate"]
    assert {str(desk.enrol(body, NOW + n)["certificate"]) for n in range(200)} == {first}
    assert (desk.count(schema.devices), desk.count(schema.certificates)) == (1, 1)


class Outside:
    """An issuer of another make: what the exchange needs of one, and nothing more."""

    def __init__(self, folder: Path) -> None:
        self._behind = Authority(folder, NOW, 7)
        self.root_pem, self.fingerprint = self._behind.root_pem, self._behind.fingerprint
        self.is_of_newest, self.issue_gateway = self._behind.is_of_newest, self._behind.issue_gateway


def test_an_issuer_of_another_make_certifies_gateways_as_well(desk: Desk, tmp_path: Path) -> None:
    mine, outside = Gateway(), Outside(tmp_path / "outside")
    other = Desk(desk.store, replace(desk.facts, authority=outside))
    reply = other.enrol(mine.question(desk.token()))
    assert reply["ca"] == outside.root_pem.decode() != desk.facts.authority.root_pem.decode()
    assert leaf(reply).not_valid_after_utc.timestamp() * 1000 == NOW + 7 * DAY
    assert leaf(other.renew(mine.renewal(), NOW + 1)) == leaf(reply)


# ---------------------------------------------------------------- renewal


def test_renewing_early_gives_the_same_certificate_and_after_half_its_life_a_new_one(desk: Desk) -> None:
    mine = Gateway()
    first = leaf(desk.enrol(mine.question(desk.token())))
    assert leaf(desk.renew(mine.renewal(), NOW + 14 * DAY)) == first
    second = leaf(desk.renew(mine.renewal(), NOW + 15 * DAY))
    assert second != first
    assert leaf(desk.renew(mine.renewal(), NOW + 16 * DAY)) == second  # asked again, as the answer was lost


@pytest.mark.parametrize("away_days", [31, 60, 400])
def test_a_gateway_that_is_known_renews_long_after_its_certificate_ran_out(desk: Desk, away_days: int) -> None:
    mine = Gateway()
    desk.enrol(mine.question(desk.token()))
    later_ms = NOW + away_days * DAY
    assert leaf(desk.renew(mine.renewal(), later_ms)).not_valid_after_utc.timestamp() * 1000 == later_ms + 30 * DAY


def test_only_the_gateways_own_key_renews(desk: Desk) -> None:
    mine, thief = Gateway(), Gateway()
    desk.enrol(mine.question(desk.token()))
    foreign = gateway.csr_of(mine.tls_key, thief.device)
    assert desk.refusal("renew", mine.renewal(signer=thief.key))[0] == 401
    assert desk.refusal("renew", mine.renewal(csr=foreign))[0] == 400
    assert desk.refusal("renew", thief.renewal())[0] == 404
    assert desk.refusal("renew", b"{}")[0] == 400
    assert desk.count(schema.certificates) == 1


def test_certificates_of_a_day_are_bounded(desk: Desk) -> None:
    mine = Gateway()
    desk.enrol(mine.question(desk.token()))
    for _ in range(MAX_A_DAY - 1):
        mine.tls_key = ec.generate_private_key(ec.SECP256R1())
        desk.renew(mine.renewal())
    mine.tls_key = ec.generate_private_key(ec.SECP256R1())
    status, why = desk.refusal("renew", mine.renewal())
    assert (status, "had 20 certificates today" in why) == (429, True)
    assert leaf(desk.renew(mine.renewal(), NOW + DAY))


# ---------------------------------------------------------------- the second person


def test_a_gateway_waits_until_another_person_lets_it_in(strict: Desk) -> None:
    mine = Gateway()
    body = mine.question(strict.token(by="Ali"))
    assert strict.enrol(body) == {
        "waiting": f"gateway {mine.device} waits for approval by another person than Ali", "device": mine.device,
    }  # fmt: skip
    assert (strict.count(schema.devices), strict.count(schema.certificates)) == (0, 0)
    with strict.store.read() as conn:
        (row,) = approvals.waiting(conn)
    assert (row["device"], row["center"], row["made_by"], row["asked_ms"]) == (mine.device, "LHR-1", "Ali", NOW)
    strict.decide(mine.device, "approved", "Bina")
    assert leaf(strict.enrol(body))
    with strict.store.read() as conn:
        assert conn.execute(sa.select(schema.enrolments.c.decided_by, schema.enrolments.c.state)).one() == (
            "Bina",
            "approved",
        )


@pytest.mark.parametrize("same", ["Ali", "ali", " ALI  "])
def test_whoever_made_the_token_cannot_approve_it(strict: Desk, same: str) -> None:
    mine = Gateway()
    body = mine.question(strict.token(by="Ali"))
    strict.enrol(body)
    with pytest.raises(PersonError, match="Ali made its token; another person must approve it"):
        strict.decide(mine.device, "approved", same)
    assert "waiting" in strict.enrol(body)


def test_a_refused_gateway_is_told_so(strict: Desk) -> None:
    mine = Gateway()
    body = mine.question(strict.token())
    strict.enrol(body)
    strict.decide(mine.device, "refused", "Bina", "wrong box")
    assert strict.refusal("enrol", body) == (403, f"Bina refused gateway {mine.device} (wrong box); ask the desk")
    with pytest.raises(PersonError, match="does not wait"):
        strict.decide(mine.device, "approved", "Bina")


def test_a_token_without_a_maker_cannot_be_approved(strict: Desk) -> None:
    mine = Gateway()
    assert strict.refusal("enrol", mine.question(strict.token(by="")))[0] == 403


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\x00b"])
def test_a_decision_has_a_name(strict: Desk, name: str) -> None:
    mine = Gateway()
    strict.enrol(mine.question(strict.token()))
    with pytest.raises(PersonError, match="must be a name"):
        strict.decide(mine.device, "approved", name)


# ---------------------------------------------------------------- revocation


def test_a_revoked_gateway_gets_no_certificate_any_more(desk: Desk) -> None:
    mine, token = Gateway(), desk.token()
    serial = f"{leaf(desk.enrol(mine.question(token))).serial_number:x}"
    assert desk.revoke(mine.device, NOW + 5) == NOW + 5
    assert desk.revoke(mine.device, NOW + 9) == NOW + 5
    assert desk.refusal("renew", mine.renewal())[0] == 403
    assert desk.refusal("enrol", mine.question(token))[0] == 403
    with desk.store.read() as conn:
        assert devices.revoked(conn) == {mine.device}
        assert devices.revoked_serials(conn, NOW + 9) == [(serial, NOW + 5)]
        assert devices.revoked_serials(conn, NOW + 31 * DAY) == []
        (row,) = devices.listing(conn, "LHR-1")
    assert (row["device"], row["revoked_by"], row["reason"], row["revoked_ms"]) == (
        mine.device,
        "Ali",
        "stolen",
        NOW + 5,
    )
    assert row["expires_ms"] == NOW + 30 * DAY


def test_only_a_gateway_that_is_enrolled_can_be_revoked(desk: Desk) -> None:
    with pytest.raises(DeviceError, match="is not enrolled"):
        desk.revoke("g" + "0" * 16)


# ---------------------------------------------------------------- the commands


def test_the_commands_show_approve_and_revoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "collector.toml"
    settings.write_text(f'[collector]\ndata_dir = "{tmp_path}"\n[enrolment]\napproval = "second_person"\n')
    words = ["--config", str(settings)]

    def ask(*line: str, code: int = 0) -> str:
        assert main([*line, *words]) == code
        printed = capsys.readouterr()
        return printed.out or printed.err

    ask(
        "center",
        "add",
        "--code",
        "LHR-1",
        "--name",
        "One",
        "--tier",
        "one",
        "--seats-promised",
        "20",
        "--opening",
        "always",
    )
    facts = json.loads(ask("token", "LHR-1", "--by", "Ali", "--json"))
    text = ask("token", "LHR-1", "--by", "Ali")
    assert "█" in text or "▄" in text
    secret, _, fingerprint = facts["token"].partition(".")
    authority = Authority(tmp_path, NOW)
    load_or_make(tmp_path)  # as the collector has by then
    assert (len(secret), fingerprint) == (32, authority.fingerprint[:32])

    mine = Gateway()
    store = empty_store(tmp_path / "nabz.db")
    rules = EnrolmentFacts(
        collector_key=b"k" * 32, broker_host="b", broker_port=1, measure_url="", authority=authority,
        approval="second_person",
    )  # fmt: skip
    desk, now_ms = Desk(store, rules), facts["expires_ms"] - 1
    desk.enrol(mine.question(secret), now_ms)
    assert mine.device in ask("enrolment", "list")
    assert json.loads(ask("enrolment", "list", "--json"))[0]["made_by"] == "Ali"
    assert "another person must approve it" in ask("enrolment", "approve", mine.device, "--by", "Ali", code=1)
    assert "approved by Bina" in ask("enrolment", "approve", mine.device, "--by", "Bina")
    assert leaf(desk.enrol(mine.question(secret), now_ms))
    ask("ca", "rollover")
    assert ask("ca", "show").count("BEGIN") == 2
    assert "revoked" in ask("device", "revoke", mine.device, "--reason", "stolen", "--by", "Ali")
    (row,) = json.loads(ask("device", "list", "--json"))
    assert (row["reason"], row["revoked_by"]) == ("stolen", "Ali")
    assert "X509 CRL" in (tmp_path / "ca" / "crl.pem").read_text()
    assert "is not enrolled" in ask("device", "revoke", "g1", "--reason", "x", code=1)
    store.close()
