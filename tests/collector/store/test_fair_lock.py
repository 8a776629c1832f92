"""Whoever asks for the database's writer gets it next, however often another thread takes it."""

from __future__ import annotations

import threading

import pytest

from collector.store.sql.fair_lock import FairLock
from tests.helpers.waiting import wait_until


def waiting(lock: FairLock, order: list[int], number: int) -> threading.Thread:
    """A thread that waits for the lock by now."""

    def enter() -> None:
        with lock:
            order.append(number)

    known = len(lock._waiting)
    thread = threading.Thread(target=enter)
    thread.start()
    wait_until(lambda: len(lock._waiting) > known)
    return thread


def test_who_lets_go_and_asks_again_comes_after_those_who_wait() -> None:
    lock, order = FairLock(), list[int]()
    with lock:
        threads = [waiting(lock, order, number) for number in range(8)]
    with lock:  # at once: a plain lock would be given back to us
        order.append(8)
    for thread in threads:
        thread.join()
    assert order == [*range(9)]


def test_an_error_inside_lets_go() -> None:
    lock = FairLock()
    with pytest.raises(ZeroDivisionError), lock:
        raise ZeroDivisionError
    with lock:
        pass
