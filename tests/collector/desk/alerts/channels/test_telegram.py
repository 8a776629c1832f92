"""A bot and its button, against a server of our own in the shape of Telegram's Bot API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from collector.desk import tables
from collector.desk.alerts import queue
from collector.desk.alerts.channel import AlertMessage, SendFailed
from collector.desk.alerts.channels import schemes
from collector.desk.alerts.outbox import Outbox
from collector.store import Store
from tests.collector.desk.alerts.test_personal import NOON, STANDARDS, Town

TOKEN = "4711:secret-of-the-bot"


@dataclass
class BotServer:
    """What the bot was asked, and the updates that it has waiting."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    updates: list[Any] = field(default_factory=list)
    url: str = ""

    def press(self, chat: int, data: str) -> None:
        query = {"id": "q", "data": data, "message": {"chat": {"id": chat}}}
        self.updates.append({"update_id": len(self.updates) + 1, "callback_query": query})

    def answer(self, method: str, body: dict[str, Any]) -> Any:
        self.calls.append((method, body))
        if method != "getUpdates":
            return {"ok": True, "result": {}}
        return {"ok": True, "result": [one for one in self.updates if one.get("update_id", 0) >= body["offset"]]}

    def of(self, method: str) -> list[dict[str, Any]]:
        return [body for name, body in self.calls if name == method]


@pytest.fixture
def bot() -> Iterator[BotServer]:
    room = BotServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            _, secret, method = self.path.split("/")
            answer = json.dumps(room.answer(method, body)).encode()
            self.send_response(200 if secret == f"bot{TOKEN}" else 401)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    room.url = f"http://127.0.0.1:{server.server_port}"
    yield room
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def town(tmp_path: Any, bot: BotServer) -> Iterator[Town]:
    """Ayesha has a chat with the bot, and a message with a button in it."""
    store = Store.open(f"sqlite:///{tmp_path}/nabz.db")
    town = Town(store)
    town.contact("Ayesha", telegram="77")
    town.channels = [schemes.make("tg", f"telegram+{bot.url}", secret=TOKEN)]
    town.opens("LHR-001")
    town.route()
    with store.write() as conn:
        due = queue.claim(conn, NOON, "tg")
    assert due is not None
    town.channels[0].send(due.message)
    yield town
    store.close()


def outbox(town: Town) -> Outbox:
    return Outbox(town.store, town.channels, STANDARDS, "http://x", lambda: town.now_ms)


def data_of(bot: BotServer) -> str:
    (sent,) = bot.of("sendMessage")
    assert sent["chat_id"] == "77"
    return str(sent["reply_markup"]["inline_keyboard"][0][0]["callback_data"])


def state_of(town: Town) -> str:
    with town.store.read() as conn:
        return tables.get(conn, 1).state


def test_a_press_acknowledges_once(town: Town, bot: BotServer) -> None:
    data = data_of(bot)
    assert len(data.encode()) <= 64
    bot.press(77, data)
    box = outbox(town)
    assert box.poll_answers() == 1
    assert state_of(town) == "acknowledged"
    assert box.poll_answers() == 0  # the update is behind the offset now
    bot.press(77, data)
    box.poll_answers()
    shown = [body["text"] for body in bot.of("answerCallbackQuery")]
    assert shown[0].startswith("Ayesha looks after it now")
    assert shown[1].startswith("This link has ended")


def test_a_press_from_another_chat_does_nothing(town: Town, bot: BotServer) -> None:
    bot.press(78, data_of(bot))
    outbox(town).poll_answers()
    assert state_of(town) == "new"


@pytest.mark.parametrize(
    "update",
    [{}, {"update_id": "x"}, {"update_id": 1}, {"update_id": 1, "callback_query": 7}, [], None,
     {"update_id": 1, "callback_query": {"data": "ack:x", "message": {"chat": {"id": "77"}}}},
     {"update_id": 1, "callback_query": {"data": 5}}],
)  # fmt: skip
def test_whatever_else_comes_is_passed_over(town: Town, bot: BotServer, update: Any) -> None:
    bot.updates = [update]
    bot.answer = lambda method, body: {"ok": True, "result": [update]}  # type: ignore[method-assign]
    assert outbox(town).poll_answers() == 0
    assert state_of(town) == "new"


def test_a_wrong_token_is_said_without_it(bot: BotServer) -> None:
    channel = schemes.make("tg", f"telegram+{bot.url}", secret="4712:other")
    with pytest.raises(SendFailed, match="HTTP 401") as failed:
        channel.send(AlertMessage("t", "x", address="77"))
    assert failed.value.permanent
    assert "4712" not in str(failed.value)
    with pytest.raises(ValueError, match="secret_file"):
        schemes.make("tg", f"telegram+{bot.url}")
