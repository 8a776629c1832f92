"""The uplink over a real broker, and its one decision as a pure function."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from agent import wire
from agent.identity import Identity, verify
from agent.spool.queue import Spool
from agent.spool.record import Group, Head, build
from agent.uplink import window
from agent.uplink.session import Uplink
from agent.uplink.trust import TrustedClock
from agent.uplink.window import FIRST_RECEIPT_S, PACED_S, PACED_WINDOW, WINDOW, Flow, InFlight, Send, Wait, next_step
from tests.helpers.waiting import until

T0 = 1_790_000_000_000


def stamp() -> wire.Stamp:
    return wire.Stamp(wall_ms=time.time_ns() // 1_000_000, mono_ms=1, boot="1a2b3c4d", clock="synced")


def reading(cpu: float) -> bytes:
    return wire.encode_reading(wire.GatewayReading(at=stamp(), cpu_pct=cpu))


@pytest.fixture
def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = Spool(tmp_path / "spool.db", stamp=stamp)
    yield opened
    opened.close()


@asynccontextmanager
async def running(
    mine: Identity, spool: Spool, tasks: list[wire.Task] | None = None, trusted: TrustedClock | None = None
) -> AsyncIterator[Uplink]:
    taken: list[wire.Task] = [] if tasks is None else tasks
    link = Uplink(mine, spool, stamp=stamp, on_task=taken.append, chance=lambda: 0.0, receipt_clock=trusted)
    running = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        running.cancel()
        await asyncio.wait([running])


def groups(count: int, spool: str = "a" * 32) -> list[Group]:
    return build(Head(spool), [b"x" * 40_000] * count, "low", T0)


def flight(group: Group, *, live: bool = False, sent_s: float = 0.0, tries: int = 0) -> InFlight:
    return InFlight(groups=(group,), live=live, sent_s=sent_s, due_s=sent_s + 15, tries=tries)


def flow(window: int = WINDOW, paced_until_s: float = 0.0) -> Flow:
    return Flow(window=window, receipt_s=0.1, paced_until_s=paced_until_s)


# ---------------------------------------------------------------- the decision


def test_live_readings_go_before_the_backlog() -> None:
    old, new = groups(2)
    assert next_step(flow(), [], [new], [old], 0) == Send("live", (new,))


def test_the_backlog_follows_when_nothing_is_live() -> None:
    (old,) = groups(1)
    assert next_step(flow(), [], [], [old], 0) == Send("backlog", (old,))


def test_backlog_never_takes_the_last_place_so_live_readings_are_not_starved() -> None:
    *flying, waiting, new = groups(5)
    flights = [flight(group) for group in flying]
    assert next_step(flow(), flights, [], [waiting], 1) == Wait("window_full", 15.0)
    assert next_step(flow(), flights, [new], [waiting], 1) == Send("live", (new,))


def test_a_full_window_waits_for_the_first_receipt_due() -> None:
    *flying, new = groups(5)
    flights = [flight(group, live=True, sent_s=float(number)) for number, group in enumerate(flying)]
    assert next_step(flow(), flights, [new], [], 5) == Wait("window_full", 15.0)


def test_a_collector_that_asks_for_pace_gets_it_for_backlog_only() -> None:
    old, new = groups(2)
    assert next_step(flow(paced_until_s=9.0), [], [], [old], 1.0) == Wait("paced", 9.0)
    assert next_step(flow(paced_until_s=9.0), [], [new], [old], 1.0) == Send("live", (new,))


def test_a_session_begins_with_one_batch_and_the_live_one_first() -> None:
    old, new = groups(2)
    assert next_step(Flow(), [], [new], [old], 0) == Send("live", (new,))
    assert next_step(Flow(), [flight(new, live=True)], [], [old], 1) == Wait("window_full", 15.0)
    assert next_step(Flow(), [], [], [old], 0) == Send("backlog", (old,))


def test_the_window_grows_with_each_receipt_and_falls_back_when_a_pause_is_asked_for() -> None:
    (group,) = groups(1)
    grown, windows = Flow(), []
    for _ in range(5):
        grown = grown.after(flight(group), 0.0, 1.0)
        windows.append(grown.window)
    assert windows == [2, 3, 4, WINDOW, WINDOW]
    assert grown.after(flight(group), PACED_S / 2, 1.0).window == WINDOW
    assert grown.after(flight(group), PACED_S, 1.0) == Flow(window=PACED_WINDOW, receipt_s=1.0, paced_until_s=2.0)


def test_behind_a_queue_one_batch_of_backlog_is_on_its_way_and_live_ones_go_together() -> None:
    old, waiting, first, second = groups(4)
    paced, flights = flow(PACED_WINDOW), [flight(old)]
    assert next_step(paced, flights, [], [waiting], 1) == Wait("window_full", 15.0)
    assert next_step(paced, flights, [first], [waiting], 1) == Send("live", (first,))
    assert next_step(paced, [*flights, flight(first, live=True)], [second], [], 1) == Wait("window_full", 15.0)


def test_receipts_are_awaited_four_times_what_the_last_one_took() -> None:
    def waits(receipt_s: float | None) -> list[float]:
        return [Flow(receipt_s=receipt_s).wait_s(tries) for tries in (0, 1, 2, 3, 50)]

    assert waits(None) == [FIRST_RECEIPT_S, 60, 120, 120, 120]
    assert waits(0.1) == [15, 30, 60, 120, 120]
    assert waits(10.0) == [40, 80, 120, 120, 120]
    assert waits(500.0) == [120, 120, 120, 120, 120]


def test_a_receipt_of_what_was_sent_again_took_at_least_the_wait_before() -> None:
    """Karn's problem: the answer to the first sending must not pass for a quick one to the second."""
    (group,) = groups(1)
    known = Flow(receipt_s=0.1)
    assert known.after(flight(group, sent_s=100.0, tries=2), 0.0, 100.5).receipt_s == known.wait_s(1) == 30
    assert known.after(flight(group, sent_s=100.0, tries=1), 0.0, 150.0).receipt_s == 50
    assert known.after(None, 0.0, 100.5).receipt_s == known.wait_s(0)


