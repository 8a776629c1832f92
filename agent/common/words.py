"""Words, made where people read: one file of texts per language, beside this one. A third language is one more file.

    plain("ur").reason(reason)       for messages, logs and reports: text, with what runs left to right isolated
    Renderer                         what a page derives from, to escape and isolate in HTML

A file holds its own name, direction and plural rules (`language.…`) and one text for every key; a text has places,
`{name}`. Where a count decides, the key has one text per CLDR plural category: `key.one`, `key.few`, `key.other`. What
a file lacks is said in English. Files are read when they are first asked for.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Generic, TypeVar, cast

from agent.common.reasons import Param, Reason
from agent.wire import unit_of


def _folder() -> Path:
    """Of the catalogues: beside this file, or with it in the zip of a release, whose paths are used as any others."""
    beside = Path(__file__).with_name("text")
    if beside.is_dir():
        return beside
    import zipfile  # costs memory only where it is wanted

    return cast(Path, zipfile.Path(__loader__.archive, "agent/common/text/"))  # type: ignore[name-defined]


FOLDER = _folder()
ENGLISH = "en"
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
# UAX #9: what follows runs left to right, or whichever way its first letter does, until the end of the isolate.
LTR, AUTO, END = "\u2066", "\u2068", "\u2069"

_SECONDS = {"s": 1, "min": MINUTE_S}  # units of durations
# Parameters whose values are words of the catalogue, and the room of their keys: `power_state.mains`.
_ROOMS = {"cause": "cause", "direction": "direction", "field": "field", "fields": "field"}
_ROOMS |= {"power": "power_state", "seat_state": "seat", "gap": "gap", "party": "party", "kind": "kind"}
_FIGURES = frozenset({"value", "bound", "whole", "seen"})  # in the unit that the reason names as `unit`

S = TypeVar("S", bound=str)


@dataclass(frozen=True)
class Catalogue:
    """One language's texts. `plurals` are CLDR rules, category by category; a count that none fits is `other`."""

    lang: str
    name: str
    direction: str
    plurals: Mapping[str, str]
    texts: Mapping[str, str]
    digits: str = ""  # its own, from zero to nine; empty: it has none besides 0 to 9

    def plural(self, number: float) -> str:
        """The CLDR category of a count (UTS #35 part 3, plural rules)."""
        if number != int(number):
            return "other"
        fitting = (category for category, rule in self.plurals.items() if _fits(rule, abs(int(number))))
        return next(fitting, "other")

    def key(self, key: str, number: float | None = None) -> str | None:
        """The key of a text, or of its plural form for this number; None if there is neither."""
        if key in self.texts:
            return key
        counted = () if number is None else (f"{key}.{self.plural(number)}", f"{key}.other")
        return next((form for form in counted if form in self.texts), None)

    def forms(self, key: str) -> dict[str, str]:
        """{plural category: text} of a key."""
        categories = (*self.plurals, "other")
        return {name: self.texts[f"{key}.{name}"] for name in categories if f"{key}.{name}" in self.texts}


@cache
def languages(folder: Path = FOLDER) -> Mapping[str, str]:
    """The languages there are, with the name each gives itself; English first."""
    names = (path.name.removesuffix(".json") for path in folder.iterdir() if path.name.endswith(".json"))
    codes = sorted(names, key=lambda lang: (lang != ENGLISH, lang))
    return {lang: catalogue(lang, folder).name for lang in codes}


@cache
def catalogue(lang: str, folder: Path = FOLDER) -> Catalogue:
    """The texts of one language; what its file lacks is in English. Raises OSError or ValueError for no such file."""
    own: dict[str, str] = json.loads((folder / f"{lang}.json").read_text("utf-8"))
    rule = "language.plural."
    return Catalogue(
        lang=lang,
        name=own.get("language.name", lang),
        direction=own.get("language.direction", "ltr"),
        plurals={key.removeprefix(rule): text for key, text in own.items() if key.startswith(rule)},
        texts=own if lang == ENGLISH else {**catalogue(ENGLISH, folder).texts, **own},
        digits=own.get("language.digits", ""),
    )


@cache
def plain(lang: str = ENGLISH, folder: Path = FOLDER) -> PlainWords:
    """The renderer of plain text in this language."""
    return PlainWords(catalogue(lang, folder))


