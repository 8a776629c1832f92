"""Gaps with their causes and what cuts say of a battery, on a center's page and in the API."""

from __future__ import annotations

import types
from typing import Any

import msgspec
import pytest

from agent.common.reasons import Reason, encode_all
from collector.judging.flags.backup import Cut
from collector.store import Store, schema

MINUTE_MS = 60_000
DAY_MS = 86_400_000
HOSTILE = "<script>alert(1)</script>"


def gap_row(now_ms: int, cause: str, grade: str, revision: int = 1, **parts: object) -> dict[str, Any]:
    found = Reason.of("evidence.ups_charge", reading=f"g1 s 7 {HOSTILE}", power="battery_low", charge_pct=4)
    return {
        "center": "KHI-0001", "from_ms": now_ms - 50 * MINUTE_MS, "revision": revision,
        "to_ms": now_ms - 20 * MINUTE_MS, "cause": cause, "grade": grade, "facts": "{}",
        "evidence": encode_all([found]),
        "witness": "{}", "recorded_ms": now_ms, **parts,
    }  # fmt: skip


def cut_row(from_ms: int, minutes: float, *, gave_out: bool) -> dict[str, Any]:
    end_ms = from_ms + round(minutes * MINUTE_MS)
    cut = Cut(
        noted_ms=from_ms, from_ms=from_ms, last_ms=end_ms - 1, to_ms=end_ms + (90 * MINUTE_MS if gave_out else 0),
        died_ms=end_ms if gave_out else None, charge_from_pct=100.0, charge_low_pct=3.0, load_sum_pct=80.0, loads=2,
        evidence=(Reason.of("evidence.cut_begins", reading="g1 s 3"),),
    )  # fmt: skip
    return {
        "center": "KHI-0001", "subject": "ups", "noted_ms": from_ms, "revision": 1, "from_ms": from_ms,
        "last_ms": cut.last_ms, "to_ms": cut.to_ms, "carried": cut.carried, "facts": msgspec.json.encode(cut).decode(),
        "recorded_ms": from_ms, "open": False,
    }  # fmt: skip


@pytest.fixture
def told(served: Any, store: Store, cast: types.ModuleType) -> Any:
    cast.add_fleet(store, 2)
    now_ms = cast.NOW_MS
    cast.insert(store, schema.gaps, [
        gap_row(now_ms, "unknown", "none"), gap_row(now_ms, "ups_exhausted", "confirmed", revision=2),
    ])  # fmt: skip
    falling = [
        cut_row(now_ms - (60 - 10 * n) * DAY_MS, 50 - 4 * n, gave_out=True) for n in range(5)
    ]  # fmt: skip
    cast.insert(store, schema.cuts, [*falling, cut_row(now_ms - 5 * DAY_MS, 6, gave_out=False)])
    return served


def test_the_page_names_the_cause_its_weight_and_its_evidence(told: Any) -> None:
    with told.client() as client:
        page = client.get("/centers/KHI-0001").text
    assert "Mains cut; the UPS gave out" in page
    assert "confirmed by neighbours" in page
    assert "put right" in page
    assert "UPS reading <bdi>g1 s 7 &lt;script&gt;" in page
    assert HOSTILE not in page
    assert "Not known" not in page, "an older revision is history"


def test_the_page_says_it_in_urdu(told: Any) -> None:
    with told.client() as client:
        page = client.get("/centers/KHI-0001?lang=ur").text
    assert "بجلی گئی؛ یو پی ایس جواب دے گیا" in page
    assert "بجلی کی بندش" in page
    assert "بیٹری پر، کم" in page


def test_the_api_tells_gaps_and_what_the_battery_is_worth(told: Any, cast: types.ModuleType) -> None:
    with told.client() as client:
        answer = client.get("/api/v1/centers/KHI-0001").json()
    (gap,) = answer["gaps"]
    assert (gap["cause"]["name"], gap["cause"]["grade"], gap["revision"]) == ("ups_exhausted", "confirmed", 2)
    (seen,) = gap["cause"]["evidence"]
    assert (seen["code"], seen["params"]["charge_pct"]) == ("evidence.ups_charge", 4)
    assert seen["text"].endswith("on battery, low at 4 %")
    (ups,) = answer["power"]
    assert ups["list"][0]["evidence"][0]["text"] == "Begins with UPS reading g1 s 3"
    assert (ups["cuts"], ups["carried"], ups["not_carried"]) == (6, 1, 5)
    assert (ups["observed_min"], ups["gave_out"], ups["load_pct"]) == (34.0, True, 40.0)
    assert ups["trend_min_a_month"] == pytest.approx(-12.0)
    # From 34 minutes ten days ago, 0.4 a day, the 30 minutes asked are reached ten days after that cut.
    assert ups["below_ms"] == pytest.approx(cast.NOW_MS - 10 * DAY_MS, abs=DAY_MS)


def test_a_center_without_gaps_or_cuts_shows_neither(served: Any, store: Store, cast: types.ModuleType) -> None:
    cast.add_fleet(store, 2)
    with served.client() as client:
        page = client.get("/centers/KHI-0001").text
    assert "Gaps and their causes" not in page
    assert "Power cuts" not in page
