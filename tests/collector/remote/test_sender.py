"""Settings are sent until a gateway's batches say that it has them; what failed is left alone until a person acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.identity import verify
from agent.remote.settings import digest_of
from collector.common.messages import Message
from collector.ingest.transaction import Ingest
from collector.remote import layers, reports, standing
from collector.remote.layers import Layer
from collector.remote.rollout import HEARD_MS
from collector.remote.sender import AGAIN_MS, SettingsSender
from collector.store import Store
from tests.collector.conftest import NOW

KEY = Ed25519PrivateKey.generate()
QUICK = {"speed": {"mode": "quick"}}


class Desk:
    """The sender beside ingest, with what was published and a clock to set."""

    def __init__(self, store: Store, gateway: Any) -> None:
        self.store, self.gateway, self.now_ms, self.is_away = store, gateway, NOW, False
        self.tasks: list[wire.Task] = []
        self.sender = SettingsSender(store, KEY, self._publish, lambda: self.now_ms)
        self.ingest = Ingest(store, KEY, lambda *_: None)

    def _publish(self, messages: Sequence[Message]) -> bool:
        for message in messages if not self.is_away else ():
            body, signature = wire.unseal(message.payload, wire.MAX_SMALL_BYTES)
            assert verify(KEY.public_key().public_bytes_raw(), body, signature)
            self.tasks.append(wire.decode_task(body))
            assert message.topic == wire.task_topic(self.tasks[-1].device)
        return not self.is_away

    def set(self, layer: Layer, values: dict[str, Any]) -> None:
        with self.store.write() as conn:
            layers.change(conn, layer, values, (), "Ayesha", "test", self.now_ms)

    def hear(self, report: wire.SettingsReport | None) -> None:
        self.ingest.take([self.gateway.batch([self.gateway.ups(self.now_ms)], settings=report)], self.now_ms)

    def looked(self, later_ms: int = 0) -> list[wire.SettingsDocument | None]:
        """What is sent now."""
        self.now_ms += later_ms
        self.tasks.clear()
        assert self.sender.look() == len(self.tasks)
        return [task.settings for task in self.tasks]

    @property
    def standing(self) -> str:
        with self.store.read() as conn:
            return next(standing.gateways(conn)).standing


@pytest.fixture
def desk(either_store: Store, gateway: Callable[..., Any]) -> Desk:
    return Desk(either_store, gateway(either_store))


def test_they_are_sent_and_sent_again_until_a_batch_says_that_they_are_applied(desk: Desk) -> None:
    desk.hear(wire.SettingsReport())
    assert (desk.looked(), desk.standing) == ([], "applied")
    desk.set(Layer("country"), {"speed.mode": "quick"})
    (document,) = desk.looked()
    assert document is not None
    assert (document.values, document.digest, document.issued_ms) == (QUICK, digest_of(QUICK), NOW)
    assert desk.tasks[0].expires_ms > NOW
    assert (desk.looked(AGAIN_MS - 1), desk.standing) == ([], "waiting")
    assert len(desk.looked(1)) == 1
    desk.hear(wire.SettingsReport(digest=digest_of(QUICK), state="trial"))
    assert (desk.looked(AGAIN_MS), desk.standing) == ([], "trial")
    desk.hear(wire.SettingsReport(digest=digest_of(QUICK)))
    assert (desk.looked(AGAIN_MS), desk.standing) == ([], "applied")


def test_a_change_while_another_is_under_way_is_sent_at_once(desk: Desk) -> None:
    desk.hear(wire.SettingsReport())
    desk.set(Layer("country"), {"speed.mode": "quick"})
    desk.looked()
    desk.set(Layer("tier", "one"), {"speed.mode": "full"})
    (document,) = desk.looked(1)
    assert document is not None
    assert document.values == {"speed": {"mode": "full"}}


def test_what_is_set_no_more_is_taken_back(desk: Desk) -> None:
    desk.hear(wire.SettingsReport(digest=digest_of(QUICK)))
    (document,) = desk.looked()
    assert document is not None
    assert (document.digest, document.values) == ("", {})


def test_what_failed_is_sent_again_only_when_a_person_says_so(desk: Desk) -> None:
    desk.hear(wire.SettingsReport())
    desk.set(Layer("country"), {"speed.mode": "quick"})
    desk.hear(wire.SettingsReport(failed=digest_of(QUICK), why="no_receipt: 600 s without a receipt"))
    assert (desk.looked(AGAIN_MS), desk.standing) == ([], "failed")
    with desk.store.read() as conn:
        assert next(standing.gateways(conn)).why == "no_receipt: 600 s without a receipt"
    with desk.store.write() as conn:
        assert reports.forgive(conn, ["LHR-1"]) == 1
    assert len(desk.looked(1)) == 1


def test_nothing_is_sent_to_who_is_not_heard_or_does_not_report(desk: Desk) -> None:
    desk.set(Layer("country"), {"speed.mode": "quick"})
    desk.hear(None)
    assert (desk.looked(), desk.standing) == ([], "unable")
    desk.hear(wire.SettingsReport())
    assert desk.looked(HEARD_MS + 1) == []


def test_while_the_broker_is_away_they_wait(desk: Desk) -> None:
    desk.hear(wire.SettingsReport())
    desk.set(Layer("country"), {"speed.mode": "quick"})
    desk.is_away = True
    assert desk.looked() == []
    desk.is_away = False
    assert len(desk.looked(1)) == 1


def test_a_batch_that_is_sent_again_by_others_moves_nothing(desk: Desk) -> None:
    old = desk.gateway.batch([desk.gateway.ups(NOW)], settings=wire.SettingsReport())
    desk.ingest.take([old], NOW)
    desk.set(Layer("country"), {"speed.mode": "quick"})
    desk.hear(wire.SettingsReport(digest=digest_of(QUICK)))
    desk.ingest.take([old], NOW)
    assert desk.standing == "applied"


def test_words_of_a_gateway_are_kept_fit_to_be_shown(desk: Desk) -> None:
    desk.hear(wire.SettingsReport(digest="\x1b[31m", state="a\nb", failed="x", why="\x00" * 200))
    with desk.store.read() as conn:
        one = next(standing.gateways(conn))
    assert (one.digest.isprintable(), one.standing) == (True, "waiting")
