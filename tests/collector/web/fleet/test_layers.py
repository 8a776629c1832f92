"""Settings of gateways by page: a version a change, refused by the gateway's own rules, and who runs with it."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from collector.remote import layers
from collector.store import schema

MARK = re.compile(r'name="mark" value="([0-9a-f]{64})"')


@pytest.fixture
def site(served, cast) -> Any:
    cast.insert(served.store, schema.centers, [cast.center_row("KHI-0001")])
    device = cast.device_row("KHI-0001")
    cast.insert(served.store, schema.devices, [device])
    report = {
        "center": "KHI-0001",
        "device": device["device"],
        "digest": "",
        "state": "applied",
        "failed": "",
        "why": "",
    }
    cast.insert(served.store, schema.device_settings, [report | {"at_ms": cast.NOW_MS}])
    return served


def send(client: httpx.Client, **fields: str) -> httpx.Response:
    own = MARK.search(client.get("/settings").text)
    assert own
    data = {"mark": own[1], "layer": "country", "key": "speed.mode", "value": "quick", "reason": "paid by the megabyte"}
    return client.post("/settings", data=data | fields)


def held(site: Any) -> dict[str, Any]:
    with site.store.read() as conn:
        return {str(layer): version.tables for layer, version in layers.current(conn).items()}


def test_a_key_is_set_shown_and_set_no_more(site) -> None:
    with site.client() as client:
        assert "Nothing is set" in client.get("/settings").text
        assert send(client).status_code == 303
        assert held(site) == {"country": {"speed": {"mode": "quick"}}}
        page = client.get("/settings").text
        assert "speed.mode = &#34;quick&#34;" in page
        assert "paid by the megabyte" in page
        assert "On their way" in page
        assert send(client, value="", reason="another contract").status_code == 303
        assert held(site) == {"country": {}}
        assert "Nothing is set" in client.get("/settings").text


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"value": "nonsense"}, "must be one of"),
        ({"layer": "province=Nowhere"}, "no center has this province"),
        ({"key": "agent.state_dir", "value": "/x"}, "is set on the gateway alone"),
        ({"reason": " "}, "a change needs a reason"),
        ({"value": ""}, "is not set in this layer"),
    ],
)
def test_what_no_gateway_would_take_is_refused_and_nothing_is_written(
    fields: dict[str, str], sentence: str, site
) -> None:
    with site.client() as client:
        answer = send(client, **fields)
    assert answer.status_code == 409
    assert sentence in answer.text
    assert held(site) == {}


def test_a_form_of_another_page_changes_nothing(site) -> None:
    with site.client() as client:
        assert send(client, mark="0" * 64).status_code == 403
    assert held(site) == {}
