"""The installer's page: without an account, in Urdu first, looking again by itself until it is done."""

from __future__ import annotations

import base64

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.access import enrolment
from collector.store import schema


def test_the_page_goes_from_open_steps_to_green(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    with served.store.write() as conn:
        token = enrolment.issue_token(conn, "LHR-014", cast.NOW_MS)
    address = f"{served.url}/i/{enrolment.page_name(token)}"
    first = httpx.get(address)
    assert first.status_code == 200
    assert 'lang="ur" dir="rtl"' in first.text
    assert 'http-equiv="refresh"' in first.text
    assert first.text.count("state-meets") <= first.text.count("<li>")
    assert token not in first.text
    english = httpx.get(f"{address}?lang=en").text
    assert "it joins by itself" in english
    key = Ed25519PrivateKey.generate()
    asked = {
        "token": token,
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "proof": base64.b64encode(key.sign(b"nabz-enrol\n" + token.encode())).decode(),
    }
    device = httpx.post(f"{served.url}/api/v1/enrol", json=asked).json()["device"]
    assert english.count("Done") + 1 == httpx.get(f"{address}?lang=en").text.count("Done")
    row = {"center": "LHR-014", "device": device, "kind": "link", "subject": "wan", "body": "{}"}
    times = dict.fromkeys(("wall_ms", "received_ms"), cast.NOW_MS)
    cast.insert(served.store, schema.latest, [row | times])
    done = httpx.get(f"{address}?lang=en").text
    assert "You may leave" in done
    assert 'http-equiv="refresh"' not in done


def test_an_address_that_is_none_says_so_and_no_more(served) -> None:
    for name in ("0" * 64, "x", "%00", "0" * 5000):
        answer = httpx.get(f"{served.url}/i/{name}")
        assert answer.status_code == 404
        assert "LHR" not in answer.text
