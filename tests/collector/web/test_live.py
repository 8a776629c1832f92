"""The stream that keeps pages true: what it says, to whom, and whom it drops."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Collection, Iterator

import httpx
import pytest
import sqlalchemy as sa

from collector.common.scope import EVERYWHERE, Scope
from collector.store import schema
from collector.web import live
from collector.web.live import Follower, Full, Hub
from tests.helpers.waiting import until


def next_news(lines: Iterator[str]) -> dict:
    is_beat = False
    for line in lines:
        if line.startswith("data: ") and not is_beat:
            return json.loads(line[6:])
        is_beat = line == "event: beat"
    raise AssertionError("the stream ended without news")


def test_an_open_page_hears_of_a_center_whose_state_moved(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014"), cast.center_row("LHR-015")])
    with served.client() as client, client.stream("GET", "/api/v1/live") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines).startswith("retry:")
        cast.insert(served.store, schema.pulse, [cast.pulse_row("LHR-014", cast.NOW_MS - 5)])
        served.hub.publish({"LHR-014"})
        news = next_news(lines)
        assert news["heard"] == {"LHR-014": cast.NOW_MS - 5}
        assert "LHR-014" in news["moved"]  # it was not in the register when the server started
        assert news["counts"]["waiting"] == 1
        assert news["counts"]["unknown"] == 1
        with served.store.write() as conn:
            conn.execute(sa.update(schema.pulse).values(heard_ms=cast.NOW_MS))
        served.hub.publish({"LHR-014"})
        assert next_news(lines) == {**news, "heard": {"LHR-014": cast.NOW_MS}, "moved": [], "ranks": []}


def test_what_is_published_in_one_moment_is_told_in_one_event(served, cast) -> None:
    codes = [f"LHR-{n:03}" for n in range(60)]
    cast.insert(served.store, schema.centers, [cast.center_row(code) for code in codes])
    with served.client() as client, client.stream("GET", "/api/v1/live") as stream:
        lines = stream.iter_lines()
        next(lines)
        threads = [threading.Thread(target=served.hub.publish, args=({code},)) for code in codes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        heard: dict[str, object] = {}
        events = 0
        while len(heard) < len(codes):
            heard |= next_news(lines)["heard"]
            events += 1
    assert set(heard) == set(codes)
    assert events <= 3


def test_publishing_costs_nothing_when_nobody_serves_pages() -> None:
    hub = Hub()
    hub.publish({"LHR-014"})
    hub.close()
    hub.close()


def test_two_hundred_pages_hear_the_same_at_once(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row("LHR-014")])

    async def listen(client: httpx.AsyncClient) -> dict:
        async with client.stream("GET", "/api/v1/live") as stream:
            is_beat = False
            async for line in stream.aiter_lines():
                if line.startswith("data: ") and not is_beat:
                    return json.loads(line[6:])
                is_beat = line == "event: beat"
        raise AssertionError("the stream ended")

    async def all_of_them() -> list[dict]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=served.url, cookies=cookies, timeout=60, limits=limits) as client:
            pages = [asyncio.create_task(listen(client)) for _ in range(200)]
            await reach(lambda: served.hub.audience == 200, "every page must be let in")
            served.hub.publish({"LHR-014"})
            return await asyncio.gather(*pages)

    with served.client() as client:
        cookies = dict(client.cookies)
    found = asyncio.run(all_of_them())
    assert len(found) == 200
    assert all(news == found[0] for news in found)
    until = time.monotonic() + 60
    while served.hub.audience and time.monotonic() < until:
        time.sleep(0.02)
    assert served.hub.audience == 0


# ---------------------------------------------------------------- the hub by itself


def say(codes: Collection[str], scopes: Collection[Scope]) -> dict[Scope, bytes]:
    return dict.fromkeys(scopes, ",".join(sorted(codes)).encode())


def news_of(event: bytes) -> str:
    return event.decode().split("data: ")[1].strip()


async def reach(condition, what: str) -> None:
    await until(condition, what)


def test_a_page_that_does_not_keep_up_is_dropped_and_the_others_are_not() -> None:
    async def story() -> None:
        hub = Hub(gather_s=0, backlog=4)
        task = asyncio.create_task(hub.run(say))
        await asyncio.sleep(0)
        slow, quick = hub.subscribe(), hub.subscribe()
        heard: list[bytes] = []

        async def read_along() -> None:
            async for event in hub.stream(quick, dict):
                heard.append(event)

        reader = asyncio.create_task(read_along())
        for n in range(8):
            before = len(heard)
            hub.publish({f"C{n}"})
            await reach(lambda before=before: len(heard) > before, "the quick page must hear every event")
        await reach(lambda: hub.audience == 1, "the slow page must be dropped")
        rest = [event async for event in hub.stream(slow, dict)]
        assert rest == [live.RETRY, live.BEAT % b"{}"]  # its stream ends at once: its browser comes back and asks anew
        assert news_of(heard[-1]) == "C7"
        hub.close()
        await asyncio.wait_for(reader, 60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


def test_a_hub_whose_loop_was_closed_under_it_is_told_in_vain() -> None:
    """Whoever publishes may do so at any moment of the web server's end."""
    hub, loop = Hub(), asyncio.new_event_loop()
    task = loop.create_task(hub.run(say))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    hub.publish({"C1"})
    hub.close()
    with pytest.raises(Full):
        hub.subscribe()
    task.get_coro().close()  # type: ignore[union-attr]
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_a_quiet_stream_beats() -> None:
    async def story() -> None:
        hub, late = Hub(heartbeat_s=0.01), {}
        stream = hub.stream(hub.subscribe(), lambda: late)
        assert await anext(stream) == live.RETRY
        assert await asyncio.wait_for(anext(stream), 60) == live.BEAT % b"{}"
        late["ingest"] = 45.2
        assert await asyncio.wait_for(anext(stream), 60) == live.BEAT % b'{"ingest":45.2}'
        await stream.aclose()
        assert hub.audience == 0

    asyncio.run(story())


