"""A disk that fails, fills up, turns read-only or is pulled out: measuring goes on, says so, resumes alone (P2).

Syscalls are made to fail by strace, at each point of a spool's life in turn, and by a file system of our own that drops
what it could not sync, as the kernel does; the real agent then meets a real file system that is full or gone.
"""

from __future__ import annotations

import fcntl
import functools
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent import wire
from agent.spool.queue import Spool
from collector.store import Store
from tests.faults import master, rig
from tests.faults.disks.disk_work import Said, found
from tests.faults.disks.dropping_disk import DroppingDisk
from tests.faults.power.power import needed, run, shared_folder
from tests.faults.power.spool_work import STAMP, T0, broken_chains, everything, unexplained
from tests.helpers.processes import child

COMMITS = 40
FAULTS = {
    "a sync fails": ("fsync,fdatasync", "EIO"),
    "a write fails": ("pwrite64", "EIO"),
    "the disk is full": ("pwrite64,fallocate", "ENOSPC"),
    "the file system turned read-only": ("pwrite64,fsync,fdatasync", "EROFS"),
}
EACH = [
    pytest.param("a sync fails", marks=pytest.mark.row(12)),
    pytest.param("a write fails", marks=pytest.mark.row(12)),
    pytest.param("the disk is full", marks=pytest.mark.row(11)),
    pytest.param("the file system turned read-only", marks=pytest.mark.row(13)),
]
EXT4_SHUTDOWN = 0x8004587D  # linux/fs/ext4: EXT4_IOC_SHUTDOWN
WITHOUT_A_LAST_SYNC = 2
CUT_EVERY = 11
DISK_BYTES = 12 << 20


@pytest.fixture
def strace() -> str:
    tool = shutil.which("strace")
    if tool is None:
        if os.environ.get("CI"):
            pytest.fail("strace is not installed; see tests/packages.txt")
        pytest.skip("strace is not installed (Debian: apt install strace)")
    return tool


def suffer(folder: Path, strace: str, inject: str, source: Path = rig.ROOT) -> tuple[Said, Counter[str]]:
    """One life of a spool with a fault; its promises, and what the spool holds once the disk is sound again."""
    folder.mkdir()
    calls = inject.partition(":")[0]
    argv = [strace, "-f", "-qq", "-o", folder / "trace", "-e", f"trace={calls}", "-e", f"inject={inject}"]
    argv += [sys.executable, "-m", "tests.faults.disks.disk_work", folder / "spool.db", COMMITS]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(rig.ROOT)])}
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, check=False, cwd=source, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    account = Said.of(done.stdout)
    assert len(account.durable) + len(account.volatile) == COMMITS, "it has stopped measuring"
    return account, found(folder / "spool.db", account)


def calls_in_a_life(folder: Path, strace: str, calls: str) -> int:
    folder.mkdir()
    argv = [strace, "-f", "-qq", "-o", folder / "trace", "-e", f"trace={calls}"]
    argv += [sys.executable, "-m", "tests.faults.disks.disk_work", folder / "spool.db", str(COMMITS)]
    subprocess.run([str(word) for word in argv], check=True, capture_output=True, cwd=rig.ROOT)
    return len(re.findall(r"\w+\(\d+", (folder / "trace").read_text()))


