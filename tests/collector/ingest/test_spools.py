"""What is lacking of a spool is asked for until it comes or its gateway accounts for it; else it is a finding."""

from __future__ import annotations

import random

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from agent.common.reasons import decode
from collector.common.sequence_ranges import Range, holes, joined
from collector.ingest.spools import UNFILLED_MS, report_holes
from collector.ingest.transaction import Ingest
from collector.store import Store, schema

NOW = 1_795_000_000_000
KEY = Ed25519PrivateKey.generate()


def receipts(store: Store, *messages, now_ms: int = NOW) -> list[wire.Receipt]:
    taken = Ingest(store, KEY, lambda *_: None).take(messages, now_ms)
    return [wire.decode_receipt(wire.unseal(message.payload)[0]) for message in taken.receipts]


def findings(store: Store, now_ms: int) -> list[sa.Row]:
    with store.write() as conn:
        report_holes(conn, now_ms)
    with store.read() as conn:
        return list(conn.execute(sa.select(schema.integrity)))


def shed(mine, first: int, last: int, spool: str = "") -> bytes:
    at = wire.Stamp(wall_ms=NOW, mono_ms=1, boot="b", clock="synced")
    count = last - first + 1
    return wire.encode_reading(
        wire.ShedReading(at=at, subject=spool, first_seq=first, last_seq=last, count=count, why="receipted")
    )


numbers = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=12)


@given(numbers, numbers)
def test_holes_are_the_numbers_neither_held_nor_lost(held, lost) -> None:
    def parts(found):
        return joined([(first, first + more) for first, more in found])

    def numbered(found):
        return {number for first, last in found for number in range(first, last + 1)}

    mine, gone = parts(held), parts(lost)
    every = set(range(1, mine[-1][1] + 1)) if mine else set()
    found = holes([Range(first, last, "", "") for first, last in mine], gone)
    assert numbered(found) == every - numbered(mine) - numbered(gone)
    assert found == sorted(found)


def test_every_receipt_tells_the_epoch_and_exactly_what_is_lacking(either_store: Store, gateway) -> None:
    mine = gateway(either_store)
    batches = [mine.batch([mine.ups() for _ in range(3)]) for _ in range(5)]
    first, second, third, fourth, fifth = batches
    assert [one.lacks for one in receipts(either_store, first)] == [[]]
    assert [one.lacks for one in receipts(either_store, fifth)] == [[(4, 12)]]
    assert [one.lacks for one in receipts(either_store, third)] == [[(10, 12), (4, 6)]]
    (last,) = receipts(either_store, second, fourth)[1:]
    assert (last.lacks, last.epoch) == ([], either_store.epoch)
    assert len(last.epoch) == 32


def test_a_receipt_names_the_newest_holes_and_no_more_than_fit(either_store: Store, gateway) -> None:
    mine = gateway(either_store)
    batches = [mine.batch([mine.ups()]) for _ in range(80)]
    (receipt,) = receipts(either_store, *batches[1::2])[-1:]
    assert receipt.lacks == [(number, number) for number in range(79, 47, -2)]
    assert len(wire.encode(receipt)) <= wire.MAX_SMALL_BYTES


@pytest.mark.parametrize("elsewhere", [False, True], ids=["its own spool", "a spool before"])
def test_what_a_gateway_accounts_for_is_not_asked_for(either_store: Store, gateway, elsewhere: bool) -> None:
    mine = gateway(either_store)
    first, _, third, fourth = (mine.batch([mine.ups() for _ in range(3)]) for _ in range(4))
    (request,) = receipts(either_store, first, third)[1:]
    assert request.lacks == [(4, 6)]
    spool = mine.spool
    if elsewhere:
        mine.spool, mine.next_seq, mine.chain = "ab" * 16, 1, wire.GENESIS
        receipts(either_store, mine.batch([shed(mine, 4, 6, spool)]))
        assert receipts(either_store, fourth)[0].lacks == []
    else:
        assert receipts(either_store, mine.batch([shed(mine, 4, 6)]), fourth)[1].lacks == []
    begun = {"new_spool"} if elsewhere else set()
    assert {found.finding for found in findings(either_store, NOW + 2 * UNFILLED_MS)} == {"lost_by_us", *begun}


