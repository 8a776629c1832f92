"""The second person's proof under attack: each control takes one check away and sees what it guarded get through."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import rig

SHORT_TIMES, TIMES = 40, 10_000
SHORT_PAIRS, PAIRS = 4, 200
# A sign test at n = 200: chance gives more or fewer in 1 of 10,000.
SAME_AT_200 = range(73, 128)


def attacked(folder: Path, seed: int, times: int, pairs: int, source: Path = rig.ROOT) -> dict[str, float]:
    figures = rig.work("tests.faults.hostile.person_soak", folder / "desk", seed, times, pairs, source=source)
    print(figures)
    return figures


@pytest.mark.row(41)
def test_guessing_gets_nobody_in_and_shuts_nobody_out(seed: int, torture: bool, tmp_path: Path) -> None:
    figures = attacked(tmp_path, seed, TIMES if torture else SHORT_TIMES, PAIRS if torture else SHORT_PAIRS)
    for nothing in ("approved by the maker", "approved without a proof", "wrong passphrases taken"):
        assert figures[nothing] == 0
    assert (figures["guesses looked at"], figures["shut out of the command"]) == (20, 0)
    assert 0.6 < figures["known_ms"] / figures["unknown_ms"] < 1.6
    if torture:
        assert figures["known slower"] in SAME_AT_200


SELF = [("collector/access/approvals.py", "if users.key_of(by) == users.key_of(row.made_by):", "if False:")]
SPELLING = [
    ("collector/access/approvals.py", "if users.key_of(by) == users.key_of(row.made_by):", "if by == row.made_by:")
]
WRONG = [
    (
        "collector/access/passwords.py",
        "return low_level.verify_secret(kept.encode(), _secret(text), Type.ID)",
        "return True",
    )
]
UNPROVEN = [("collector/access/users.py", "or not proof or row.kept != proof:", "or (proof and row.kept != proof):")]
THROTTLE = [("collector/access/users.py", "if held >= limit:", "if False:")]
QUICK_NO = [
    (
        "collector/access/users.py",
        "        if not passwords.verify(",
        '        if not known:\n            raise PersonError("wrong", "")\n        if not passwords.verify(',
    )
]


def control(bug: list[tuple[str, str, str]], figure: str, sentence: str) -> object:
    return pytest.param(bug, figure, id=sentence, marks=pytest.mark.control(sentence, row=41))


@pytest.mark.parametrize(
    ("bug", "figure"),
    [
        control(SELF, "approved by the maker", "the token's maker may approve"),
        control(SPELLING, "approved by the maker", "a name written otherwise is another person"),
        control(WRONG, "wrong passphrases taken", "every passphrase fits"),
        control(UNPROVEN, "approved without a proof", "a name without a proof counts"),
    ],
)
def test_a_check_that_is_off_is_seen(bug: list[tuple[str, str, str]], figure: str, seed: int, tmp_path: Path) -> None:
    assert attacked(tmp_path, seed, 20, 0, rig.plant(tmp_path, bug))[figure] > 0


@pytest.mark.control("guesses are not bounded", row=41)
def test_a_throttle_that_is_off_is_seen(seed: int, tmp_path: Path) -> None:
    assert attacked(tmp_path, seed, SHORT_TIMES, 0, rig.plant(tmp_path, THROTTLE))["guesses looked at"] > 20


@pytest.mark.control("a name that nobody has is refused at once", row=41)
def test_a_quick_no_is_seen(seed: int, tmp_path: Path) -> None:
    figures = attacked(tmp_path, seed, 1, SHORT_PAIRS, rig.plant(tmp_path, QUICK_NO))
    assert figures["known_ms"] > 5 * figures["unknown_ms"]
