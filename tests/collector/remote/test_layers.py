"""Layers of settings: who set what, what holds where, and what is never stored."""

from __future__ import annotations

from typing import Any

import pytest

from collector.register import centers
from collector.remote import layers
from collector.remote.layers import Layer, LayerError
from collector.store import Store

NOW = 1_795_000_000_000
ROW = {"name": "Johar Town", "seats_promised": "20", "opening": "Mon-Sat 09:00-21:00"}
COUNTRY, SINDH, ONE = Layer("country"), Layer("province", "Sindh"), Layer("tier", "one")


@pytest.fixture
def register(sqlite_store: Store) -> Store:
    with sqlite_store.write() as conn:
        for code, province, tier in (("KHI-1", "Sindh", "one"), ("KHI-2", "Sindh", "two"), ("LHR-1", "Punjab", "one")):
            centers.add(conn, {"center": code, "province": province, "tier": tier, **ROW}, NOW)
    return sqlite_store


def changed(store: Store, layer: Layer, values: dict[str, Any], *dropped: str, reason: str = "test") -> layers.Version:
    with store.write() as conn:
        return layers.change(conn, layer, values, dropped, "Ayesha", reason, NOW)


def held(store: Store, code: str) -> dict[str, dict[str, Any]]:
    with store.read() as conn:
        return layers.effective(layers.current(conn), centers.get(conn, code))


def test_a_narrower_layer_holds_over_a_wider_one_key_by_key(register: Store) -> None:
    changed(register, COUNTRY, {"speed.mode": "full", "spool.max_mb": 32})
    changed(register, SINDH, {"speed.mode": "quick"})
    changed(register, ONE, {"speed.mode": "adaptive"})
    changed(register, Layer("center", "LHR-1"), {"spool.max_mb": 16})
    assert held(register, "KHI-2") == {"speed": {"mode": "quick"}, "spool": {"max_mb": 32}}
    assert held(register, "KHI-1") == {"speed": {"mode": "adaptive"}, "spool": {"max_mb": 32}}
    assert held(register, "LHR-1") == {"speed": {"mode": "adaptive"}, "spool": {"max_mb": 16}}
    with register.read() as conn:
        found = layers.origins(layers.current(conn), centers.get(conn, "KHI-2"))
    assert {key: str(version.layer) for key, (_, version) in found.items()} == {
        "speed.mode": "province=Sindh",
        "spool.max_mb": "country",
    }


def test_every_change_is_a_row_with_its_person_and_reason(register: Store) -> None:
    changed(register, SINDH, {"speed.mode": "quick"}, reason="paid by the megabyte")
    changed(register, SINDH, {"speed.enabled": False}, "speed.mode", reason="a strike")
    with register.read() as conn:
        past = layers.history(conn, SINDH)
    assert [(version.person, version.reason) for version in past] == [
        ("Ayesha", "paid by the megabyte"),
        ("Ayesha", "a strike"),
    ]
    assert layers.difference(past[0].tables, past[1].tables) == [
        ("speed.enabled", None, False),
        ("speed.mode", "quick", None),
    ]
    changed(register, SINDH, {}, "speed.enabled")
    assert held(register, "KHI-1") == {}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"speed.mode": "fast"}, r"country: \[speed\] mode: must be one of"),
        ({"agent.state_dir": "/tmp"}, "is set on the gateway alone"),
        ({"mode": "quick"}, "is no key; write TABLE.KEY"),
        ({"agent.cycle_s": 600}, "would have the center called silent"),
    ],
)
def test_what_no_gateway_would_take_is_not_stored(register: Store, values: dict[str, Any], words: str) -> None:
    with pytest.raises(LayerError, match=words):
        changed(register, COUNTRY, values)
    with register.read() as conn:
        assert layers.history(conn) == []


def test_layers_that_are_right_alone_and_wrong_together_are_named_with_a_center(register: Store) -> None:
    changed(register, SINDH, {"link.probes": 1000, "link.interval_ms": 30})
    with pytest.raises(LayerError, match=r"tier=one: with the other layers of KHI-1: \[link\] probes: 1000 echoes"):
        changed(register, ONE, {"link.interval_ms": 500})


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_change_without_a_reason_is_refused(register: Store, reason: str) -> None:
    with pytest.raises(LayerError, match="needs a reason"):
        changed(register, COUNTRY, {"speed.mode": "quick"}, reason=reason)


def test_what_changes_nothing_or_drops_what_is_not_there_is_refused(register: Store) -> None:
    changed(register, COUNTRY, {"speed.mode": "quick"})
    with pytest.raises(LayerError, match="says so already"):
        changed(register, COUNTRY, {"speed.mode": "quick"})
    with pytest.raises(LayerError, match=r"speed\.slots: is not set in this layer"):
        changed(register, COUNTRY, {}, "speed.slots")


@pytest.mark.parametrize("text", ["", "sindh", "country=x", "province", "province=", "tier=four", "center=KHI-9"])
def test_a_layer_that_no_center_is_in_is_refused(register: Store, text: str) -> None:
    with register.read() as conn, pytest.raises(LayerError, match="layer "):
        layers.parse(conn, text)


def test_a_layer_is_named_as_the_register_has_it(register: Store) -> None:
    with register.read() as conn:
        texts = ["country", "province=Sindh", "tier=two", "center=KHI-1"]
        assert [str(layers.parse(conn, text)) for text in texts] == texts
        with pytest.raises(LayerError, match=r"did you mean Sindh\?"):
            layers.parse(conn, "province=Sind")
