"""The judge's sentences in the reader's language.

Reasons are stored as the sentences of `collector.flags` and `collector.evaluate`, so that evidence and report read
alike everywhere. Here each form is known by a pattern; one that is not known is shown as it stands.
"""

from __future__ import annotations

import re
from typing import get_args

from markupsafe import Markup

from collector.flags.machine import Reason
from collector.flags.witness import Word
from collector.web.i18n import Words

_FORMS = (
    ("no_reading", r"no reading yet"),
    ("old", r"the last reading is (?P<age>\d+) minutes old, it speaks for (?P<fresh>\d+)"),
    ("self_test", r"a self-test never counts"),
    ("not_counted", r"not counted: (?P<name>\w+) is (?P<word>.+)"),
    ("failed", r"the measurement failed: (?P<word>.+)"),
    ("absent", r"the reading has no (?P<name>.+)"),
    ("closed", r"the center is closed"),
    ("retired", r"(?P<word>\S+) has no such criterion"),
    ("share", r"(?P<value>[^;]+); at least (?P<bound>.+) is asked \((?P<share>.+ %) of (?P<whole>.+)\)"),
    ("share_most", r"(?P<value>[^;]+); at most (?P<bound>.+) is asked \((?P<share>.+ %) of (?P<whole>.+)\)"),
    ("at_least", r"(?P<value>[^;]+); at least (?P<bound>.+) is asked"),
    ("at_most", r"(?P<value>[^;]+); at most (?P<bound>.+) is asked"),
    ("word", r"(?P<name>\w+) is (?P<word>[^;]+); (?:one|none) of .+ is asked"),
)
_PATTERNS = tuple((f"said.{name}", re.compile(pattern)) for name, pattern in _FORMS)
_CHANGES = {reason: f"change.{reason.replace(' ', '_')}" for reason in get_args(Reason)}
_LOWER_BOUND = re.compile(r"(?P<figures>.+); but the reading is (?P<word>.+), so it proves no shortfall")
_CLAIMED = re.compile(r"(?P<figures>.+); but (?P<word>.+) is claimed, so it proves no shortfall")
_WITNESS = re.compile(r"not witnessed: (?P<word>\w+): .+")
_CLOSED_NOW = " (closed now: it moves no flag)"
_UNKNOWN = "not enough data: "


def said(words: Words, reason: str) -> Markup:
    """The sentence, in parts: why a flag moved, what the judge found, and what of it does not count."""
    start, _, rest = reason.partition(": ")
    if start in _CHANGES:
        return words("said.change", change=words(_CHANGES[start]), found=said(words, rest))
    reason = reason.removeprefix(_UNKNOWN)
    if reason.endswith(_CLOSED_NOW):
        return words("said.closed_now", found=said(words, reason.removesuffix(_CLOSED_NOW)))
    if match := _LOWER_BOUND.fullmatch(reason):
        return words("said.lower_bound", found=said(words, match["figures"]), word=words.ltr(_plain(match["word"])))
    if match := _CLAIMED.fullmatch(reason):
        return words("said.claimed", found=said(words, match["figures"]), word=words.ltr(match["word"]))
    if (match := _WITNESS.fullmatch(reason)) and match["word"] in get_args(Word):
        return words(f"witness.{match['word']}")
    for key, pattern in _PATTERNS:
        if match := pattern.fullmatch(reason):
            return words(key, **{name: words.ltr(_plain(part)) for name, part in match.groupdict().items()})
    return Markup('<span lang="en" dir="ltr">{}</span>').format(reason)


def _plain(name: str) -> str:
    """A field's name as words."""
    return name.replace("_", " ")
