"""Readings not yet receipted, kept through kills and power cuts (design P2).

1. `append` numbers readings on from the head, chains them and commits them in one transaction.
2. `newest` and `oldest` give whole groups, ready for a batch. `forget` drops a range only against a chain that matches;
   that is noted with a later commit, so that forgetting costs no sync of its own (a kill before it means a resend, and
   a resend is a no-op). What is forgotten stays in the file as long as there is room: `want_again` offers it anew
   to a collector that has lost it (design P10).
3. Over `max_bytes` the oldest receipted groups go first, then the oldest of the least value, which a shed reading
   accounts for.
4. It always opens. A damaged file is salvaged record by record into a new one and moved aside, never deleted at once.
5. When the disk fails or is full, readings go on in memory under a spool id of their own (`volatile`); once the disk
   works again it adopts that spool, numbers and all.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from agent import wire
from agent.common.errors import describe
from agent.common.files import FileWatch
from agent.common.logs import Event
from agent.spool import dropped, shed
from agent.spool.file import SpoolFile
from agent.spool.rebuild import rebuild, write_anew
from agent.spool.receipts import KeyRange, added
from agent.spool.record import Group, Head, Ident, Value, build, first_batch, run_of
from agent.spool.salvage import beside, finish_replacement, try_folder
from agent.spool.status import Appended, Lost, SpoolStats
from agent.spool.tables import SpoolDamaged, SpoolMarks, is_damage, marks_in, result_code

RENUMBERED = Event(
    __name__, "error", "spool_renumbered", "the collector holds other readings under this spool's numbers; a new spool "
    "begins", fields="spool",
)  # fmt: skip
DISK_FAILED = Event(
    __name__, "error", "spool_disk_failed", "the spool's disk failed; readings are kept in memory until it works again",
    fields="file error",
)  # fmt: skip
DISK_RECOVERED = Event(
    __name__, "warning", "spool_disk_recovered", "the spool's disk works again; what was kept in memory is on it now",
    fields="file",
)  # fmt: skip
FILE_GONE = Event(
    __name__, "error", "spool_file_gone", "the spool's file was moved, replaced or deleted under the agent; what it "
    "held is written anew", fields="file",
)  # fmt: skip
DAMAGED = Event(__name__, "error", "spool_damaged", "the spool's file is damaged; it is salvaged", fields="file error")
READINGS_LOST = Event(
    __name__, "error", "spool_readings_lost", "at most so many readings cannot be read any more; they are reported by "
    "number", fields="readings",
)  # fmt: skip

RAM_BYTES = 4 * 1024 * 1024  # two days of minutes
FORGET_AT_ONCE = 512  # groups forgotten but not yet noted, where nothing is appended meanwhile
NOTED_AT_ONCE = 16  # groups: each note writes a page; a kill before it means so many resent, which is a no-op

DiskError = (sqlite3.Error, OSError, UnicodeDecodeError)  # the last: SQLite quoting a damaged schema


class Spool:
    """Thread-safe; every method may block on the disk. ``stamp`` dates the shed readings."""

    def __init__(
        self, path: Path, *, stamp: Callable[[], wire.Stamp], max_bytes: int = 64 << 20, ram_bytes: int = RAM_BYTES
    ) -> None:
        self._path = path
        self._stamp = stamp
        self._max_bytes = max_bytes
        self._ram_bytes = ram_bytes
        self._lock = threading.RLock()
        self._disk: SpoolFile | None = None
        self._ram: SpoolFile | None = None
        self._suspect = ""  # why the file must be rebuilt before it is used again
        self._known: Head | None = None  # what the file held when it last worked
        self._forgotten: dict[Ident, int] = {}  # with the readings in each
        self._accounted: set[Lost] = set()  # in answer to a collector that lacks them
        self._marks: SpoolMarks | None = None  # what the file knew when it last worked
        self._shed = 0
        self._unreadable = 0
        self._trouble = ""
        self._watch = FileWatch()
        self._open()

    # ------------------------------------------------------------ writing

    def append(self, raws: Sequence[bytes], value: Value, wall_ms: int) -> Appended:
        """Commits at once. Raises ValueError for a reading that fits no batch."""
        with self._lock:
            self.check_file()
            if self._ram is not None:
                self._return_to_disk()
            try:
                return self._commit(raws, value, wall_ms)
            except DiskError as error:
                if self._ram is not None:
                    raise
                self._go_volatile(error)
                if is_damage(error):
                    self._return_to_disk()  # which rebuilds it: the disk itself works
            return self._commit(raws, value, wall_ms)

    def forget(self, spool: str, first_seq: int, last_seq: int, chain: str) -> bool:
        """Whether ``chain`` (hex) is our own at ``last_seq``; if so the groups in the range are forgotten."""
        with self._lock:
            group = self._find(spool, last_seq)
            if group is None or group.after.hex() != chain:
                return False
            while group is not None and group.first_seq >= first_seq:
                self._forgotten[group.ident] = len(group.raws)
                group = self._find(spool, group.first_seq - 1)
            if len(self._forgotten) >= FORGET_AT_ONCE:
                self._note_forgotten()
            return True

    def want_again(self, spool: str, ranges: Iterable[KeyRange]) -> int:
        """Receipted readings that the collector lacks wait again, as a backlog; numbers that are not held any more are
        accounted for, once. Returns how many readings wait again."""
        with self._lock:
            self._note_forgotten()
            before = self.waiting()
            lost: list[Lost] = []
            for file in (file for file in self._files() if file.holds(spool)):
                for first, last in ranges:
                    lost += [Lost("receipted", spool, *part) for part in file.want_again(spool, first, last)]
            count = self.waiting() - before
            self._account(lost)
            return count

    def _account(self, lost: Iterable[Lost]) -> None:
        """What the collector lacks and nobody holds any more, once each."""
        if fresh := [gone for gone in lost if gone not in self._accounted]:
            self._accounted.update(fresh)
            self.append(self._accounts(fresh, self._newest_file().head.spool), "high", self._stamp().wall_ms)

    def learn_epoch(self, epoch: str) -> int:
        """The epoch of the collector's database. When it changes, what is held of the spools before the present one
        waits again: of that one the collector says itself what it lacks. Returns how many readings wait again."""
        with self._lock:
            file, waiting = self._newest_file(), self.waiting()
            before, file.epoch = file.epoch, epoch
            if before not in ("", epoch):
                self._note_forgotten()
                self._accounted.clear()
                gone = [
                    Lost("receipted", spool, *part)
                    for spool in file.spools_before()
                    for part in file.want_again(spool, 1, file.last_of(spool))
                ]
                count = self.waiting() - waiting
                self._account(gone)
                return count
            return 0

    def renumber(self) -> None:
        """Begins a new spool id: for a file that turned out older than what was sent from it (a restored image)."""
        with self._lock:
            RENUMBERED.log(spool=self._newest_file().head.spool)
            try:
                self._newest_file().adopt(Head(uuid.uuid4().hex), (), {})
            except DiskError as error:
                self._go_volatile(error)  # which begins a new spool id too

    def check_file(self) -> None:
        """To be called every few seconds: a file that was taken away is still ours to read until it is closed, so all
        of it is written anew in its place."""
        with self._lock:
            if self._ram is not None or self._disk is None or (gone := self._watch.gone()) is None:
                return
            FILE_GONE.log(file=gone)
            try:
                self._disk = self._written_anew(self._disk)
                self._note_forgotten()
            except DiskError as error:
                self._go_volatile(error)

    def close(self) -> None:
        """What is only in memory tries the disk once more; what was forgotten is deleted, so that it is not resent."""
        with self._lock:
            if self._ram is not None:
                self._return_to_disk()
            self._note_forgotten()
            for file in self._files():
                file.close()

    # ------------------------------------------------------------ reading

    def newest(self, skip: Collection[Ident] = (), since_ms: int = 0) -> list[Group]:
        """The newest run of groups taken since ``since_ms`` that fits one batch, in order; empty when there is none."""
        return run_of(self._groups(skip, newest_first=True), since_ms)[::-1]

    def oldest(self, skip: Collection[Ident] = ()) -> list[Group]:
        """The oldest run of groups that fits one batch, in order."""
        return run_of(self._groups(skip, newest_first=False), 0)

    def waiting(self) -> int:
        """Readings not yet receipted. Never blocks, for views."""
        held = sum(file.readings for file in self._files())
        return max(0, held - sum(self._forgotten.copy().values()))

    def head(self) -> Head:
        """The newest number given, the chain and the time there: known even when every reading is forgotten."""
        with self._lock:
            return self._newest_file().head

    def stats(self) -> SpoolStats:
        with self._lock:
            files = self._files()
            return SpoolStats(
                readings=self.waiting(),
                bytes=sum(file.used_bytes() for file in files),
                volatile=self._ram is not None,
                shed=self._shed,
                unreadable=self._unreadable,
                trouble=self._trouble,
            )

    def _groups(self, skip: Collection[Ident], *, newest_first: bool) -> list[Group]:
        """At most one batch's worth beyond what is skipped."""
        with self._lock:
            passed = {*self._forgotten, *skip}
            files = self._files()
            groups: list[Group] = []
            for file in reversed(files) if newest_first else files:
                try:
                    groups += first_batch(file.groups(passed, newest_first=newest_first))
                except DiskError as error:
                    if file is self._ram:
                        raise
                    self._lose_disk(error)
            return groups

    def _find(self, spool: str, last_seq: int) -> Group | None:
        if (spool, last_seq) in self._forgotten:
            return None
        for file in self._files():
            try:
                group = file.find(spool, last_seq)
            except DiskError as error:
                if file is self._ram:
                    raise
                self._lose_disk(error)
                continue
            if group is not None:
                return group
        return None

    # ------------------------------------------------------------ one commit

    def _commit(self, raws: Sequence[bytes], value: Value, wall_ms: int) -> Appended:
        file = self._newest_file()
        is_ram = file is self._ram
        room = shed.make_room(file, self._ram_bytes if is_ram else self._max_bytes, self._forgotten, is_ram=is_ram)
        accounts = build(file.head, self._accounts(room.lost, file.head.spool, room.again), "high", wall_ms)
        head = file.head.after(accounts[-1]) if accounts else file.head
        due = len(self._forgotten) >= NOTED_AT_ONCE or room.victims
        gone = {ident: count for ident, count in self._forgotten.items() if due and file.holds(ident[0])}
        file.write([*accounts, *build(head, raws, value, wall_ms)], room.victims, gone)
        self._shed += sum(room.victims.values())
        for ident in gone:
            del self._forgotten[ident]
        return Appended(file.head.spool, file.head.seq, durable=file is self._disk)

    def _accounts(self, lost: Sequence[Lost], own: str, going: Iterable[Group] = ()) -> list[bytes]:
        """`going`: groups that were receipted once and are given up by the commit that brings the account."""
        files = self._files()
        runs = {gone.spool: file.dropped_of(gone.spool) for gone in lost for file in files if file.holds(gone.spool)}
        for group in sorted(going, key=lambda one: one.first_seq):
            known = runs.get(group.spool, [])
            runs[group.spool] = dropped.with_group(known, group.first_seq, group.last_seq, group.wall_ms)
        return shed.encoded(lost, own, self._stamp, runs)

    def _note_forgotten(self) -> None:
        for file in self._files():
            gone = {ident: count for ident, count in self._forgotten.items() if file.holds(ident[0])}
            if not gone or (file is self._disk and self._ram is not None):
                continue
            try:
                file.write((), (), gone)
            except DiskError as error:
                if file is self._ram:
                    raise
                self._go_volatile(error)
            else:
                self._forgotten = {ident: count for ident, count in self._forgotten.items() if ident not in gone}

    # ------------------------------------------------------------ the disk comes and goes

    def _files(self) -> list[SpoolFile]:
        """Oldest readings first."""
        return [file for file in (self._disk, self._ram) if file is not None]

    def _newest_file(self) -> SpoolFile:
        return self._files()[-1]

    def _open(self) -> None:
        try:
            self._disk = self._open_disk()
        except DiskError as error:
            self._go_volatile(error)

    def _go_volatile(self, error: Exception) -> None:
        DISK_FAILED.log(file=self._path, error=error)
        self._trouble = describe(error)
        if self._disk is not None:
            self._known, self._marks = self._disk.head, self._disk.marks()
            self._suspect = self._suspicion(error)
        self._ram = SpoolFile.create(None, [Head(uuid.uuid4().hex)])

    def _suspicion(self, error: Exception) -> str:
        """After a failed sync the log may seem whole in memory and not be so on disk: no old log is trusted then."""
        if is_damage(error) or (beside(self._path, "-wal").exists() and result_code(error) != sqlite3.SQLITE_FULL):
            return str(error)
        return ""

    def _lose_disk(self, error: Exception) -> None:
        """It cannot even be read: go on without it."""
        if self._ram is None:
            self._go_volatile(error)
        self._close_disk()

    def _close_disk(self) -> None:
        if self._disk is not None:
            with suppress(sqlite3.Error):
                self._disk.close()
            self._disk = None

    def _return_to_disk(self) -> None:
        """Back to the file when a trial write to its folder is durable; the memory's spool moves into it."""
        assert self._ram is not None
        try:
            try_folder(self._path.parent)
            if self._disk is not None and self._watch.gone() is not None:
                self._disk = self._written_anew(self._disk)
            else:
                self._close_disk()
                self._disk = self._open_disk()
            self._hand_over(self._disk, self._ram)
        except DiskError as error:
            self._trouble = describe(error)
            self._suspect = self._suspect or (describe(error) if is_damage(error) else "")
            return
        DISK_RECOVERED.log(file=self._path)
        self._ram.close()
        self._ram, self._known, self._suspect, self._trouble = None, None, "", ""

    def _hand_over(self, disk: SpoolFile, ram: SpoolFile) -> None:
        try:
            receipted = ram.receipted_ranges()
            for (spool, last_seq), count in self._forgotten.items():
                receipted[spool] = added(receipted.get(spool, ()), last_seq - count + 1, last_seq)
            disk.epoch = ram.epoch or disk.epoch
            disk.adopt(ram.head, ram.every_group(), receipted)
            self._forgotten = {ident: count for ident, count in self._forgotten.items() if not ram.holds(ident[0])}
        except DiskError as error:
            self._suspect = self._suspect or self._suspicion(error)
            raise

    def _open_disk(self) -> SpoolFile:
        """Opens, creates or rebuilds the file, and watches its name. Raises DiskError when the disk does not allow
        it."""
        disk = self._opened_disk()
        self._watch = FileWatch([self._path, beside(self._path, "-wal")])
        return disk

    def _opened_disk(self) -> SpoolFile:
        finish_replacement(self._path, self._stamp().wall_ms)
        if not self._path.exists():
            return SpoolFile.create(self._path, [Head(uuid.uuid4().hex)])
        if self._suspect:
            return self._rebuild(self._suspect)
        try:
            return self._struck(*SpoolFile.open(self._path))
        except SpoolDamaged as error:
            return self._rebuild(str(error))
        except sqlite3.OperationalError as error:
            if result_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL):
                raise
            try_folder(self._path.parent)
            return self._rebuild(describe(error))

    def _rebuild(self, why: str) -> SpoolFile:
        """What can be read moves into a new file under a new spool id."""
        DAMAGED.log(file=self._path, error=why)
        marks = self._marks or marks_in(self._path)
        lost = rebuild(self._path, self._known, marks, self._account_groups, self._stamp().wall_ms)
        self._unreadable += sum(hole.count for hole in lost)
        return self._struck(*SpoolFile.open(self._path))

    def _written_anew(self, old: SpoolFile) -> SpoolFile:
        lost = write_anew(self._path, old, self._account_groups, self._stamp().wall_ms)
        self._disk = None  # it is closed
        self._unreadable += sum(gone.count for gone in lost)
        return self._open_disk()

    def _account_groups(self, head: Head, lost: Sequence[Lost]) -> list[Group]:
        return build(head, self._accounts(lost, head.spool), "high", self._stamp().wall_ms)

    def _struck(self, disk: SpoolFile, lost: list[Lost]) -> SpoolFile:
        """Records that are not whole give way to their account, at once: a power cut between the two would leave a
        hole that nothing explains. Raises DiskError."""
        if lost:
            count = sum(gone.count for gone in lost)
            READINGS_LOST.log(readings=count)
            accounts = self._account_groups(disk.head, lost)
            try:
                disk.write(accounts, {(gone.spool, gone.last_seq) for gone in lost})
            except BaseException as error:
                disk.close()
                if is_damage(error):
                    raise SpoolDamaged(describe(error)) from None
                raise
            self._unreadable += count
        return disk
