"""What people call a criterion and what they are to do about it, in their language."""

from __future__ import annotations

from typing import TypeVar

from agent.common.words import Renderer
from collector.standard.criteria import Criterion, LocalText

S = TypeVar("S", bound=str)


def name_of(criterion: Criterion, words: Renderer[S]) -> S:
    """Its name as its standard has it; the collector's own criteria are named by the catalogue."""
    return _text(f"criterion.{criterion.id}", criterion.name, words)


def fix_of(criterion: Criterion, words: Renderer[S]) -> S:
    return _text(f"criterion.{criterion.id}.fix", criterion.fix, words)


def _text(key: str, own: LocalText, words: Renderer[S]) -> S:
    if key in words.texts:
        return words(key)
    return words.fill("{text}", {"text": own.of(words.lang)}) if words.lang in own.texts else words.raw(own.en)
