from __future__ import annotations

import pytest

from agent.common import base64url


@pytest.mark.parametrize("length", range(5))
def test_what_is_written_is_read_without_padding_or_letters_that_urls_quote(length: int) -> None:
    raw = bytes([251, 255, 254, 0, 7][:length])
    text = base64url.encode(raw)
    assert not set(text) & set("+/=")
    assert base64url.decode(text) == raw


@pytest.mark.parametrize("text", ["a", "ab+/", "a b_", "ß\N{ARABIC LETTER BEH}aa", "ab=c", "ab==", "a\n"])
def test_any_other_letter_or_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        base64url.decode(text)
