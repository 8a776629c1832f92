"""Wakes the outbox after commits of other processes: ingest workers beside this one, commands.

Every transaction that has something to tell says so to PostgreSQL, which tells its listeners after the commit
(collector.store.Store.write). SQLite needs none of it: its commands are rare, and the outbox looks by itself now and
then, as it also does while this connection is lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import sqlalchemy as sa

from agent.common.logs import Event
from agent.common.threads import join_started
from collector.store import NEWS, UNAVAILABLE, single

AWAY = Event(
    __name__, "warning", "news_away", "the database does not announce news of other processes; it is tried again",
    fields="error",
)  # fmt: skip

LOOK_S = 1.0  # the longest that `stop` waits
AGAIN_S = 5.0  # after a lost connection


class NewsListener:
    """Calls `wake` after the commit of news in any process; once more after each connection, for what it missed. `url`
    is of the database itself, not of a pool before it."""

    def __init__(self, url: str | sa.URL, wake: Callable[[], None], again_s: float = AGAIN_S) -> None:
        self._engine = single(sa.make_url(url))
        self._wake, self._again_s = wake, again_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="news", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        join_started(self._thread)
        self._engine.dispose()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except UNAVAILABLE as error:
                AWAY.log(error=error)
                self._stopped.wait(self._again_s)

    def _listen(self) -> None:
        """Until it is stopped; raises one of UNAVAILABLE when the connection is lost."""
        import psycopg  # slow to load, and of no use to those who have SQLite only

        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.exec_driver_sql(f"LISTEN {NEWS}")
            raw = conn.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            self._wake()
            while not self._stopped.is_set():
                try:
                    news = list(raw.notifies(timeout=LOOK_S, stop_after=1))
                except psycopg.Error as error:
                    conn.invalidate()
                    raise sa.exc.OperationalError(f"LISTEN {NEWS}", None, error) from error
                if news:
                    self._wake()