def test_backoff_has_full_jitter_between_a_second_and_five_minutes() -> None:
    assert window.backoff_s(0, 1.0) == 1.0
    assert window.backoff_s(5, 1.0) == 32.0
    assert window.backoff_s(5, 0.5) == 16.0
    assert window.backoff_s(500, 1.0) == 300.0
    assert window.backoff_s(500, 0.0) == 1.0
    assert [window.backoff_s(failures, 1.0, endpoints=3) for failures in (2, 3, 5, 6)] == [1.0, 2.0, 2.0, 4.0]


def test_a_last_gasp_goes_alone_ahead_of_everything_though_the_window_is_full() -> None:
    *flying, gasp, after = groups(6)
    flights = [flight(group, live=True) for group in flying]
    assert next_step(flow(paced_until_s=99.0), flights, [gasp, after], [], 1, [gasp.ident]) == Send(
        "last_gasp", (gasp,)
    )
    assert next_step(flow(), flights, [after], [], 1, [gasp.ident]) == Wait("window_full", 15.0)


# ---------------------------------------------------------------- over a real broker


def test_a_last_gasp_does_not_wait_for_the_pause_between_two_sessions(
    mortal_broker, enrolled_at_mortal_broker, spool
) -> None:
    mine, _collector = enrolled_at_mortal_broker
    mortal_broker.kill()

    async def story() -> None:
        link = Uplink(mine, spool, stamp=stamp, on_task=lambda _task: None, chance=lambda: 1800.0)
        running = asyncio.create_task(link.run())
        await until(lambda: link.view.state == "off" and link.view.detail)  # the next try is an hour away
        await asyncio.to_thread(mortal_broker.start)
        kept = spool.append([reading(9)], "high", T0)
        link.readings_waiting(urgent=(kept.spool, kept.last_seq))
        await until(lambda: link.view.counts["sent"] == 1)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(story())


def test_what_is_receipted_is_forgotten_and_the_rest_is_kept(enrolled, little_collector, spool) -> None:
    async def story() -> None:
        spool.append([reading(1), reading(2)], "low", T0)
        async with running(enrolled, spool) as link:
            await until(lambda: spool.stats().readings == 0)
            assert link.view.state == "connected"
            assert link.view.last_receipt_ms is not None
            spool.append([reading(3)], "high", T0 + 1)
            link.readings_waiting()
            await until(lambda: spool.stats().readings == 0)

    asyncio.run(story())
    assert sorted(number for _spool, number in little_collector.held) == [1, 2, 3]
    assert len(little_collector.batches) == 2
    # The first batch carries the nonce of enrolment, the second the one from the receipt.
    assert [batch.nonce for batch in little_collector.batches] == ["nonce-1", "nonce-2"]
    assert little_collector.batches[1].prev == little_collector.batches[0].last_chain().hex()


