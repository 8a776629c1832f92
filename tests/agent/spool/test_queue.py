"""The spool: numbers and chains, forgetting, shedding, damage, a disk that fails, and kill -9."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from agent.spool import dropped, tables
from agent.spool.file import SpoolFile
from agent.spool.queue import NOTED_AT_ONCE, Spool
from agent.spool.record import Group, Head, RecordDamaged, build, pack, unpack

T0 = 1_790_000_000_000
MINUTE_MS = 60_000


def stamp() -> wire.Stamp:
    return wire.Stamp(wall_ms=T0, mono_ms=1, boot="1a2b3c4d", clock="synced")


def minute(number: int, chance: random.Random | None = None) -> list[bytes]:
    """What a minute's round says: a link, a UPS, a gateway and a roll call of twenty seats."""
    chance = chance or random.Random(number)

    def about(value: float) -> float:
        return round(chance.gauss(value, value / 10), 3)

    at = wire.Stamp(wall_ms=T0 + number * MINUTE_MS, mono_ms=number * MINUTE_MS + 7, boot="1a2b3c4d", clock="synced")
    hops = [
        wire.Hop(
            role=role, target=target, method="icmp", sent=20, received=20,
            min_ms=about(far), median_ms=about(far), p95_ms=about(far), jitter_ms=about(far / 9),
        )
        for role, target, far in (("lan", "192.168.10.1", 1), ("isp", "10.45.1.1", 7), ("collector", "c.example", 21))
    ]  # fmt: skip
    seats = wire.SeatColumns(
        id=[f"PC-{seat:02}" for seat in range(20)],
        state=["healthy"] * 20,
        why=[""] * 20,
        cpu_pct=[round(chance.uniform(1, 60), 1) for _ in range(20)],
        memory_pct=[round(chance.uniform(30, 70), 1) for _ in range(20)],
    )
    readings: list[wire.Reading] = [
        wire.LinkReading(at=at, subject="wan", rtt_median_ms=about(21), loss_pct=0.0, fault_place="none", hops=hops),
        wire.UpsReading(at=at, subject="ups", output_state="online", load_pct=about(30), input_voltage_v=about(228)),
        wire.GatewayReading(at=at, cpu_pct=about(5), memory_pct=about(33), wan_rx_bytes=chance.randrange(10**10)),
        wire.SeatsReading(at=at, known=20, healthy=20, unhealthy=0, missing=0, off=0, seats=seats),
    ]
    return [wire.encode_reading(reading) for reading in readings]


def opened(path: Path, **options: int) -> Spool:
    return Spool(path, stamp=stamp, **options)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    made = opened(path)
    yield made
    made.close()


def fill(spool: Spool, minutes: int, value: str = "low", first: int = 0) -> None:
    for number in range(first, first + minutes):
        spool.append(minute(number), value, T0 + number * MINUTE_MS)  # type: ignore[arg-type]


def everything(spool: Spool) -> list[Group]:
    """All groups, oldest first, as batches would take them."""
    found: list[Group] = []
    while run := spool.oldest({group.ident for group in found}):
        found += run
    return found


def readings_in(groups: list[Group]) -> dict[tuple[str, int], bytes]:
    return {(group.spool, number): raw for group in groups for number, raw in enumerate(group.raws, group.first_seq)}


def shed_in(groups: list[Group]) -> list[wire.ShedReading]:
    printed = [wire.decode_reading(raw) for group in groups for raw in group.raws if raw.startswith(b"{")]
    return [reading for reading in printed if isinstance(reading, wire.ShedReading)]


# ---------------------------------------------------------------- records


def test_a_record_gives_back_exactly_what_went_in() -> None:
    (group,) = build(Head("ab" * 16), minute(1), "high", T0)
    assert unpack(pack(group)) == group