def points(seed: int, count: int, torture: bool) -> list[int]:
    """Every call of a life, or two of those after which something follows."""
    if torture:
        return list(range(1, count + 1))
    return sorted(random.Random(seed).sample(range(1, count * 3 // 4), 2))


@pytest.mark.parametrize("fault", EACH)
def test_a_fault_that_passes_loses_nothing_and_is_over_by_the_next_reading(
    fault: str, seed: int, torture: bool, tmp_path: Path, strace: str
) -> None:
    calls, error = FAULTS[fault]
    figures: Counter[str] = Counter()
    for at in points(seed, calls_in_a_life(tmp_path / "sound", strace, calls), torture):
        account, held = suffer(tmp_path / f"at{at}", strace, f"{calls}:error={error}:when={at}")
        figures += held + Counter(lives=1, volatile_readings=len(account.volatile))
        assert len(account.volatile) <= 2, f"the fault was at call {at} alone"
    print(fault, dict(figures))
    assert [figures[word] for word in ("lost", "lost_in_memory", "doubled", "broken_chains", "volatile")] == [0] * 5


@pytest.mark.row(13)
def test_a_second_fault_while_the_first_is_mended_takes_back_no_promise(tmp_path: Path, strace: str) -> None:
    """A write fails, the file is rebuilt, and then the last sync of the rebuilt one fails too."""
    calls, error = FAULTS["the file system turned read-only"]  # strace counts each kind of call by itself
    figures: Counter[str] = Counter()
    for at in range(43, 48):
        account, held = suffer(tmp_path / f"at{at}", strace, f"{calls}:error={error}:when={at}")
        figures += held + Counter(volatile_readings=len(account.volatile))
    assert figures["volatile_readings"] > 0
    assert [figures[word] for word in ("lost", "lost_in_memory", "doubled", "broken_chains", "volatile")] == [0] * 5


@pytest.mark.parametrize("fault", EACH)
def test_a_fault_that_stays_takes_back_no_promise(
    fault: str, seed: int, torture: bool, tmp_path: Path, strace: str
) -> None:
    calls, error = FAULTS[fault]
    figures: Counter[str] = Counter()
    for at in points(seed, calls_in_a_life(tmp_path / "sound", strace, calls), torture):
        account, held = suffer(tmp_path / f"at{at}", strace, f"{calls}:error={error}:when={at}+")
        figures += held + Counter(lives=1, volatile_readings=len(account.volatile))
    print(fault, dict(figures))
    assert [figures[word] for word in ("lost", "doubled", "broken_chains", "volatile")] == [0] * 4
    assert figures["volatile_readings"] > 0


SAYS_DURABLE = [("agent/spool/queue.py", "durable=file is self._disk)", "durable=True)")]
STAYS_AWAY = [
    (
        "agent/spool/queue.py",
        "            if self._ram is not None:\n                self._return_to_disk()\n            try:",
        "            try:",
    )
]


@pytest.mark.control("what is in memory is called durable", row=13)
def test_a_spool_that_calls_memory_durable_is_seen(seed: int, tmp_path: Path, strace: str) -> None:
    at = points(seed, 20, torture=False)[0]
    source = rig.plant(tmp_path, SAYS_DURABLE)
    _, held = suffer(tmp_path / "life", strace, f"fsync,fdatasync:error=EIO:when={at}+", source)
    assert held["lost"] > 0


@pytest.mark.control("the spool stays in memory when there is room again", row=11)
def test_a_spool_that_does_not_come_back_to_its_disk_is_seen(tmp_path: Path, strace: str) -> None:
    source = rig.plant(tmp_path, STAYS_AWAY)
    account, _ = suffer(tmp_path / "life", strace, "pwrite64:error=ENOSPC:when=25", source)
    assert len(account.volatile) > 2


# ---------------------------------------------------------------- a kernel that drops what it could not sync


def suffer_drops(folder: Path, *fails: int, evicts: bool, source: Path = rig.ROOT) -> Counter[str]:
    """What cuts of the power leave in and after a life in which these of its syncs fail."""
    folder.mkdir()
    disk, text, cuts = DroppingDisk(fails, evicts=evicts), "", []
    with disk.mounted(folder / "disk"):
        argv = [sys.executable, "-m", "tests.faults.disks.disk_work", str(folder / "disk" / "spool.db"), str(COMMITS)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(rig.ROOT)])}
        with child(argv, stdout=subprocess.PIPE, text=True, cwd=source, env=environment) as life:
            assert life.stdout is not None
            for number, line in enumerate(life.stdout):
                text += line
                if number % CUT_EVERY == 0:
                    cuts.append((Said.of(text), disk.after_a_cut()))
        assert life.returncode == 0
    account = Said.of(text)
    figures = Counter(lives=1, volatile_readings=len(account.volatile))
    for number, (by_then, files) in enumerate([*cuts, (account, disk.after_a_cut())]):
        place = folder / f"cut{number}"
        place.mkdir()
        for name, content in files.items():
            (place / name).write_bytes(content)
        by_then.forgot = account.forgot  # what it forgot in the instant between is no loss
        figures += found(place / "spool.db", by_then) + Counter(cuts=1)
        if number < len(cuts):
            del figures["lost_in_memory"]  # a cut may take what was called volatile
    return figures


def syncs_that_fail(seed: int, torture: bool) -> list[tuple[int, ...]]:
    """Each one of a life, and each one while the spool mends itself after an earlier one; or two of those."""
    alone = [(at,) for at in range(1, COMMITS + 16)]
    again = [(20, at) for at in range(21, 50)]
    chance = random.Random(seed)
    return [*alone, *again] if torture else [chance.choice(alone), chance.choice(again)]


@pytest.mark.row(12)
@pytest.mark.root
@pytest.mark.parametrize("evicts", [True, False], ids=["dropped at once", "dropped with the power"])
def test_what_a_failed_sync_dropped_is_written_anew_elsewhere(
    evicts: bool, seed: int, torture: bool, tmp_path: Path
) -> None:
    figures: Counter[str] = Counter()
    for number, fails in enumerate(syncs_that_fail(seed, torture)):
        figures += suffer_drops(tmp_path / f"life{number}", *fails, evicts=evicts)
    print(dict(figures))
    assert [figures[word] for word in ("lost", "lost_in_memory", "doubled", "broken_chains", "volatile")] == [0] * 5


LEFT_TO_SQLITE = [("agent/spool/file.py", "            sync_folder(self._unsynced)\n", "")]


@pytest.mark.control("a failed sync of the folder is passed over", row=12)
@pytest.mark.root
def test_a_sync_of_the_folder_that_only_sqlite_makes_is_not_enough(tmp_path: Path) -> None:
    """It passes over the failure, and its log has no name when the power comes back."""
    source, figures = rig.plant(tmp_path, LEFT_TO_SQLITE), Counter[str]()
    for at in (10, 11, 12):  # where the log is made
        figures += suffer_drops(tmp_path / f"life{at}", at, evicts=False, source=source)
    assert figures["lost"] > 0


# ---------------------------------------------------------------- a day without a disk

DAY_MIN, SHORT_MIN = 1_440, 90
RING_BYTES, BYTES_A_MINUTE = 4 << 20, 730


def minute(number: int) -> list[bytes]:
    """What a center of fifty seats and two UPSs says in a minute."""
    chance = random.Random(number)
    at = wire.Stamp(wall_ms=T0 + number * 60_000, mono_ms=number * 60_000, boot="b", clock="synced")
    seats = wire.SeatColumns(
        id=[f"PC-{seat:02}" for seat in range(50)],
        state=["healthy"] * 50,
        why=[""] * 50,
        cpu_pct=[round(chance.uniform(1, 60), 1) for _ in range(50)],
        memory_pct=[round(chance.uniform(30, 70), 1) for _ in range(50)],
    )
    readings: list[wire.Reading] = [
        *(wire.UpsReading(at=at, subject=ups, load_pct=chance.uniform(20, 40)) for ups in ("one", "two")),
        wire.GatewayReading(at=at, cpu_pct=chance.uniform(1, 9), wan_rx_bytes=chance.randrange(10**10)),
        wire.SeatsReading(at=at, known=50, healthy=50, unhealthy=0, missing=0, off=0, seats=seats),
    ]
    return [wire.encode_reading(reading) for reading in readings]


def power_event(number: int) -> bytes:
    return wire.encode_reading(wire.UpsReading(at=STAMP, subject="one", output_state="on_battery", on_battery_s=number))


@contextmanager
def spool_without_a_disk(harm: str, ring_bytes: int) -> Iterator[tuple[Spool, Callable[[], None]]]:
    """A spool with one reading whose file system has turned read-only, or has died; and what makes it whole again."""
    needed("mkfs.ext4", "losetup")
    with shared_folder("nabz-day-") as folder:
        image, disk = folder / "disk.img", folder / "disk"
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        disk.mkdir()
        run("mount", "-o", "loop", image, disk)
        spool = Spool(disk / "spool.db", stamp=lambda: STAMP, ram_bytes=ring_bytes)
        assert spool.append([b'{"kind":"none","x":"before"}'], "low", T0).durable
        if harm == "read-only":
            spool.close()
            run("mount", "-o", "remount,ro", disk)
            spool = Spool(disk / "spool.db", stamp=lambda: STAMP, ram_bytes=ring_bytes)
            heal = functools.partial(run, "mount", "-o", "remount,rw", disk)
        else:
            pull_out(disk)
            heal = functools.partial(put_back, image, disk)
        try:
            yield spool, heal
        finally:
            spool.close()


def spend(spool: Spool, minutes: int) -> set[bytes]:
    """Measures on, in memory; an hour has one power event. Gives those."""
    events = set()
    for number in range(minutes):
        if number % 60 == 5:
            events.add(power_event(number))
            assert not spool.append([power_event(number)], "high", T0 + number * 60_000).durable
        raws = minute(number)
        kept = spool.append(raws, "low", T0 + number * 60_000)
        assert spool.stats().volatile
        assert not kept.durable
        assert list(spool.newest()[-1].raws) == raws, "live readings are not to be had"
    return events


@pytest.mark.row(13)
@pytest.mark.root
@pytest.mark.parametrize("overflows", [False, True], ids=["room for it", "the ring overflows"])
@pytest.mark.parametrize("harm", ["read-only", "dead"])
def test_a_day_without_a_disk_is_measured_on_and_power_events_outlast_the_rest(
    harm: str, overflows: bool, torture: bool
) -> None:
    minutes = DAY_MIN if torture else SHORT_MIN
    ring = wire.MAX_BATCH_BYTES // 2 + minutes * BYTES_A_MINUTE // 2 if overflows else RING_BYTES
    with spool_without_a_disk(harm, ring) as (spool, heal):
        events = spend(spool, minutes)
        used, shed = spool.stats().bytes, spool.stats().shed
        heal()
        assert spool.append(minute(DAY_MIN), "low", T0).durable
        groups = everything(spool)
        print(f"{harm}: {used} bytes in memory, {shed} readings shed, {sum(len(group.raws) for group in groups)} held")
        assert events <= {raw for group in groups for raw in group.raws}
        assert (shed > 0) == overflows
        assert used <= ring
        assert unexplained(groups) == 0
        assert broken_chains(groups) == 0


# ---------------------------------------------------------------- the real agent on a real disk


@contextmanager
def house_on_a_disk() -> Iterator[tuple[rig.House, Path, Path]]:
    """The house, the image of its agent's disk, and where that is mounted."""
    needed("mkfs.ext4", "losetup")
    with shared_folder("nabz-disk-") as folder:
        image, disk = folder / "disk.img", folder / "agent"
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        disk.mkdir()
        run("mount", "-o", "loop", image, disk)
        house = rig.House(folder)
        try:
            house.open()
            yield house, image, disk
        finally:
            house.close()


def is_volatile(house: rig.House) -> bool | None:
    """What the agent's newest gateway reading at the collector says; it came over the wire, so measuring goes on."""
    answer = rig.newest(house, "gateway")
    return None if answer is None else bool(answer.get("spool_volatile"))


def cycles_unsaid(house: rig.House, promises: rig.Heads) -> int:
    """How many cycles passed in memory before one said so: a spool that is not the first was begun there."""
    worst, store = 0, Store.open(house.database)
    with store.read() as conn:
        for spool in list(promises)[1:]:
            copies = master.held_of(conn, spool).copies
            account = [wire.decode_reading(copies[seq][0]) for seq in sorted(copies)]
            gateways = [reading.spool_volatile for reading in account if isinstance(reading, wire.GatewayReading)]
            worst = max(worst, gateways.index(True) if True in gateways else 0)
    store.close()
    return worst


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            os.fsync(filler.fileno())


@pytest.mark.row(11)
@pytest.mark.root
@pytest.mark.slow
def test_an_agent_whose_disk_is_full_goes_on_and_comes_back_when_there_is_room() -> None:
    with house_on_a_disk() as (house, _, disk):
        rig.wait_for(lambda: is_volatile(house) is False, "the first reading on a sound disk")
        fill(disk)
        rig.wait_for(lambda: is_volatile(house) is True, "the word that its disk is of no use")
        (disk / "filler").unlink()
        freed_s = time.monotonic()
        rig.wait_for(lambda: is_volatile(house) is False, "its return to the disk", 60)
        print(f"back {time.monotonic() - freed_s:.1f} s after there was room")
        assert house.processes["agent"].poll() is None
        promises = house.deliver(60)
        agent = rig.account(house, promises)
        print(agent)
        assert cycles_unsaid(house, promises) <= 1
        assert (agent.lost, agent.doubled, agent.unbroken) == (0, 0, True)


@pytest.mark.slow
@pytest.mark.row(13)
@pytest.mark.root
def test_an_agent_whose_card_is_pulled_goes_on_and_uses_the_card_when_it_is_back() -> None:
    with house_on_a_disk() as (house, image, disk):
        rig.wait_for(lambda: is_volatile(house) is False, "the first reading on a sound disk")
        pull_out(disk)
        rig.wait_for(lambda: is_volatile(house) is True, "the word that its disk is gone")
        time.sleep(2)
        put_back(image, disk)
        rig.wait_for(lambda: is_volatile(house) is False, "its return to the card", 60)
        assert house.processes["agent"].poll() is None
        promises = house.deliver(60)
        agent = rig.account(house, promises)
        print(agent)
        assert cycles_unsaid(house, promises) <= 1
        assert (agent.lost, agent.doubled, agent.unbroken) == (0, 0, True)


def put_back(image: Path, disk: Path) -> None:
    """As a device of its own, as the kernel takes the same file for the file system that is gone; and mounted over the
    old one, so that there is no instant in which the folder below is written to."""
    again = image.with_name("again.img")
    shutil.copyfile(image, again)
    run("mount", "-o", "loop", again, disk)


def pull_out(disk: Path) -> None:
    """The file system answers nothing but errors from now on."""
    folder = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, EXT4_SHUTDOWN, struct.pack("I", WITHOUT_A_LAST_SYNC))
    finally:
        os.close(folder)
