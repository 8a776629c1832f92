"""What so many centers need: by hand for one number, and as it grows."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from collector.__main__ import main
from collector.commands.simulation.scale import plan


def test_the_nation_by_hand() -> None:
    nation = plan(10_000, 30.0)
    assert nation.database == "postgresql"
    assert nation.batches_a_s == 166.67
    assert nation.busy_cores == pytest.approx(10_000 / 60 * 0.00122 + 10_000 * 0.96 / 86_400, abs=0.001)
    assert nation.cores == 2
    assert nation.archive_gb_year == pytest.approx(10_000 * 525_600 * 187 / 1e9, abs=0.01)
    assert nation.hot_gb == pytest.approx(10_000 * 2_880 * 4_581 / 1e9, abs=0.01)
    assert nation.rupees_center_year == pytest.approx((982.87 + 131.93) * 2 * 30 / 10_000, abs=0.01)
    assert nation.is_measured


def test_it_grows_with_centers_and_says_where_it_is_on_paper() -> None:
    plans = [plan(number, 30.0) for number in (1, 100, 1_000, 10_000, 100_000)]
    assert [item.is_measured for item in plans] == [True] * 4 + [False]
    assert [item.database for item in plans] == ["sqlite"] * 3 + ["postgresql"] * 2
    for less, more in pairwise(plans):
        assert less.archive_gb_year < more.archive_gb_year
        assert less.cores <= more.cores
    assert plan(10_000, 60.0).rupees_center_year == pytest.approx(2 * plan(10_000, 30.0).rupees_center_year, abs=0.01)


def test_the_command_says_it_in_json_and_refuses_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "--centers", "10000", "--disk-price-rupees-gb", "30", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["archive_gb_year"] == 982.87
    assert main(["scale", "--centers", "0"]) == 2