def test_no_flipped_bit_of_a_record_is_ever_accepted() -> None:
    (group,) = build(Head("ab" * 16), [b"one", b"two"], "low", T0)
    record = pack(group)
    for place in range(len(record) * 8):
        broken = bytearray(record)
        broken[place // 8] ^= 1 << place % 8
        with pytest.raises(RecordDamaged):
            unpack(bytes(broken))


def test_a_large_append_is_cut_into_groups_that_each_fit_a_batch() -> None:
    groups = build(Head("ab" * 16), [b"x" * 20_000] * 7, "low", T0)
    assert [len(group.raws) for group in groups] == [3, 3, 1]
    assert [group.first_seq for group in groups] == [1, 4, 7]
    # Each group's chain begins where the one before it ended.
    assert [group.prev for group in groups] == [wire.GENESIS, groups[0].after, groups[1].after]


@pytest.mark.parametrize("raw", [b"", b"two\nlines", b"x" * wire.MAX_BATCH_BYTES])
def test_a_reading_that_fits_no_batch_is_refused(spool: Spool, raw: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        spool.append([raw], "low", T0)
    assert spool.stats().readings == 0


# ---------------------------------------------------------------- append, read, forget


def test_what_was_appended_is_there_after_a_restart(path: Path, spool: Spool) -> None:
    fill(spool, 5)
    before = everything(spool)
    spool.close()
    again = opened(path)
    assert everything(again) == before
    assert again.stats().readings == 20
    assert again.head() == spool.head()
    again.close()


def test_numbers_go_on_even_when_everything_was_forgotten(path: Path, spool: Spool) -> None:
    fill(spool, 2)
    for group in everything(spool):
        assert spool.forget(group.spool, group.first_seq, group.last_seq, group.after.hex())
    head = spool.head()
    spool.close()
    again = opened(path)
    assert (again.stats().readings, again.head()) == (0, head)
    kept = again.append([b"next"], "low", T0)
    assert (kept.spool, kept.last_seq) == (head.spool, 9)
    assert everything(again)[0].prev == head.chain
    again.close()


def test_a_range_is_forgotten_only_with_the_right_chain(spool: Spool) -> None:
    fill(spool, 3)
    group = everything(spool)[1]
    assert not spool.forget(group.spool, group.first_seq, group.last_seq, "0" * 64)
    assert not spool.forget("f" * 32, group.first_seq, group.last_seq, group.after.hex())
    assert spool.stats().readings == 12
    assert spool.forget(group.spool, group.first_seq, group.last_seq, group.after.hex())
    assert [held.first_seq for held in everything(spool)] == [1, 9]


def test_forgetting_is_durable_with_the_first_commit_after_some_receipts(path: Path, spool: Spool) -> None:
    """Each note costs a page, and what is not noted is sent again, which is a no-op."""
    fill(spool, NOTED_AT_ONCE + 1)
    groups, left = everything(spool), []
    for number, group in enumerate(groups[:-1], len(groups)):
        spool.forget(group.spool, group.first_seq, group.last_seq, group.after.hex())
        fill(spool, 1, first=number)
        copy = path.with_name(f"copy{number}.db")
        snapshot(path, copy)
        after_a_cut = opened(copy)
        left.append(everything(after_a_cut)[0].first_seq)
        after_a_cut.close()
    assert left == [1] * (NOTED_AT_ONCE - 1) + [groups[-1].first_seq]


def test_newest_gives_recent_consecutive_groups_in_order(spool: Spool) -> None:
    fill(spool, 60)
    run = spool.newest(since_ms=T0 + 57 * MINUTE_MS)
    assert [group.first_seq for group in run] == [229, 233, 237]


def test_oldest_fills_a_batch_to_its_limits_and_no_further(spool: Spool) -> None:
    fill(spool, 60)
    run = spool.oldest()
    readings = sum(len(group.raws) for group in run)
    size = sum(group.wire_bytes for group in run)
    assert readings == wire.MAX_BATCH_READINGS or size > wire.MAX_BATCH_BYTES - 6000
    assert size < wire.MAX_BATCH_BYTES
    assert [group.first_seq for group in run] == list(range(1, readings, 4))


def test_a_batch_never_spans_a_gap(spool: Spool) -> None:
    fill(spool, 5)
    middle = everything(spool)[2]
    assert [group.first_seq for group in spool.oldest({middle.ident})] == [1, 5]
    assert [group.first_seq for group in spool.newest({middle.ident})] == [13, 17]


def test_thirty_days_of_a_full_center_fit_in_64_mib(spool: Spool) -> None:
    fill(spool, 1500)
    assert spool.stats().bytes / 1500 * 30 * 1440 < 64 * 2**20


# ---------------------------------------------------------------- full


def test_a_full_spool_sheds_the_oldest_of_least_value_and_accounts_for_every_number(path: Path) -> None:
    spool = opened(path, max_bytes=250_000)
    fill(spool, 20, "high")
    fill(spool, 600, "low", first=20)
    held = everything(spool)
    numbers = {number for _spool, number in readings_in(held)}
    shed_numbers = {number for shed in shed_in(held) for number in range(shed.first_seq, shed.last_seq + 1)}
    assert set(range(1, 81)) <= numbers  # of high value
    assert max(numbers) == spool.head().seq  # the newest
    assert min(shed_numbers) == 81  # the oldest of low value went first
    assert numbers | shed_numbers == set(range(1, spool.head().seq + 1))
    assert not numbers & shed_numbers
    assert all(shed.why == "full" and shed.count == shed.last_seq - shed.first_seq + 1 for shed in shed_in(held))
    assert spool.stats().bytes <= 250_000
    assert spool.stats().shed == len(shed_numbers)
    spool.close()


def test_an_account_that_is_itself_shed_is_given_again(path: Path) -> None:
    spool = opened(path, max_bytes=200_000)
    fill(spool, 900, "high")
    held = everything(spool)
    numbers = {number for _spool, number in readings_in(held)}
    shed_numbers = {number for shed in shed_in(held) for number in range(shed.first_seq, shed.last_seq + 1)}
    assert numbers | shed_numbers == set(range(1, spool.head().seq + 1))
    spool.close()


# ---------------------------------------------------------------- damage


def snapshot(path: Path, copy: Path) -> None:
    """The file and its log as a power cut would leave them now."""
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        copy.with_name(copy.name + suffix).write_bytes(source.read_bytes() if source.exists() else b"")


def test_every_torn_tail_of_the_log_opens_with_a_whole_prefix(path: Path, tmp_path: Path, spool: Spool) -> None:
    fill(spool, 4)
    truth = readings_in(everything(spool))
    snapshot(path, tmp_path / "whole.db")
    whole = (tmp_path / "whole.db-wal").read_bytes()
    chance = random.Random(5)
    for trial in range(60):
        cut = chance.randrange(len(whole))
        tail = chance.choice([b"", bytes(512), b"\xff" * 700])
        copy = tmp_path / f"torn{trial}" / "spool.db"
        copy.parent.mkdir()
        copy.write_bytes((tmp_path / "whole.db").read_bytes())
        copy.with_name("spool.db-wal").write_bytes(whole[:cut] + tail)
        torn = opened(copy)
        found = readings_in([group for group in everything(torn) if not shed_in([group])])
        assert found.items() <= truth.items()
        torn.append([b"life goes on"], "low", T0)
        torn.close()


def test_whichever_byte_is_damaged_it_opens_and_accepts_nothing_false(path: Path, tmp_path: Path, spool: Spool) -> None:
    fill(spool, 40)
    truth = readings_in(everything(spool))
    spool.close()
    whole = path.read_bytes()
    chance = random.Random(11)
    least = len(truth)
    for trial in range(250):
        broken = bytearray(whole)
        # The first trials go through the file's header, the next through the heads of pages: most harm is done there.
        page = chance.randrange(len(whole) // tables.PAGE_BYTES) * tables.PAGE_BYTES
        place = trial if trial < 100 else page + chance.randrange(40 if trial < 200 else tables.PAGE_BYTES)
        if trial % 3:
            broken[place] ^= 1 << chance.randrange(8)
        else:
            broken[place : place + 16] = bytes(len(broken[place : place + 16]))
        copy = tmp_path / f"flip{trial}" / "spool.db"
        copy.parent.mkdir()
        copy.write_bytes(broken)
        again = opened(copy)
        again.append([b"life goes on"], "low", T0)
        assert not again.stats().volatile, f"byte {place}: {again.stats().trouble}"
        held = [group for group in everything(again) if group.raws != (b"life goes on",)]
        found = readings_in([group for group in held if not shed_in([group])])
        assert found.items() <= truth.items(), f"byte {place}"
        least = min(least, len(found))
        shed_numbers = {n for shed in shed_in(everything(again)) for n in range(shed.first_seq, shed.last_seq + 1)}
        missing = {number for _spool, number in truth.keys() - found.keys()}
        # All but what lay at the end of a file that had lost its numbers is accounted for.
        assert missing <= shed_numbers or again.head().spool != spool.head().spool, f"byte {place}"
        again.close()
    assert least >= len(truth) - 3 * 4  # one page's worth of records, at most


def test_a_flipped_record_is_reported_by_number_and_the_others_are_kept(path: Path, spool: Spool) -> None:
    fill(spool, 10)
    truth = readings_in(everything(spool))
    head = spool.head()
    spool.close()
    sql = sqlite3.connect(path)
    key = (1 << tables.SEQ_BITS) | 20
    (record,) = sql.execute("SELECT record FROM groups WHERE key = ?", (key,)).fetchone()
    sql.execute("UPDATE groups SET record = ? WHERE key = ?", (record[:200] + b"\0" + record[201:], key))
    sql.commit()
    sql.close()
    again = opened(path)
    again.append([b"next"], "low", T0)
    held = everything(again)
    (shed,) = shed_in(held)
    assert (shed.why, shed.first_seq, shed.last_seq, shed.subject) == ("unreadable", 17, 20, "")
    assert {number for _spool, number in truth.keys() - readings_in(held).keys()} == {17, 18, 19, 20}
    assert again.head().spool == head.spool  # its numbers could be trusted
    assert again.stats().unreadable == 4
    again.close()


def leaf_of_groups(content: bytes) -> int:
    """Where a page lies that holds several groups (a table's leaf, sqlite.org/fileformat2.html §1.6)."""
    page = tables.PAGE_BYTES
    heads = range(page, len(content), page)
    return next(at for at in heads if content[at] == 0x0D and int.from_bytes(content[at + 3 : at + 5], "big") >= 2)


@pytest.mark.parametrize("harm", ["a row less", "one row twice, another not at all"])
def test_a_row_that_vanishes_without_an_error_is_missed_and_found_again(path: Path, spool: Spool, harm: str) -> None:
    fill(spool, 30)
    truth = readings_in(everything(spool))
    spool.close()
    content = bytearray(path.read_bytes())
    at = leaf_of_groups(content)
    if harm == "a row less":
        content[at + 4] -= 1  # the page's count of cells
    else:
        content[at + 10 : at + 12] = content[at + 8 : at + 10]  # two pointers to one cell
    path.write_bytes(content)
    again = opened(path)
    assert readings_in([group for group in everything(again) if not shed_in([group])]) == truth
    again.close()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [(b"key INTEGER PRIMARY", b"key INTEGER QRIMARY"), (b"epoch INTEGER PRIMARY", b"epoch INTEGER QRIMARY")],
)
def test_a_flipped_bit_in_the_tables_own_text_costs_no_reading(
    path: Path, spool: Spool, right: bytes, wrong: bytes
) -> None:
    """SQLite would go by it: what is no key is empty in every row."""
    fill(spool, 30)
    truth = readings_in(everything(spool))
    spool.close()
    content = path.read_bytes()
    assert content.count(right) == 1
    path.write_bytes(content.replace(right, wrong))
    again = opened(path)
    assert readings_in(everything(again)) == truth
    assert again.append([b"life goes on"], "low", T0).durable
    again.close()


def test_a_flipped_bit_that_makes_the_file_read_only_costs_no_reading(path: Path, spool: Spool) -> None:
    fill(spool, 30)
    truth = readings_in(everything(spool))
    spool.close()
    content = bytearray(path.read_bytes())
    content[18] = 6  # the write version, sqlite.org/fileformat2.html §1.3.3: of a format to come, so only to be read
    path.write_bytes(content)
    again = opened(path)
    assert readings_in(everything(again)) == truth
    assert again.append([b"life goes on"], "low", T0).durable
    again.close()


def test_a_file_of_noise_is_moved_aside_and_never_deleted(path: Path) -> None:
    noise = random.Random(3).randbytes(50_000)
    path.write_bytes(noise)
    spool = opened(path)
    spool.append([b"first"], "low", T0)
    assert spool.stats().readings == 1
    spool.close()
    assert [aside.read_bytes() for aside in path.parent.glob("spool.db.damaged-*")] == [noise]


@pytest.mark.parametrize("harmed", [slice(40, 100), slice(0, 100)], ids=["a table's root", "its whole head"])
def test_a_file_with_the_pages_of_older_agents_is_used_and_salvaged(path: Path, spool: Spool, harmed: slice) -> None:
    fill(spool, 12)
    truth = readings_in(everything(spool))
    spool.close()
    with closing(sqlite3.connect(path)) as sql:
        sql.executescript("PRAGMA journal_mode=DELETE; PRAGMA page_size=2048; VACUUM")
    older = opened(path)
    assert (older.stats().bytes, readings_in(everything(older))) == (path.stat().st_size, truth)
    older.close()
    content = bytearray(path.read_bytes())
    content[harmed] = bytes(len(content[harmed]))
    path.write_bytes(content)
    again = opened(path)
    assert readings_in([group for group in everything(again) if not shed_in([group])]) == truth
    again.close()


@pytest.mark.parametrize("harm", ["the file's first byte", "a page's count"])
def test_a_salvage_cut_short_at_any_step_is_finished_at_the_next_start(
    path: Path, tmp_path: Path, spool: Spool, harm: str
) -> None:
    """Whatever the salvage had renamed when the power went, the next start ends with the same readings."""
    fill(spool, 10)
    spool.append([minute(10)[1]], "low", T0 + 10 * MINUTE_MS)
    spool.close()
    again = opened(path)  # with a new log, which does not hold the page that will be damaged
    again.append([minute(11)[1]], "low", T0 + 11 * MINUTE_MS)  # one that fits into a page that is there already
    truth = readings_in(everything(again))
    image = tmp_path / "image" / path.name  # with its log, as a power cut leaves it
    image.parent.mkdir()
    snapshot(path, image)
    again.close()
    broken = bytearray(image.read_bytes())
    broken[0 if harm == "the file's first byte" else leaf_of_groups(broken) + 4] -= 1
    image.write_bytes(broken)
    assert image.with_name(image.name + "-wal").stat().st_size
    steps = states_of_a_salvage(image, tmp_path)
    assert len(steps) > 5
    for number, files in enumerate(steps):
        folder = tmp_path / f"step{number}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        again = opened(folder / "spool.db")
        found = readings_in([group for group in everything(again) if not shed_in([group])])
        assert found == truth, f"step {number}: {sorted(files)}"
        again.close()


def states_of_a_salvage(image: Path, tmp_path: Path) -> list[dict[str, bytes]]:
    """The folder after each call that changes a name or a file, seen from a child that is stopped there."""
    steps: list[dict[str, bytes]] = []
    for stop_at in range(1, 200):
        folder = tmp_path / f"cut{stop_at}"
        folder.mkdir()
        snapshot(image, folder / image.name)
        script = textwrap.dedent("""
            import os, sys
            from pathlib import Path
            left = int(sys.argv[2])
            def watch(event, args):
                global left
                if event in ("os.rename", "os.remove", "open") and str(sys.argv[1]) in str(args[0]):
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), 9)
            sys.addaudithook(watch)
            from agent import wire
            from agent.spool.queue import NOTED_AT_ONCE, Spool
            at = wire.Stamp(wall_ms=1, mono_ms=1, boot="b", clock="synced")
            Spool(Path(sys.argv[1]) / "spool.db", stamp=lambda: at).close()
        """)
        done = subprocess.run([sys.executable, "-c", script, str(folder), str(stop_at)], check=False, cwd=os.getcwd())
        if done.returncode == 0:
            return steps
        steps.append({item.name: item.read_bytes() for item in folder.iterdir()})
    raise AssertionError("the salvage does not end")


# ---------------------------------------------------------------- a disk that fails


def test_without_a_usable_disk_readings_live_in_memory_and_move_to_the_disk_when_it_comes(tmp_path: Path) -> None:
    place = tmp_path / "mount"
    spool = opened(place / "spool.db")  # the folder is not there: the card was pulled
    assert spool.stats().volatile
    kept = spool.append(minute(1), "low", T0)
    assert not kept.durable
    place.mkdir()
    kept = spool.append(minute(2), "low", T0 + MINUTE_MS)
    assert kept.durable
    assert not spool.stats().volatile
    numbers = readings_in(everything(spool))
    spool.close()
    again = opened(place / "spool.db")
    assert readings_in(everything(again)) == numbers
    # The numbers given in memory are not given again on the disk.
    assert again.append([b"next"], "low", T0).last_seq == 9
    again.close()


def test_a_write_that_fails_keeps_the_reading_in_memory_and_the_old_ones_readable(path: Path) -> None:
    spool = opened(path)
    fill(spool, 3)
    limit_file_size(path.stat().st_size + 1)
    try:
        fill(spool, 40, first=3)
        assert spool.stats().volatile
        assert spool.stats().readings == 43 * 4
        assert len({group.spool for group in everything(spool)}) == 2
    finally:
        limit_file_size(None)
    fill(spool, 1, first=43)
    stats = spool.stats()
    assert not stats.volatile
    assert stats.readings == 44 * 4
    raws = [raw for group in everything(spool) for raw in group.raws]
    assert sorted(raws) == sorted(raw for number in range(44) for raw in minute(number))
    spool.close()


def limit_file_size(limit: int | None) -> None:
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if limit is None else limit, hard))


