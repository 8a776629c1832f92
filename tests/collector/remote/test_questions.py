"""Questions to gateways: asked by somebody, sent until answered, answered once and by the gateway that was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.common.messages import Message
from collector.ingest.transaction import Ingest
from collector.remote import questions
from collector.remote.questions import A_DAY, AGAIN_MS, WAIT_MS, QuestionRefused, QuestionSender
from collector.store import Store
from tests.collector.conftest import NOW

KEY = Ed25519PrivateKey.generate()


class Desk:
    """Asks, sends and takes answers, with a clock to set."""

    def __init__(self, store: Store, gateway: Any) -> None:
        self.store, self.gateway, self.now_ms = store, gateway, NOW
        self.tasks: list[wire.Task] = []
        self.sender = QuestionSender(store, KEY, self._publish, lambda: self.now_ms)
        self.ingest = Ingest(store, KEY, lambda *_: None)
        self.ingest.take([gateway.batch([gateway.ups()], settings=wire.SettingsReport())], NOW)

    def _publish(self, messages: Sequence[Message]) -> bool:
        self.tasks = [wire.decode_task(wire.unseal(message.payload)[0]) for message in messages]
        return True

    def ask(self, kind: str = "doctor") -> str:
        with self.store.write() as conn:
            return questions.ask(conn, "LHR-1", kind, "Ayesha", self.now_ms)

    def answer(self, question: str, text: str, gateway: Any = None) -> dict[str, int]:
        who = gateway or self.gateway
        ask = wire.Ask(
            v=1, device=who.device, id=question, want="answer", purpose="desk", answer=text, expires_ms=self.now_ms
        )
        sealed = wire.seal(wire.encode(ask), who.key.sign)
        return dict(self.ingest.take([Message(wire.ask_topic(who.device), sealed)], self.now_ms).counts)

    def found(self, question: str) -> questions.AskedQuestion:
        with self.store.read() as conn:
            return questions.by_id(conn, question)


@pytest.fixture
def desk(either_store: Store, gateway: Callable[..., Any]) -> Desk:
    return Desk(either_store, gateway(either_store))


def test_a_question_is_sent_until_its_answer_has_come(desk: Desk) -> None:
    question = desk.ask()
    assert desk.ask() == question, "one of a kind at a time"
    assert desk.sender.look() == 1
    (task,) = desk.tasks
    assert task.question == wire.Question(id=question, kind="doctor", asked_by="Ayesha")
    assert task.expires_ms == NOW + WAIT_MS
    desk.now_ms += AGAIN_MS - 1
    assert desk.sender.look() == 0
    desk.now_ms += 1
    assert desk.sender.look() == 1
    assert desk.tasks[0].id != task.id, "a gateway takes each task once"
    assert desk.answer(question, "[\n{}\x00]") == {"answer": 1}
    assert (desk.sender.look(), desk.found(question).answer) == (0, "[\n{}\N{REPLACEMENT CHARACTER}]")
    with desk.store.read() as conn:
        assert [one.asked_by for one in questions.of_center(conn, "LHR-1")] == ["Ayesha"]


def test_an_answer_counts_once_in_time_and_from_the_gateway_that_was_asked(
    desk: Desk, gateway: Callable[..., Any]
) -> None:
    question = desk.ask()
    assert desk.answer(question, "forged", gateway(desk.store, "LHR-2")) == {"answer_unasked": 1}
    assert desk.answer("0" * 32, "unasked") == {"answer_unasked": 1}
    assert desk.answer(question, "first") == {"answer": 1}
    assert desk.answer(question, "second") == {"answer_again": 1}
    assert desk.found(question).answer == "first"
    late = desk.ask("log")
    desk.now_ms += 2 * WAIT_MS + 1
    assert desk.answer(late, "late") == {"answer_late": 1}
    assert desk.sender.look() == 0, "its time is over"


def test_a_question_that_is_on_no_list_is_refused(desk: Desk) -> None:
    with pytest.raises(QuestionRefused, match="is on no list; there are: doctor"):
        desk.ask("shell")


def test_so_many_a_day_and_no_more(desk: Desk) -> None:
    for _ in range(A_DAY):
        desk.answer(desk.ask(), "well")
    with pytest.raises(QuestionRefused, match="within a day"):
        desk.ask()


def test_a_gateway_of_before_is_not_asked(either_store: Store, gateway: Callable[..., Any]) -> None:
    gateway(either_store)
    with either_store.write() as conn, pytest.raises(QuestionRefused, match="install a newer one"):
        questions.ask(conn, "LHR-1", "doctor", "Ayesha", NOW)
