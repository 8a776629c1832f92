"""The API: centers, series, enrolment, each over a real socket."""

from __future__ import annotations

import base64

import httpx
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.beacons import text
from collector.access import enrolment
from collector.store import schema
from collector.web.machines.refusals import LIMIT


def test_the_list_gives_counts_and_centers_under_the_filter(fleet) -> None:
    with fleet.client() as client:
        found = client.get("/api/v1/centers", params={"state": "below", "limit": 5}).json()
    assert found["counts"]["below"] == 12
    assert len(found["centers"]) == 5
    assert {center["state"] for center in found["centers"]} == {"below"}
    assert found["centers"][0]["criterion"] == "power.battery_low"


def test_pages_of_the_list_do_not_overlap(fleet) -> None:
    with fleet.client() as client:
        parameters = [{"limit": 50, "offset": offset} for offset in (0, 50, 100)]
        pages = [client.get("/api/v1/centers", params=item).json()["centers"] for item in parameters]
    assert len({center["center"] for page in pages for center in page}) == 120


def test_a_center_comes_with_its_verdicts_and_latest_readings(fleet) -> None:
    with fleet.client() as client:
        found = client.get("/api/v1/centers/KHI-0001").json()
    assert found["center"]["state"] == "below"
    verdicts = {item["criterion"]: item for item in found["verdicts"]}
    assert (verdicts["internet.latency"]["verdict"], verdicts["internet.latency"]["bound"]) == ("meets", 100)
    assert verdicts["internet.download"]["reason"] == {
        "code": "verdict.self_test", "params": {}, "text": "A self-test never counts",
    }  # fmt: skip
    assert found["latest"]["ups"]["model"] == "Smart-UPS 3000"