def test_a_hole_that_is_not_being_filled_is_a_finding_once_and_within_the_hour(either_store: Store, gateway) -> None:
    mine = gateway(either_store)
    first, second, third = (mine.batch([mine.ups() for _ in range(3)]) for _ in range(3))
    receipts(either_store, first)
    receipts(either_store, third, now_ms=NOW + 60_000)
    for heard_min in range(4, 121, 4):
        at_ms = NOW + heard_min * 60_000
        receipts(either_store, mine.batch([mine.ups()]), now_ms=at_ms)
        if at_ms <= NOW + UNFILLED_MS:
            assert findings(either_store, at_ms) == []
        if heard_min not in (64, 120):
            continue
        (found,) = findings(either_store, at_ms)
        assert (found.finding, found.device) == ("hole", mine.device)
        detail = decode(found.detail)
        assert (detail.params["n"], list(detail.params["numbers"])) == (3, ["4-6"])
        assert (detail.params["begin"], detail.params["end"]) == ("2026-11-18T11:06Z", "2026-11-18T11:07Z")
    receipts(either_store, second)
    with either_store.read() as conn:
        assert conn.scalar(sa.select(schema.spools.c.lacking)) == 0


def test_a_hole_that_is_being_filled_is_no_finding(either_store: Store, gateway) -> None:
    mine = gateway(either_store)
    batches = [mine.batch([mine.ups()]) for _ in range(10)]
    receipts(either_store, batches[0], batches[9])
    for number, batch in enumerate(batches[1:9], 1):
        at_ms = NOW + number * (UNFILLED_MS - 1)
        assert findings(either_store, at_ms) == []
        receipts(either_store, batch, now_ms=at_ms)
    assert findings(either_store, NOW + 20 * UNFILLED_MS) == []


def test_accounts_in_any_number_do_not_grow_what_is_kept_of_a_spool(either_store: Store, gateway) -> None:
    mine, chance = gateway(either_store), random.Random(1)
    for _ in range(25):
        raws = [shed(mine, first, first) for first in (chance.randrange(1, 10**9) for _ in range(100))]
        receipts(either_store, mine.batch(raws))
    with either_store.read() as conn:
        assert len(conn.scalar(sa.select(schema.spools.c.lost))) < 60_000


# ---------------------------------------------------------------- dark gateways, and databases that went back


def test_a_hole_of_a_gateway_that_is_dark_is_no_finding_until_it_was_heard_for_long(
    either_store: Store, gateway
) -> None:
    mine = gateway(either_store)
    first, _, third, *later = (mine.batch([mine.ups()]) for _ in range(20))
    receipts(either_store, first, third)
    minutes = 60_000
    for dark_min in range(1, 600):
        assert findings(either_store, NOW + dark_min * minutes) == []
    back_ms = NOW + 600 * minutes
    for heard_min in range(44):
        if heard_min % 4 == 0:
            receipts(either_store, later.pop(0), now_ms=back_ms + heard_min * minutes)
        assert findings(either_store, back_ms + heard_min * minutes) == []
    receipts(either_store, later.pop(0), now_ms=back_ms + 45 * minutes)
    assert [found.finding for found in findings(either_store, back_ms + 46 * minutes)] == ["hole"]


def proof_of(store: Store, *messages, now_ms: int = NOW) -> str:
    """The last receipt of these, as it was sealed."""
    return Ingest(store, KEY, lambda *_: None).take(messages, now_ms).receipts[-1].payload.decode()


def put_back(store: Store, mine) -> None:
    """As when a file is copied over the database: all of this gateway is as it was before its first batch."""
    with store.write() as conn:
        for table in (schema.evidence, schema.readings["ups"], schema.spools, schema.latest, schema.pulse):
            conn.execute(sa.delete(table).where(table.c.center == mine.center))


