"""What a text message costs, and the short form that fits one."""

from __future__ import annotations

import pytest

from collector.desk.alerts.sms import short, size_of

LINK = "https://nabz.example.pk/a/0123456789012345678901"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("a" * 160, ("gsm7", 160, 1)),
        ("a" * 161, ("gsm7", 161, 2)),
        ("a" * 306, ("gsm7", 306, 2)),
        ("a" * 307, ("gsm7", 307, 3)),
        ("€" * 80, ("gsm7", 160, 1)),
        ("€" * 81, ("gsm7", 162, 2)),
        ("ب" * 70, ("ucs2", 70, 1)),
        ("ب" * 71, ("ucs2", 71, 2)),
        ("ب" * 135, ("ucs2", 135, 3)),
        ("😀" * 35, ("ucs2", 70, 1)),
        ("", ("gsm7", 0, 1)),
        ("a" * 152 + "€" + "a" * 152, ("gsm7", 306, 3)),  # the sign does not fit in the first part's last septet
        ("😀" * 67, ("ucs2", 134, 3)),  # 33 in a part of 67 units
    ],
)
def test_segments_are_counted_as_networks_do(text: str, size: tuple[str, int, int]) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("length", [10, 90, 140, 400])
def test_english_with_its_link_fits_one(length: int) -> None:
    made = short("Feeder – " + "x" * length, LINK)
    assert size_of(made).segments == 1
    assert size_of(made).alphabet == "gsm7"
    assert made.endswith(LINK)
    assert made.startswith("Feeder - ")


@pytest.mark.parametrize("length", [10, 60, 300])
def test_urdu_gives_way_to_its_link_in_two_segments_at_most(length: int) -> None:
    """Twenty letters of a title would not say which feeder it is."""
    title = "فیڈر LESCO F-7: 12 مراکز ایک ساتھ خراب ہیں (بجلی بند، یو پی ایس پر) ".ljust(length, "ب")
    made = short(title, LINK)
    assert made.endswith(LINK)
    assert size_of(made).segments <= 2
    assert made.startswith("فیڈر LESCO F-7: 12 مراکز ایک ساتھ خراب")


def test_a_short_urdu_title_with_a_short_link_is_one_segment() -> None:
    assert size_of(short("مرکز LHR-001: لائن بند", "https://n.pk/a/0123456789012345678901")).segments == 1