def test_a_spool_that_moves_to_the_disk_a_second_time_is_held_once(path: Path) -> None:
    """The first time nobody could tell whether it had come through: it had."""
    memory, file = SpoolFile.create(None, [Head("ab" * 16)]), SpoolFile.create(path, [Head("cd" * 16)])
    memory.write(build(memory.head, minute(1), "low", T0))
    file.adopt(memory.head, memory.groups())
    memory.write(build(memory.head, minute(2), "low", T0))
    file.adopt(memory.head, memory.groups())
    assert [group.ident for group in file.groups()] == [group.ident for group in memory.groups()]
    assert (file.readings, file.head) == (memory.readings, memory.head)
    file.close()
    again, lost = SpoolFile.open(path)
    assert (again.readings, again.head, lost) == (memory.readings, memory.head, [])
    again.close()
    memory.close()


def test_memory_is_bounded_too_and_says_what_it_gave_up(tmp_path: Path) -> None:
    spool = opened(tmp_path / "nowhere" / "spool.db", ram_bytes=300_000)
    fill(spool, 600)
    held = everything(spool)
    numbers = {number for _spool, number in readings_in(held)}
    shed_numbers = {number for shed in shed_in(held) for number in range(shed.first_seq, shed.last_seq + 1)}
    assert numbers | shed_numbers == set(range(1, spool.head().seq + 1))
    assert {shed.why for shed in shed_in(held)} == {"disk"}
    spool.close()


