"""Opening hours as people read them, in their language."""

from __future__ import annotations

from typing import TypeVar

from agent.common.words import Renderer
from collector.register.opening_hours import parse

S = TypeVar("S", bound=str)


def opening_text(text: str, words: Renderer[S]) -> S:
    """ "Mon-Sat 09:00-21:00; Sun closed" with its days in words; what cannot be read is shown as it stands."""
    try:
        parse(text)
    except ValueError:
        return words.ltr(text)
    if text.strip() == "always":
        return words("opening.always")
    rules = (rule.split(None, 1) for rule in text.split(";") if rule.strip())
    return words.joined(words("between"), (_rule(days, hours, words) for days, hours in rules))


def _rule(days: str, hours: str, words: Renderer[S]) -> S:
    times = words("opening.closed") if hours.strip() == "closed" else words.ltr(hours.strip())
    named = words("opening.daily") if days == "daily" else words.listed(_day(part, words) for part in days.split(","))
    return words("opening.rule", days=named, hours=times)


def _day(part: str, words: Renderer[S]) -> S:
    first, dash, last = part.partition("-")
    if not dash:
        return words(f"day.{first}")
    return words("opening.days", first=words(f"day.{first}"), last=words(f"day.{last}"))