def test_a_receipt_of_ours_for_what_is_not_held_begins_an_epoch_once(either_store: Store, gateway) -> None:
    mine = gateway(either_store)
    proof = proof_of(either_store, mine.batch([mine.ups() for _ in range(3)]))
    put_back(either_store, mine)
    later = [mine.batch([mine.ups()], proof=proof) for _ in range(3)]
    receipt, *others = receipts(either_store, *later, now_ms=NOW + 9_000)
    assert receipt.epoch not in ("", either_store.epoch)
    assert {other.epoch for other in others} == {receipt.epoch}
    with either_store.read() as conn:
        (restored,) = conn.execute(sa.select(schema.restores))
        found = [row.finding for row in conn.execute(sa.select(schema.integrity))]
    assert (restored.epoch, restored.from_ms, restored.to_ms) == (receipt.epoch, NOW, NOW + 9_000)
    assert found == ["went_back"]


@pytest.mark.parametrize("forgery", ["held", "other key", "other epoch", "other device", "noise", "a task"])
def test_what_proves_nothing_begins_no_epoch(either_store: Store, gateway, forgery: str) -> None:
    mine, other = gateway(either_store), gateway(either_store, "LHR-2")
    proof = proof_of(either_store, mine.batch([mine.ups()]))
    body, _ = wire.unseal(proof.encode())
    if forgery != "held":
        put_back(either_store, mine)
    if forgery == "other key":
        proof = wire.seal(body, mine.key.sign).decode()
    elif forgery == "other epoch":
        proof = wire.seal(body.replace(either_store.epoch.encode(), b"ab" * 16), KEY.sign).decode()
    elif forgery == "noise":
        proof = "x" + proof[:90]
    elif forgery == "a task":
        proof = wire.seal(b'{"v":1,"device":"g","id":"x","do":"probe","expires_ms":1}', KEY.sign).decode()
    sender = other if forgery == "other device" else mine
    (receipt,) = receipts(either_store, sender.batch([sender.ups()], proof=proof))
    assert receipt.epoch == either_store.epoch


def decide(store: Store, count: int) -> None:
    """So many lines of the journal."""
    with store.write() as conn:
        first = (conn.scalar(sa.select(sa.func.max(schema.journal.c.n))) or 0) + 1
        conn.execute(sa.insert(schema.journal), [{"n": n, "line": "x"} for n in range(first, first + count)])


def test_a_journal_that_is_older_than_gateways_have_heard_is_found_once(either_store: Store, gateway) -> None:
    """Database and journal were put back together, as by an image of the whole disk."""
    mine, other = gateway(either_store), gateway(either_store, "LHR-2")
    decide(either_store, 5)
    proof = proof_of(either_store, mine.batch([mine.ups()]))
    assert wire.decode_receipt(wire.unseal(proof.encode())[0]).decisions == 5
    (told,) = receipts(either_store, mine.batch([mine.ups()], proof=proof))
    assert told.decisions == 5
    with either_store.write() as conn:
        conn.execute(sa.delete(schema.journal).where(schema.journal.c.n > 2))
    stolen = other.batch([other.ups()], proof=proof)
    assert [one.decisions for one in receipts(either_store, stolen)] == [2]  # another gateway's receipt
    assert [one.decisions for one in receipts(either_store, mine.batch([mine.ups()], proof=proof))] == [5]
    assert [one.decisions for one in receipts(either_store, mine.batch([mine.ups()], proof=proof))] == [5]
    decide(either_store, 4)
    assert [one.decisions for one in receipts(either_store, other.batch([other.ups()]))] == [6]
    with either_store.read() as conn:
        (finding,) = conn.execute(sa.select(schema.integrity))
    assert finding.finding == "older_journal"
    assert decode(finding.detail).params == {"device": mine.device, "known": 2, "heard": 5}
