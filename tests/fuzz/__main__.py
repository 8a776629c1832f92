"""Coverage-guided search, by atheris:  python -m tests.fuzz NAME --runs 100000  (NAME all: one after the other)."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

NO_ATHERIS = (
    "atheris is not installed here: `pip install -r requirements/fuzz.lock` brings it on Linux on x86-64. Without it, "
    "`pytest tests/fuzz --torture` still plays mutations of the corpus."
)
LONGEST_BYTES = 70_000
LONGEST_S = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name", help="the harness: a name in tests/fuzz/harnesses.py, or all")
    parser.add_argument("--runs", type=int, default=100_000, help="inputs to try (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of atheris, to replay (default: %(default)s)")
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        print(NO_ATHERIS, file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["agent", "collector", "tomllib"]):
        from tests.fuzz.harnesses import HARNESSES
    if options.name == "all":
        return max(_alone(name, options.runs, options.seed) for name in HARNESSES)
    if options.name not in HARNESSES:
        print(f"no harness {options.name!r}; there are: {', '.join(HARNESSES)}", file=sys.stderr)
        return 2
    _search(options.name, options.runs, options.seed)
    return 0


def _alone(name: str, runs: int, seed: int) -> int:
    """In a process of its own, for the search ends its process."""
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, "--runs", str(runs), "--seed", str(seed)]
    ).returncode


def _search(name: str, runs: int, seed: int) -> None:
    """Never returns: libFuzzer does not give its process back. Exit code 0 after `runs`, 1 at a finding."""
    import atheris

    from tests.fuzz.harnesses import FOLDER, HARNESSES
    from tests.fuzz.mutants import Meter

    folder = tempfile.TemporaryDirectory(prefix="nabz-fuzz-")  # what libFuzzer adds does not belong in the repo
    meter, found = Meter(HARNESSES[name].one), Path(f"finding-{name}.bin")

    def end(code: int, words: str) -> None:
        print(f"{name}: {words}", flush=True)
        folder.cleanup()
        FOLDER.cleanup()
        os._exit(code)

    def one(data: bytes) -> None:
        try:
            meter(data)
        except BaseException:
            found.write_bytes(data)
            traceback.print_exc()
            end(1, f"FOUND after {meter.runs} runs: {len(data)} bytes, kept in {found}")
        if meter.runs >= runs:
            end(0, str(meter))

    for number, data in enumerate(HARNESSES[name].corpus(name)):
        (Path(folder.name) / f"{number:03}").write_bytes(data)
    flags = [f"-seed={seed}", f"-max_len={LONGEST_BYTES}", f"-timeout={LONGEST_S}", f"-artifact_prefix=slow-{name}-"]
    atheris.Setup([sys.argv[0], folder.name, *flags, "-verbosity=0"], one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
