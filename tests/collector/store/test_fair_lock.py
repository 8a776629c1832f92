"""Whoever asks for the writer's turn gets it next, however often another thread takes it."""

from __future__ import annotations

import threading

from collector.store.fair_lock import FairLock
from tests.helpers.waiting import wait_until


def test_a_thread_that_takes_it_again_and_again_lets_the_next_one_in() -> None:
    lock, stopped, rounds = FairLock(), threading.Event(), 0

    def greedy() -> None:
        nonlocal rounds
        while not stopped.is_set():
            with lock:
                rounds += 1

    thread = threading.Thread(target=greedy)
    thread.start()
    waited = []
    for _ in range(20):
        wait_until(lambda before=rounds: rounds > before)
        before = rounds
        with lock:
            waited.append(rounds - before)
    stopped.set()
    thread.join()
    # The one that ran then; more where this thread was kept from asking. A plain lock has thousands.
    assert sorted(waited)[len(waited) // 2] <= 2


def test_threads_get_it_in_the_order_in_which_they_asked() -> None:
    lock, order, threads = FairLock(), [], []

    def enter(number: int) -> None:
        with lock:
            order.append(number)

    with lock:
        for number in range(8):
            thread = threading.Thread(target=enter, args=(number,))
            thread.start()
            threads.append(thread)
            wait_until(lambda asked=number: len(lock._waiting) > asked)
    for thread in threads:
        thread.join()
    assert order == [*range(8)]


def test_an_error_inside_lets_go() -> None:
    lock = FairLock()
    for _ in range(2):
        try:
            with lock:
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
    with lock:
        pass
