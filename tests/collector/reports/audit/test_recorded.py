"""What people recorded, days that were closed, and the log: whoever changes them in the database is found and named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason
from collector.log import checking, days, merkle, notes, sequencing, tiles
from collector.log.notes import COSIGNED, Checkpoint, Note, NoteError, NoteKey
from collector.log.sequencing import LogSigner
from collector.log.witness import WitnessedHead, refusal
from collector.register import calendar, facts
from collector.reports import schedule
from collector.reports.audit.recorded import RecordedFacts
from collector.standard import Standards
from collector.store import Store, schema, upsert
from collector.store.journal import leaves
from tests.collector.reports.audit.closed_month import CODE, LOG_KEY, ORIGIN, audited, close, logged, played, run
from tests.timelines.plays.order_play import BEGIN, DAY, HOUR, MONTH, REPORTED, STANDARDS, make_play

SIGNER = LogSigner(ORIGIN, LOG_KEY)
MINE = schema.facts.c.center == CODE


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = played(tmp_path_factory.mktemp("audit"), make_play(4), "ready", 4)
    close(path)
    return path


def found(store: Store) -> list[tuple[str, dict[str, object]]]:
    begin = days.begins_ms(BEGIN)
    with store.read() as conn:
        received = days.digests(conn, begin, CODE).get(CODE, days.DayDigest())
        some = RecordedFacts(STANDARDS, SIGNER.public)(conn, CODE, MONTH, 0, {begin: received})
        return [(one.kind, dict(one.reason.params)) for one in some]


def altered(store: Store) -> list[str]:
    with store.read() as conn:
        return [one.code for one in checking.check(conn, SIGNER.public)]


# ---------------------------------------------------------------- twelve kinds and more, the rest in the other files


def test_a_month_and_its_log_are_as_they_were_signed(store: Store) -> None:
    assert audited(store).is_true
    assert found(store) == []
    assert altered(store) == []
    with store.read() as conn:
        kinds = set(conn.scalars(sa.select(schema.log_leaves.c.kind)))
    assert kinds == {"facts", "calendar", "day", "records", "report", "standard"}


def test_an_edited_fact_of_the_register_is_named(store: Store) -> None:
    run(store, sa.update(schema.facts).where(MINE, schema.facts.c.name == "opening").values(value='"Tue 09:00-10:00"'))
    ((kind, params),) = (one for one in found(store) if one[0] != "fact_missing")
    assert (kind, params["name"]) == ("fact_edited", "opening")


def test_a_fact_whose_confirmation_was_made_up_is_named(store: Store) -> None:
    run(store, sa.update(schema.facts).where(MINE, schema.facts.c.name == "tier").values(confirmed_by="Sara"))
    assert [(kind, params["name"]) for kind, params in found(store)] == [("fact_edited", "tier")]


def test_a_fact_that_was_deleted_or_slipped_in_is_named(store: Store) -> None:
    f = schema.facts.c
    with store.read() as conn:
        row = conn.execute(sa.select(schema.facts).where(MINE, f.name == "tier")).mappings().one()
    run(store, sa.delete(schema.facts).where(MINE, f.name == "isp"))
    assert [kind for kind, _ in found(store)] == ["fact_missing"]
    run(store, sa.insert(schema.facts).values({**row, "id": 9_999, "value": '"three"'}))  # type: ignore[dict-item]
    assert sorted(kind for kind, _ in found(store)) == ["fact_edited", "fact_missing"]


def test_facts_that_persons_confirm_and_withdraw_are_as_they_were_recorded(store: Store) -> None:
    with store.write() as conn:
        known = facts.centers_by_code(conn, [CODE])
        how = facts.Recording(from_ms=BEGIN - DAY, now_ms=REPORTED, today_ms=REPORTED, by="Ali", reason="found late")
        facts.record(conn, [facts.FactChange(CODE, "tier", "two")], how, known)
        late = [one for one in facts.facts_of(conn, [CODE])[CODE] if one.state == "waiting"]
        facts.confirm(conn, late, "Sara", REPORTED + 1)
        facts.withdraw(conn, facts.by_ids(conn, [late[0].id]), "Ali", "a mistake", REPORTED + 2)
    assert found(store) == []
    run(store, sa.update(schema.facts).where(schema.facts.c.id == late[0].id).values(withdrawn_ms=None))
    assert [kind for kind, _ in found(store)] == ["fact_edited"]


def test_an_edited_calendar_is_named(store: Store) -> None:
    run(store, sa.update(schema.calendar).values(to_ms=BEGIN + 4 * HOUR))
    ((kind, params),) = found(store)
    assert (kind, params["id"]) == ("calendar_edited", "1")
    run(store, sa.delete(schema.calendar))
    assert [kind for kind, _ in found(store)] == ["calendar_missing"]


def test_a_calendar_that_persons_withdraw_is_as_it_was_recorded(store: Store) -> None:
    with store.write() as conn:
        calendar.withdraw(conn, calendar.by_ids(conn, [1]), "Ali", "no flood", REPORTED, "Sara")
    assert found(store) == []


def test_another_document_under_a_standards_name_is_named(store: Store) -> None:
    other = Standards.of([replace(STANDARDS.versions[0], digest="0" * 64)])
    with store.read() as conn:
        kinds = [
            one.kind
            for one in RecordedFacts(other, SIGNER.public)(conn, CODE, MONTH, 0, {})
            if one.kind != "day_evidence"
        ]
    assert kinds == ["standard_edited"]


def test_a_batch_that_was_deleted_with_every_trace_is_named_by_its_day(store: Store) -> None:
    """Its rows, what was held of its spool, the sheets and the report were all changed alike."""
    e = schema.evidence.c
    with store.read() as conn:
        last = conn.execute(sa.select(schema.evidence).where(e.center == CODE).order_by(e.id.desc()).limit(1)).one()
    run(store, sa.delete(schema.evidence).where(e.id == last.id))
    for table in schema.readings.values():
        with store.write() as conn:
            conn.execute(sa.delete(table).where(table.c.spool == last.spool, table.c.seq >= last.first_seq))
    with store.read() as conn:
        (text,) = conn.scalars(sa.select(schema.spools.c.ranges).where(schema.spools.c.spool == last.spool))
    assert f",{last.last_seq}," in text
    held = text.replace(f",{last.last_seq},", f",{last.first_seq - 1},")
    run(store, sa.update(schema.spools).where(schema.spools.c.spool == last.spool).values(ranges=held))
    ((kind, params),) = found(store)
    assert kind == "day_evidence"
    assert int(str(params["n"])) == int(str(params["stored"])) + 1


def test_a_record_of_a_server_that_was_taken_away_is_named(store: Store) -> None:
    """Whatever rests on it was made to fit: nothing that is left says that there was one."""
    r = schema.records.c
    with store.read() as conn:
        own = sa.select(schema.devices.c.device).where(schema.devices.c.center == CODE)
        test = conn.scalars(sa.select(r.test_id).where(r.device.in_(own)).limit(1)).one()
    run(store, sa.delete(schema.records).where(r.test_id == test))
    ((kind, params),) = found(store)
    assert (kind, params["day"]) == ("record_missing", days.day_name(BEGIN))


def test_a_report_that_was_edited_with_its_digest_or_deleted_is_named(store: Store) -> None:
    r = schema.reports.c
    with store.read() as conn:
        report = schedule.closed_and_anew(conn, CODE, "2026-11", STANDARDS, REPORTED)[0]
    report["ledger"]["up"] += 1
    digest = schedule.sha256_of(report)
    body = schedule.revisions.packed(report)
    run(store, sa.update(schema.reports).where(r.center == CODE).values(body=body, sha256=digest))
    assert [kind for kind, _ in found(store)] == ["report_edited"]
    run(store, sa.delete(schema.reports).where(r.center == CODE))
    assert [kind for kind, _ in found(store)] == ["report_missing"]


# ---------------------------------------------------------------- the log itself


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (sa.update(schema.log_leaves).where(schema.log_leaves.c.number == 3).values(body=b"{}"), "log.leaf"),
        (sa.delete(schema.log_leaves).where(schema.log_leaves.c.number == 3), "log.gone"),
        (sa.update(schema.log_tiles).where(schema.log_tiles.c.level == 0).values(hashes=bytes(32 * 256)), "log.root"),
        (sa.update(schema.log_checkpoints).values(note=str(notes.signed(Checkpoint(ORIGIN, 1, bytes(32)).text, ORIGIN,
         sequencing.log_key(LOG_KEY)))), "log.signature"),
    ],
)  # fmt: skip
def test_a_log_that_was_altered_is_named(store: Store, change: sa.Executable, code: str) -> None:
    run(store, change)
    assert code in altered(store)


def rewritten(store: Store) -> None:
    """By somebody with write access to the database and the log's own key: another first leaf, and all hashes and heads
    that follow from it."""
    run(store, sa.update(schema.log_leaves).where(schema.log_leaves.c.number == 0).values(body=b'{"v":1}'))
    with store.write() as conn:
        size = sequencing.size_of(conn)
        rows = conn.scalars(sa.select(schema.log_leaves.c.body).order_by(schema.log_leaves.c.number)).all()
        hashes = [merkle.leaf_hash(bytes(body)) for body in rows]
        upsert(conn, schema.log_tiles, [{"level": 0, "tile": 0, "hashes": b"".join(hashes)}])
        conn.execute(sa.delete(schema.log_checkpoints))
        sequencing._sign(conn, SIGNER, size, REPORTED)


def witnessed(store: Store) -> WitnessedHead:
    with store.read() as conn:
        head = Checkpoint.parse(sequencing.newest(conn).text)  # type: ignore[union-attr]
    return WitnessedHead(head.size, head.root)


def shown(store: Store, known: WitnessedHead | None) -> Reason | None:
    """What a witness makes of the log as it is served."""
    with store.read() as conn:
        head = Checkpoint.parse(sequencing.newest(conn).text)  # type: ignore[union-attr]

        def fetch(path: tiles.TilePath) -> bytes:
            body = sequencing.served(conn, path)
            assert body is not None, path
            return body

        return refusal(known, head, fetch)


def test_a_rewriting_by_whoever_has_database_and_key_is_found_by_a_witness_outside(store: Store) -> None:
    known = witnessed(store)
    assert shown(store, None) is None
    assert shown(store, known) is None
    rewritten(store)
    assert altered(store) == []  # inside nothing shows
    why = shown(store, known)
    assert why is not None
    assert why.code == "log.fork"
    with store.write() as conn:
        users_leaf(conn)
    logged(store, REPORTED + 2 * HOUR)
    assert shown(store, known).code == "log.fork"  # type: ignore[union-attr]


def users_leaf(conn: sa.Connection) -> None:
    leaves.add(conn, "standard", "", "another", REPORTED, id="another", sha256="0" * 64)


def test_a_superseded_revision_that_is_shown_as_the_newest_is_named(store: Store) -> None:
    r = schema.reports.c
    with store.read() as conn:
        first = conn.execute(sa.select(schema.reports).where(r.center == CODE, r.revision == 1)).mappings().one()
    run(store, sa.insert(schema.reports).values({**first, "revision": 2}))
    found = audited(store).found
    assert found.first is not None
    assert (found.first.kind, dict(found.first.reason.params)) == ("report_edited", {"revision": 2})


def test_a_log_whose_clock_is_set_back_goes_on_and_its_heads_hold(store: Store) -> None:
    known = witnessed(store)
    for now_ms in (REPORTED - 400 * DAY, REPORTED + 2 * HOUR, REPORTED - HOUR):
        with store.write() as conn:
            leaves.add(conn, "standard", "", f"n{now_ms}", now_ms, id=f"n{now_ms}", sha256="0" * 64)
        logged(store, now_ms)
        assert altered(store) == []
        assert shown(store, known) is None
        known, before = witnessed(store), known
        assert known.size == before.size + 1


def test_a_log_that_has_only_grown_is_cosigned_and_one_that_went_back_is_not(store: Store) -> None:
    known = witnessed(store)
    with store.write() as conn:
        users_leaf(conn)
    logged(store, REPORTED + 2 * HOUR)
    assert witnessed(store).size == known.size + 1
    assert shown(store, known) is None
    back = shown(store, WitnessedHead(known.size + 5, known.root))
    assert back is not None
    assert (back.code, back.params["n"]) == ("log.rollback", known.size + 5)


def test_a_cosignature_is_kept_with_the_head_it_is_of(store: Store) -> None:
    witness = notes.Ed25519PrivateKey.generate()
    key = NoteKey("witness.example", witness.public_key().public_bytes_raw(), COSIGNED)
    with store.write() as conn:
        note = sequencing.newest(conn)
        assert note is not None
        with pytest.raises(NoteError, match="not cosigned"):
            sequencing.keep_cosignatures(conn, note, key)
        mine = note.with_signatures([notes.cosignature(note.text, key.name, witness, 1_800_000_000)])
        sequencing.keep_cosignatures(conn, mine, key)
        other = notes.signed(Checkpoint(ORIGIN, 1, bytes(32)).text, ORIGIN, LOG_KEY)
        with pytest.raises(NoteError, match="none of this log"):
            sequencing.keep_cosignatures(conn, Note(other.text, mine.signatures), key)
    with store.read() as conn:
        held = sequencing.newest(conn, cosigned=True)
    assert held is not None
    assert held.signed_by(key) is not None
    assert held.signed_by(SIGNER.public) is not None


def test_a_restored_database_goes_on_under_a_name_of_its_own(store: Store) -> None:
    store.epoch = "0123456789abcdef"
    signer = sequencing.begin(store, LOG_KEY, ORIGIN, REPORTED)
    assert signer.origin == f"{ORIGIN}/restored-01234567"
    assert sequencing.begin(store, LOG_KEY, "elsewhere", REPORTED) == signer
    with store.read() as conn:
        assert [one.code for one in checking.check(conn, signer.public)] == []


def test_a_new_row_and_the_same_read_again_have_one_digest(store: Store) -> None:
    """Else each would be found edited; on the other database, too, where types come back otherwise."""
    with store.read() as conn:
        marks = [mark for _, some in sequencing.marks_of(conn, "facts") for mark in some]
        rows = conn.execute(sa.select(schema.facts)).mappings().all()
    assert sorted(marks) == sorted(leaves.mark_of("facts", dict(row)) for row in rows)


def test_a_log_of_many_leaves_grows_in_parts_as_it_would_at_once(store: Store) -> None:
    with store.write() as conn:
        for i in range(600):
            leaves.add(conn, "standard", "", f"n{i}", REPORTED, id=f"n{i}")
    size = witnessed(store).size
    while sequencing.sequence(store, SIGNER, REPORTED, most=97):
        pass
    with store.read() as conn:
        head = Checkpoint.parse(sequencing.newest(conn).text)  # type: ignore[union-attr]
        rows = conn.scalars(sa.select(schema.log_leaves.c.body).order_by(schema.log_leaves.c.number)).all()
        tree = merkle.of_leaves([merkle.leaf_hash(bytes(body)) for body in rows])
        assert (head.size, head.root) == (size + 600, merkle.root(size + 600, tree))
        proof = sequencing.proven(conn, 5, head)
        assert merkle.includes(merkle.leaf_hash(bytes(rows[5])), 5, head.size, proof, head.root)
        assert sequencing.served(conn, tiles.TilePath(1, 0, 2)) is not None
        assert sequencing.served(conn, tiles.TilePath(1, 0, 3)) is None
        assert tiles.unbundled(sequencing.served(conn, tiles.TilePath(None, 0)) or b"") == [
            bytes(b) for b in rows[:256]
        ]
    assert altered(store) == []
