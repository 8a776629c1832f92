"""Debian's Firefox, driven by WebDriver BiDi (w3.org/TR/webdriver-bidi), which it speaks by itself: neither geckodriver
nor a patched browser is needed."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.helpers.processes import child

FIREFOX = Path("/usr/bin/firefox-esr")
PATIENCE_S = 60.0
PREFERENCES = {  # it asks nobody but the server of the test
    "browser.aboutwelcome.enabled": False, "app.update.enabled": False, "browser.safebrowsing.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False, "app.normandy.enabled": False,
    "services.settings.server": "data:,", "toolkit.telemetry.server": "", "browser.startup.page": 0,
    "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
}  # fmt: skip
BECOMES = "new Promise((done) => { const look = () => ({true}) ? done(true) : setTimeout(look, 20); look(); })"


class FirefoxPage:
    """The one page of a Firefox; `complaints` are what its console was told of errors."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._numbers = connection, itertools.count(1)
        self.complaints: list[str] = []
        self._call("session.new", capabilities={})
        self._page = self._call("browsingContext.getTree")["contexts"][0]["context"]
        self._call("session.subscribe", events=["log.entryAdded"])

    def cookie(self, name: str, value: str) -> None:
        own = {"name": name, "value": {"type": "string", "value": value}, "domain": "127.0.0.1"}
        self._call("storage.setCookie", cookie=own)

    def goto(self, url: str) -> None:
        self._call("browsingContext.navigate", context=self._page, url=url, wait="complete")

    def evaluate(self, script: str) -> Any:
        target = {"context": self._page}
        found = self._call("script.evaluate", expression=script, target=target, awaitPromise=True)
        assert found["type"] == "success", found
        return found["result"].get("value")

    def becomes(self, true: str) -> None:
        """Waits until a condition of the page holds."""
        assert self.evaluate(BECOMES.replace("{true}", true)), true

    def keys(self, text: str) -> None:
        """Presses one key after the other."""
        acts = [{"type": kind, "value": letter} for letter in text for kind in ("keyDown", "keyUp")]
        keys = {"type": "key", "id": "keyboard", "actions": acts}
        self._call("input.performActions", context=self._page, actions=[keys])

    def _call(self, method: str, **params: object) -> dict[str, Any]:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        until_s = time.monotonic() + PATIENCE_S
        while True:
            message = json.loads(self._connection.recv(max(0.1, until_s - time.monotonic())))
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self.complaints.append(message["params"]["text"])


@contextmanager
def launched(folder: Path) -> Iterator[FirefoxPage]:
    """A Firefox with a profile of its own in a folder."""
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
    (folder / "user.js").write_text("\n".join(lines))
    words = [str(FIREFOX), "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port=0"]
    with child(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        found = next(filter(None, (re.search(r"BiDi listening on (ws://\S+)", line) for line in process.stderr)))
        threading.Thread(target=process.stderr.read, daemon=True).start()  # or it waits for its complaints to be read
        try:
            with connect(f"{found[1]}/session", max_size=None, open_timeout=PATIENCE_S) as connection:
                yield FirefoxPage(connection)
        finally:
            process.kill()
