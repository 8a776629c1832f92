"""Words of codes: figures and durations as people write them, plural forms by rule, values that turn no text round."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.common.reasons import Reason
from agent.common.words import (
    AUTO,
    END,
    FOLDER,
    LTR,
    Catalogue,
    CodedError,
    catalogue,
    languages,
    plain,
)

EN, UR = plain("en"), plain("ur")


# ---------------------------------------------------------------- figures


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0, "", "0"), (3.14159, "", "3.14"), (16.04, "ms", "16 ms"), (99.95, "%", "100 %"), (1234.6, "", "1,235"),
        (-0.5, "V", "-0.5 V"), (None, "ms", "–"), (45.0, "s", "45 s"), (300.0, "s", "5 min"), (90.0, "s", "1 min 30 s"),
        (20.0, "min", "20 min"), (90.0, "min", "1 h 30 min"),
        (-300.0, "s", "-5 min"), (-90.0, "min", "-90 min"), (129_600, "s", "1 d 12 h"),
    ],
)  # fmt: skip
def test_figures_are_shown_as_people_write_them(value: float | None, unit: str, shown: str) -> None:
    assert EN.figure(value, unit) == shown


@pytest.mark.parametrize(
    ("seconds", "en", "ur"),
    [
        (0, "0 s", "0 سیکنڈ"), (2.5, "2.5 s", "2.5 سیکنڈ"), (59.7, "1 min", "1 منٹ"), (3600, "1 h", "1 گھنٹہ"),
        (7320, "2 h 2 min", "2 گھنٹے 2 منٹ"), (86_400, "1 d", "1 دن"), (1e9, "11,574 d 1 h", "11574 دن 1 گھنٹہ"),
    ],
)  # fmt: skip
def test_durations_have_two_units_at_most(seconds: float, en: str, ur: str) -> None:
    assert EN.duration(seconds).replace(",", "") == en.replace(",", "")
    assert UR.duration(seconds).strip(LTR + AUTO + END) == ur


def test_a_unit_of_an_urdu_word_is_read_after_its_figure() -> None:
    assert [UR.figure(20, "s")[0], UR.age(20)[0], UR.figure(20, "min")[0]] == [AUTO] * 3
    assert [UR.figure(20, "ms")[0], UR.figure(20, "°C")[0], UR.figure(20)[0]] == [LTR] * 3


def test_an_age_does_not_tick() -> None:
    assert (EN.age(3.11), EN.age(59.9), EN.age(119)) == ("3 s", "59 s", "1 min")


# ---------------------------------------------------------------- plural forms


def of_rules(**rules: str) -> Catalogue:
    return Catalogue("xx", "xx", "ltr", rules, {"key.few": "", "key.other": ""})


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"one": "i = 1 and v = 0"}, {0: "other", 1: "one", 2: "other"}),
        (  # Arabic
            {"zero": "n = 0", "one": "n = 1", "two": "n = 2", "few": "n % 100 = 3..10", "many": "n % 100 = 11..99"},
            {0: "zero", 1: "one", 2: "two", 3: "few", 103: "few", 11: "many", 100: "other", 102: "other"},
        ),
        (  # Russian
            {
                "one": "v = 0 and i % 10 = 1 and i % 100 != 11",
                "few": "v = 0 and i % 10 = 2..4 and i % 100 != 12..14",
                "many": "v = 0 and i % 10 = 0 or v = 0 and i % 10 = 5..9 or v = 0 and i % 100 = 11..14",
            },
            {1: "one", 21: "one", 11: "many", 3: "few", 13: "many", 25: "many", 102: "few"},
        ),
        ({"one": "n = 0,1"}, {0: "one", 1: "one", 2: "other"}),  # Pashto's neighbours say one of none
    ],
)
def test_the_rules_of_a_language_choose_the_form(rules: dict[str, str], expected: dict[int, str]) -> None:
    found = of_rules(**rules)
    assert {number: found.plural(number) for number in expected} == expected


def test_a_form_that_a_language_lacks_is_the_last_one() -> None:
    found = of_rules(few="n = 3", many="n = 5")
    assert (found.key("key", 3), found.key("key", 5), found.key("key"), found.key("no")) == (
        "key.few", "key.other", None, None,
    )  # fmt: skip


def test_a_count_in_a_reason_chooses_its_form() -> None:
    assert EN.reason(Reason.of("fleet.too_few", n=1)) == "Only 1 center should be heard now, too few to tell"
    assert EN.reason(Reason.of("fleet.too_few", n=4)) == "Only 4 centers should be heard now, too few to tell"


# ---------------------------------------------------------------- reasons


def test_parameters_are_words_too() -> None:
    reason = Reason.of("verdict.not_counted", field="output_state", word="battery")
    assert EN.reason(reason) == "Not counted: UPS output is On battery"
    assert "بیٹری پر" in UR.reason(reason)
    assert EN.reason(Reason.of("verdict.absent", fields=["capacity_down_mbps", "runtime_s"])) == (
        "The reading does not tell: download capacity, backup time"
    )


def test_seconds_are_minutes_where_people_say_minutes() -> None:
    assert EN.reason(Reason.of("verdict.old", age_s=5400, fresh_s=300)) == (
        "The last reading is 1 h 30 min old; it speaks for 5 min"
    )


def test_what_is_not_known_is_shown_as_it_came() -> None:
    assert EN.reason(Reason.of("moon.full", n=3, where="sky")) == "moon.full: n 3, where sky"
    assert EN.reason(Reason.of("verdict.word", field="no_such", word="odd_word")) == "no such: odd word"
    assert EN.reason(Reason("verdict.old")) == "The last reading is – old; it speaks for –"
    assert UR.reason(Reason.text("as it stands")) == f"{LTR}as it stands{END}"


@given(st.text(max_size=20), st.dictionaries(st.text(max_size=8), st.floats() | st.text() | st.none(), max_size=3))
def test_any_code_can_be_said(code: str, params: dict[str, float | str | None]) -> None:
    for words in (EN, UR):
        assert isinstance(words.reason(Reason(code, params)), str)


def test_hostile_parameters_are_values_and_no_places() -> None:
    assert EN.reason(Reason.of("refused.unknown_device", device="{limit} {0.__class__}")) == (
        "gateway {limit} {0.__class__} is not enrolled"
    )


def test_an_error_is_english_when_it_is_printed() -> None:
    error = CodedError(Reason.of("refused.unknown_device", device="g1"))
    assert str(error) == "gateway g1 is not enrolled"


# ---------------------------------------------------------------- directions


def test_in_urdu_every_value_is_isolated() -> None:
    text = UR.reason(Reason.of("witness.unknown_test", test="t-1"))
    assert f"({AUTO}t-1{END})" in text
    assert f"{LTR}12 ms{END}" == UR.figure(12, "ms")


def test_in_english_only_what_runs_right_to_left_is_and_nothing_costs_a_wide_letter() -> None:
    assert EN.reason(Reason.of("witness.unknown_test", test="t-1")).isascii()
    assert EN.name("گلبرگ") == f"{AUTO}گلبرگ{END}"


# ---------------------------------------------------------------- a language is a file


def test_the_languages_are_the_files() -> None:
    assert list(languages()) == sorted(file.stem for file in FOLDER.glob("*.json"))
    assert {"en": "English", "ur": "اردو"}.items() <= languages().items()
    assert [catalogue(lang).direction for lang in ("en", "ur")] == ["ltr", "rtl"]


def test_what_a_file_lacks_is_said_in_english(tmp_path: Path) -> None:
    (tmp_path / "en.json").write_text((FOLDER / "en.json").read_text("utf-8"), "utf-8")
    own = {"language.name": "Xish", "language.direction": "rtl", "yes": "xi"}
    (tmp_path / "xx.json").write_text(json.dumps(own), "utf-8")
    assert languages(tmp_path) == {"en": "English", "xx": "Xish"}
    words = plain("xx", tmp_path)
    assert (words("yes"), words("no"), words.dir) == ("xi", "no", "rtl")
