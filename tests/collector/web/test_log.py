"""The log as anybody fetches it: heads briefly, tiles for ever, nothing else; and a witness that lives by it."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.__main__ import main
from collector.common.config import ConfigError, WitnessSection
from collector.log import merkle, notes, sequencing, submissions
from collector.log.notes import Checkpoint, NoteKey
from collector.log.sequencing import LogSigner
from collector.run.upkeep.witnesses import Witnesses
from collector.store import Store, schema, upsert
from collector.store.journal import leaves
from tests.helpers.processes import child

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW = 1_795_000_000_000
ORIGIN = "nabz.example/log"


def grow(store: Store, first: int, count: int) -> LogSigner:
    signer = sequencing.begin(store, KEY, ORIGIN, NOW)
    with store.write() as conn:
        for i in range(first, first + count):
            leaves.add(conn, "standard", "", f"n{i}", NOW, id=f"n{i}")
    while sequencing.sequence(store, signer, NOW):
        pass
    return signer


def test_a_head_is_served_briefly_and_tiles_for_ever(served) -> None:  # type: ignore[no-untyped-def]
    with httpx.Client(base_url=served.url) as client:
        get = client.get
        assert get("/log/checkpoint").status_code == 404
        signer = grow(served.store, 0, 300)
        answer = get("/log/checkpoint")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert "max-age=5" in answer.headers["cache-control"]
        _, head = notes.opened(answer.content, signer.public)
        assert head.size >= 300
        tile = get("/log/tile/0/000")
        assert (tile.status_code, len(tile.content)) == (200, 256 * 32)
        assert "immutable" in tile.headers["cache-control"]
        assert get("/log/tile/entries/000").content[2:].startswith(b'{"v":1')
        assert len(get(f"/log/tile/0/001.p/{head.size - 256}").content) == 32 * (head.size - 256)
        for path in ("tile/0/002", "tile/0/1", "tile/9/000", "", "key", "tile/0/001.p/255", "tile/entries/9"):
            assert get(f"/log/{path}").status_code in (307, 404), path


def test_a_witness_cosigns_what_has_grown_and_names_what_was_rewritten(served, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    signer = grow(served.store, 0, 5)
    state, given = tmp_path / "state.json", tmp_path / "head.txt"
    words = ["witness", "--url", f"{served.url}/log", "--key", str(signer.public), "--state", str(state)]
    assert main([*words, "--name", "witness.example", "--output", str(given)]) == 0
    told = capsys.readouterr()
    assert told.out == given.read_text()
    witness = told.err.rpartition(" as ")[2].strip()
    seen = json.loads(state.read_text())["size"]
    grow(served.store, 5, 300)
    data = ["--database", str(served.store.url), "--data", str(tmp_path)]
    assert main(["log", "cosign", str(given), "--key", witness, *data]) == 0
    assert main(words) == 0
    assert json.loads(state.read_text())["size"] == seen + 300
    capsys.readouterr()

    rewrite(served.store)
    before = state.read_text()
    assert main(words) == 1
    assert "Forked" in capsys.readouterr().err
    assert state.read_text() == before


@contextmanager
def listening(folder: Path, key: str) -> Iterator[tuple[str, str]]:
    """A witness in a process of its own: where it listens, and its key."""
    words = ["witness", "--listen", "127.0.0.1:0", "--key", key, "--state", str(folder / "listened.json")]
    program = [sys.executable, "-m", "collector", *words, "--name", "witness.example"]
    with child(program, stderr=subprocess.PIPE, text=True) as process:
        public = address = ""
        for line in process.stderr:
            public = line.rpartition(" as ")[2].strip() if line.startswith("cosigns ") else public
            if match := re.search(r"http://127\.0\.0\.1:[0-9]+", line):
                address = match[0]
                break
        try:
            yield address, public
        finally:
            process.terminate()


def test_a_head_that_is_brought_to_a_witness_is_cosigned_once_it_has_grown(served, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    signer = grow(served.store, 0, 5)
    data = ["--database", str(served.store.url), "--data", str(tmp_path)]
    with listening(tmp_path, str(signer.public)) as (url, witness):
        submit = ["log", "submit", url, "--key", witness, *data]
        assert main(submit) == 0
        first = json.loads((tmp_path / "listened.json").read_text())["size"]
        grow(served.store, 5, 300)
        assert main(submit) == main(submit) == 0
        assert json.loads((tmp_path / "listened.json").read_text())["size"] == first + 300
        with served.store.read() as conn:
            note = sequencing.newest(conn)
        assert note is not None
        assert note.signed_by(NoteKey.parse(witness)) is not None
        with httpx.Client(base_url=url) as client:  # one connection for all
            answer = client.post("/add-checkpoint", content=submissions.submission(0, [], note))
            assert (answer.status_code, answer.text) == (409, f"{first + 300}\n")
            assert answer.headers["content-type"] == "text/x.tlog.size"
            assert client.post("/add-checkpoint", content=b"x" * 70_000).status_code == 413
            assert client.post("/add-checkpoint", content=b"x").status_code == 400
            assert client.get("/add-checkpoint").status_code == 405
            assert client.post("/", content=b"x").status_code == 404
            other = notes.signed(note.text, ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
            assert client.post("/add-checkpoint", content=submissions.submission(0, [], other)).status_code == 403
    capsys.readouterr()
    # by fetching it goes on from the same head, and cosigns with the same key
    words = ["witness", "--url", f"{served.url}/log", "--key", str(signer.public)]
    assert main([*words, "--state", str(tmp_path / "listened.json"), "--name", "witness.example"]) == 0
    assert witness in capsys.readouterr().err
    assert main(submit) == 2


def test_a_log_that_was_rewritten_is_not_cosigned_by_the_witness_it_is_brought_to(
    served,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    signer = grow(served.store, 0, 5)
    data = ["--database", str(served.store.url), "--data", str(tmp_path)]
    with listening(tmp_path, str(signer.public)) as (url, witness):
        submit = ["log", "submit", url, "--key", witness, *data]
        assert main(submit) == 0
        before = (tmp_path / "listened.json").read_text()
        capsys.readouterr()
        grow(served.store, 5, 20)
        rewrite(served.store)
        assert main(submit) == 1
        assert "422" in capsys.readouterr().err
    assert (tmp_path / "listened.json").read_text() == before


def rewrite(store: Store) -> None:
    """What somebody can do who has the database and the log's own key: another leaf, and all that rests on it."""
    with store.write() as conn:
        table = schema.log_leaves
        conn.execute(sa.update(table).where(table.c.number == 2).values(body=b"{}"))
        rows = conn.scalars(sa.select(table.c.body).where(table.c.number.is_not(None)).order_by(table.c.number)).all()
        hashes = [merkle.leaf_hash(bytes(body)) for body in rows]
        cut = {(0, at): hashes[at * 256 : at * 256 + 256] for at in range(-(-len(hashes) // 256))}
        cut |= {(1, 0): [merkle.folded(hashes[:256])]} if len(hashes) >= 256 else {}
        tiles = [{"level": at[0], "tile": at[1], "hashes": b"".join(some)} for at, some in cut.items()]
        upsert(conn, schema.log_tiles, tiles)
        root = merkle.root(len(hashes), merkle.of_leaves(hashes))
        note = notes.signed(Checkpoint(ORIGIN, len(hashes), root).text, ORIGIN, KEY)
        upsert(conn, schema.log_checkpoints, [{"size": len(hashes), "at_ms": NOW, "note": str(note)}])


@pytest.mark.parametrize(
    ("change", "code"),
    [({"--key": "x"}, 1), ({"--url": "file:///etc/passwd"}, 2), ({"--url": "http://127.0.0.1:1/log"}, 2)],
)
def test_a_witness_refuses_what_it_cannot_use(tmp_path: Path, change: dict[str, str], code: int, capsys) -> None:  # type: ignore[no-untyped-def]
    usual = {
        "--url": "http://127.0.0.1:1/log", "--key": str(LogSigner(ORIGIN, KEY).public),
        "--state": str(tmp_path / "state.json"),
    }  # fmt: skip
    assert main(["witness", *(word for pair in (usual | change).items() for word in pair)]) == code
    assert len(capsys.readouterr().err) > 20
    assert not (tmp_path / "state.json").exists()


def test_the_command_shows_proves_and_checks(served, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    data = ["--database", str(served.store.url), "--data", str(tmp_path)]
    assert main(["log", "checkpoint", *data]) == 1
    (tmp_path / "collector.key").write_bytes(bytes(32))
    key = sequencing.log_key(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    signer = sequencing.begin(served.store, key, ORIGIN, NOW)
    with served.store.write() as conn:
        leaves.add(conn, "report", "LHR-1", "2026-11 1", NOW, month="2026-11", revision=1, sha256="0" * 64)
    sequencing.sequence(served.store, signer, NOW)
    capsys.readouterr()
    assert main(["log", "key", *data]) == 0
    assert capsys.readouterr().out.strip() == str(signer.public)
    assert main(["log", "prove", "--center", "LHR-1", "--kind", "report", "--month", "2026-11", *data]) == 0
    assert '\\"revision\\":1' in capsys.readouterr().out
    assert main(["log", "check", *data]) == 0
    with served.store.write() as conn:
        conn.execute(sa.update(schema.log_leaves).where(schema.log_leaves.c.center == "LHR-1").values(body=b"{}"))
    assert main(["log", "check", *data]) == 1
    assert "do not hash to" in capsys.readouterr().err


def test_the_collector_brings_its_heads_to_its_witnesses_itself(served, tmp_path: Path, caplog) -> None:  # type: ignore[no-untyped-def]
    """One that is away, and one whose key is another, keep no head from the third."""
    caplog.set_level(logging.INFO, "collector.run.upkeep.witnesses")
    signer = grow(served.store, 0, 5)
    with listening(tmp_path, str(signer.public)) as (url, key):
        stranger = NoteKey("stranger.example", bytes(32), notes.COSIGNED)
        away = WitnessSection(url="http://127.0.0.1:9", key=str(stranger))
        sections = [away, WitnessSection(url=url, key=str(stranger)), WitnessSection(url=url, key=key)]
        witnesses = Witnesses(served.store, sections)
        witnesses.tick()
        grow(served.store, 5, 20)
        witnesses.tick()
        witnesses.tick()
    with served.store.read() as conn:
        note = sequencing.newest(conn)
    assert note is not None
    assert note.signed_by(NoteKey.parse(key)) is not None
    levels = [record.levelname for record in caplog.records if record.name == "collector.run.upkeep.witnesses"]
    assert levels == ["WARNING", "ERROR", "INFO", "WARNING", "ERROR", "INFO", "WARNING", "ERROR"]
    with pytest.raises(ConfigError, match="id does not fit"):
        Witnesses(served.store, [WitnessSection(url=url, key=re.sub(r"\+[0-9a-f]{8}\+", "+00000000+", key))])