def test_a_puback_alone_forgets_nothing(enrolled, little_collector, spool) -> None:
    little_collector.answer = lambda batch: None

    async def story() -> None:
        spool.append([reading(1)], "low", T0)
        async with running(enrolled, spool):
            await until(lambda: bool(little_collector.batches))
            await asyncio.sleep(0.5)

    asyncio.run(story())
    assert spool.stats().readings == 1


def test_how_the_center_stands_is_kept_from_a_receipt_of_ours(enrolled, little_collector, spool) -> None:
    standing = wire.CenterStanding(state="below", criterion="power.backup", missed=2)
    plain, standings = little_collector.answer, iter([standing])

    def answer(batch: wire.Batch) -> wire.Receipt:
        return msgspec.structs.replace(plain(batch), standing=next(standings, None))

    little_collector.answer = answer

    async def story() -> None:
        async with running(enrolled, spool) as link:
            for number in (1, 2):
                spool.append([reading(number)], "high", T0)
                link.readings_waiting()
                await until(lambda: spool.stats().readings == 0)
            assert link.view.standing is not None
            assert link.view.standing[1] == standing, "the second receipt says nothing of it"

    asyncio.run(story())


def test_batches_are_packed_once_a_receipt_of_the_session_says_that_they_are_read(
    enrolled, little_collector, spool
) -> None:
    plain, packing = little_collector.answer, [1, 1, 0, 1]

    def answer(batch: wire.Batch) -> wire.Receipt | None:
        return msgspec.structs.replace(plain(batch), packing=packing.pop(0))

    little_collector.answer = answer

    async def story() -> None:
        for number in range(2):  # sessions
            spool.append([reading(number)], "low", T0 + number)
            async with running(enrolled, spool) as link:
                await until(lambda: spool.stats().readings == 0)
                spool.append([reading(10 + number)], "low", T0 + 10 + number)
                link.readings_waiting()
                await until(lambda: spool.stats().readings == 0)

    asyncio.run(story())
    assert little_collector.packed == [False, True, False, False]


