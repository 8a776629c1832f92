"""Heads that a log brings: the vectors that litewitness publishes, and every answer of C2SP tlog-witness."""

from __future__ import annotations

import base64

import pytest

from collector.log import notes
from collector.log.merkle import EMPTY_ROOT
from collector.log.notes import Checkpoint, Note, NoteKey, NoteSignature
from collector.log.submissions import MAX_BYTES, SIZE, WitnessAnswer, answer
from collector.log.witness import WitnessedHead

# litewitness, cmd/litewitness/testdata/litewitness.txt: a Sigsum log (its signatures are those of checkpoints) whose
# leaves' hashes are 2a00…, 2a01… and so on: size, root, signature.
LOG = NoteKey(
    "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562",
    bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f"),
)
ONE = (
    1, "2a" + "00" * 31,
    "b7cf653aa9c565a1ca359db81bd3bc656ab2890c6ea4c0aec42295e80aa05049"
    "423505026434f987923ccdf07d440c152cd59e736e5914d8ada8d7a4d51b2106",
)  # fmt: skip
THREE = (
    3, "45c088d4d939e9971298811f227d1295eaad57bbafae55cd71c171e7de48c25d",
    "655bb4871d15bc05032d67eece88900c4863a27f190393b99176391577f5def9"
    "71b023d9a418c3226b7b7ea47b33686d9b3849451dadc6b07c007c595af1ea0a",
)  # fmt: skip
FIVE = (
    5, "42bb57ad06420afa4882c4a63ac6a1ec77480b330b2f20dfc53a0caa5f564e36",
    "0fc43899968b48b5150b0e8fe7ad07b17c21c7056a6fe381deb0cd19ece103d5"
    "9b2119b5dbe5d54d8a1262ce67f01245c5898b4b56f747495804a17a2eec0f0c",
)  # fmt: skip
TO_THREE = ("2a01" + "00" * 30, "2a02" + "00" * 30)
TO_FIVE = (
    "2a02" + "00" * 30, "2a03" + "00" * 30, "c2088815d65f60dbfa594d4e96504ab169cb6084bf0c132ab7c521fd2e0eba41",
    "2a04" + "00" * 30,
)  # fmt: skip
Vector = tuple[int, str, str]


def based(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


def body(old: int, head: Vector, proof: tuple[str, ...] = (), *, name: str = LOG.name, signature: str = "") -> bytes:
    size, root, own = head
    note = Note(
        Checkpoint(name, size, bytes.fromhex(root)).text,
        (
            NoteSignature("stranger.example", b"1234", bytes(64)),
            NoteSignature(name, LOG.id, bytes.fromhex(signature or own)),
        ),
    )
    return (f"old {old}\n" + "".join(f"{based(part)}\n" for part in proof) + "\n" + str(note)).encode()


class Kept:
    """A witness that has kept a head, or none."""

    def __init__(self, head: Vector | None = None) -> None:
        self.head = None if head is None else WitnessedHead(head[0], bytes.fromhex(head[1]))

    def answer(self, submitted: bytes) -> WitnessAnswer:
        return answer(submitted, LOG, self.head, self.cosign)

    def cosign(self, head: Checkpoint, _text: str) -> NoteSignature:
        self.head = WitnessedHead(head.size, head.root)
        return NoteSignature("witness.example", b"abcd", b"cosigned")


def test_a_log_that_grows_is_cosigned_head_by_head() -> None:
    witness = Kept()
    for old, head, proof in ((0, ONE, ()), (1, THREE, TO_THREE), (3, FIVE, TO_FIVE), (5, FIVE, ())):
        found = witness.answer(body(old, head, proof))
        assert (found.status, found.text) == (200, str(NoteSignature("witness.example", b"abcd", b"cosigned")))
        assert witness.head == WitnessedHead(head[0], bytes.fromhex(head[1]))


@pytest.mark.parametrize(
    ("known", "submitted", "status", "text"),
    [
        (ONE, body(1, THREE, TO_THREE, signature=THREE[2][:-1] + "b"), 403, None),
        (ONE, body(1, THREE, TO_THREE, name=LOG.name[:-1] + "1"), 404, None),
        (ONE, body(1, THREE), 422, None),
        (ONE, body(1, THREE, (TO_THREE[0], "2a02" + "00" * 29 + "01")), 422, None),
        (ONE, body(1, THREE, (*TO_THREE, TO_THREE[0])), 422, None),
        (None, body(0, THREE, TO_THREE[:1]), 422, None),  # of an empty tree nothing is proven
        (THREE, body(3, THREE, TO_THREE[:1]), 422, None),
        (THREE, body(1, FIVE, TO_FIVE), 409, "3\n"),
        (THREE, body(0, FIVE), 409, "3\n"),
        (None, body(1, THREE, TO_THREE), 409, "0\n"),
        (FIVE, body(1, THREE, TO_THREE), 409, "5\n"),  # a head from before
        ((3, FIVE[1], ""), body(3, THREE), 409, "3\n"),  # another tree of that size
        (FIVE, body(5, THREE), 400, None),
    ],
)  # fmt: skip
def test_what_is_not_shown_to_have_grown_is_refused_and_changes_nothing(
    known: Vector | None, submitted: bytes, status: int, text: str | None
) -> None:
    witness = Kept(known)
    before = witness.head
    found = witness.answer(submitted)
    assert found.status == status
    assert (found.kind == SIZE) == (status == 409)
    assert found.text == (text or found.text)
    assert witness.head == before


WHOLE = body(1, THREE, TO_THREE)


@pytest.mark.parametrize(
    "submitted",
    [
        b"", b"\n\n", WHOLE[4:], WHOLE.replace(b"old 1", b"old 01"), WHOLE.replace(b"old 1", b"old -1"),
        WHOLE.replace(b"old 1", b"old  1"), WHOLE.replace(b"old 1\n", b"old 1\r\n"), WHOLE.replace(b"=\n", b"\n", 1),
        WHOLE.replace(b"old 1", b"old " + b"9" * 20), WHOLE.replace(b"\n\n", b"\n", 1), WHOLE[:-1],
        body(1, THREE, TO_THREE[:1] * 64), body(1, THREE, ("2a01",)), WHOLE.replace(b"\n3\n", b"\n03\n"),
        b"\xff" + WHOLE, b"old 0\n" * MAX_BYTES,
    ],
)  # fmt: skip
def test_what_is_no_submission_is_refused_as_such(submitted: bytes) -> None:
    witness = Kept(ONE)
    assert witness.answer(submitted).status == 400


def test_a_log_without_leaves_is_one_tree_alone() -> None:
    key = notes.Ed25519PrivateKey.from_private_bytes(bytes(32))
    log = NoteKey("empty.example", key.public_key().public_bytes_raw())
    for root, status in ((EMPTY_ROOT, 200), (bytes(32), 409)):
        note = notes.signed(Checkpoint(log.name, 0, root).text, log.name, key)
        assert answer(f"old 0\n\n{note}".encode(), log, None, Kept().cosign).status == status
