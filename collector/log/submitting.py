"""A log brings its newest head to a witness that listens, and keeps the cosignature (C2SP tlog-witness)."""

from __future__ import annotations

from http import HTTPStatus

from collector.common import http_client
from collector.log import merkle, sequencing, submissions, tiles
from collector.log.notes import Checkpoint, Note, NoteError, NoteKey
from collector.store import Store

TRIES = 3  # others may bring heads of this log to the same witness meanwhile
TIMEOUT_S = 30.0
LONGEST = 500  # bytes that are read of a witness's refusal


def submit(store: Store, url: str, key: NoteKey) -> Checkpoint | None:
    """The head that is cosigned with this key now; None for a log without leaves. `url` is the witness's submission
    prefix. Raises NoteError for what the witness refuses, or answers with another key;
    ValueError and http_client.FAILURES where it cannot be reached."""
    with store.read() as conn:
        note = sequencing.newest(conn)
    if note is None:
        return None
    lines = _cosigned(store, note, f"{url.rstrip('/')}/add-checkpoint")
    with store.write() as conn:
        sequencing.keep_cosignatures(conn, Note.parse(str(note).encode() + lines), key)
    return Checkpoint.parse(note.text)


def _cosigned(store: Store, note: Note, url: str) -> bytes:
    """The witness's lines. It is asked from nothing first, and then from the head that it says it knows."""
    if not url.startswith(("https://", "http://")):
        raise ValueError("must begin with https://")
    head, old = Checkpoint.parse(note.text), 0
    for _ in range(TRIES):
        with store.read() as conn:
            proof = merkle.consistency_proof(old, head.size, tiles.hashes_from(sequencing.tiles_in(conn)))
        body = submissions.submission(old, proof, note)
        try:
            return http_client.send(url, body, timeout_s=TIMEOUT_S, most_bytes=submissions.MAX_BYTES).body
        except http_client.HTTPError as error:
            text = error.read(LONGEST).decode("utf-8", "replace").strip()
            if error.code != HTTPStatus.CONFLICT or not text.isdecimal() or int(text) in (0, old):
                raise NoteError(f"does not cosign it ({error.code}): {text}") from None
            old = int(text)
            if old > head.size:
                raise NoteError(f"knows {old} leaves of this log, which has {head.size}: it was rolled back") from None
    raise NoteError("is told of other heads at the same time; try again")
