"""`nabz-collector witness`: cosigns another's transparency log, once it is shown to have only grown.

It fetches the log's newest head, or listens for heads that the log brings (C2SP tlog-witness). The state is one file a
log: the head that was seen last. Whoever keeps it elsewhere can prove a rewriting.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.common import logs
from agent.common.errors import describe
from agent.common.reasons import Reason
from agent.common.words import plain
from collector.access.atomic_files import keep_once, put
from collector.commands.console import complain, say, start_log
from collector.log import notes, submissions
from collector.log.notes import COSIGNED, Checkpoint, NoteError, NoteKey, NoteSignature
from collector.log.submissions import WitnessAnswer
from collector.log.tiles import TileError, TilePath
from collector.log.witness import Fetch, WitnessedHead, refusal
from collector.store import StoreError

EXAMPLE = "nabz-collector witness --url https://nabz.example.org/log --key NAME+ID+KEY --state lahore.json"
TIMEOUT_S = 30.0
MAX_BYTES = 1_000_000
KEY_FILE = "witness.key"  # beside the state, where no other is named


def arguments(parser: argparse.ArgumentParser) -> None:
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--url", metavar="URL", help="where the log is served: cosign its newest head, once")
    way.add_argument("--listen", metavar="HOST:PORT", help="take heads that the log brings: POST /add-checkpoint")
    parser.add_argument("--key", required=True, metavar="KEY", help="the log's public key: NAME+ID+KEY")
    parser.add_argument("--state", required=True, type=Path, metavar="FILE", help="what was seen last; made when new")
    parser.add_argument("--name", default="witness", metavar="NAME", help="of this witness, e.g. witness.example.org")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="this witness's own key; made when new")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the cosigned head there, too")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="with --listen: certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    logs.argument(parser)


def run(options: argparse.Namespace) -> int:
    """Exit codes: 0 cosigned, 1 the log was rewritten or is another one, 2 it cannot be reached or used."""
    try:
        witness = HeadWitness(
            NoteKey.parse(options.key), options.state, options.name,
            _own_key(options.key_file or options.state.with_name(KEY_FILE)),
        )  # fmt: skip
        if options.listen:
            return _listen(options, witness)
        body = _fetched(f"{options.url.rstrip('/')}/checkpoint")
        note, head = notes.opened(body, witness.key)
        with witness.alone():
            why = refusal(witness.known(), head, _tiles_at(options.url))
            signatures = [] if why else [witness.cosign(head, note.text)]
    except NoteError as error:
        complain(f"{options.url or options.listen}: {error}")
        return 1
    except (StoreError, TileError, ValueError, OSError, urllib.error.URLError) as error:
        complain(f"{options.url or options.listen}: cannot be witnessed ({describe(error)})")
        return 2
    if why is not None:
        return _refused(options, why)
    text = str(note.with_signatures(signatures))
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    say(text.rstrip("\n"))
    complain(f"cosigned {head.size} leaves as {witness.public}")
    return 0


def _listen(options: argparse.Namespace, witness: HeadWitness) -> int:
    """Until it is told to end. Raises what a listener does."""
    from collector.run.listeners.witness import serve  # slow to load

    if (options.tls_cert is None) != (options.tls_key is None):
        raise ValueError("--tls-cert and --tls-key go together: name both PEM files, or neither")
    start_log("info", options.log_format)
    witness.known()  # a state of another log is told now, not to the first log that comes
    complain(f"cosigns {witness.key.name} as {witness.public}")
    serve(options.listen, witness.answer, (options.tls_cert, options.tls_key) if options.tls_cert else None)
    return 0


def _refused(options: argparse.Namespace, why: Reason) -> int:
    complain(f"{options.url}: not cosigned. {plain().reason(why)}. Keep {options.state}: it is the proof")
    return 1


def _own_key(path: Path) -> Ed25519PrivateKey:
    """Raises OSError, ValueError."""
    raw = path.read_bytes() if path.exists() else keep_once(path, Ed25519PrivateKey.generate().private_bytes_raw())
    return Ed25519PrivateKey.from_private_bytes(raw)


@dataclass(frozen=True)
class HeadWitness:
    """Of one log, by its key. `own` is what this witness cosigns with, `state` holds the head that it saw last."""

    key: NoteKey
    state: Path
    name: str
    own: Ed25519PrivateKey

    @property
    def public(self) -> NoteKey:
        return NoteKey(self.name, self.own.public_key().public_bytes_raw(), COSIGNED)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time looks at the state and replaces it. Raises OSError."""
        lock = os.open(self.state.with_name(f"{self.state.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def known(self) -> WitnessedHead | None:
        """Raises OSError; ValueError for what is no state, or that of another log."""
        if not self.state.exists():
            return None
        head = json.loads(self.state.read_bytes())
        if not isinstance(head, dict) or head.get("key") != str(self.key):
            raise ValueError(f"{self.state}: is the state of another log; name another file with --state")
        return WitnessedHead(int(head["size"]), base64.b64decode(head["root"], validate=True))

    def cosign(self, head: Checkpoint, text: str) -> NoteSignature:
        """Remembers the head before the cosignature is given away. Raises OSError."""
        root = base64.b64encode(head.root).decode()
        put(self.state, json.dumps({"key": str(self.key), "size": head.size, "root": root}).encode())
        return notes.cosignature(text, self.name, self.own, int(time.time()))

    def answer(self, body: bytes) -> WitnessAnswer:
        """To a head that is brought. Raises OSError, ValueError."""
        with self.alone():
            return submissions.answer(body, self.key, self.known(), self.cosign)


def _tiles_at(url: str) -> Fetch:
    def fetch(path: TilePath) -> bytes:
        return _fetched(f"{url.rstrip('/')}/{path}")

    return fetch


def _fetched(url: str) -> bytes:
    """Raises ValueError, OSError."""
    if not url.startswith(("https://", "http://")):
        raise ValueError("must begin with https://")
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http or https
        body: bytes = answer.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise ValueError(f"{url}: answers with more than {MAX_BYTES} bytes")
    return body