def test_a_series_has_a_gap_where_readings_are_missing(fleet, cast) -> None:
    parameters = {"kind": "link", "fields": "rtt_median_ms", "from": cast.NOW_MS - cast.DAY_MS, "to": cast.NOW_MS}
    with fleet.client() as client:
        found = client.get("/api/v1/centers/KHI-0001/series", params={**parameters, "points": 480}).json()
    holes = [t for t, value in zip(found["t"], found["rtt_median_ms"], strict=True) if value is None]
    assert len(holes) == 1
    assert cast.NOW_MS - 9 * cast.HOUR_MS < holes[0] < cast.NOW_MS - 8 * cast.HOUR_MS
    assert len(found["t"]) <= 481


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("kind=weather", "kind: 'weather' has no series; ask for one of link speed ups seats gateway"),
        ("kind=link&fields=rtt_median_ms,body", "fields: 'body' is no field of link"),
        ("kind=link&points=0", "points: '0' is not a whole number from 1 to 2000"),
        ("kind=link&points=1e3", "points: '1e3' is not a whole number"),
        ("kind=link&from=9&to=3", "from, to: must be milliseconds with from before to"),
        ("kind=link&from=0&to=9007199254740992", "at most 400 days"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_in_one_sentence(fleet, query: str, sentence: str) -> None:
    with fleet.client() as client:
        answer = client.get(f"/api/v1/centers/KHI-0001/series?{query}")
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


def test_an_unknown_center_has_no_series(fleet) -> None:
    with fleet.client() as client:
        for code in ("NONE", "%00", "a'b"):
            assert client.get(f"/api/v1/centers/{code}/series?kind=link").status_code == 404
            assert client.get(f"/api/v1/centers/{code}").status_code == 404


def test_health_is_told_without_a_session_and_tells_no_more(fleet) -> None:
    found = httpx.get(f"{fleet.url}/healthz").json()
    assert found["ok"] is True
    assert set(found) == {"ok", "version", "late"}
    ready = httpx.get(f"{fleet.url}/readyz").json()
    assert (ready["ready"], set(ready)) == (True, {"ready", "version", "missing"})


# ---------------------------------------------------------------- enrolment


def question(token: str, key: Ed25519PrivateKey) -> dict[str, str]:
    return {
        "token": token,
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "proof": base64.b64encode(key.sign(b"nabz-enrol\n" + token.encode())).decode(),
        "hostname": "gateway",
        "version": "0.1.0",
    }


def test_a_gateway_enrols_with_its_token_and_no_session(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    with served.store.write() as conn:
        token = enrolment.issue_token(conn, "LHR-014", cast.NOW_MS)
    answer = httpx.post(f"{served.url}/api/v1/enrol", json=question(token, Ed25519PrivateKey.generate()))
    assert answer.status_code == 200
    found = answer.json()
    assert (found["center"], len(base64.b64decode(found["collector_key"]))) == ("LHR-014", 32)
    assert set(found) == {"device", "center", "name", "collector_key", "broker", "measure_url", "nonce"}
    with served.client() as client:
        assert "The gateway has enrolled" in client.get("/centers/LHR-014").text


def test_from_where_a_gateway_was_enrolled_is_kept(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    with served.store.write() as conn:
        token = enrolment.issue_token(conn, "LHR-014", cast.NOW_MS)
    key, behind = Ed25519PrivateKey.generate(), {"x-forwarded-for": "9.9.9.9"}  # this server believes its own machine
    found = httpx.post(f"{served.url}/api/v1/enrol", json=question(token, key), headers=behind).json()
    with served.store.read() as conn:
        row = conn.execute(sa.select(schema.sightings)).one()
    assert (row.device, row.center, row.source, row.address) == (found["device"], "LHR-014", "enrolment", "9.9.9.9")


def test_a_refused_enrolment_says_why(served) -> None:
    answer = httpx.post(f"{served.url}/api/v1/enrol", json=question("f" * 32, Ed25519PrivateKey.generate()))
    assert answer.status_code == 403
    assert "the token is not known here" in answer.json()["error"]
    assert answer.json()["code"] == "enrol.token_unknown"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"token": 3}', b"\xff\xfe", b"[" * 4000])
def test_an_enrolment_that_is_no_request_is_refused_in_one_sentence(served, body: bytes) -> None:
    answer = httpx.post(f"{served.url}/api/v1/enrol", content=body)
    assert answer.status_code == 400
    assert "\n" not in answer.json()["error"]


def test_a_long_enrolment_is_not_read_to_its_end(served) -> None:
    def endless():
        for _ in range(200):
            yield b" " * 65536

    try:
        answer = httpx.post(f"{served.url}/api/v1/enrol", content=endless())
    except httpx.WriteError:
        return  # the server hung up while we were still sending: it did not read on
    assert answer.status_code == 413
    assert "limit of 4,096 bytes" in answer.json()["error"]


@pytest.mark.row(60)
def test_guessing_tokens_ends_in_a_pause_for_the_guesser_alone(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-001")])
    key = Ed25519PrivateKey.generate
    with served.store.write() as conn:
        token = enrolment.issue_token(conn, "LHR-001", cast.NOW_MS)
    with httpx.Client(base_url=served.url) as client:
        answers = [client.post("/api/v1/enrol", json=question("f" * 32, key())) for _ in range(LIMIT + 5)]
        assert {answer.status_code for answer in answers[:LIMIT]} == {403}
        assert {answer.status_code for answer in answers[LIMIT:]} == {429}
        assert "wait a minute" in answers[-1].json()["error"]
        good = client.post("/api/v1/enrol", json=question(token, key()))
    assert good.status_code == 200  # of the same address


@pytest.mark.row(60)
def test_a_token_that_is_tried_by_other_keys_and_a_key_that_tries_other_tokens_have_to_wait(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-001"), cast.center_row("LHR-002")])
    first = Ed25519PrivateKey.generate()
    with served.store.write() as conn:
        tokens = [enrolment.issue_token(conn, f"LHR-00{n}", cast.NOW_MS) for n in (1, 2, 2)]
    with httpx.Client(base_url=served.url) as client:

        def status(token: str, key: Ed25519PrivateKey) -> int:
            return client.post("/api/v1/enrol", json=question(token, key)).status_code

        assert status(tokens[0], first) == 200
        assert [status(tokens[0], Ed25519PrivateKey.generate()) for _ in range(LIMIT + 1)] == [403] * LIMIT + [429]
        assert status(tokens[1], Ed25519PrivateKey.generate()) == 200  # another token is not held up
        assert [status(tokens[2], first) for _ in range(LIMIT + 1)] == [409] * LIMIT + [429]


def test_a_request_without_a_proof_takes_no_turn_of_the_writer(served, cast) -> None:
    with served.store.write(), httpx.Client(base_url=served.url, timeout=20) as client:  # it is taken meanwhile
        bad = question("f" * 32, Ed25519PrivateKey.generate()) | {"proof": base64.b64encode(bytes(64)).decode()}
        assert client.post("/api/v1/enrol", json=bad).status_code == 401
        unknown = question("f" * 32, Ed25519PrivateKey.generate())
        assert client.post("/api/v1/enrol", json=unknown).status_code == 403


def test_a_silent_center_whose_gateway_is_alive_by_a_second_path_says_so(served, cast) -> None:
    key = Ed25519PrivateKey.generate()
    public_key = key.public_key().public_bytes_raw()
    device = enrolment.device_name(public_key)
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    cast.insert(served.store, schema.devices, [cast.device_row("LHR-014", device=device, public_key=public_key)])
    cast.insert(served.store, schema.pulse, [cast.pulse_row("LHR-014", cast.NOW_MS - 3 * cast.HOUR_MS)])
    cast.insert(
        served.store,
        schema.flags,
        [cast.flag_row("LHR-014", "presence.silent", **cast.troubles(0, cast.NOW_MS, 0)["presence.silent"])],
    )
    beacon = text.make(device, cast.NOW_MS // 1000, key.sign)
    assert httpx.post(f"{served.url}/api/v1/alive", content=beacon).status_code == 204
    again = httpx.post(f"{served.url}/api/v1/alive", content=beacon)
    assert (again.status_code, "repeated" in again.text) == (403, True)
    assert httpx.post(f"{served.url}/api/v1/alive", content="NABZ1").status_code == 400
    with served.client() as client:
        page = client.get("/centers/LHR-014").text
    assert "heard by the second path" in page
    with served.store.read() as conn:
        heard_ms = conn.scalar(sa.select(schema.pulse.c.heard_ms))
    assert heard_ms == cast.NOW_MS - 3 * cast.HOUR_MS, "a beacon ends no silence"


def _beaten(served, cast, off_s: int) -> None:
    """A silent center with a gateway whose beacon has just come, of a clock that is so far ahead."""
    key = Ed25519PrivateKey.generate()
    public_key = key.public_key().public_bytes_raw()
    device = enrolment.device_name(public_key)
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    cast.insert(served.store, schema.devices, [cast.device_row("LHR-014", device=device, public_key=public_key)])
    cast.insert(served.store, schema.pulse, [cast.pulse_row("LHR-014", cast.NOW_MS - 3 * cast.HOUR_MS)])
    cast.add_latest(served.store, "LHR-014", wire.GatewayReading(uptime_s=60.0), cast.NOW_MS - 3 * cast.HOUR_MS)
    silence = cast.troubles(0, cast.NOW_MS, 0)["presence.silent"]
    cast.insert(served.store, schema.flags, [cast.flag_row("LHR-014", "presence.silent", **silence)])
    beacon = text.make(device, cast.NOW_MS // 1000 + off_s, key.sign)
    assert httpx.post(f"{served.url}/api/v1/alive", content=beacon).status_code == 200


@pytest.mark.parametrize(
    ("lang", "off_s", "words"),
    [("en", -18_000, "Its clock is {} behind"), ("en", 18_000, "Its clock is {} ahead"),
     ("ur", -18_000, "اس کی گھڑی {} پیچھے ہے"), ("ur", 18_000, "اس کی گھڑی {} آگے ہے")],
)  # fmt: skip
def test_a_clock_that_a_beacon_shows_wrong_is_said_with_the_silence_and_the_gateway(
    served, cast, lang: str, off_s: int, words: str
) -> None:
    _beaten(served, cast, off_s)
    five_h = "<bdi>5\N{NO-BREAK SPACE}" + ("h" if lang == "en" else "گھنٹے") + "</bdi>"
    with served.client() as client:
        page = client.get(f"/centers/LHR-014?lang={lang}").text
        assert page.count(words.format(five_h)) == 2, "with the likely cause, and with the gateway"
        with served.store.write() as conn:
            conn.execute(sa.update(schema.pulse).values(heard_ms=cast.NOW_MS))
        assert words.format(five_h) not in client.get(f"/centers/LHR-014?lang={lang}").text, "heard itself since"
