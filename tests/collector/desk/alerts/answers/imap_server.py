"""A small IMAP server of one mailbox: the words that a reader needs (RFC 9051), on a thread of its own."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class ImapBox:
    """`mails` by UID; `seen` are those marked as read."""

    password: str = "secret"
    port: int = 0
    mails: dict[int, bytes] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    def put(self, raw: bytes) -> None:
        self.mails[len(self.mails) + 1] = raw


@contextmanager
def imap_server(box: ImapBox) -> Iterator[ImapBox]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"* OK ready\r\n")
            while line := self.rfile.readline().decode():
                tag, _, rest = line.strip().partition(" ")
                self.wfile.write(b"".join(_answer(box, rest)))
                refused = rest.startswith("LOGIN") and box.password not in rest
                self.wfile.write(f"{tag} {'NO' if refused else 'OK'} done\r\n".encode())
                if rest == "LOGOUT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        box.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield box
        server.shutdown()


def _answer(box: ImapBox, words: str) -> Iterator[bytes]:
    if words == "CAPABILITY":
        yield b"* CAPABILITY IMAP4rev1\r\n"
    if words.startswith("SELECT"):
        yield f"* {len(box.mails)} EXISTS\r\n".encode()
    if words == "UID SEARCH UNSEEN":
        unseen = " ".join(str(uid) for uid in box.mails if uid not in box.seen)
        yield f"* SEARCH {unseen}\r\n".encode()
    if fetch := re.fullmatch(r"UID FETCH (\d+) \(BODY\.PEEK\[\]<0\.(\d+)>\)", words):
        raw = box.mails[int(fetch[1])][: int(fetch[2])]
        yield f"* {fetch[1]} FETCH (UID {fetch[1]} BODY[]<0> {{{len(raw)}}}\r\n".encode() + raw + b")\r\n"
    if store := re.fullmatch(r"UID STORE (\d+) \+FLAGS \(\\Seen\)", words):
        box.seen.add(int(store[1]))
