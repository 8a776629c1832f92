"""Mosquitto as a child of the collector: settings generated, started again when it ends, its words in our log.

It takes a third of the processor time of the embedded broker and an eighth of its memory, and none of our threads.
Its listener without TLS is on loopback, for the collector itself and this machine; there it knows no names. The others
are as in the settings for a Mosquitto elsewhere, with one access list, which `ExternalBroker` keeps.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from agent.common.errors import describe
from agent.common.logs import Event
from collector.access import acl
from collector.access.atomic_files import put
from collector.access.ca import Files
from collector.access.people import People
from collector.brokers import external, generated_config
from collector.brokers.embedded import BrokerError
from collector.brokers.generated_config import ChildSite
from collector.brokers.session_log import SessionLog
from collector.common.config import BrokerSection, ConfigError
from collector.common.processes import Restarts, end

SAYS = Event(__name__, "warning", "mosquitto_says", "a line of the broker's own log", fields="line")
ENDED = Event(
    __name__, "error", "mosquitto_ended", "the broker ended by itself; it is started again", fields="code again_s"
)

PACKAGE = "mosquitto"  # Debian's
START_S = 20.0
STOP_S = 10.0
PRIVATE = 0o600
ROUTINE = ("Config loaded", "Opening ", "Reloading config", "mosquitto version")  # what it says of every start


def program() -> str | None:
    """Where Mosquitto is installed; Debian has it among the programs of the administrator."""
    return shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


def chosen(broker: BrokerSection) -> str | None:
    """The program, where our own broker is to be Mosquitto; None for the embedded one. Raises ConfigError."""
    if broker.url != "embedded" or broker.kind == "embedded":
        return None
    path = program()
    if path is None and broker.kind == "mosquitto":
        raise ConfigError(
            f'[broker] kind: mosquitto is not installed; install Debian\'s package {PACKAGE}, or set kind = "auto"'
        )
    return path


class MosquittoChild:
    """`start` returns when it listens. `tend` is to be called every second or so by the thread that called `start`: the
    kernel ends the child with that thread. `book` learns what its log says of gateways' sessions."""

    def __init__(
        self,
        program: str,
        folder: Path,
        site: ChildSite,
        own: Files,
        crl: Path,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._program, self._folder, self._site = program, folder.absolute(), site
        self._own, self._crl, self._now_s = own, crl, now_s
        self.book = acl.Book(now_s)
        self._session_log = SessionLog(self.book)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False
        self._runs = threading.Event()  # it has said so
        self._restarts = Restarts()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Raises BrokerError."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = generated_config.mosquitto_child(self._site, is_root=os.geteuid() == 0)
            put(self._folder / "mosquitto.conf", text.encode(), PRIVATE)
            self.write_people(self._site.people)
            self._spawn()
        except OSError as error:
            raise BrokerError(f"[broker] kind mosquitto: cannot be started ({describe(error)}); check it") from None
        self._wait()

    def write_people(self, people: People) -> None:
        """Raises OSError."""
        changing = {name: text.encode() for name, text in generated_config.mosquitto_people(people).items()}
        external.write(self._folder, changing | external.certificates(self._own, self._crl))

    def _spawn(self) -> None:
        argv = [sys.executable, "-m", "collector.brokers.confined", str(os.getpid()), self._program]
        argv += ["-c", str(self._folder / "mosquitto.conf")]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        self._restarts.record_start(self._now_s())
        assert self._process.stderr is not None
        threading.Thread(target=self._relay, args=(self._process.stderr,), name="mosquitto log", daemon=True).start()

    def _wait(self) -> None:
        until_s = time.monotonic() + START_S
        while not self._runs.wait(0.05):
            code = None if self._process is None else self._process.poll()
            if code is not None or time.monotonic() > until_s:
                places = ", ".join(f"{host}:{port}" for host, port in self._site.places)
                raise BrokerError(
                    f"[broker] listen: Mosquitto does not start at {places} (see its line in the log above); set free "
                    'addresses, or kind = "embedded"'
                )

    def _relay(self, stream: IO[bytes]) -> None:
        with stream as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                text = text.partition(": ")[2] or text  # without its own time
                if text.startswith(ROUTINE):
                    if text.endswith(" running"):
                        self._runs.set()
                elif not self._session_log.read(text):
                    SAYS.log(line=text)

    def tend(self) -> None:
        if self._is_stopped or self._process is None:
            return
        code = self._process.poll()
        if code is None:
            return
        now_s = self._now_s()
        if self._restarts.record_end(now_s):
            ENDED.log(code=code, again_s=self._restarts.pause_s)
        if self._restarts.is_due(now_s):
            self._spawn()

    def hang_up(self, _command: Sequence[str] = ()) -> None:
        """It reads its access list and certificates anew."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        self._is_stopped = True
        end(self._process, STOP_S)

    def is_alive(self) -> bool:
        """It is started again whatever happens."""
        return self._process is not None and not self._is_stopped
