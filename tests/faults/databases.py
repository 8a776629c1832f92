"""The two databases as things that can be killed and started again, with their files below one folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest

from tests.faults import rig


class Database(Protocol):
    url: str

    def start(self) -> None: ...

    def kill(self) -> None: ...


class Sqlite:
    """It lives in the collector's process: nothing of its own to start or kill."""

    def __init__(self, disk: Path) -> None:
        self.url = f"sqlite:///{disk}/data/nabz.db"

    def start(self) -> None: ...

    def kill(self) -> None: ...


class Postgres:
    """A cluster of its own, by an unprivileged user as it demands."""

    @classmethod
    def restored(cls, disk: Path, fill: Callable[[Path], None]) -> Postgres:
        """One whose folder `fill` makes, on the socket of one before it. Ready when its recovery is over."""
        made = cls.__new__(cls)
        tools = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        made._bin, made._folder, made._socket = tools[-1].parent, disk / "pg", disk.parent / "socket"
        made._settings = f"-c listen_addresses= -c unix_socket_directories={made._socket}".split()
        made.url, made._user = f"postgresql+psycopg://nabz@/nabz?host={made._socket}", None
        fill(made._folder)
        if os.geteuid() == 0:
            made._user = "postgres"
            subprocess.run(["chown", "-R", f"{made._user}:{made._user}", str(made._folder)], check=True)
        made.start()
        query = [str(made._bin / "psql"), "-h", str(made._socket), "-U", "nabz", "-Atc", "SELECT pg_is_in_recovery()"]

        def is_over() -> bool:
            return subprocess.run([*query, "nabz"], capture_output=True, text=True, check=False).stdout == "f\n"

        rig.wait_for(is_over, "the end of the recovery", 300)
        return made

    def __init__(self, disk: Path, settings: str = "") -> None:
        tools = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not tools:
            if os.environ.get("CI"):
                pytest.fail("PostgreSQL is not installed; see tests/packages.txt")
            pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
        self._bin, self._folder = tools[-1].parent, disk / "pg"
        self._socket = disk.parent / "socket"
        self._settings = f"-c listen_addresses= -c unix_socket_directories={self._socket} {settings}".split()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg://nabz@/nabz?host={self._socket}"
        self._user = "postgres" if os.geteuid() == 0 else None
        for folder in (self._folder, self._socket):
            folder.mkdir()
            if self._user:
                shutil.chown(folder, self._user, self._user)
        for place in disk.parents:  # PostgreSQL's own user has to get there
            if place.is_relative_to(tempfile.gettempdir()) and place != Path(tempfile.gettempdir()):
                place.chmod(place.stat().st_mode | 0o011)
        words = ("--username=nabz", "--auth=trust", "--encoding=UTF8", "--no-locale", "--wal-segsize=1")
        self._call("initdb", "-D", str(self._folder), *words)
        self.start()
        self._call("createdb", "-h", str(self._socket), "-U", "nabz", "nabz")

    def _call(self, tool: str, *words: str) -> None:
        subprocess.run([str(self._bin / tool), *words], user=self._user, check=True, cwd="/", capture_output=True)

    def start(self) -> None:
        argv = [str(self._bin / "postgres"), "-D", str(self._folder), *self._settings]
        with (self._socket / "log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, user=self._user, cwd="/", stdout=log, stderr=log, start_new_session=True
            )
        ready = [str(self._bin / "pg_isready"), "-h", str(self._socket), "-q"]
        rig.wait_for(lambda: subprocess.run(ready, check=False).returncode == 0, "PostgreSQL")

    def stop(self) -> None:
        """PostgreSQL's immediate shutdown: at once, and by its own hand."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(60)

    def kill(self) -> None:
        assert self._process is not None
        if self._process.poll() is None:  # else its number may be somebody else's by now
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait()
        subprocess.run(["pkill", "-9", "-f", f"postgres.*{self._folder}"], check=False)
