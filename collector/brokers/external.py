"""External brokers, kept up to date: accounts, revocations, our certificates; and sessions of the revoked ended.

Their files lie in a folder that `nabz-collector broker-config` wrote first; what has changed is written anew and the
broker reloaded. Mosquitto then accepts nothing from a revoked gateway and sends it nothing, but leaves its session
open: it is ended by connecting in its name for a moment, as a name has one session there, the newest. NATS ends it
itself."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from paho.mqtt.enums import CallbackAPIVersion

from agent.common.errors import describe
from agent.common.logs import Event
from agent.common.mqtt import Client
from collector.access.atomic_files import put
from collector.access.ca import Authority, Files
from collector.access.people import People
from collector.access.tls import client_context
from collector.brokers.endpoints import WEBSOCKET_PATH
from collector.brokers.generated_config import CERTIFICATES, CHANGING
from collector.common import config
from collector.common.config import split_broker

RELOADED = Event(
    __name__, "info", "external_broker_reloaded", "an external broker was asked to read its files", key="broker",
    fields="files",
)  # fmt: skip
NOT_UPDATED = Event(
    __name__, "error", "external_broker_failed", "an external broker's files, or its sessions, cannot be updated; it "
    "is tried again", key="broker", fields="error",
)  # fmt: skip

RELOAD_S = 30.0
END_S = 15.0
END_ROUNDS = 6  # a reload takes effect a moment later, and a gateway reconnects within seconds
KEEPS_SESSIONS = frozenset({"mosquitto"})  # over a reload, also of who is revoked
READABLE = 0o640  # to the broker's own user by its group


def certificates(own: Files, crl: Path) -> dict[str, bytes]:
    """By the name each has beside the broker's settings. Raises OSError."""
    sources = {"ca": own.ca, "cert": own.cert, "key": own.key, "crl": crl}
    return {CERTIFICATES[word]: source.read_bytes() for word, source in sources.items()}


def write(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Those that were not there as they should be, now written. Raises OSError."""
    changed = [name for name, content in files.items() if not _is(folder / name, content)]
    for name in changed:
        put(folder / name, files[name], READABLE)
        (folder / name).chmod(READABLE)  # whatever umask we run with
    return changed


class ExternalBroker:
    """One such broker. `run` runs the command that reloads it, and `end` ends a session; both raise OSError."""

    def __init__(
        self,
        settings: config.ExternalBrokerSection,
        authority: Authority,
        *,
        run: Callable[[Sequence[str]], None] | None = None,
        end: Callable[[str, str, Files], None] | None = None,
    ) -> None:
        self._settings, self._authority = settings, authority
        self._run, self._end = run or reload, end or end_session
        self._is_stale = True  # whether the broker may not have read what is written; so at the start
        self._rounds_left: dict[str, int] = {}  # at each revoked gateway, still to come
        self._last_error = ""

    def update(self, people: People, recent: Collection[str], own: Files, crl: Path, now_ms: int) -> None:
        """`lately` are those of the revoked that may still have a session. What fails is retried next time.

        Raises StoreError when the authority's folder cannot be used.
        """
        files = {name: text.encode() for name, text in CHANGING[self._settings.make](people).items()}
        try:
            changed = write(self._settings.folder, files | certificates(own, crl))
            if (changed or self._is_stale) and self._settings.reload:
                self._is_stale = True
                self._run(self._settings.reload)
                RELOADED.log(broker=self._settings.url, files=", ".join(changed))
            self._is_stale = False
            if self._settings.make in KEEPS_SESSIONS:
                self._end_sessions(recent, now_ms)
            self._last_error = ""
        except OSError as error:
            self._complain(error)

    def _end_sessions(self, recent: Collection[str], now_ms: int) -> None:
        self._rounds_left = {device: self._rounds_left.get(device, END_ROUNDS) for device in recent}
        for device in sorted(device for device, left in self._rounds_left.items() if left):
            stand_in = self._authority.keep("stand-in", self._authority.issue_stand_in(device, now_ms))
            self._end(self._settings.url, device, stand_in)
            self._rounds_left[device] -= 1

    def _complain(self, error: OSError) -> None:
        """Once for as long as the reason is the same."""
        if (reason := describe(error)) != self._last_error:
            self._last_error = reason
            NOT_UPDATED.log(broker=self._settings.url, error=error)


def reload(command: Sequence[str]) -> None:
    """Raises OSError with the command's output."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=RELOAD_S, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        output = (error.stderr or error.stdout).strip()[-200:]
        raise OSError(f"`{' '.join(command)}` ended with exit code {error.returncode} ({output})") from None
    except subprocess.TimeoutExpired:
        raise OSError(f"`{' '.join(command)}` did not end within {RELOAD_S:g} s") from None


def end_session(url: str, device: str, stand_in: Files) -> None:
    """Connects as `device` and disconnects: the broker ends the session that was there. Raises OSError."""
    scheme, (host, port) = split_broker(url)
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=device,
        transport="websockets" if scheme == "wss" else "tcp",
        reconnect_on_failure=False,
    )
    client.ws_set_options(path=WEBSOCKET_PATH)
    client.tls_set_context(client_context(stand_in.ca, stand_in.cert, stand_in.key))
    client.connect_timeout = END_S
    try:
        client.connect(host, port)
        client.loop_start()
        until_s = time.monotonic() + END_S
        while not (came := client.is_connected()) and time.monotonic() < until_s:
            time.sleep(0.02)
    finally:
        client.leave()
    if not came:
        raise TimeoutError(f"did not let us end the session of {device} within {END_S:g} s")


def _is(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False