def test_a_database_that_is_away_for_a_moment_does_not_end_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        failures = [OSError("away")]

        def describe(codes: Collection[str], scopes: Collection[Scope]) -> dict[Scope, bytes]:
            if failures:
                raise failures.pop()
            return say(codes, scopes)

        hub = Hub(gather_s=0)
        task = asyncio.create_task(hub.run(describe))
        await asyncio.sleep(0)
        client = hub.subscribe()
        hub.publish({"C1"})
        await reach(lambda: not failures, "the first news must be tried")
        hub.publish({"C2"})
        assert news_of(await asyncio.wait_for(client.get(), 60)) == "C2"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
    assert "could not be looked up" in caplog.text


def test_what_happened_between_a_page_and_its_stream_is_told() -> None:
    async def story() -> None:
        hub = Hub(gather_s=0, backlog=4)
        task = asyncio.create_task(hub.run(say))
        await asyncio.sleep(0)
        made = [hub.last_event]
        for n in range(6):
            hub.publish({f"C{n}"})
            await reach(lambda: hub.last_event != made[-1], "an event must be numbered")
            made.append(hub.last_event)

        def told(after: str | None) -> list[str]:
            client = hub.subscribe(after)
            return ["lost" if b"lost" in event else news_of(event) for event in iter_queue(client)]

        assert told(made[6]) == []
        assert told(made[4]) == ["C4", "C5"]
        assert told(made[2]) == ["C2", "C3", "C4", "C5"]
        assert told(made[1]) == ["lost"]  # C1 is no longer held
        assert told("another-run-3") == told("nonsense") == told("") == told(f"{made[0]}x") == ["lost"]
        assert told(None) == []
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


def iter_queue(client: asyncio.Queue[bytes]) -> Iterator[bytes]:
    while not client.empty():
        yield client.get_nowait()


def test_more_pages_than_are_served_are_refused() -> None:
    hub = Hub(most=2)
    hub.subscribe()
    hub.subscribe()
    with pytest.raises(Full):
        hub.subscribe()


def row(n: int, rank: int, province: str = "Punjab") -> dict[str, object]:
    place = {"owner": "", "district": "", "province": province}
    return {"center": f"C{n}", "rank": rank, "criterion": None, "heard_ms": n, **place}


