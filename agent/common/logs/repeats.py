"""How often the same thing is written: a few lines a minute for each key, the rest counted. Pure: `now_s` is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Key = tuple[str, ...]

PER_KEY = 3  # lines of one key in a window
PER_GROUP = 30  # lines of all keys of a group in a window
WINDOW_S = 60.0


@dataclass(frozen=True)
class Counted(Generic[Item]):
    """The newest of `count` items that were not written; of one key, or of several of its group."""

    item: Item
    count: int
    is_mixed: bool


@dataclass
class _Window(Generic[Item]):
    start_s: float
    written: int = 0
    counted: int = 0
    newest: Item | None = None


class Repeats(Generic[Item]):
    """Each item is either written or in the count of exactly one `Counted`.

    Memory is bounded by the number of groups, which are names in the code: a key has a window only from its first
    written line on, and so a group has at most `PER_GROUP` new keys a minute. Not safe for threads by itself.
    """

    def __init__(self) -> None:
        self._windows: dict[tuple[str, Key | None], _Window[Item]] = {}  # oldest first; None: the whole group's

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def is_counting(self) -> bool:
        """Whether anything waits to be given by `due`."""
        return any(window.counted for window in self._windows.values())

    def admit(self, group: str, key: Key, item: Item, now_s: float) -> bool:
        """Whether `item` is to be written now; else it is counted. What `due` gives must have been taken before."""
        whole = self._windows.setdefault((group, None), _Window(now_s))
        own = self._windows.get((group, key))
        full = next((window for window, limit in ((own, PER_KEY), (whole, PER_GROUP)) if _is_full(window, limit)), None)
        if full is not None:
            full.counted, full.newest = full.counted + 1, item
            return False
        if own is None:
            own = self._windows[group, key] = _Window(now_s)
        own.written += 1
        whole.written += 1
        return True

    def due(self, now_s: float) -> Iterator[Counted[Item]]:
        """What was counted in windows that are over by now."""
        while self._windows:
            (group, key), window = next(iter(self._windows.items()))
            if now_s - window.start_s < WINDOW_S:
                return
            del self._windows[group, key]
            if window.newest is not None:
                yield Counted(window.newest, window.counted, is_mixed=key is None)


def _is_full(window: _Window[Item] | None, limit: int) -> bool:
    return window is not None and window.written >= limit
