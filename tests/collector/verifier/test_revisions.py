"""Who leaves the leaf of a later revision out of a bundle is found by the log, wherever a copy of it lies."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from collector.log import sequencing, tiles
from collector.log.notes import Checkpoint
from collector.log.sequencing import LogSigner
from collector.log.tiles import WIDTH, TilePath
from collector.reports.audit import bundle
from collector.standard import documents
from collector.store import Store
from collector.store.journal import leaves
from collector.verifier.__main__ import log_at, main
from collector.verifier.check import Outcome, check
from tests.collector.reports.audit.closed_month import CODE, LOG_KEY, NAME, ORIGIN, close, played
from tests.timelines.plays.order_play import REPORTED, STANDARDS, make_play

SIGNER = LogSigner(ORIGIN, LOG_KEY)
KEY = SIGNER.public


class LoggedMonth:
    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, played(folder, make_play(4), "ready", 4)
        close(self.path)
        self.store = Store.open(f"sqlite:///{self.path}")
        with self.store.read() as conn:
            bundle.write(conn, folder / "b.zip", CODE, NAME, STANDARDS, documents(()), KEY, REPORTED)

    def add(self, count: int, revision: int | None = None) -> None:
        """So many leaves of other centers, and one of ours."""
        with self.store.write() as conn:
            for number in range(count):
                leaves.add(conn, "report", f"KHI-{number}", NAME, 1, month=NAME, revision=9, sha256="0" * 64)
            if revision:
                leaves.add(conn, "report", CODE, NAME, 1, month=NAME, revision=revision, sha256="0" * 64)
                leaves.add(conn, "report", CODE, "2026-12", 1, month="2026-12", revision=7, sha256="0" * 64)
        while sequencing.sequence(self.store, SIGNER, 1):
            pass

    def copied(self, name: str) -> Path:
        """All files that the log serves."""
        with self.store.read() as conn:
            note = sequencing.newest(conn)
            assert note is not None
            size = Checkpoint.parse(note.text).size
            bundles = [TilePath(None, i, min(WIDTH, size - i * WIDTH)) for i in range(-(-size // WIDTH))]
            files = {str(path): sequencing.served(conn, path) for path in (*bundles, *tiles.needed(size))}
        for path, body in {**files, "checkpoint": str(note).encode()}.items():
            place = self.folder / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(body or b"")
        return self.folder / name

    def checked(self, log: Path | str) -> Outcome:
        return check(self.folder / "b.zip", KEY, (), log_at(str(log)))


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoggedMonth]:
    made = LoggedMonth(tmp_path_factory.mktemp("month"))
    made.copied("at once")
    made.add(300)
    made.copied("later")
    made.add(300, revision=3)
    made.copied("revised")
    yield made
    made.store.close()


def others(done: Outcome) -> list[str]:
    return [text for text in done.unproven if "witness" not in text]


def test_without_the_log_it_says_that_a_later_revision_may_have_been_closed(month: LoggedMonth) -> None:
    done = check(month.folder / "b.zip", KEY)
    assert (done.count, done.log_leaves) == (0, None)
    assert others(done) == ["whether a later revision of the report was closed: the log says it with --log"]


@pytest.mark.parametrize("name", ["at once", "later"])
def test_the_log_shows_that_none_was_closed_since(month: LoggedMonth, name: str) -> None:
    done = month.checked(month.folder / name)
    assert (done.wrong, others(done)) == ([], [])
    assert (done.log_leaves or 0) > (300 if name == "later" else 0)


def test_a_later_revision_is_named(month: LoggedMonth) -> None:
    done = month.checked(month.folder / "revised")
    assert done.wrong == []
    assert others(done) == ["revision 3 of the report was closed since; this is revision 1"]


def test_a_log_that_was_changed_is_no_proof(month: LoggedMonth) -> None:
    revised = month.folder / "revised"
    last = next(
        path
        for path in (revised / "tile" / "entries").rglob("*")
        if path.is_file() and b'"revision":3' in path.read_bytes()
    )
    path, body = str(last.relative_to(revised)), last.read_bytes()

    def with_another(path: str, body: bytes) -> str:
        def fetch(wanted: str) -> bytes:
            return body if wanted == path else (revised / wanted).read_bytes()

        (wrong,) = check(month.folder / "b.zip", KEY, (), fetch).wrong
        return wrong

    hidden = with_another(path, body.replace(b'"revision":3', b'"revision":1'))
    assert hidden.startswith("log: the leaves that it serves are not those of its own head of ")
    assert "has 0 entries, must have" in with_another(path, b"")
    assert "ends within" in with_another(path, body[:-1])
    nested = [b"[" * 100_000, *tiles.unbundled(body)[1:]]
    assert "is none of ours" in with_another(path, tiles.bundle([entry[:60_000] for entry in nested]))
    head = (revised / "checkpoint").read_bytes().split(b"\n")
    assert "is not signed with the key" in with_another("checkpoint", b"\n".join([head[0], b"9999", *head[2:]]))
    assert "log: " in with_another("checkpoint", b"")


def test_a_log_that_was_cut_back_is_named(month: LoggedMonth) -> None:
    with month.store.read() as conn:
        bundle.write(conn, month.folder / "now.zip", CODE, NAME, STANDARDS, documents(()), KEY, REPORTED)
    done = check(month.folder / "now.zip", KEY, (), log_at(str(month.folder / "later")))
    assert "it was cut back, or is a copy of before" in done.wrong[0]


def test_the_command_asks_a_log_over_http(month: LoggedMonth, capsys: pytest.CaptureFixture[str]) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=month.folder / "revised")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        words = [str(month.folder / "b.zip"), "--key", str(KEY), "--log"]
        assert main([*words, place, "--json"]) == 0
        assert (
            "revision 3 of the report was closed since; this is revision 1"
            in json.loads(capsys.readouterr().out)["unproven"]
        )
        assert main([*words, f"{place}/nowhere"]) == 2
        assert "404" in capsys.readouterr().err
        server.shutdown()
    for nowhere in (str(month.folder / "none"), "http://127.0.0.1:x", "http://", "https://[::1"):
        assert main([*words, nowhere]) == 2
        assert f"log {nowhere.rstrip('/')}/checkpoint: " in capsys.readouterr().err
