"""The corpus and mutants of it through every way in; `--torture` plays more of them, and has atheris search as well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.harnesses import HARNESSES
from tests.fuzz.mutants import play
from tests.fuzz.shared import HERE

SEED = 2  # quick runs play the same mutants every time, which find an unguarded length; --fault-seed plays others
MOST_FILES, MOST_BYTES = 80, 50_000


@pytest.mark.parametrize("name", HARNESSES)
@pytest.mark.row(31)
def test_whatever_comes_in_is_taken_or_refused_as_promised(name: str, request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--fault-seed")
    harness = HARNESSES[name]
    runs = 20_000 if request.config.getoption("--torture") else harness.quick
    print(f"\n{name}: {play(harness.one, harness.corpus(name), runs, SEED if seed is None else seed)}")


@pytest.mark.slow
@pytest.mark.parametrize("name", HARNESSES)
@pytest.mark.row(31)
def test_atheris_finds_nothing_either(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this machine")
    root = HERE.parents[1]
    command = [sys.executable, "-m", "tests.fuzz", name, "--runs", "100000"]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]


@pytest.mark.parametrize("name", HARNESSES)
def test_every_corpus_has_something_to_begin_with(name: str) -> None:
    assert len(HARNESSES[name].corpus(name)) >= 2


def test_the_corpora_stay_small() -> None:
    files = [file for file in (HERE / "corpus").rglob("*") if file.is_file()]
    assert len(files) <= MOST_FILES
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES
    assert {file.parent.name for file in files} <= set(HARNESSES)


# What a search, or reading after one, has found: each of these once came out as another's error, or broke a line
LONG = 5000
FOUND: tuple[tuple[str, bytes], ...] = (
    ("nut_requests", b"LIST ENUM ups \x00a\n"),
    ("registers", b'center,"name\nLHR",tier\nLHR-1,One,one\n'),
    ("agent_config", b"a = " + b"[" * LONG),
    ("agent_config", b"a = " + b"9" * LONG),
    ("agent_config", b"[agent]\ncycle_s = 0x" + b"f" * LONG),
    ("agent_config", b"[[ups]]\nname = 0x" + b"f" * LONG),
    ("agent_config", b'[agent]\nstatus_listen = "h:' + b"9" * LONG + b'"'),
    ("agent_config", b'["a\\nb"]\n'),
    ("agent_config", b'[agent]\n"a\\nb" = 1\n'),
    ("collector_config", b"a = " + b"[" * LONG),
    ("collector_config", b"a = " + b"9" * LONG),
    ("collector_config", b'[web]\n"a\\nb" = 1\n'),
    ("standards", b"a = " + b"9" * LONG),
    ("standards", b"id = 0x" + b"f" * LONG),
    ("standards", b"[[criterion]]\nid = 0x" + b"f" * LONG),
    ("standards", b'"a\\nb" = 1'),
    ("standards", b'[[criterion]]\nid = "a\\nb"\n[[criterion]]\nid = "a\\nb"'),
    ("standards", b'timezone = "' + b"Asia/" * LONG + b'a"'),
    ("log_proofs", b"[" * LONG),
    ("id_tokens", b'{"a":' * LONG),
    ("opening_hours", b"always\n" + b"Asia/" * LONG + b"a"),
)


@pytest.mark.parametrize(("name", "data"), FOUND, ids=lambda it: it if isinstance(it, str) else None)
def test_what_was_found_stays_mended(name: str, data: bytes) -> None:
    HARNESSES[name].one(data)


# ---------------------------------------------------------------- the fuzz can fail


def unguarded(data: bytes) -> None:
    """As careful as the agent's, except for what follows Content-Length."""
    head, _, _ = data.partition(b"\r\n\r\n")
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            int(value)


@pytest.mark.control("a number of the head is taken as it stands", row=31)
def test_a_number_that_nobody_guarded_is_found() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        play(unguarded, HARNESSES["agent_http"].corpus("agent_http"), 500, SEED)


@pytest.mark.control("a message is taken with a field unchecked", row=31)
def test_a_decoder_that_lets_a_field_through_unchecked_is_found() -> None:
    def careless(data: bytes) -> None:
        body, _, _ = data.rpartition(b"\n")
        assert body.isascii(), "taken, although no message looks so"

    with pytest.raises(AssertionError, match="taken"):
        play(careless, HARNESSES["sealed"].corpus("sealed"), 500, SEED)
