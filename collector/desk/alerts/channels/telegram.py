"""Messages to persons by a Telegram bot, with a button that acknowledges (Bot API: sendMessage, getUpdates,
answerCallbackQuery). A press counts only from the chat that the message went to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.common.errors import describe
from agent.common.words import plain
from collector.desk.alerts import links
from collector.desk.alerts.channel import LANGUAGES, AlertMessage, Channel, Event, SendFailed
from collector.desk.alerts.channels.post import post

API = "https://api.telegram.org"
MAX_TEXT = 4096  # letters of one message
MAX_UPDATES = 50
ACK = "ack:"  # begins what a button carries, of at most 64 bytes

Answer = Callable[[str, str], str]  # (secret, address) -> the sentence that is shown to whoever pressed


@dataclass
class TelegramBot:
    """`offset` is of the next update that is not known yet."""

    url: str
    token: str
    offset: int = 0

    def send(self, message: AlertMessage) -> None:
        """Raises SendFailed."""
        body: dict[str, Any] = {"chat_id": message.address, "text": f"{message.title}\n{message.text}"[:MAX_TEXT]}
        if secret := links.secret_in(message.text):
            label = " · ".join(plain(lang)("link.button") for lang in LANGUAGES)
            keys = [[{"text": label, "callback_data": f"{ACK}{secret}"}]]
            body["reply_markup"] = {"inline_keyboard": keys}
        self._call("sendMessage", body)

    def poll(self, answer: Answer) -> int:
        """Takes the presses since the last look, and shows each what became of it; how many. Raises SendFailed."""
        request = {"offset": self.offset, "limit": MAX_UPDATES, "timeout": 0, "allowed_updates": ["callback_query"]}
        pressed = 0
        for update in self._call("getUpdates", request):
            if not isinstance(update, dict) or not isinstance(update.get("update_id"), int):
                continue
            self.offset = max(self.offset, update["update_id"] + 1)
            if (press := _press(update)) is not None:
                number, chat, secret = press
                self._call("answerCallbackQuery", {"callback_query_id": number, "text": answer(secret, chat)[:200]})
                pressed += 1
        return pressed

    def _call(self, method: str, body: dict[str, Any]) -> list[Any]:
        """Its result, as a list. Raises SendFailed, never with the token."""
        try:
            answer = json.loads(post(f"{self.url}/bot{self.token}/{method}", json.dumps(body).encode()))
        except SendFailed as failed:
            raise SendFailed(str(failed).replace(self.token, "…"), permanent=failed.permanent) from None
        except (ValueError, RecursionError) as error:
            raise SendFailed(f"the answer is no JSON ({describe(error)})") from None
        result = answer.get("result") if isinstance(answer, dict) else None
        return result if isinstance(result, list) else []


def _press(update: dict[str, Any]) -> tuple[str, str, str] | None:
    """(id, chat, secret) of a press on our button; None for everything else that may come."""
    query = update.get("callback_query")
    if not isinstance(query, dict) or not isinstance(data := query.get("data"), str) or not data.startswith(ACK):
        return None
    message = query.get("message")
    chat = message.get("chat") if isinstance(message, dict) else None
    number = chat.get("id") if isinstance(chat, dict) else None
    return (str(query.get("id")), str(number), data.removeprefix(ACK)) if isinstance(number, int) else None


def channel(name: str, url: str, token: str, events: tuple[Event, ...]) -> Channel:
    bot = TelegramBot(url.rstrip("/"), token)
    return Channel(name, bot.send, events, address="telegram", poll=bot.poll)
