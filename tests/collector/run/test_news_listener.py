"""News that another process commits wakes the outbox of this one: ingest workers beside it, commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from collector.run.news_listener import NewsListener
from collector.store import NEWS, Store
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

OTHER = """
import sys
from collector.store import NEWS, Store
store = Store.open(sys.argv[1])
with store.write(beside=True) as conn:
    conn.info[NEWS] = sys.argv[2] == "news"
store.close()
"""


@contextmanager
def listening(store: Store, woken: list[int]) -> Iterator[NewsListener]:
    """It has been woken once, as it listens now."""
    listener = NewsListener(store.url, lambda: woken.append(1), again_s=0.05)
    listener.start()
    try:
        wait_until(lambda: woken)
        yield listener
    finally:
        listener.stop()


def test_another_process_wakes_it_by_news_alone(either_store: Store) -> None:
    woken: list[int] = []
    url = either_store.url.render_as_string(hide_password=False)
    with listening(either_store, woken):
        subprocess.run([sys.executable, "-c", OTHER, url, "nothing"], check=True)
        with either_store.write(), either_store.read():  # what was to arrive has
            pass
        assert len(woken) == 1
        subprocess.run([sys.executable, "-c", OTHER, url, "news"], check=True)
        wait_until(lambda: len(woken) == 2)


def test_what_is_rolled_back_wakes_nobody(either_store: Store) -> None:
    woken: list[int] = []

    def fails() -> None:
        with either_store.write() as conn:
            conn.info[NEWS] = True
            raise ZeroDivisionError

    with listening(either_store, woken):
        with pytest.raises(ZeroDivisionError):
            fails()
        with either_store.write() as conn:
            conn.info[NEWS] = True
        wait_until(lambda: len(woken) == 2)
    assert len(woken) == 2


def test_a_lost_connection_is_made_again(either_store: Store) -> None:
    woken: list[int] = []
    with listening(either_store, woken) as listener:
        with either_store.write() as conn:
            mine = "pid <> pg_backend_pid() AND datname = current_database() AND query LIKE 'LISTEN%'"
            ended = conn.execute(sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"))
            assert ended.all() == [(True,)]
        wait_until(lambda: len(woken) == 2)  # it listens again
        assert listener.is_alive()
        with either_store.write() as conn:
            conn.info[NEWS] = True
        wait_until(lambda: len(woken) == 3)
