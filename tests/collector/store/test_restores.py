"""A database is restored from an older copy at a random moment, with gateways at work: nothing that one of them still
holds is lost, and the rest is accounted for (design P10)."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.spool.queue import Spool
from collector.store import Store, schema
from collector.store.backup import backup, begin_epoch, restore
from tests.collector.store.sites import MINUTE_MS, T0, Site, enrol, stamp, talk

SHORT_RESTORES, RESTORES = 2, 20
SHORT_MINUTES, MINUTES = 60, 240  # the longest story


def held(store: Store) -> dict[tuple[str, int], bytes]:
    found: dict[tuple[str, int], bytes] = {}
    with store.read() as conn:
        for row in conn.execute(sa.select(schema.evidence)):
            batch = msgspec.json.decode(bytes(row.body), type=wire.Batch)
            found |= {(batch.spool, number): bytes(raw) for number, raw in enumerate(batch.readings, batch.first_seq)}
    return found


def play(store: Store, other: Store, folder: Path, seed: int, max_bytes: int, minutes: int) -> Counter[str]:
    """A copy is made after some minutes and restored after some more. What each gateway took, held here or not."""
    chance = random.Random(seed)
    sites = []
    for number in range(3):
        spool = Spool(folder / f"{number}.db", stamp=stamp, max_bytes=max_bytes)
        sites.append(Site(spool, Ed25519PrivateKey.generate()))
        enrol(store, sites[-1], number)
    moments = sorted(chance.sample(range(5, minutes), 2))
    for minute in range(moments[1]):
        if minute == moments[0]:
            backup(store, folder / "copy")
        for site in sites:
            site.measure(minute, chance)
            if chance.random() < 0.02:
                site.spool.renumber()
        if chance.random() < 0.8:  # or the line is down
            talk(store, sites, T0 + minute * MINUTE_MS)
    store.close()
    restore(other, folder / "copy")
    begin_epoch(other, T0 + moments[1] * MINUTE_MS)
    other.close()
    with closing(Store.open(other.url.render_as_string(hide_password=False))) as restored:
        for minute in range(moments[1], moments[1] + 5):
            for site in sites:
                site.measure(minute, chance)
            talk(restored, sites, T0 + minute * MINUTE_MS, rounds=60)
        here = held(restored)
        with restored.read() as conn:
            (loss,) = conn.execute(sa.select(schema.restores))
            lacking = conn.scalar(sa.select(sa.func.sum(schema.spools.c.lacking)))
    assert (loss.to_ms, loss.from_ms <= T0 + moments[0] * MINUTE_MS) == (T0 + moments[1] * MINUTE_MS, True)
    figures: Counter[str] = Counter(lacking=int(lacking or 0))
    for site in sites:
        assert site.spool.waiting() == 0
        figures["taken"] += len(site.taken)
        figures["lost"] += sum(here.get(key) != raw for key, raw in site.taken.items())
        site.spool.close()
    return figures


def fresh(url: str, folder: Path, name: str) -> Store:
    """Another empty database of the same make, not opened."""
    if url.startswith("sqlite"):
        return Store.attach(f"sqlite:///{folder / name}.db")
    whole = f"{sa.make_url(url).database}_{folder.name}_{name}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(sa.text(f"CREATE DATABASE {whole}"))
    engine.dispose()
    return Store.attach(url.replace(f"/{sa.make_url(url).database}?", f"/{whole}?"))


def one_play(url: str, tmp_path: Path, seed: int, max_bytes: int, minutes: int = MINUTES) -> Counter[str]:
    folder = tmp_path / f"p{seed}"
    folder.mkdir()
    store = Store.open(fresh(url, folder, "before").url.render_as_string(hide_password=False))
    return play(store, fresh(url, folder, "after"), folder, seed, max_bytes, minutes)


@pytest.mark.row(49)
def test_a_restore_loses_nothing_that_a_gateway_still_holds(
    database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    first = request.config.getoption("--fault-seed")
    seed = random.SystemRandom().randrange(2**31) if first is None else int(first)
    is_long = request.config.getoption("--torture")
    for number in range(RESTORES if is_long else SHORT_RESTORES):
        minutes = MINUTES if is_long else SHORT_MINUTES
        figures = one_play(database_url, tmp_path, seed + number, 64 << 20, minutes)
        assert (figures["lost"], figures["lacking"]) == (0, 0), f"replay with --fault-seed {seed + number}: {figures}"


@pytest.mark.row(49)
@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_what_no_gateway_holds_any_more_is_accounted_for(database_url: str, tmp_path: Path) -> None:
    figures = one_play(database_url, tmp_path, 5, 60_000)
    assert figures["lost"] > 0
    assert figures["lacking"] == 0, figures
