"""The installer's page: without an account, in Urdu first, looking again by itself until it is done."""

from __future__ import annotations

import base64

import httpx
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.access import enrolment
from collector.store import schema


def test_the_page_goes_from_open_steps_to_green(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])
    with served.store.write() as conn:
        token = enrolment.issue_token(conn, "LHR-014", cast.NOW_MS)
    address = f"{served.url}/i/{enrolment.page_name(token)}"
    first = httpx.get(address, timeout=60)
    assert first.status_code == 200
    assert 'lang="ur" dir="rtl"' in first.text
    assert 'http-equiv="refresh"' in first.text
    assert first.text.count("state-meets") <= first.text.count("<li>")
    assert token not in first.text
    english = httpx.get(f"{address}?lang=en", timeout=60).text
    assert "it joins by itself" in english
    key = Ed25519PrivateKey.generate()
    asked = {
        "token": token,
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "proof": base64.b64encode(key.sign(b"nabz-enrol\n" + token.encode())).decode(),
    }
    device = httpx.post(f"{served.url}/api/v1/enrol", json=asked, timeout=60).json()["device"]
    assert "Done" not in english, "nobody knows whether it has power"
    assert httpx.get(f"{address}?lang=en", timeout=60).text.count("Done") == 2
    row = {"center": "LHR-014", "device": device, "kind": "link", "subject": "wan", "body": "{}"}
    times = dict.fromkeys(("wall_ms", "received_ms"), cast.NOW_MS)
    cast.insert(served.store, schema.latest, [row | times])
    done = httpx.get(f"{address}?lang=en", timeout=60).text
    assert "All is well" in done
    assert "No UPS is measured yet" in done
    assert 'http-equiv="refresh"' in done
    cast.insert(served.store, schema.latest, [row | times | {"kind": "ups", "subject": "ups"}])
    done = httpx.get(f"{address}?lang=en", timeout=60).text
    assert "No UPS" not in done
    assert "You may leave" in done
    assert 'http-equiv="refresh"' not in done


@pytest.mark.parametrize("state", ["waiting", "expired", "refused"])
def test_where_somebody_is_stuck_the_desk_can_be_called(store, standards, tmp_path, cast, state: str) -> None:
    cast.insert(store, schema.centers, [cast.center_row("LHR-014")])
    with store.write() as conn:
        token = enrolment.issue_token(conn, "LHR-014", cast.NOW_MS, 3600)
        if state == "refused":
            conn.execute(sa.update(schema.tokens).values(used_ms=cast.NOW_MS, device="g" + "0" * 16))
            conn.execute(sa.update(schema.enrolments).values(state="refused"))
    now_ms = cast.NOW_MS + (3600_001 if state == "expired" else 0)
    with cast.serve(store, standards, tmp_path, now_ms, desk_telephone="+92511234567") as site:
        page = httpx.get(f"{site.url}/i/{enrolment.page_name(token)}", timeout=60)
    assert '<a href="tel:+92511234567" dir="ltr">' in page.text


def test_an_address_that_is_none_says_so_and_no_more(served) -> None:
    for name in ("0" * 64, "x", "%00", "0" * 5000):
        answer = httpx.get(f"{served.url}/i/{name}", timeout=60)
        assert answer.status_code == 404
        assert "LHR" not in answer.text
