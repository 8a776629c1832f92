"""`nabz-collector witness`: cosigns another's transparency log, once it is shown to have only grown.

The state is one file a log: the head that was seen last. Whoever keeps it elsewhere can prove a rewriting.
"""

from __future__ import annotations

import argparse
import base64
import json
import time
import urllib.error
import urllib.request
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.common.errors import describe
from agent.common.reasons import Reason
from agent.common.words import plain
from collector.access.atomic_files import keep_once, put
from collector.commands.console import complain, say
from collector.log import notes
from collector.log.notes import COSIGNED, NoteError, NoteKey
from collector.log.tiles import TileError, TilePath
from collector.log.witness import Fetch, WitnessedHead, refusal

EXAMPLE = "nabz-collector witness --url https://nabz.example.org/log --key NAME+ID+KEY --state lahore.json"
TIMEOUT_S = 30.0
MAX_BYTES = 1_000_000
KEY_FILE = "witness.key"  # beside the state, where no other is named


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, metavar="URL", help="where the log is served")
    parser.add_argument("--key", required=True, metavar="KEY", help="the log's public key: NAME+ID+KEY")
    parser.add_argument("--state", required=True, type=Path, metavar="FILE", help="what was seen last; made when new")
    parser.add_argument("--name", default="witness", metavar="NAME", help="of this witness, e.g. witness.example.org")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="this witness's own key; made when new")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the cosigned head there, too")


def run(options: argparse.Namespace) -> int:
    """Exit codes: 0 cosigned, 1 the log was rewritten or is another one, 2 it cannot be reached or used."""
    try:
        key = NoteKey.parse(options.key)
        own = _own_key(options.key_file or options.state.with_name(KEY_FILE))
        known = _known(options.state, key)
        body = _fetched(f"{options.url.rstrip('/')}/checkpoint")
        note, head = notes.opened(body, key)
        why = refusal(known, head, _tiles_at(options.url))
    except NoteError as error:
        complain(f"{options.url}: {error}")
        return 1
    except (TileError, ValueError, OSError, urllib.error.URLError) as error:
        complain(f"{options.url}: cannot be witnessed ({describe(error)})")
        return 2
    if why is not None:
        return _refused(options, why)
    signature = notes.cosignature(note.text, options.name, own, int(time.time()))
    put(options.state, json.dumps(_state(key, head)).encode())  # before the cosignature is given away
    text = str(note.with_signatures([signature]))
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    say(text.rstrip("\n"))
    complain(f"cosigned {head.size} leaves as {NoteKey(options.name, own.public_key().public_bytes_raw(), COSIGNED)}")
    return 0


def _refused(options: argparse.Namespace, why: Reason) -> int:
    complain(f"{options.url}: not cosigned. {plain().reason(why)}. Keep {options.state}: it is the proof")
    return 1


def _own_key(path: Path) -> Ed25519PrivateKey:
    """Raises OSError, ValueError."""
    raw = path.read_bytes() if path.exists() else keep_once(path, Ed25519PrivateKey.generate().private_bytes_raw())
    return Ed25519PrivateKey.from_private_bytes(raw)


def _known(path: Path, key: NoteKey) -> WitnessedHead | None:
    """Raises OSError; ValueError for what is no state, or that of another log."""
    if not path.exists():
        return None
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict) or found.get("key") != str(key):
        raise ValueError(f"{path}: is the state of another log; name another file with --state")
    return WitnessedHead(int(found["size"]), base64.b64decode(found["root"], validate=True))


def _state(key: NoteKey, head: notes.Checkpoint) -> dict[str, object]:
    return {"key": str(key), "size": head.size, "root": base64.b64encode(head.root).decode()}


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
