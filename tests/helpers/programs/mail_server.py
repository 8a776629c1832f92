"""A real mail server: SMTP's few words on asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_string
from email.message import EmailMessage
from email.policy import default


@dataclass
class Mailbox:
    """What has come, each with its head; `refuse`: what the next recipients are answered."""

    port: int
    got: list[str]
    refuse: list[str]

    @property
    def url(self) -> str:
        """Of a channel that sends to persons by it."""
        return f"mailto://127.0.0.1:{self.port}/?from=nabz@example.pk&to={{email}}&mode=insecure&format=text"

    def letters(self) -> dict[str, tuple[str, str]]:
        """(subject, text) of the last one to each address."""
        return {str(one["To"]): (str(one["Subject"]), _text(one)) for one in map(_parsed, self.got)}


def _parsed(raw: str) -> EmailMessage:
    return message_from_string(raw.removesuffix("\r\n.\r\n").replace("\r\n..", "\r\n."), policy=default)


def _text(letter: EmailMessage) -> str:
    body = letter.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    """On a port of its own."""
    box = Mailbox(0, [], [])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        while line := (await reader.readline()).decode().strip():
            word = line.split(None, 1)[0].upper()
            if word == "DATA":
                writer.write(b"354 go on\r\n")
                box.got.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            if word == "RCPT" and box.refuse:
                writer.write(box.refuse.pop(0).encode() + b"\r\n")
            else:
                writer.write(b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n")
            await writer.drain()
            if word == "QUIT":
                break
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(talk, "127.0.0.1", 0))
    box.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield box

    async def end() -> None:
        server.close()
        await server.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(end(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