def test_what_got_no_receipt_in_time_is_sent_unpacked(enrolled, little_collector, spool) -> None:
    """An older collector has taken the place of the one that reads packed batches."""
    plain, answers = little_collector.answer, iter([True, False, True])

    def answer(batch: wire.Batch) -> wire.Receipt | None:
        return msgspec.structs.replace(plain(batch), packing=1) if next(answers) else None

    little_collector.answer = answer

    async def story() -> None:
        spool.append([reading(1)], "low", T0)
        clock = [100.0]
        link = Uplink(
            enrolled, spool, stamp=stamp, on_task=lambda task: None, now_s=lambda: clock[0], chance=lambda: 0.0
        )
        task = asyncio.create_task(link.run())
        await until(lambda: spool.stats().readings == 0)
        spool.append([reading(2)], "low", T0 + 1)
        link.readings_waiting()
        await until(lambda: len(little_collector.batches) == 2)
        clock[0] += FIRST_RECEIPT_S + 1
        link.readings_waiting()
        await until(lambda: spool.stats().readings == 0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(story())
    assert little_collector.packed == [False, True, False]


def test_a_batch_without_a_receipt_is_sent_again(enrolled, little_collector, spool) -> None:
    answers = iter([False, True])
    plain = little_collector.answer
    little_collector.answer = lambda batch: plain(batch) if next(answers) else None

    async def story() -> None:
        spool.append([reading(1)], "low", T0)
        clock = [100.0]
        link = Uplink(
            enrolled, spool, stamp=stamp, on_task=lambda task: None, now_s=lambda: clock[0], chance=lambda: 0.0
        )
        task = asyncio.create_task(link.run())
        await until(lambda: len(little_collector.batches) == 1)
        clock[0] += FIRST_RECEIPT_S + 1
        link.readings_waiting()
        await until(lambda: spool.stats().readings == 0)
        assert link.view.counts["overdue"] == 1
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(story())
    first, second = little_collector.batches
    assert first.readings == second.readings


def test_a_receipt_not_sealed_by_the_collector_forgets_nothing(enrolled, little_collector, spool) -> None:
    little_collector.sign = enrolled.sign  # a key, but not the pinned one

    async def story() -> None:
        spool.append([reading(1)], "low", T0)
        async with running(enrolled, spool) as link:
            await until(lambda: link.view.counts["refused"] == 1)

    asyncio.run(story())
    assert spool.stats().readings == 1


def test_a_receipt_with_another_chain_is_a_dispute_and_forgets_nothing(enrolled, little_collector, spool) -> None:
    plain = little_collector.answer
    little_collector.answer = lambda batch: wire.Receipt(**{**fields(plain(batch)), "chain": "0" * 64})

    async def story() -> None:
        spool.append([reading(1)], "low", T0)
        async with running(enrolled, spool) as link:
            await until(lambda: link.view.counts["disputed"] >= 1)

    asyncio.run(story())
    assert spool.stats().readings == 1


def test_readings_set_aside_are_forgotten_and_counted(enrolled, little_collector, spool) -> None:
    plain = little_collector.answer
    aside = {"outcome": "set_aside", "reason": "kind not known"}
    little_collector.answer = lambda batch: wire.Receipt(**{**fields(plain(batch)), **aside})

    async def story() -> None:
        spool.append([reading(1)], "low", T0)
        async with running(enrolled, spool) as link:
            await until(lambda: spool.stats().readings == 0)
            assert link.view.counts["set_aside"] == 1

    asyncio.run(story())


@pytest.mark.row(49)
def test_what_a_restored_collector_lacks_is_sent_again(enrolled, little_collector, spool) -> None:
    plain = little_collector.answer
    epochs = ["aa"]

    def answer(batch: wire.Batch) -> wire.Receipt:
        numbers = {number for held, number in little_collector.held if held == batch.spool}
        missing = sorted(set(range(1, batch.last_seq)) - numbers)
        lacks = [(missing[0], missing[-1])] if missing else []
        return wire.Receipt(**{**fields(plain(batch)), "epoch": epochs[-1], "lacks": lacks})

    little_collector.answer = answer

    async def story() -> None:
        async with running(enrolled, spool) as link:
            for number in range(1, 6):
                spool.append([reading(number)], "low", T0 + number)
                link.readings_waiting()
                await until(lambda: spool.waiting() == 0)
            for number in (3, 4, 5):
                del little_collector.held[spool.head().spool, number]
            epochs.append("bb")
            spool.append([reading(6)], "low", T0 + 6)
            link.readings_waiting()
            await until(lambda: {number for _, number in little_collector.held} == {1, 2, 3, 4, 5, 6})
            await until(lambda: spool.waiting() == 0)

    asyncio.run(story())


@pytest.mark.row(49)
def test_a_collector_that_lacks_what_it_receipted_in_the_same_epoch_is_shown_its_receipt(
    enrolled, little_collector, spool
) -> None:
    plain = little_collector.answer
    epochs, proofs = ["aa"], []

    def answer(batch: wire.Batch) -> wire.Receipt:
        proofs.append(batch.proof)
        if batch.proof:
            epochs.append("bb")
        numbers = {number for held, number in little_collector.held if held == batch.spool}
        missing = sorted(set(range(1, batch.last_seq)) - numbers)
        lacks = [(missing[0], missing[-1])] if missing else []
        return wire.Receipt(**{**fields(plain(batch)), "epoch": epochs[-1], "lacks": lacks})

    little_collector.answer = answer

    async def story() -> None:
        async with running(enrolled, spool) as link:
            for number in range(1, 12):
                if number == 9:
                    little_collector.held.clear()
                spool.append([reading(number)], "low", T0 + number)
                link.readings_waiting()
                await until(lambda: spool.waiting() == 0)

    asyncio.run(story())
    shown = [proof for proof in proofs if proof]
    body, signature = wire.unseal(shown[0].encode())
    assert enrolled.is_collectors(body, signature)
    assert wire.decode_receipt(body).last_seq <= 8
    assert (proofs[:8], proofs[-1]) == ([""] * 8, "")


@pytest.mark.row(27)
@pytest.mark.parametrize("claims", [{"code": "other_history"}, {"reason": "equivocation: other bytes are held of 1"}])
def test_a_restored_image_begins_a_new_spool_once_the_collector_tells_of_another_history(
    enrolled, little_collector, spool, claims: dict[str, str]
) -> None:
    plain = little_collector.answer
    aside = {"outcome": "set_aside", **claims}
    first = spool.head().spool
    little_collector.answer = lambda batch: (
        wire.Receipt(**{**fields(plain(batch)), **aside}) if batch.spool == first else plain(batch)
    )

    async def story() -> None:
        spool.append([reading(1)], "low", T0)
        async with running(enrolled, spool) as link:
            await until(lambda: spool.head().spool != first)
            spool.append([reading(2)], "low", T0)
            link.readings_waiting()
            await until(lambda: spool.stats().readings == 0)

    asyncio.run(story())
    (_old, _number), (new, number) = little_collector.held
    assert (new, number) == (spool.head().spool, 1)


def test_the_newest_reading_arrives_before_an_old_backlog(enrolled, little_collector, spool) -> None:
    for minute in range(1000):
        spool.append([reading(minute)], "low", T0 + minute * 60_000)

    async def story() -> None:
        async with running(enrolled, spool):
            await until(lambda: spool.stats().readings == 0)

    asyncio.run(story())
    assert little_collector.batches[0].last_seq == 1000
    assert little_collector.batches[0].live
    assert little_collector.batches[1].first_seq == 1
    assert sorted(number for _spool, number in little_collector.held) == list(range(1, 1001))
    assert max(len(batch.readings) for batch in little_collector.batches) == wire.MAX_BATCH_READINGS


def test_a_broker_that_was_away_gets_what_was_measured_meanwhile(
    enrolled_at_mortal_broker, mortal_broker, spool
) -> None:
    mine, collector = enrolled_at_mortal_broker

    async def story() -> None:
        async with running(mine, spool) as link:
            await until(lambda: link.view.state == "connected")
            await asyncio.to_thread(mortal_broker.kill)
            await until(lambda: link.view.state != "connected")
            spool.append([reading(1)], "low", T0)
            link.readings_waiting()
            await asyncio.to_thread(mortal_broker.start)
            await until(lambda: spool.stats().readings == 0)

    asyncio.run(story())
    assert sorted(number for _spool, number in collector.held) == [1]


@pytest.mark.parametrize("wall_ms", [0, 2_100_000_000_000], ids=["1970", "2036"])
def test_a_task_is_taken_once_and_only_in_time_whatever_this_clock_says(
    enrolled, little_collector, spool, wall_ms: int
) -> None:
    def task(name: str, expires_ms: int) -> bytes:
        return wire.encode(
            wire.Task(v=wire.VERSION, device=enrolled.device, id=name, do="speed", expires_ms=expires_ms)
        )

    taken: list[wire.Task] = []
    soon_ms, over_ms = stamp().wall_ms + 60_000, stamp().wall_ms - 1000
    bodies = [task("one", soon_ms), task("one", soon_ms), task("late", over_ms), task("two", soon_ms)]

    async def story() -> None:
        async with running(enrolled, spool, taken, TrustedClock(wall=lambda: wall_ms)) as link:
            await until(lambda: link.view.state == "connected")
            little_collector.tell(wire.task_topic(enrolled.device), task("unknown", soon_ms))
            await until(lambda: link.view.counts["refused"] == 1)  # it is said again, and the time is known by then
            spool.append([reading(1)], "low", T0)
            link.readings_waiting()
            await until(lambda: link.view.counts["receipted"] == 1)
            for body in bodies:
                little_collector.tell(wire.task_topic(enrolled.device), body)
            await until(lambda: link.view.counts["refused"] == 3 and len(taken) == 2)

    asyncio.run(story())
    assert [task.id for task in taken] == ["one", "two"]


def test_an_ask_goes_out_sealed_with_the_newest_nonce_and_without_a_session_it_is_lost(
    enrolled, little_collector, spool
) -> None:
    def ask(name: str) -> wire.Ask:
        return wire.Ask(v=1, device=enrolled.device, id=name, want="speed", purpose="routine", expires_ms=T0)

    async def story() -> None:
        async with running(enrolled, spool) as link:
            link.send_ask(ask("too soon"))
            spool.append([reading(1)], "low", T0)
            link.readings_waiting()
            await until(lambda: spool.stats().readings == 0)  # the receipt brought another nonce
            link.send_ask(ask("one"))
            await until(lambda: len(little_collector.asks) == 1)

    asyncio.run(story())
    ((body, signature),) = little_collector.asks
    assert wire.decode_ask(body) == msgspec.structs.replace(ask("one"), nonce="nonce-2")
    assert verify(enrolled.key.public_key().public_bytes_raw(), body, signature)


def test_presence_says_online_and_on_a_stop_offline(enrolled, little_collector, spool) -> None:
    async def story() -> None:
        async with running(enrolled, spool):
            await until(lambda: states() == ["online"])
        await until(lambda: states() == ["online", "offline"])

    def states() -> list[str]:
        return [presence.state for presence in little_collector.presence if presence.device == enrolled.device]

    asyncio.run(story())


def fields(receipt: wire.Receipt | None) -> dict[str, object]:
    assert receipt is not None
    return {name: getattr(receipt, name) for name in receipt.__struct_fields__}