def test_a_second_process_does_not_get_at_the_same_file(path: Path, spool: Spool) -> None:
    fill(spool, 1)
    other = opened(path)
    assert other.stats().volatile
    assert "locked" in other.stats().trouble
    other.close()


# ---------------------------------------------------------------- kill -9

PROMISER = """
import sys
from pathlib import Path
from agent import wire
from agent.spool.queue import NOTED_AT_ONCE, Spool
at = wire.Stamp(wall_ms=1, mono_ms=1, boot="b", clock="synced")
spool = Spool(Path(sys.argv[1]), stamp=lambda: at, max_bytes=64 << 20)
first = spool.head().seq
while True:
    number = spool.head().seq + 1
    kept = spool.append([b"%032d" % number] * 3, "low", number)
    print(kept.spool, kept.last_seq, flush=True)
    if number % 7 == 0:
        run = spool.oldest()
        last = run[-1]
        spool.forget(last.spool, run[0].first_seq, last.last_seq, last.after.hex())
        print("forgot", last.spool, last.last_seq, flush=True)
"""


def test_kill_9_at_any_moment_loses_no_promised_reading_and_gives_no_number_twice(path: Path) -> None:
    chance = random.Random(2)
    promised = forgotten = 0
    for _kill in range(12):
        child = subprocess.Popen([sys.executable, "-c", PROMISER, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        printed = child.stdout.readline()  # it has begun
        time.sleep(chance.uniform(0, 0.15))
        child.send_signal(signal.SIGKILL)
        printed += child.stdout.read()
        child.wait()
        child.stdout.close()
        for line in printed[: printed.rfind("\n") + 1].splitlines():  # a last line cut short promises nothing
            words = line.split()
            if words[0] == "forgot":
                forgotten = max(forgotten, int(words[2]))
            else:
                assert int(words[1]) > promised
                promised = int(words[1])
        again = opened(path)
        held = readings_in(everything(again))
        assert set(range(forgotten + 1, promised + 1)) <= {number for _spool, number in held}
        assert all(int(raw) == number - (number - 1) % 3 for (_spool, number), raw in held.items())
        assert again.head().seq - promised in (0, 3)  # at most the commit that was under way
        promised = again.head().seq
        again.close()
    assert promised > 100


def test_sqlite_tells_damage_from_a_full_or_busy_disk_by_its_result_code(tmp_path: Path) -> None:
    def error_of(sql: sqlite3.Connection, statement: str) -> sqlite3.Error:
        with pytest.raises(sqlite3.Error) as caught:
            sql.execute(statement)
        return caught.value

    path = tmp_path / "any.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as sql:
        sql.execute("CREATE TABLE words (word TEXT)")
        no_table = error_of(sql, "SELECT * FROM groups")
        sql.execute("PRAGMA max_page_count=2")
        full = error_of(sql, "INSERT INTO words VALUES (hex(zeroblob(100000)))")
        sql.execute("BEGIN IMMEDIATE")
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
            busy = error_of(other, "BEGIN IMMEDIATE")
    path.write_bytes(b"no database at all, but long enough to be read as the head of one: " * 20)
    with closing(sqlite3.connect(path)) as sql:
        other_file = error_of(sql, "SELECT * FROM words")
    codes = [tables.result_code(error) for error in (no_table, full, busy, other_file)]
    assert codes == [sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOTADB]
    assert [tables.is_damage(error) for error in (no_table, full, busy, other_file)] == [True, False, False, True]
    assert tables.result_code(OSError("No space left on device")) is None


# ---------------------------------------------------------------- receipted readings stay while there is room


def forget_all(spool: Spool) -> list[Group]:
    gone = everything(spool)
    for group in gone:
        assert spool.forget(group.spool, group.first_seq, group.last_seq, group.after.hex())
    return gone


def test_what_was_receipted_waits_again_byte_for_byte_where_the_collector_lacks_it(path: Path, spool: Spool) -> None:
    fill(spool, 10)
    held = forget_all(spool)
    fill(spool, 1, first=10)
    spool.close()
    again = opened(path)
    assert again.waiting() == 4
    assert again.want_again(held[0].spool, [(9, 18)]) == 12  # whole groups: 9 to 12, 13 to 16, 17 to 20
    assert everything(again)[:3] == held[2:5]
    assert again.want_again(held[0].spool, [(9, 18)]) == 0  # they wait already
    assert len(forget_all(again)) == 4
    again.close()


def test_numbers_that_are_gone_are_accounted_for_once(path: Path) -> None:
    spool = opened(path, max_bytes=200_000)
    fill(spool, 100)
    held = forget_all(spool)
    for number in range(100, 400):
        fill(spool, 1, first=number)
        forget_all(spool)
    assert spool.stats().shed == 0  # receipted readings that go are no loss
    first, last = held[0].first_seq, held[1].last_seq
    assert spool.want_again(held[0].spool, [(first, last)]) == 0
    assert spool.want_again(held[0].spool, [(first, last)]) == 0
    (account,) = shed_in(everything(spool))
    assert (account.why, account.first_seq, account.last_seq, account.count) == ("receipted", 1, 8, 8)
    spool.close()


def test_receipted_readings_go_before_any_that_waits(path: Path) -> None:
    spool = opened(path, max_bytes=200_000)
    fill(spool, 200, value="high")
    forget_all(spool)
    fill(spool, 200, value="low", first=200)
    assert (spool.stats().shed, spool.waiting()) == (0, 800)
    assert spool.stats().bytes < 200_000
    spool.close()


def test_seven_days_at_the_usual_rate_fit(path: Path, spool: Spool) -> None:
    """Twelve hours stand for them: a fourteenth of the size."""
    chance = random.Random(7)
    for number in range(0, 720, 60):
        for one in range(number, number + 60):
            spool.append(minute(one, chance), "low", T0 + one * MINUTE_MS)
        forget_all(spool)
    assert spool.stats().bytes * 14 < 64 << 20
    spool.close()
    again = opened(path)
    assert again.waiting() == 0
    assert again.want_again(again.head().spool, [(1, 40)]) == 40
    again.close()


def test_another_epoch_offers_what_is_held_of_the_spools_before(path: Path, spool: Spool) -> None:
    fill(spool, 3)
    forget_all(spool)
    spool.renumber()
    fill(spool, 1, first=3)
    assert spool.learn_epoch("aa") == 0  # the first one known
    fill(spool, 1, first=4)
    spool.close()
    again = opened(path)
    assert again.learn_epoch("aa") == 0
    assert again.learn_epoch("bb") == 12
    again.close()


def test_a_spool_of_an_agent_that_kept_nothing_is_opened_and_keeps_from_then_on(path: Path) -> None:
    old = opened(path)
    fill(old, 2)
    old.close()
    with closing(sqlite3.connect(path)) as sql:
        sql.executescript("DROP TABLE receipted; DROP TABLE collector")
    spool = opened(path)
    assert (spool.waiting(), spool.stats().unreadable) == (8, 0)
    held = forget_all(spool)
    fill(spool, 1, first=2)
    assert spool.want_again(held[0].spool, [(1, 8)]) == 8
    spool.close()


def test_a_flipped_bit_in_what_was_receipted_passes_over_no_reading(path: Path, spool: Spool) -> None:
    fill(spool, 4)
    group = everything(spool)[0]
    spool.forget(group.spool, group.first_seq, group.last_seq, group.after.hex())
    spool.close()
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("UPDATE receipted SET last = last + 4")
        sql.commit()
    again = opened(path)
    assert len(everything(again)) == 4
    again.close()


def test_a_salvaged_spool_sends_nothing_again_that_was_receipted(path: Path, spool: Spool) -> None:
    fill(spool, 6)
    for group in everything(spool)[:4]:
        spool.forget(group.spool, group.first_seq, group.last_seq, group.after.hex())
    spool.close()
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("DELETE FROM groups WHERE key = (SELECT max(key) FROM groups)")
        sql.commit()
    again = opened(path)
    assert [group.first_seq for group in everything(again)][:1] == [17]
    again.close()


def test_an_account_says_when_each_run_of_rounds_was_taken_that_is_held_no_more(path: Path) -> None:
    spool = opened(path, max_bytes=200_000)
    away = {40, 41, 77}  # minutes in which nothing was measured
    for number in (minute for minute in range(400) if minute not in away):
        fill(spool, 1, first=number)
        forget_all(spool)
    spool.close()
    again = opened(path, max_bytes=200_000)
    held = {group.wall_ms for file in again._files() for group in file.every_group()}
    again.want_again(again.head().spool, [(1, again.head().seq)])
    told = [span for account in shed_in(everything(again)) for span in account.spans]
    claimed = {at_ms for first, last in told for at_ms in range(first, last + 1, MINUTE_MS)}
    taken = {T0 + minute * MINUTE_MS for minute in range(400) if minute not in away}
    assert claimed == taken - held
    assert len(told) == 3
    again.close()


def test_a_salvaged_spool_says_when_what_it_dropped_was_taken_and_whose_epoch_it_knew(path: Path) -> None:
    spool = opened(path, max_bytes=200_000)
    for number in range(400):
        fill(spool, 1, first=number)
        forget_all(spool)
    spool.learn_epoch("e1")
    fill(spool, 1, first=400)
    head = spool.head()
    spool.close()
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("DELETE FROM groups WHERE key = (SELECT max(key) FROM groups)")
        sql.commit()
    again = opened(path, max_bytes=200_000)
    assert again.head().spool != head.spool  # it was salvaged
    again.learn_epoch("e2")
    held = {group.wall_ms for file in again._files() for group in file.every_group()}
    told = {span for account in shed_in(everything(again)) for span in account.spans}
    claimed = {at_ms for first, last in told for at_ms in range(first, last + 1, MINUTE_MS)}
    assert claimed - {T0} == {T0 + minute * MINUTE_MS for minute in range(1, 400)} - held  # accounts are dated T0
    assert again.waiting() > 100  # and what it holds of that spool is offered to the database that took its place
    again.close()


def test_a_flipped_bit_in_a_time_claims_no_minute(path: Path) -> None:
    spool = opened(path, max_bytes=200_000)
    for number in range(400):
        fill(spool, 1, first=number)
        forget_all(spool)
    spool.close()
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("UPDATE dropped SET to_ms = to_ms + 3600000").rowcount == 1
        sql.commit()
    again = opened(path, max_bytes=200_000)
    again.want_again(again.head().spool, [(1, 8)])
    (account,) = shed_in(everything(again))
    assert account.spans == []
    again.close()


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([55, 60, 65, 120, 3600])), min_size=1, max_size=300))
def test_accounts_cover_every_number_once_and_have_times_that_fit(groups) -> None:
    runs: list[dropped.DroppedRun] = []
    first, at_ms = 1, T0
    for count, step_s in groups:
        at_ms += step_s * 1000
        runs = dropped.with_group(runs, first, first + count - 1, at_ms)
        first += count
    parts = list(dropped.accounts(runs, 1, first - 1))
    assert [number for low, high, _ in parts for number in range(low, high + 1)] == list(range(1, first))
    assert all(len(spans) <= dropped.MAX_SPANS for _, _, spans in parts)
    assert sum(len(spans) for _, _, spans in parts) == 1 + sum(step_s > 90 for _, step_s in groups[1:])


