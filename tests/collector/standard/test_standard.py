"""Standards: what is read from a file, what is refused and how it is said, and which version holds when."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agent.common.center_time import TZ
from agent.common.reasons import Reason
from agent.common.words import PlainWords, catalogue
from collector.standard import StandardError, Standards, example, examples, load, names, read
from collector.standard.criteria import Window

FILES = Path(__file__).parent / "files"
SAYS = "# says: "


@dataclass(frozen=True)
class Promised:
    tier: str = "two"
    seats_promised: int = 20


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(TZ)).timestamp() * 1000)


def test_a_file_becomes_values() -> None:
    standard = load(FILES / "valid.toml")
    (criterion,) = standard.criteria
    assert standard.id == "test-1"
    assert standard.official is False
    assert criterion.fields == ("capacity_down_mbps", "download_mbps")
    assert criterion.window == Window(m=3, n=4)
    assert criterion.recovery.at_pct == 90
    assert criterion.recovery.window == Window(m=2, n=2)
    assert criterion.ignore == {"purpose": frozenset({"manual"})}
    assert criterion.month.slots == ((0, 720), (720, 1440))


def test_what_is_asked_is_the_larger_of_the_tier_and_the_seats() -> None:
    figure = load(FILES / "valid.toml").criteria[0].figure
    assert figure is not None
    assert figure.of(Promised("two", 20)) == 30
    assert figure.of(Promised("three", 20)) == 20
    assert figure.of(Promised("three", 45)) == 45


def test_the_digest_is_that_of_the_files_bytes() -> None:
    path = FILES / "valid.toml"
    assert load(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_standard_holds_from_its_first_local_midnight_through_its_last_day() -> None:
    standards = Standards.of([load(FILES / "valid.toml")])
    assert standards.at(at("2025-12-31T23:59:59")) is None
    assert standards.at(at("2026-01-01T00:00")) is not None
    assert standards.at(at("2026-06-30T23:59:59")) is not None
    assert standards.at(at("2026-07-01T00:00")) is None


def test_each_time_has_the_version_that_held_then() -> None:
    first = load(FILES / "valid.toml")
    second = replace(first, id="test-2", valid_from_ms=at("2026-07-01T00:00"), valid_to_ms=None)
    standards = Standards.of([second, first])
    held = [standards.at(at(day)) for day in ("2026-03-01", "2026-07-01", "2031-01-01")]
    assert [version and version.id for version in held] == ["test-1", "test-2", "test-2"]


def test_two_versions_never_hold_at_once() -> None:
    first = load(FILES / "valid.toml")
    twin = replace(first, id="test-3", valid_to_ms=None)
    with pytest.raises(StandardError, match="test-3: valid_from: test-1 begins on the same day; let one begin later"):
        Standards.of([first, twin])
    second = replace(first, id="test-2", valid_from_ms=at("2026-06-30T00:00"), valid_to_ms=None)
    with pytest.raises(StandardError, match="test-2: valid_from: test-1 still holds then; begin after its valid_to"):
        Standards.of([first, second])


def test_a_version_without_an_end_holds_until_the_next_begins_and_its_file_stays_as_it_is() -> None:
    first = replace(load(FILES / "valid.toml"), valid_to_ms=None)
    second = replace(first, id="test-2", valid_from_ms=at("2027-01-01T00:00"))
    third = replace(first, id="test-3", valid_from_ms=at("2028-01-01T00:00"))
    standards = Standards.of([third, first, second])
    held = [standards.at(at(day)) for day in ("2026-12-31T23:59", "2027-01-01", "2027-12-31T23:59", "2031-01-01")]
    assert [version and version.id for version in held] == ["test-1", "test-2", "test-2", "test-3"]
    assert held[0] is not None
    assert held[0].digest == first.digest
    assert held[0].valid_to_ms == second.valid_from_ms


# The digests under which reports name the shipped versions: a file that changes once it is in force fails here.
SHIPPED = {
    "example-2026-1": "58d0b0d0a842c73fc88d2f6c9595ce6dcfa6dea0ae9e550a54c309342909b2f7",
    "example-2026-2": "cdba4b2ca0f34ac12bb2343ddda0f17ebaf62b9e4b1b03d412f7c0cfc4da3fd1",
    "example-2026-3": "a07c9040927ea9366f06297d11f19e6acb9ae2859a9da285cfb4cfa0d6667e01",
}


def test_the_shipped_versions_are_never_edited_and_follow_each_other_without_a_gap() -> None:
    assert {version.id: version.digest for version in examples()} == SHIPPED
    standards = Standards.of(examples())
    held = [
        standards.at(at(day)) for day in ("2026-01-01", "2026-11-28T23:59", "2026-11-29", "2026-12-01", "2027-03-01")
    ]
    assert [version and version.id for version in held] == [
        *["example-2026-1"] * 2,
        "example-2026-2",
        *["example-2026-3"] * 2,
    ]
    assert example().id == examples()[-1].id


def test_the_example_is_shipped_and_says_that_it_is_not_official() -> None:
    standard = example()
    assert not standard.official
    assert "No official technical standard" in standard.note
    assert {criterion.reading for criterion in standard.criteria} == {
        "speed", "link", "ups", "seats", "gateway", "silence"
    }  # fmt: skip


def test_every_criterion_of_the_example_has_a_fix_in_urdu() -> None:
    for criterion in example().criteria:
        assert any("\u0600" <= letter <= "\u06ff" for letter in criterion.name.of("ur") + criterion.fix.of("ur")), (
            criterion.id
        )


@pytest.mark.parametrize("path", sorted(FILES.glob("invalid_*.toml")), ids=lambda path: path.stem)
def test_every_mistake_of_a_file_is_named(path: Path) -> None:
    text = path.read_text()
    lines = [line.removeprefix(SAYS) for line in text.splitlines() if line.startswith(SAYS)]
    with pytest.raises(StandardError) as caught:
        read(text.encode(), path.name)
    assert caught.value.mistakes == lines


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StandardError, match="cannot be read: No such file or directory; give the path"):
        load(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"[" * 5000, b"x = " + b"[" * 5000, b"", b"criterion = 3", b"[[criterion]]"]
)
def test_hostile_bytes_are_refused_not_a_crash(body: bytes) -> None:
    with pytest.raises(StandardError):
        read(body, "hostile.toml")


def test_a_share_that_must_be_little_is_said_with_what_it_is_a_share_of() -> None:
    """ "Names resolve: 100 %; at most 0 %" would read as the opposite, whatever the standard calls the criterion."""
    reason = Reason.of("change.below_for_long_enough", found=Reason.of("verdict.at_most", value=100, bound=0, unit="%"))
    for lang, measure in (("en", "names that do not resolve"), ("ur", "نام جن کے پتے نہیں ملتے")):
        words, rule = PlainWords(catalogue(lang)), example().by_id["internet.names"]
        assert names.value_of(rule, 100.0, words).startswith(measure)
        assert f"{measure}: " in words.reason(names.found_of(rule, reason, words))
        loss = example().by_id["internet.loss"]
        assert names.found_of(loss, reason, words) is reason, "its name is the measure's own"
        assert names.value_of(loss, 3.0, words) == words.figure(3.0, "%")
