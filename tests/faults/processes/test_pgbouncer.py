"""What PgBouncer breaks: pooled by transaction, sessions are not kept, so LISTEN hears nothing and a lock of a session
is nobody's. Readings and jobs go through it; the collector's own two connections must not."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
import sqlalchemy as sa

from collector.run.lock import DatabaseLock
from collector.run.news_listener import NewsListener
from collector.store import NEWS, Store, StoreError, schema
from collector.store.jobs import leases
from tests.faults import rig
from tests.faults.databases import Postgres
from tests.faults.makes import tool
from tests.faults.stacks import shared_disk
from tests.helpers.ports import free_port

SETTINGS = rig.ROOT / "systemd" / "cluster" / "pgbouncer.ini"

pytestmark = [pytest.mark.slow, pytest.mark.root]


@pytest.fixture
def pool() -> Iterator[tuple[str, str]]:
    """URLs: through PgBouncer, by the settings that are shipped, and past it."""
    with shared_disk() as disk:
        base, port = Postgres(disk), free_port()
        folder = disk / "pool"
        folder.mkdir()
        (folder / "users.txt").write_text('"nabz" ""\n')
        text = SETTINGS.read_text().replace("host=127.0.0.1 port=5000", f"host={disk.parent}/socket")
        text = text.replace("/etc/pgbouncer/userlist.txt", f"{folder}/users.txt").replace("scram-sha-256", "trust")
        text = text.replace("listen_port = 6432", f"listen_port = {port}").replace(
            "listen_addr = *", "listen_addr = 127.0.0.1"
        )
        text = text.replace("/var/run/postgresql", str(folder))
        (folder / "pgbouncer.ini").write_text(text)
        subprocess.run(["chown", "-R", "postgres:postgres", str(folder)], check=True)
        with (disk / "pool.log").open("wb") as log:
            argv = [tool("pgbouncer"), str(folder / "pgbouncer.ini")]
            process = subprocess.Popen(argv, user="postgres", cwd="/", stdout=log, stderr=log)
        url = f"postgresql+psycopg://nabz@127.0.0.1:{port}/nabz?prepare_threshold=none"
        try:
            rig.wait_for(lambda: answers(url), "PgBouncer", 30)
            yield url, base.url
        finally:
            process.kill()
            process.wait()
            base.kill()


def answers(url: str) -> bool:
    with suppress(sa.exc.OperationalError), closing(Store.attach(url)) as store, store.read() as conn:
        return conn.scalar(sa.select(1)) == 1
    return False


def test_transactions_locks_of_theirs_and_leases_go_through_it(pool: tuple[str, str]) -> None:
    pooled, direct = pool
    with closing(Store.open(direct)), closing(Store.open(pooled)) as one, closing(Store.open(pooled)) as other:
        order: list[str] = []

        def write(store: Store, name: str) -> None:
            with store.write() as conn:
                order.append(f"{name} in")
                conn.execute(sa.insert(schema.about).values(name=name, value=""))
                time.sleep(0.2)
                order.append(f"{name} out")

        threads = [threading.Thread(target=write, args=item) for item in ((one, "a"), (other, "b"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert order in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])
        with one.aside() as conn:
            assert leases.take(conn, ["log"], "a", 1_000) == {"log"}
        with other.aside() as conn:
            assert leases.take(conn, ["log"], "b", 2_000) == set()


def test_news_and_the_lock_of_a_collector_need_a_session_of_their_own(pool: tuple[str, str]) -> None:
    assert heard_news(pool[1], pool[1])
    assert not heard_news(pool[0], pool[1]), "PgBouncer kept a session: say so in docs/machines.md"
    assert not second_collector_starts(pool[1])
    assert second_collector_starts(pool[0]), "PgBouncer kept a session: say so in docs/machines.md"


def heard_news(url: str, told_by: str) -> bool:
    woken = threading.Event()
    with closing(Store.open(told_by)) as teller:
        listener = NewsListener(url, woken.set)
        listener.start()
        try:
            assert woken.wait(30), "once after each connection"
            with teller.write() as conn:  # takes the server's session away from whoever listened, if it is shared
                conn.execute(sa.select(1))
            time.sleep(1)
            woken.clear()
            with teller.write() as conn:
                conn.info[NEWS] = True
            return woken.wait(5)
        finally:
            listener.stop()


def second_collector_starts(url: str) -> bool:
    first, second = DatabaseLock(url, wait_s=1), DatabaseLock(url, wait_s=1)
    first.start()
    try:
        second.start()
    except StoreError:
        return False
    finally:
        second.stop()
        first.stop()
    return True