def test_many_changes_are_looked_up_all_at_once() -> None:
    calls: list[object] = []
    rows = [row(n, 1) for n in range(1000)]

    def look(codes: Collection[str] | None) -> list[dict[str, object]]:
        calls.append(None if codes is None else len(codes))
        return rows

    follower = Follower(look)
    follower.start()
    news = json.loads(follower.describe({f"C{n}" for n in range(500)}, [EVERYWHERE])[EVERYWHERE])
    assert calls == [None, None]
    assert len(news["heard"]) == 500
    assert news["moved"] == []


def test_a_center_that_left_the_register_leaves_the_counts() -> None:
    rows = [row(n, 5) for n in range(3)]
    follower = Follower(lambda codes: [row for row in rows if codes is None or row["center"] in codes])
    follower.start()
    rows.pop()
    for _ in range(live.ALL_AFTER):
        news = json.loads(follower.describe({"C0"}, [EVERYWHERE])[EVERYWHERE])
    assert news["counts"]["meets"] == 2


# ---------------------------------------------------------------- scopes


PUNJAB, SINDH = Scope(province=frozenset({"Punjab"})), Scope(province=frozenset({"Sindh"}))


def test_a_scope_hears_of_its_own_centers_and_counts_no_others() -> None:
    rows = [row(0, 5), row(1, 1), row(2, 5, "Sindh")]
    follower = Follower(lambda codes: [item for item in rows if codes is None or item["center"] in codes])
    follower.start()
    rows[2] = row(2, 1, "Sindh")
    texts = follower.describe({"C0", "C2"}, [EVERYWHERE, PUNJAB, SINDH])
    news = {scope: json.loads(text) for scope, text in texts.items()}
    assert (news[EVERYWHERE]["heard"], news[EVERYWHERE]["moved"]) == ({"C0": 0, "C2": 2}, ["C2"])
    assert (news[PUNJAB]["heard"], news[PUNJAB]["moved"], news[PUNJAB]["ranks"]) == ({"C0": 0}, [], [])
    assert (news[SINDH]["heard"], news[SINDH]["moved"], news[SINDH]["ranks"]) == ({"C2": 2}, ["C2"], [1])
    assert follower.moves == 1
    follower.describe({"C0"}, [EVERYWHERE])
    assert follower.moves == 1, "nobody moved"
    assert [sum(item["counts"].values()) for item in news.values()] == [3, 2, 1]


def test_pages_of_two_scopes_hear_each_their_own_and_a_late_scope_asks_anew() -> None:
    def describe(codes: Collection[str], scopes: Collection[Scope]) -> dict[Scope, bytes]:
        return {scope: scope.encode().encode() for scope in scopes}

    async def story() -> None:
        hub = Hub(gather_s=0)
        task = asyncio.create_task(hub.run(describe))
        await asyncio.sleep(0)
        before = hub.last_event
        punjab, everywhere = hub.subscribe(None, PUNJAB), hub.subscribe()
        hub.publish({"C1"})
        assert news_of(await asyncio.wait_for(punjab.get(), 60)) == PUNJAB.encode()
        assert news_of(await asyncio.wait_for(everywhere.get(), 60)) == "{}"
        assert [news_of(event) for event in iter_queue(hub.subscribe(before, PUNJAB))] == [PUNJAB.encode()]
        assert [b"lost" in event for event in iter_queue(hub.subscribe(before, SINDH))] == [True]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


def test_a_stream_ends_when_its_reader_may_read_it_no_more() -> None:
    async def story() -> None:
        hub = Hub(heartbeat_s=0.01)
        valid = [True]
        stream = hub.stream(hub.subscribe(), dict, lambda: valid[0])
        assert await anext(stream) == live.RETRY
        assert b"beat" in await asyncio.wait_for(anext(stream), 60)
        valid[0] = False
        rest = [event async for event in stream]
        assert len(rest) <= 1
        assert hub.audience == 0

    asyncio.run(asyncio.wait_for(story(), 60))
