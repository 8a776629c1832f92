"""The judge's sentences in the reader's language.

Reasons are stored as the sentences of `collector.flags` and `collector.judging.evaluate`, so that evidence and report
read alike everywhere. Here each form is known by a pattern; one that is not known is shown as it stands.
"""

from __future__ import annotations

import re
from typing import get_args

from markupsafe import Markup

from collector.flags.machine import ChangeReason
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
_CHANGES = {reason: f"change.{reason.replace(' ', '_')}" for reason in get_args(ChangeReason)}
_LOWER_BOUND = re.compile(r"(?P<figures>.+); but the reading is (?P<word>.+), so it proves no shortfall")
_CLAIMED = re.compile(r"(?P<figures>.+); but (?P<word>.+) is claimed, so it proves no shortfall")
_WITNESS = re.compile(r"not witnessed: (?P<word>\w+): .+")
# What a gateway's roll call says of a seat (agent.probes.seats.registry), sentence by sentence.
_SEAT_FORMS = (
    ("said_bye", r"said it was shutting down"),
    ("silent_on", r"silent for (?P<seconds>\d+) s: the PC is on, nabz-seat is stopped or broken"),
    ("silent_gone", r"silent for (?P<seconds>\d+) s: the PC does not answer, it is off, asleep or unplugged"),
    ("silent", r"silent for (?P<seconds>\d+) s"),
    ("unheard_on", r"not heard since the agent started, (?P<seconds>\d+) s: the PC is on, .+"),
    ("unheard_gone", r"not heard since the agent started, (?P<seconds>\d+) s: the PC does not answer, .+"),
    ("unheard", r"not heard since the agent started, (?P<seconds>\d+) s"),
    ("back_off", r"back after (?P<minutes>\d+) min: it was off, without a last word"),
    ("back_asleep", r"back after (?P<minutes>\d+) min: it was asleep"),
    ("back_stopped", r"back after (?P<minutes>\d+) min: it was on, nabz-seat was stopped"),
    ("back_network", r"back after (?P<minutes>\d+) min: it was on, the network between was gone"),
    ("clone", r"two machines report under this identity: one is a clone"),
    ("intruder", r"a PC without this seat's own key speaks for it: newly installed, approve it; else a clone"),
    ("cpu", r"processor busy: (?P<value>[^,;]+), limit (?P<bound>[^;]+)"),
    ("memory", r"memory full: (?P<value>[^,;]+), limit (?P<bound>[^;]+)"),
    ("disk", r"disk full: (?P<value>[^,;]+), limit (?P<bound>[^;]+)"),
    ("hot", r"too hot: (?P<value>[^,;]+), limit (?P<bound>[^;]+)"),
    ("disk_failing", r"disk failing: (?P<value>[^;]+)"),
    ("disk_gone", r"disk gone: (?P<value>[^;]+)"),
    ("memory_gone", r"memory gone: (?P<left>.+) left of (?P<all>[^;]+)"),
)
_SEAT_PATTERNS = tuple((f"note.{name}", re.compile(pattern)) for name, pattern in _SEAT_FORMS)
_BETWEEN_NOTES = re.compile(r"; (?!else a clone)")
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


def seat_note(words: Words, note: str) -> Markup:
    """What is wrong with a seat, one sentence after the other."""
    return words("note.between").join(_one_note(words, item) for item in _BETWEEN_NOTES.split(note))


def _one_note(words: Words, note: str) -> Markup:
    for key, pattern in _SEAT_PATTERNS:
        if match := pattern.fullmatch(note):
            return words(key, **{name: words.ltr(part) for name, part in match.groupdict().items()})
    return Markup('<bdi lang="en" dir="ltr">{}</bdi>').format(note)


def _plain(name: str) -> str:
    """A field's name as words."""
    return name.replace("_", " ")
