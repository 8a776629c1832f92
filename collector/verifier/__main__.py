"""The `nabz-verify` command."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path

from agent.common import logs
from agent.common.errors import describe
from collector.log.notes import NoteError, NoteKey
from collector.verifier.check import BundleError, Outcome, check
from collector.verifier.revisions import Fetch

TIMEOUT_S = 60.0
MAX_FILE = 32_000_000  # bytes: 256 entries of the largest size are 17 MB
LOOKED = {
    "batches": "batches", "readings": "readings", "records": "records", "leaves": "leaves", "sheets": "day sheets",
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 as it was signed, 1 something is wrong, 2 it cannot be read."""
    parser = argparse.ArgumentParser(
        prog="nabz-verify",
        description="Check a center's month offline: signatures, chain, transparency log, arithmetic.",
        epilog="example: nabz-verify LHR-014-2026-01.zip --key nabz.example.org/log+…   exit codes: 0 right, 1 wrong, "
        "2 unreadable",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--key", metavar="KEY", help="the log's public key, as you know it from elsewhere")
    parser.add_argument(
        "--witness", action="append", default=[], metavar="KEY", help="a witness that must have cosigned; repeatable"
    )
    parser.add_argument(
        "--log", metavar="URL", help="where the log is served, or a folder with its files: was a later revision closed?"
    )
    parser.add_argument("--json", action="store_true", help="print facts as JSON")
    options = parser.parse_args(argv)
    try:
        key = NoteKey.parse(options.key) if options.key else None
        witnesses = [NoteKey.parse(text) for text in options.witness]
        done = check(options.bundle, key, witnesses, log_at(options.log) if options.log else None)
    except (OSError, BundleError, NoteError) as error:
        logs.complain(f"{options.bundle}: {describe(error)}")
        return 2
    sys.stdout.write(json.dumps(dataclasses.asdict(done), indent=2) + "\n" if options.json else as_text(done))
    return 1 if done.count else 0


def log_at(place: str) -> Fetch:
    """The log's files by HTTP, or in a folder under their names there. What fails is an OSError with the place."""

    def fetch(path: str) -> bytes:
        name = f"{place.rstrip('/')}/{path}"
        try:
            if not name.startswith(("http://", "https://")):
                return Path(name).read_bytes()
            with urllib.request.urlopen(name, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http or https
                return bytes(answer.read(MAX_FILE))
        except (OSError, HTTPException, ValueError) as error:
            raise OSError(f"log {name}: {describe(error)}") from None

    return fetch


def as_text(done: Outcome) -> str:
    """For people to read."""
    lines = [f"{done.center} {done.month}: {'NOT as it was signed' if done.count else 'as it was signed'}"]
    lines += [f"  wrong: {text}" for text in done.wrong]
    lines += [f"  … and {done.count - len(done.wrong)} more"] if done.count > len(done.wrong) else []
    looked = ", ".join(f"{getattr(done, name)} {words}" for name, words in LOOKED.items())
    looked += f", the log up to leaf {done.log_leaves - 1}" if done.log_leaves is not None else ""
    lines += [f"  looked at: {looked}", *(f"  not proven: {text}" for text in done.unproven)]
    for row in done.verdicts:
        name = f"{row['criterion']} {row['subject']}".strip()
        share = "no samples" if row["met_pct"] is None else f"{row['met_pct']} % of {row['samples']}"
        lines.append(f"  {row['verdict']:16} {name} ({share})")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
