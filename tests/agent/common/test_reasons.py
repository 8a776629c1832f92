"""A reason survives its way as JSON, whatever is in it; what is no reason becomes a sentence that is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.common.reasons import MAX_BYTES, MAX_TEXT, Reason, decode, decode_all, encode, encode_all

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e12, 1e12) | st.text(max_size=40)
codes = st.text("abcdefgh._", min_size=1, max_size=64)


def of(inner: st.SearchStrategy[object]) -> st.SearchStrategy[Reason]:
    values = scalars | inner | st.lists(scalars | inner, max_size=4)
    return st.builds(Reason, codes, st.dictionaries(st.text(max_size=12), values, max_size=4))


reasons = st.recursive(st.builds(Reason, codes), of, max_leaves=6)


@given(reasons)
def test_a_reason_comes_back_as_it_was(reason: Reason) -> None:
    assert decode(encode(reason)) == reason
    assert hash(decode(encode(reason))) == hash(reason)


@given(st.lists(reasons, max_size=5))
def test_a_list_of_them_too(several: list[Reason]) -> None:
    assert decode_all(encode_all(several)) == tuple(several)


@given(st.text() | st.binary())
def test_anything_can_be_decoded(text: str | bytes) -> None:
    assert isinstance(decode(text), Reason)
    assert all(isinstance(item, Reason) for item in decode_all(text))


def test_sentences_of_before_are_shown_as_they_stand() -> None:
    assert decode("below at once: 30 %") == Reason.text("below at once: 30 %")
    assert decode_all('["one", {"code": "text", "params": {"text": "two"}}]') == (
        Reason.text("one"),
        Reason.text("two"),
    )


@pytest.mark.parametrize(
    "hostile",
    [
        '{"code":""}',
        '{"code":"a","params":{"b":{"c":1}}}',
        '{"code":"a","params":{"b":[[1]]}}',
        '{"code":"a","params":{"n":1e999}}',
        f'{{"code":"a","params":{{"n":{"1" * 400}}}}}',
        f'{{"code":"a","params":{{"t":"{"x" * (MAX_TEXT + 1)}"}}}}',
        '{"code":"a","params":{"b":' * 9 + "1" + "}}" * 9,  # deeper than any of ours
        '{"code":"a","params":{"b":' * 600 + "1" + "}}" * 600,
        '{"code":"a","params":{"b":["' + "x" * MAX_BYTES + '"]}}',
        "[" * 100_000,
    ],
)
def test_what_breaks_a_limit_is_a_sentence_of_limited_length(hostile: str) -> None:
    assert decode(hostile) == Reason.text(hostile)
    assert len(str(decode(hostile).params["text"])) <= MAX_TEXT
    assert decode_all(f"[{hostile}]")[0].code == "text"
