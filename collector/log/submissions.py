"""Heads that a log brings to its witness, and the answer to each (C2SP tlog-witness, `add-checkpoint`). Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from collector.log.merkle import EMPTY_ROOT, HASH_BYTES, MAX_PROOF, extends
from collector.log.notes import Checkpoint, Note, NoteError, NoteKey, NoteSignature, unbased
from collector.log.witness import WitnessedHead

MAX_BYTES = 64 * 1024
TEXT, SIZE = "text/plain; charset=utf-8", "text/x.tlog.size"

Cosign = Callable[[Checkpoint, str], NoteSignature]
"""Of a head and the text of its note; keeps the head first, so that no older one is cosigned afterwards."""


@dataclass(frozen=True)
class Submission:
    """`old` is the size from which the log says that it has grown, `proof` that it has."""

    old: int
    proof: tuple[bytes, ...]
    note: Note
    head: Checkpoint

    @classmethod
    def parse(cls, body: bytes) -> Submission:
        """Raises NoteError."""
        first, gap, rest = body.partition(b"\n\n")
        try:
            lines = first.decode("ascii").split("\n")
        except UnicodeDecodeError:
            lines = [""]
        size = re.fullmatch(r"old (0|[1-9][0-9]{0,18})", lines[0])
        proof = [unbased(line) or b"" for line in lines[1:]]
        if not gap or size is None or len(proof) > MAX_PROOF or any(len(part) != HASH_BYTES for part in proof):
            raise NoteError(f"must be: old SIZE, up to {MAX_PROOF} hashes in base64, an empty line, a checkpoint")
        note = Note.parse(rest)
        return cls(int(size[1]), tuple(proof), note, Checkpoint.parse(note.text))


def submission(old: int, proof: Sequence[bytes], note: Note) -> bytes:
    """As a log sends it: the head, and that it has grown from the one of `old` leaves (0: from nothing)."""
    lines = [f"old {old}", *(base64.b64encode(part).decode() for part in proof)]
    return ("\n".join(lines) + f"\n\n{note}").encode()


@dataclass(frozen=True)
class WitnessAnswer:
    status: int
    text: str
    kind: str = TEXT


def answer(body: bytes, key: NoteKey, known: WitnessedHead | None, cosign: Cosign) -> WitnessAnswer:
    """`known` is the head of that log that was cosigned last; nobody may keep another while this runs."""
    try:
        request = Submission.parse(body)
    except NoteError as error:
        return WitnessAnswer(400, f"{error}\n")
    known, head = known or WitnessedHead(0, EMPTY_ROOT), request.head
    if head.origin != key.name:
        return WitnessAnswer(404, "this log is not witnessed here\n")
    if request.note.signed_by(key) is None:
        return WitnessAnswer(403, "the checkpoint is not signed with the key of its log\n")
    if request.old > head.size:
        return WitnessAnswer(400, "the old size is larger than the checkpoint's\n")
    if request.old != known.size or (head.size == known.size and head.root != known.root):
        return WitnessAnswer(409, f"{known.size}\n", SIZE)
    proven = (
        not request.proof if not known.size else extends(known.size, known.root, head.size, head.root, request.proof)
    )
    if not proven:
        return WitnessAnswer(422, "the consistency proof does not show that the log has only grown\n")
    return WitnessAnswer(200, str(cosign(head, request.note.text)))
