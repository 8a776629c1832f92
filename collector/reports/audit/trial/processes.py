"""A draft tried on all cores: centers share nothing, so each process takes the next ones."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager

from collector.register import centers
from collector.register.centers import Center
from collector.reports.audit.trial.draft import (
    AT_ONCE,
    DraftQuestion,
    DraftTrial,
    Progress,
    TriedPart,
    summed,
    tried,
    tried_part,
)
from collector.store import Store

FEW = 500  # centers that one process tries sooner than several begin

Open = Callable[[], AbstractContextManager[Store]]

stack = ExitStack()  # until the process of the pool ends
_job: tuple[Store, DraftQuestion] | None = None  # of a process of the pool


def trial(open_store: Open, question: DraftQuestion, progress: Progress) -> DraftTrial:
    """Of all centers, on as many cores as this machine has. Raises StoreError."""
    with open_store() as store, store.read() as conn:
        registered, cores = centers.all_centers(conn), len(os.sched_getaffinity(0))
        if len(registered) <= FEW or cores < 2:
            return tried(conn, registered, question.standard, question.draft, question.span, progress)
    return tried_by(cores, open_store, registered, question, progress)


@contextmanager
def at_url(url: str) -> Iterator[Store]:
    """For a process that has no settings. Raises StoreError."""
    with closing(Store.open(url)) as store:
        yield store


def tried_by(
    cores: int, open_store: Open, registered: Sequence[Center], question: DraftQuestion, progress: Progress
) -> DraftTrial:
    """As `draft.tried`, in so many processes, each with the database open for itself; all of it must be picklable."""
    cut = [registered[first : first + AT_ONCE] for first in range(0, len(registered), AT_ONCE)]
    parts: list[TriedPart] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context, initializer=_begin, initargs=(open_store, question)) as pool:
        for part in pool.map(_part, cut):
            parts.append(part)
            progress(len(parts) / len(cut))
    return summed(question, parts)


def _begin(open_store: Open, question: DraftQuestion) -> None:
    global _job
    _job = stack.enter_context(open_store()), question


def _part(centers: Sequence[Center]) -> TriedPart:
    assert _job is not None
    store, question = _job
    with store.read() as conn:
        return tried_part(conn, centers, question)
