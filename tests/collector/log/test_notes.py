"""Keys, notes, checkpoints and cosignatures, held against the vectors that were published for them."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from collector.log.notes import COSIGNED, Checkpoint, Note, NoteError, NoteKey, cosignature, opened, signed

# golang.org/x/mod/sumdb/note, note_test.go
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETERS = (
    "\N{EM DASH} PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCHS = (
    "\N{EM DASH} EnochRoot "
    "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)

# C2SP tlog-cosignature
SOFA = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\N{EM DASH} example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\N{EM DASH} witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


def test_a_key_is_read_and_written_as_published() -> None:
    for text in (PETER, ENOCH):
        assert str(NoteKey.parse(text)) == text
    key = Ed25519PrivateKey.from_private_bytes(PETER_SEED)
    assert str(NoteKey("PeterNeumann", key.public_key().public_bytes_raw())) == PETER


def test_a_mangled_key_is_refused() -> None:
    parts = [PETER[i:j] for i in range(len(PETER)) for j in range(i + 1, len(PETER) + 1) if j - i < len(PETER)]
    bumped = [PETER[:i] + chr(ord(PETER[i]) + 1) + PETER[i + 1 :] for i in range(len(PETER))]
    published = [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ]
    for text in (*parts, *bumped, *published):
        with pytest.raises(NoteError):
            NoteKey.parse(text)


def test_a_note_is_signed_and_opened_as_published() -> None:
    note = signed(TEXT, "PeterNeumann", Ed25519PrivateKey.from_private_bytes(PETER_SEED))
    assert str(note) == TEXT + "\n" + PETERS
    both = Note.parse((TEXT + "\n" + PETERS + ENOCHS).encode())
    assert both.text == TEXT
    for key in (PETER, ENOCH):
        assert both.signed_by(NoteKey.parse(key)) is not None
    assert note.signed_by(NoteKey.parse(ENOCH)) is None


@pytest.mark.parametrize(
    "body",
    [
        TEXT, TEXT + "\n", TEXT + "\n" + PETERS[:-1], "\x01" + TEXT + "\n" + PETERS, TEXT + "\n" + PETERS * 101,
        TEXT + "\n" + PETERS.replace("PeterNeumann", "Bad Name"), TEXT + "\n" + PETERS + "Unexpected line.\n",
    ],
)  # fmt: skip
def test_what_is_no_note_is_refused(body: str) -> None:
    with pytest.raises(NoteError):
        Note.parse(body.encode())


def test_a_false_signature_beside_a_true_one_is_none() -> None:
    bad = PETERS[:60] + "ABCD" + PETERS[60:]
    assert Note.parse((TEXT + "\n" + PETERS + bad).encode()).signed_by(NoteKey.parse(PETER)) is None
    assert Note.parse((TEXT.replace("you", "we") + "\n" + PETERS).encode()).signed_by(NoteKey.parse(PETER)) is None


def test_the_published_checkpoint_is_read() -> None:
    note = Note.parse(SOFA.encode())
    head = Checkpoint.parse(note.text)
    assert (head.origin, head.size) == ("example.com/behind-the-sofa", 20852163)
    assert head.text == note.text
    assert str(note) == SOFA
    assert len(note.signatures[1].body) == 72
    assert int.from_bytes(note.signatures[1].body[:8], "big") == 1679315147


@pytest.mark.parametrize(
    "text",
    ["", "a\n1\n", "\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
     "a\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
     "a\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n", "a\n1\nAAAA\n",
     "a\n9999999999999999999\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_a_cosignature_is_of_its_time_and_of_no_other_key() -> None:
    log, witness = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    head = Checkpoint("nabz.example/log", 7, bytes(32))
    note = signed(head.text, head.origin, log)
    note = note.with_signatures([cosignature(note.text, "witness.example/w", witness, 1_800_000_000)])
    key = NoteKey("witness.example/w", witness.public_key().public_bytes_raw(), COSIGNED)
    assert NoteKey.parse(str(key)) == key
    found = note.signed_by(key)
    assert found is not None
    assert not key.signs(note.text, (1_800_000_001).to_bytes(8, "big") + found.body[8:])
    assert not key.signs(note.text + "x", found.body)
    assert note.signed_by(NoteKey("witness.example/w", witness.public_key().public_bytes_raw())) is None
    assert opened(str(note).encode(), NoteKey(head.origin, log.public_key().public_bytes_raw()))[1] == head
    with pytest.raises(NoteError, match="not signed"):
        opened(str(note).encode(), NoteKey(head.origin, witness.public_key().public_bytes_raw()))


@given(st.binary(max_size=400))
def test_bytes_of_strangers_are_a_note_or_an_error(body: bytes) -> None:
    try:
        note = Note.parse(body)
    except NoteError:
        return
    assert str(note).encode() == body