# ---------------------------------------------------------------- the file is taken away


def taken_away(path: Path, how: str) -> None:
    log = path.with_name(path.name + "-wal")
    if how == "moved":
        path.rename(path.with_name("elsewhere.db"))
    elif how == "replaced":
        path.with_name("other").write_bytes(b"SQLite format 3\0" + bytes(5000))
        path.with_name("other").replace(path)
    else:
        for gone in {"deleted": (path, log), "file deleted": (path,), "log deleted": (log,)}[how]:
            gone.unlink()


@pytest.mark.row(51)
@pytest.mark.parametrize("how", ["moved", "replaced", "deleted", "file deleted", "log deleted"])
def test_a_file_that_is_taken_away_is_written_anew(how: str, path: Path) -> None:
    spool = opened(path)
    for number in range(6):
        spool.append(minute(number), "low", T0 + number)
    first = spool.oldest()[0]
    assert spool.forget(first.spool, first.first_seq, first.last_seq, first.after.hex())
    spool.append(minute(6), "low", T0 + 6)
    before = {group.ident: group.raws for group in everything(spool)}
    taken_away(path, how)
    spool.check_file()
    assert {group.ident: group.raws for group in everything(spool)} == before
    kept = spool.append(minute(7), "low", T0 + 7)
    assert kept.durable
    assert kept.spool != first.spool  # whoever finds the old file must not meet its numbers again
    copy = path.with_name("copy.db")  # as after a kill
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    again = opened(copy)
    assert again.waiting() == spool.waiting() == 4 * 7
    assert again.stats().unreadable == 0
    assert again.want_again(first.spool, [(first.first_seq, first.last_seq)]) == 4  # what was receipted is kept too
    again.close()
    spool.close()