class Renderer(Generic[S]):
    """Makes words of codes. A subclass says how values are put into a text and kept from turning its direction."""

    space = " "  # between a figure and its unit

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.texts = catalogue.texts
        self.lang = catalogue.lang
        self.dir = catalogue.direction

    # ------------------------------------------------------------ to be given by a subclass

    def fill(self, text: str, values: Mapping[str, object]) -> S:
        """The text with these values in its places."""
        raise NotImplementedError

    def ltr(self, value: object) -> S:
        """Codes, figures with units, addresses: always left to right."""
        raise NotImplementedError

    def name(self, value: object) -> S:
        """A name that people or machines gave, in whatever script."""
        raise NotImplementedError

    def raw(self, value: object) -> S:
        """A sentence in English, as it stands."""
        raise NotImplementedError

    # ------------------------------------------------------------ texts

    def __call__(self, key: str, /, **values: object) -> S:
        """The text of this key. Raises KeyError if there is none."""
        return self.fill(self.texts[key], values)

    def first(self, *keys: str) -> S:
        """The text of the first of these keys that there is. Raises KeyError for the last."""
        return self(next((key for key in keys if key in self.texts), keys[-1]))

    def many(self, key: str, number: int, /, **values: object) -> S:
        """The plural form for `number`, which fills the place `n`."""
        form = self.catalogue.key(key, number)
        return self.fill(self.texts[form or key], {"n": self.number(number), **values})

    def word(self, room: str, word: str) -> S:
        """The word `room.word` of the catalogue; one that it lacks is shown as it is."""
        for key in (f"{room}.{word}", f"{room.partition('.')[0]}.{word}"):
            if key in self.texts:
                return self(key)
        return self.raw(word.replace("_", " "))

    def place(self, province: str) -> S:
        """A province's name; one that the catalogue does not know is shown as it was entered."""
        return self(f"province.{province}") if f"province.{province}" in self.texts else self.name(province)

    def listed(self, values: Iterable[object]) -> S:
        """One value after the other, each already words."""
        return self.joined(self("comma"), values)

    def joined(self, between: object, values: Iterable[object]) -> S:
        """Values that are words already, with this between them."""
        parts = [part for value in values for part in (between, value)][1:]
        places = {f"p{place}": part for place, part in enumerate(parts)}
        return self.fill("".join(f"{{{place}}}" for place in places), places)

    # ------------------------------------------------------------ figures

    def shaped(self, text: str) -> str:
        """A figure or a time in the digits that the reader has chosen. Codes stay as they are."""
        return text

    def number(self, value: float, digits: int = 0) -> S:
        """With thousands marked."""
        return self.ltr(self.shaped(f"{value:,.{digits}f}"))

    def figure(self, value: float | None, unit: str = "") -> S:
        """As people write it: three or so digits and the unit; seconds as a duration; a dash for unknown."""
        if value is None:
            return self("none")
        if unit in _SECONDS and value * _SECONDS[unit] >= MINUTE_S:
            return self.duration(value * _SECONDS[unit])
        if unit == "s" and value <= -MINUTE_S:
            return self.figure(value / MINUTE_S, "min")
        word = self._unit(unit, value) if unit else ""
        amount = self.shaped(_digits(value))
        text = f"{amount}{self.space}{word}" if word else amount
        return self.name(text) if _has_rtl(word) else self.ltr(text)

    def exact(self, value: float, unit: str) -> S:
        """A figure with all its digits."""
        return self.ltr(f"{self.shaped(str(value))}{self.space}{unit}")

    def duration(self, seconds: float) -> S:
        """Two units at most, from days to seconds: "2 h 14 min"."""
        whole = round(max(0.0, seconds))
        if whole < MINUTE_S:
            return self.figure(whole if seconds >= 10 else max(0.0, seconds), "s")
        for size, unit, below, smaller in ((DAY_S, "d", HOUR_S, "h"), (HOUR_S, "h", MINUTE_S, "min")):
            if whole >= size:
                return self._units((whole // size, unit), (whole % size // below, smaller))
        return self._units((whole // MINUTE_S, "min"), (whole % MINUTE_S, "s"))

    def age(self, seconds: float) -> S:
        """How long ago: a duration without what ticks. The pages' script says the same."""
        return self.duration(seconds // 1 if seconds < MINUTE_S else seconds // MINUTE_S * MINUTE_S)

    def _units(self, *parts: tuple[int, str]) -> S:
        amounts = (f"{self.shaped(str(n))}{self.space}{self._unit(unit, n)}" for n, unit in parts if n)
        return self.name(self.space.join(amounts))

    def _unit(self, unit: str, number: float) -> str:
        key = self.catalogue.key(f"unit.{unit}", number)
        return self.texts[key].replace(" ", self.space) if key else unit

    # ------------------------------------------------------------ reasons

    def reason(self, reason: Reason) -> S:
        """A code in words. A code that is not known, of a newer version perhaps, is shown with its parameters."""
        if reason.code == "text":
            return self.raw(reason.params.get("text", ""))
        count = reason.params.get("n")
        key = self.catalogue.key(reason.code, count if isinstance(count, int | float) else None)
        if key is None:
            parameters = (f"{name} {value}" for name, value in reason.params.items() if not isinstance(value, Reason))
            return self.raw(": ".join(filter(None, (reason.code, ", ".join(parameters)))))
        return self.fill(self.texts[key], {name: self.param(reason, name) for name in reason.params})

    def reasons(self, reasons: Iterable[Reason]) -> S:
        """Several, one after the other."""
        return self.joined(self("between"), map(self.reason, reasons))

    def param(self, reason: Reason, name: str) -> S:
        """One parameter of a reason, in words."""
        return self._param(reason.params, name, reason.params.get(name))

    def _param(self, params: Mapping[str, Param], name: str, value: Param) -> S:
        if value is None or isinstance(value, bool):
            return self("none" if value is None else "yes" if value else "no")
        if isinstance(value, Reason):
            return self.reason(value)
        if isinstance(value, int | float):
            return self._number_param(params, name, value)
        if not isinstance(value, str):
            reasons = [item for item in value if isinstance(item, Reason)]
            return self.reasons(reasons) if reasons else self.listed(self._param(params, name, item) for item in value)
        if name == "text":
            return self.raw(value)
        if name == "word":
            return self.word(f"word.{params.get('field', '')}", value)
        return self.word(_ROOMS[name], value) if name in _ROOMS else self.name(value)

    def _number_param(self, params: Mapping[str, Param], name: str, value: float) -> S:
        if name in _FIGURES:
            return self.figure(value, str(params.get("unit", "")))
        unit = unit_of(name)
        return self.duration(value * _SECONDS[unit]) if unit in _SECONDS else self.figure(value, unit)


class PlainWords(Renderer[str]):
    """Plain text. What might turn the direction of a text is isolated by control characters, and only that: in a text
    message every character beyond ASCII costs."""

    def fill(self, text: str, values: Mapping[str, object]) -> str:
        return text.format_map(Places(values))

    def ltr(self, value: object) -> str:
        return f"{LTR}{value}{END}" if self.dir == "rtl" else str(value)

    def name(self, value: object) -> str:
        text = str(value)
        return f"{AUTO}{text}{END}" if self.dir == "rtl" or _has_rtl(text) else text

    def raw(self, value: object) -> str:
        return self.ltr(value)


class CodedError(Exception):
    """An error that people may read in their language; `str()` is English, made when somebody asks for it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return plain().reason(self.reason)


class Places(dict[str, object]):
    """A place that nobody fills shows a dash: stored parameters may be of another version."""

    def __missing__(self, _name: str) -> str:
        return "–"


def _digits(value: float) -> str:
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    shown = f"{value:,.{digits}f}"
    return shown.rstrip("0").rstrip(".") if digits else shown


def _has_rtl(text: str) -> bool:
    return not text.isascii() and any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text)


@lru_cache(maxsize=4096)
def _fits(rule: str, count: int) -> bool:
    """Whether a whole number fits a rule such as `n % 10 = 2..4 and n % 100 != 12..14`."""
    return any(all(_holds(part, count) for part in either.split(" and ")) for either in rule.split(" or "))


def _holds(relation: str, count: int) -> bool:
    left, _, right = relation.partition("!=" if "!=" in relation else "=")
    operand, _, modulus = left.partition("%")
    value = count if operand.strip() in ("n", "i") else 0  # the others count digits after the point
    value = value % int(modulus) if modulus else value
    spans = (span.partition("..") for span in right.split(","))
    listed = any(int(low) <= value <= int(high or low) for low, _, high in spans)
    return listed != ("!=" in relation)
