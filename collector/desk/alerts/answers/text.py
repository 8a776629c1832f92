"""What a written answer asks for: its first word, of a few in each language, is the act; without one it is a note."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from agent.common.words import catalogue, languages
from collector.desk.alerts.answers.acts import ANSWER_ACTS, Answer, AnswerAct, AnswerWay
from collector.desk.work import MAX_TEXT

_FIRST = re.compile(r"\s*([^\s:,.!\u061f\u06d4]+)[\s:,.!\u06d4]*(.*)", re.DOTALL)  # question mark, full stop of Urdu


@cache
def words() -> Mapping[str, AnswerAct]:
    """Of every language."""
    texts = [(act, catalogue(lang).texts[f"answer.{act}"]) for lang in languages() for act in ANSWER_ACTS]
    return {word: act for act, text in texts for word in text.split()}


def answer_of(text: str, way: AnswerWay) -> Answer | None:
    """None for an empty one. `assign` takes a name up to a colon or the end of its line; what follows is the note."""
    text = text.strip()[:MAX_TEXT]
    match = _FIRST.fullmatch(text)
    if match is None:
        return None
    act, rest = words().get(match[1].casefold()), match[2].strip()
    if act is None:
        return Answer("note", text, way=way)
    if act == "assign":
        line, _, more = rest.partition("\n")
        owner, _, note = line.partition(":")
        return Answer(act, f"{note.strip()} {more.strip()}".strip(), owner.strip(), way)
    return Answer(act, rest or text, way=way)