@pytest.mark.row(51)
def test_a_folder_that_is_taken_away_has_readings_kept_in_memory_until_it_is_back(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    spool = opened(folder / "spool.db")
    spool.append(minute(0), "low", T0)
    folder.rename(tmp_path / "elsewhere")
    spool.check_file()
    assert not spool.append(minute(1), "low", T0 + 1).durable
    assert spool.waiting() == 8
    folder.mkdir()
    assert spool.append(minute(2), "low", T0 + 2).durable
    spool.close()
    again = opened(folder / "spool.db")
    held = [raw for group in everything(again) for raw in group.raws]
    assert sorted(held) == sorted(minute(0) + minute(1) + minute(2))
    again.close()


@pytest.mark.row(51)
def test_what_cannot_be_read_any_more_of_a_file_that_was_taken_away_is_accounted_for(path: Path) -> None:
    spool = opened(path)
    for number in range(3):
        spool.append(minute(number), "low", T0 + number)
    assert spool._disk is not None
    middle = spool._disk._sql.execute("SELECT key FROM groups ORDER BY key LIMIT 1 OFFSET 1").fetchone()
    spool._disk._sql.execute("UPDATE groups SET record = zeroblob(400) WHERE key = ?", middle)
    path.unlink()
    spool.check_file()
    assert spool.waiting() == 4 * 2 + 1
    assert spool.stats().unreadable == 4
    account = wire.decode_reading(spool.newest()[-1].raws[-1])
    assert isinstance(account, wire.ShedReading)
    assert (account.why, account.first_seq, account.last_seq) == ("unreadable", 5, 8)
    spool.close()
