"""A draft tried on all cores: centers share nothing, so each process takes the next ones."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack

from collector.audit.trial.draft import AT_ONCE, DraftQuestion, DraftTrial, Progress, TriedPart, summed, tried_part
from collector.register.centers import Center
from collector.store import Store

Open = Callable[[], AbstractContextManager[Store]]

stack = ExitStack()  # until the process of the pool ends
_job: tuple[Store, DraftQuestion] | None = None  # of a process of the pool


def tried_by(
    cores: int, open_store: Open, centers: Sequence[Center], question: DraftQuestion, progress: Progress
) -> DraftTrial:
    """As `draft.tried`, in so many processes, each with the database open for itself; all of it must be picklable."""
    cut = [centers[first : first + AT_ONCE] for first in range(0, len(centers), AT_ONCE)]
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
