"""The log as anybody fetches it: heads briefly, tiles for ever, nothing else; and a witness that lives by it."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.__main__ import main
from collector.log import merkle, notes, sequencing
from collector.log.notes import Checkpoint
from collector.log.sequencing import LogSigner
from collector.store import Store, schema, upsert
from collector.store.journal import leaves

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

    with served.store.write() as conn:  # with the database and the log's own key
        table = schema.log_leaves
        conn.execute(sa.update(table).where(table.c.number == 2).values(body=b"{}"))
        rows = conn.scalars(sa.select(table.c.body).order_by(table.c.number)).all()
        hashes = [merkle.leaf_hash(bytes(body)) for body in rows]
        cut = {(0, 0): hashes[:256], (0, 1): hashes[256:], (1, 0): [merkle.folded(hashes[:256])]}
        tiles = [{"level": at[0], "tile": at[1], "hashes": b"".join(some)} for at, some in cut.items()]
        upsert(conn, schema.log_tiles, tiles)
        root = merkle.root(len(hashes), merkle.of_leaves(hashes))
        note = notes.signed(Checkpoint(ORIGIN, len(hashes), root).text, ORIGIN, KEY)
        upsert(conn, schema.log_checkpoints, [{"size": len(hashes), "at_ms": NOW, "note": str(note)}])
    before = state.read_text()
    assert main(words) == 1
    assert "Forked" in capsys.readouterr().err
    assert state.read_text() == before


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
