"""What a written answer asks for: its first word, of a few in English and Urdu, is the act; without one it is a note.
Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from collector.alerts.answers.acts import Answer, AnswerAct, AnswerWay
from collector.desk.work import MAX_TEXT

WORDS: Mapping[str, AnswerAct] = {
    "ack": "ack", "ok": "ack", "mine": "ack", "ٹھیک": "ack", "assign": "assign", "سپرد": "assign",
    "resolve": "resolve", "resolved": "resolve", "close": "resolve", "حل": "resolve", "note": "note", "نوٹ": "note",
}  # fmt: skip
_FIRST = re.compile(r"\s*([^\s:,.!؟۔]+)[\s:,.!۔]*(.*)", re.DOTALL)


def answer_of(text: str, way: AnswerWay) -> Answer | None:
    """None for an empty one. `assign` takes a name up to a colon or the end of its line; what follows is the note."""
    text = text.strip()[:MAX_TEXT]
    found = _FIRST.fullmatch(text)
    if found is None:
        return None
    act, rest = WORDS.get(found[1].casefold()), found[2].strip()
    if act is None:
        return Answer("note", text, way=way)
    if act == "assign":
        line, _, more = rest.partition("\n")
        owner, _, note = line.partition(":")
        return Answer(act, f"{note.strip()} {more.strip()}".strip(), owner.strip(), way)
    return Answer(act, rest or text, way=way)
